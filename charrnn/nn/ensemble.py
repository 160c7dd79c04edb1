"""Several models as one: the mean of their probabilities.

A mixture of predictors is never worse than their mean loss, as -log is convex. Each may have its own sizes and
cell.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from charrnn.nn.network import CharRNN, State
from charrnn.nn.params import Array, IdArray
from charrnn.nn.stepper import Stepper


class EnsembleStepper:
    """Feeds symbols one by one to B streams of each model; the counterpart of `Stepper`.

    Args:
        models: with the same vocabulary.
        columns: B.
    """

    def __init__(self, models: Sequence[CharRNN], columns: int = 1) -> None:
        self.columns, self.vocab_size = columns, models[0].vocab_size
        self._steppers = [Stepper(model, columns) for model in models]
        self._sum = np.empty((self.vocab_size, columns))

    @property
    def state(self) -> State:
        """The layers' states of all models, one model after the other."""
        return [layer for stepper in self._steppers for layer in stepper.state]

    @state.setter
    def state(self, state: State) -> None:
        rest = list(state)
        for stepper in self._steppers:
            count = len(stepper.state)
            stepper.state, rest = rest[:count], rest[count:]

    def step(self, ids: Any) -> Array:
        """Feed one symbol to each stream; (V, B) log of the mean probability, overwritten by the next call."""
        self._sum[...] = 0.0
        for stepper in self._steppers:
            logits = stepper.step(ids).astype(np.float64)
            logits -= logits.max(axis=0)
            np.exp(logits, out=logits)
            self._sum += logits / logits.sum(axis=0)
        self._sum /= len(self._steppers)
        out: Array = np.log(np.maximum(self._sum, np.finfo(np.float64).tiny))
        return out


def make_stepper(models: Sequence[CharRNN], columns: int = 1) -> Stepper | EnsembleStepper:
    """A stepper of one or several models."""
    return Stepper(models[0], columns) if len(models) == 1 else EnsembleStepper(models, columns)


def primed(
    models: Sequence[CharRNN], prime: IdArray, columns: int = 1, *, state: State | None = None
) -> tuple[Stepper | EnsembleStepper, Array]:
    """A stepper of B streams that have all read the same.

    Args:
        models: with the same vocabulary.
        prime: (P,) ids, read once; at least one.
        columns: B.
        state: one (S, H, 1) array per layer to start from; zeros if omitted.

    Returns:
        The stepper, and the (V, B) logits of the symbol after the prime.
    """
    reader = make_stepper(models)
    if state is not None:
        reader.state = state
    for symbol in prime:
        logits = reader.step(int(symbol))
    if columns == 1:
        return reader, logits
    stepper = make_stepper(models, columns)
    stepper.state = [np.repeat(layer, columns, axis=2) for layer in reader.state]
    return stepper, np.repeat(logits, columns, axis=1)
