"""Several models as one: the mean of their probabilities, mixed with another predictor's if there is one.

The mixture's loss is never above the mean of the models' losses, as -log is convex. Each model may have its own sizes
and cell.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from charrnn.nn.network import CharRNN, State
from charrnn.nn.params import Array, IntArray
from charrnn.nn.stepper import Stepper, stepper_of

if TYPE_CHECKING:
    from charrnn.nn.compiled.stepper import CompiledStepper

FloatArray = npt.NDArray[np.float64]


class Companion(Protocol):
    """A predictor next to the networks, with a memory of its own of the symbols it has read."""

    def memory(self, columns: int) -> FloatArray:
        """The (S, R, B) memory of B streams before their first symbol: zeros."""

    def read(self, memory: FloatArray, ids: IntArray) -> FloatArray:
        """The memory after (B,) more ids."""

    def mix(self, p: Array, memory: FloatArray) -> FloatArray:
        """(V, B) probabilities of the networks -> those of the whole mixture."""


class EnsembleStepper:
    """Feeds symbols one by one to B streams of each model; the counterpart of `Stepper`.

    Args:
        models: with the same vocabulary.
        columns: B.
        companion: another predictor; its memory is the last of the states.
    """

    def __init__(self, models: Sequence[CharRNN], columns: int = 1, companion: Companion | None = None) -> None:
        self.columns, self.vocab_size = columns, models[0].vocab_size
        self._companion = companion
        self._memory = None if companion is None else companion.memory(columns)
        self._steppers = [stepper_of(model, columns) for model in models]
        self._sum = np.empty((self.vocab_size, columns))

    @property
    def state(self) -> State:
        """The layers' states of all models, one model after the other."""
        layers = [layer for stepper in self._steppers for layer in stepper.state]
        return layers if self._memory is None else [*layers, self._memory.copy()]

    @state.setter
    def state(self, state: State) -> None:
        rest = list(state)
        for stepper in self._steppers:
            count = len(stepper.state)
            stepper.state, rest = rest[:count], rest[count:]
        if self._memory is not None:
            self._memory = rest[0].copy()

    def step(self, ids: Any) -> Array:
        """Feed one symbol to each stream; (V, B) log of the mean probability."""
        self._sum[...] = 0.0
        for stepper in self._steppers:
            logits = stepper.step(ids).astype(np.float64)
            logits -= logits.max(axis=0)
            np.exp(logits, out=logits)
            self._sum += logits / logits.sum(axis=0)
        self._sum /= len(self._steppers)
        p: Array = self._sum
        if self._companion is not None and self._memory is not None:
            self._memory = self._companion.read(self._memory, np.atleast_1d(ids))
            p = self._companion.mix(p, self._memory)
        out: Array = np.log(np.maximum(p, np.finfo(np.float64).tiny))
        return out


def make_stepper(
    models: Sequence[CharRNN], columns: int = 1, companion: Companion | None = None
) -> Stepper | CompiledStepper | EnsembleStepper:
    """A stepper of one or several models."""
    alone = len(models) == 1 and companion is None
    return stepper_of(models[0], columns) if alone else EnsembleStepper(models, columns, companion)
