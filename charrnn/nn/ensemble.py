"""Several models as one: the mean of their probabilities.

A mixture of predictors is never worse than their mean loss, as -log is convex. Each may have its own sizes and
cell.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from charrnn.nn.network import CharRNN, State
from charrnn.nn.params import Array
from charrnn.nn.stepper import Stepper, stepper_of

if TYPE_CHECKING:
    from charrnn.nn.compiled.stepper import CompiledStepper


class EnsembleStepper:
    """Feeds symbols one by one to B streams of each model; the counterpart of `Stepper`.

    Args:
        models: with the same vocabulary.
        columns: B.
    """

    def __init__(self, models: Sequence[CharRNN], columns: int = 1) -> None:
        self.columns, self.vocab_size = columns, models[0].vocab_size
        self._steppers = [stepper_of(model, columns) for model in models]
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


def make_stepper(models: Sequence[CharRNN], columns: int = 1) -> Stepper | CompiledStepper | EnsembleStepper:
    """A stepper of one or several models."""
    return stepper_of(models[0], columns) if len(models) == 1 else EnsembleStepper(models, columns)
