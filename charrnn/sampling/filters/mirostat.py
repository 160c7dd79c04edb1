"""Mirostat 2: a cut that moves so that the surprise of the text stays where one wants it."""

from __future__ import annotations

import numpy as np

from charrnn.sampling.filters.filter import FloatArray, History, LogitsFilter, StepContext, softmax


class Mirostat(LogitsFilter):
    """Drops symbols more surprising than a bound, and moves the bound by how surprising the drawn symbol was.

    Source: Basu et al. (2021), Mirostat, version 2; as in llama.cpp, the surprise is that of the draw, after the cut.

    Args:
        mirostat_tau: surprise to aim at, in bits.
        mirostat_eta: fraction of the error that the bound moves by.

    Attributes:
        bound: (N,) bits, one per stream once the first logits came; starts at twice tau.
    """

    def __init__(self, mirostat_tau: float, mirostat_eta: float = 0.1) -> None:
        self.tau, self.eta = mirostat_tau, mirostat_eta
        self.bound: FloatArray = np.full(1, 2.0 * mirostat_tau)
        self._drawn_from: FloatArray | None = None

    def apply(self, logits: FloatArray, context: StepContext) -> None:
        """Change (V, N) logits in place."""
        if self.bound.size != logits.shape[1]:
            self.bound = np.full(logits.shape[1], 2.0 * self.tau)
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
