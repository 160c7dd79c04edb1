"""Filters that change logits without leaving symbols out: bias, temperature and dynamic temperature."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from charrnn.sampling.filters.filter import (
    LOWEST_TEMPERATURE,
    FloatArray,
    LogitsFilter,
    StepContext,
    entropies,
    softmax,
)


class Bias(LogitsFilter):
    """Adds a number to the logits of some symbols.

    Args:
        logit_bias: (id, number), each id once; minus infinity is a ban, see `SamplingOptions.banned`.
    """

    def __init__(self, logit_bias: Sequence[tuple[int, float]]) -> None:
        pairs = [(key, value) for key, value in logit_bias if value != -math.inf]
        self._ids = np.array([key for key, _ in pairs], np.intp)
        self._values = np.array([[value] for _, value in pairs], np.float64).reshape(len(pairs), 1)

    def apply(self, logits: FloatArray, context: StepContext) -> None:
        """Change (V, N) logits in place."""
        logits[self._ids] += self._values


class Temperature(LogitsFilter):
    """Divides logits; the largest becomes 0.

    A dynamic temperature grows with the entropy, relative to the largest entropy that the symbols still left could
    have. Source: kalomaze (2024), koboldcpp pull request 600.

    Args:
        temperature: the divisor; 0 keeps only the largest logit, of equal ones that with the lowest id.
        dynamic_temperature: instead, the temperatures at entropy 0 and where all symbols left are equally likely.
        dynamic_exponent: of the relative entropy; 1 goes straight from low to high.
    """

    def __init__(
        self,
        temperature: float = 1.0,
        dynamic_temperature: tuple[float, float] | None = None,
        dynamic_exponent: float = 1.0,
    ) -> None:
        self.low, self.high = dynamic_temperature or (temperature, temperature)
        self.exponent, self._dynamic = dynamic_exponent, dynamic_temperature is not None

    def apply(self, logits: FloatArray, context: StepContext) -> None:
        """Change (V, N) logits in place."""
        if not self._dynamic:
            _divide(logits, np.full(logits.shape[1], self.low))
            return
        largest = np.log(np.isfinite(logits).sum(axis=0))
        relative = np.zeros_like(largest)
        np.divide(entropies(softmax(logits)), largest, out=relative, where=largest > 0.0)
        np.clip(relative, 0.0, 1.0, out=relative)  # rounding
        _divide(logits, self.low + (self.high - self.low) * relative**self.exponent)


def _divide(logits: FloatArray, temperatures: FloatArray) -> None:
    """(V, N) logits by (N,) temperatures, in place."""
    best = np.argmax(logits, axis=0)
    logits -= logits.max(axis=0)
    logits /= np.maximum(temperatures, LOWEST_TEMPERATURE)
    greedy = np.flatnonzero(temperatures == 0.0)
    logits[:, greedy] = -np.inf
    logits[best[greedy], greedy] = 0.0
