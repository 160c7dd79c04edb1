"""Filters that leave symbols out: top-k, top-p, min-p, typical, top-n-sigma, XTC and bans."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from charrnn.sampling.filters.filter import FloatArray, LogitsFilter, StepContext, entropies, softmax, surprises


def keep_top_k(logits: FloatArray, k: int) -> FloatArray:
    """(V, N) logits with all but the k largest of each column at -inf; ties at the border go by the lower id."""
    if not 0 < k < len(logits):
        return logits
    order = np.argsort(-logits, axis=0, kind="stable")
    out: FloatArray = logits.copy()
    np.put_along_axis(out, order[k:], -np.inf, axis=0)
    return out


def keep_top_p(logits: FloatArray, p: float) -> FloatArray:
    """(V, N) logits with all outside the nucleus at -inf: the fewest likely symbols that reach probability p."""
    if p >= 1.0:
        return logits
    order = np.argsort(-logits, axis=0, kind="stable")
    return _keep_until(logits, softmax(logits), order, p)


def _keep_until(logits: FloatArray, probabilities: FloatArray, order: npt.NDArray[np.intp], p: float) -> FloatArray:
    # Keep symbols in the given order until their probabilities reach p; the first of the order always stays.
    ranked = np.take_along_axis(probabilities, order, axis=0)
    before = np.cumsum(ranked, axis=0) - ranked
    out: FloatArray = logits.copy()
    drop = before >= p
    drop[0] = False
    np.put_along_axis(out, order, np.where(drop, -np.inf, np.take_along_axis(logits, order, axis=0)), axis=0)
    return out


class Ban(LogitsFilter):
    """Takes symbols out for good.

    Args:
        ids: which.
    """

    def __init__(self, ids: Sequence[int]) -> None:
        self._ids = np.array(ids, np.intp)

    def apply(self, logits: FloatArray, context: StepContext) -> None:
        """Change (V, N) logits in place."""
        logits[self._ids] = -np.inf


class TopK(LogitsFilter):
    """Keeps the k most likely symbols; of equally likely ones those with the lower id.

    Args:
        top_k: how many; 0 keeps all.
    """

    def __init__(self, top_k: int) -> None:
        self.k = top_k

    def apply(self, logits: FloatArray, context: StepContext) -> None:
        """Change (V, N) logits in place."""
        logits[...] = keep_top_k(logits, self.k)


class TopP(LogitsFilter):
    """Keeps the fewest most likely symbols that together reach a probability.

    Source: Holtzman et al. (2020), The Curious Case of Neural Text Degeneration.

    Args:
        top_p: that probability; 1 keeps all.
    """

    def __init__(self, top_p: float) -> None:
        self.p = top_p

    def apply(self, logits: FloatArray, context: StepContext) -> None:
        """Change (V, N) logits in place."""
        logits[...] = keep_top_p(logits, self.p)


class MinP(LogitsFilter):
    """Drops symbols that are less likely than a fraction of the most likely one.

    Source: Nguyen et al. (2024), Turning Up the Heat: Min-p Sampling.

    Args:
        min_p: that fraction; 0 keeps all.
    """

    def __init__(self, min_p: float) -> None:
        self._below = -np.log(min_p) if min_p > 0.0 else np.inf

    def apply(self, logits: FloatArray, context: StepContext) -> None:
        """Change (V, N) logits in place."""
        # Probabilities divided by the largest are exp(logit - largest logit), so no softmax is needed.
        logits[logits < logits.max(axis=0) - self._below] = -np.inf


class Typical(LogitsFilter):
    """Keeps the symbols whose surprise is closest to the entropy until they reach a probability.

    Source: Meister et al. (2023), Locally Typical Sampling.

    Args:
        typical: that probability; 1 keeps all.
    """

    def __init__(self, typical: float) -> None:
        self.p = typical

    def apply(self, logits: FloatArray, context: StepContext) -> None:
        """Change (V, N) logits in place."""
        if self.p >= 1.0:
            return
        probabilities = softmax(logits)
        distance = np.abs(surprises(probabilities) - entropies(probabilities))
        order = np.argsort(distance, axis=0, kind="stable")
        logits[...] = _keep_until(logits, probabilities, order, self.p)


class TopNSigma(LogitsFilter):
    """Keeps logits at most n standard deviations below the largest; symbols already left out do not count.

    Source: Tang et al. (2024), Top-nσ: Not All Logits Are You Need.

    Args:
        top_n_sigma: how many; 0 keeps all.
    """

    def __init__(self, top_n_sigma: float) -> None:
        self.n = top_n_sigma

    def apply(self, logits: FloatArray, context: StepContext) -> None:
        """Change (V, N) logits in place."""
        if self.n <= 0.0:
            return
        sigma = np.std(logits, axis=0, where=np.isfinite(logits))
        logits[logits < logits.max(axis=0) - self.n * sigma] = -np.inf


class XTC(LogitsFilter):
    """Now and then leaves out all symbols above a threshold but the least likely of them.

    Source: p-e-w (2024), text-generation-webui pull request 6335.

    Args:
        xtc_probability: how often, decided by `StepContext.uniforms`.
        xtc_threshold: probability from which a symbol may be left out.
    """

    random = True

    def __init__(self, xtc_probability: float, xtc_threshold: float) -> None:
        self.probability, self.threshold = xtc_probability, xtc_threshold

    def apply(self, logits: FloatArray, context: StepContext) -> None:
        """Change (V, N) logits in place."""
        now = context.uniforms < self.probability
        if not now.any():
            return
        order = np.argsort(-logits, axis=0, kind="stable")
        count = np.sum(softmax(logits) >= self.threshold, axis=0)
        rank = np.arange(len(logits))[:, None]
        drop = now & (rank < count - 1)
        np.put_along_axis(logits, order, np.where(drop, -np.inf, np.take_along_axis(logits, order, axis=0)), axis=0)
