"""Mirostat 2: a cut that moves so that the surprise of the text stays where one wants it."""

from __future__ import annotations

import numpy as np

from charrnn.sampling.filters.filter import Filter, FloatArray, History, Moment, softmax


class Mirostat(Filter):
    """Drops symbols more surprising than a bound, and moves the bound by how surprising the drawn symbol was.

    Source: Basu et al. (2021), Mirostat, version 2; as in llama.cpp, the surprise is that of the draw, after the cut.

    Args:
        columns: N streams, each with a bound of its own.
        tau: surprise to aim at, in bits.
        eta: share of the error that the bound moves by.

    Attributes:
        bound: (N,) bits; starts at twice tau.
    """

    def __init__(self, columns: int, tau: float, eta: float) -> None:
        self.tau, self.eta = tau, eta
        self.bound: FloatArray = np.full(columns, 2.0 * tau)
        self._drawn_from: FloatArray | None = None

    def apply(self, logits: FloatArray, moment: Moment) -> None:
        """Change (V, N) logits in place."""
        # exp2(-bound) is a probability; the most likely symbol stays however low the bound has gone.
        probabilities = softmax(logits)
        with np.errstate(over="ignore", under="ignore"):
            lowest = np.minimum(np.exp2(-self.bound), probabilities.max(axis=0))
        logits[probabilities < lowest] = -np.inf
        self._drawn_from = softmax(logits)

    def accept(self, history: History) -> None:
        """Move the bounds; symbols of the prime, which nothing drew, leave them alone."""
        if self._drawn_from is None:
            return
        drawn = self._drawn_from[history[-1], np.arange(len(self.bound))]
        # A hot temperature after this filter can draw what had a probability of 0 here.
        surprise = -np.log2(np.maximum(drawn, np.finfo(np.float64).tiny))
        self.bound -= self.eta * (surprise - self.tau)
        self._drawn_from = None
