"""Filters that change logits without leaving symbols out: bias, temperature and dynamic temperature."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from charrnn.sampling.filters.filter import LOWEST_TEMPERATURE, Filter, FloatArray, Moment, entropies, softmax


class Bias(Filter):
    """Adds a number to the logits of some symbols.

    Args:
        pairs: (id, finite number), each id once.
    """

    def __init__(self, pairs: Sequence[tuple[int, float]]) -> None:
        self._ids = np.array([key for key, _ in pairs], np.intp)
        self._values = np.array([[value] for _, value in pairs], np.float64).reshape(len(pairs), 1)

    def apply(self, logits: FloatArray, moment: Moment) -> None:
        """Change (V, N) logits in place."""
        logits[self._ids] += self._values


class Temperature(Filter):
    """Divides logits; the largest becomes 0.

    Args:
        temperature: the divisor; 0 keeps only the largest logit, of equal ones that with the lowest id.
    """

    def __init__(self, temperature: float) -> None:
        self.temperature = temperature

    def apply(self, logits: FloatArray, moment: Moment) -> None:
        """Change (V, N) logits in place."""
        _divide(logits, np.full(logits.shape[1], self.temperature))


class DynamicTemperature(Filter):
    """Divides logits by a temperature that grows with the entropy, relative to the largest entropy there could be.

    Source: kalomaze (2024), koboldcpp pull request 600; the largest entropy is that of the symbols still left.

    Args:
        low: temperature at entropy 0.
        high: temperature where all symbols left are equally likely.
        exponent: of the relative entropy; 1 goes straight from low to high.
    """

    def __init__(self, low: float, high: float, exponent: float = 1.0) -> None:
        self.low, self.high, self.exponent = low, high, exponent

    def apply(self, logits: FloatArray, moment: Moment) -> None:
        """Change (V, N) logits in place."""
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
