"""A network and the counts of its training text as one predictor.

A network generalises and forgets; counts remember literally. With p_n and p_c the two predictions, and p_l that of the
longest known context alone, without smoothing,

    p(s) = w_n p_n(s) + w_c p_c(s) + w_l p_l(s)        (w_n, w_c, w_l) = w(k, b, r)

where k is the length of the longest context that the counted text has; b the share that this context leaves to shorter
ones, in three bins; and r for how many symbols in a row k has been the whole order, in five bins. So long and unanimous
contexts are trusted, and in a copied passage they are trusted entirely, which smoothed counts never are. The weights
are those that make a text most likely that neither has seen, usually the validation part, found by expectation
maximisation:

    q_t,i = w_i p_i(s_t) / sum over j of w_j p_j(s_t)        w_i = mean of q_t,i over the positions with this (k, b, r)

Source: Jelinek and Mercer (1980), "Interpolated estimation of Markov source parameters from sparse data", which buckets
weights by counts in the same way. Without r, weights that are right for ordinary prose lost 0.05 nats on a part of
the Python documentation that mostly repeats the training part (docs/results.md).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from charrnn.evaluation.loss import mixed_surprisals
from charrnn.evaluation.ngram import LONGEST, Likelihoods, NgramModel, choose_order
from charrnn.nn.network import CharRNN
from charrnn.nn.params import Array, IdArray

FloatArray = npt.NDArray[np.float64]

LEARNED_FROM = 200_000  # symbols, from the beginning of the validation part
_BACKOFFS = np.array([0.05, 0.3])  # bounds of the three sizes of b
_RUNS = np.array([1, 8, 32, 160])  # bounds of the five sizes of r
_KINDS = (len(_BACKOFFS) + 1) * (len(_RUNS) + 1)  # of contexts of one length
# Of learning, at most, and until no weight moves further: one that should be 0 gets there slowly.
_ROUNDS, _MOVED = 500, 1e-5
_PRIOR = 2.0  # positions' worth of the weights of all contexts together, for contexts that were hardly met
_TINY = np.finfo(np.float64).tiny


@dataclass(frozen=True)
class Mixture:
    """Weights for a network beside n-gram counts.

    Attributes:
        ngram: the counts.
        weights: (contexts, 3) shares of the network, the counts and the longest context, by k, b and r.
    """

    ngram: NgramModel
    weights: FloatArray

    def memory(self, columns: int) -> FloatArray:
        """(1, order + 1, B) what is kept of B texts between symbols, before the first: of the counts, and r."""
        return np.concatenate((self.ngram.memory(columns), np.zeros((1, 1, columns))), axis=1)

    def read(self, memory: FloatArray, ids: npt.NDArray[np.integer]) -> FloatArray:
        """The memory after (B,) ids more."""
        longer = self.ngram.read(memory[:, :-1], ids)
        run = np.where(longer[:, -1:] > 0, memory[:, -1:] + 1.0, 0.0)
        return np.concatenate((longer, run), axis=1)

    def mix(self, p: Array, memory: FloatArray) -> FloatArray:
        """(V, B) probabilities of the network -> those of both."""
        counted = self.ngram.predict(memory[:, :-1])
        w = self.weights[_contexts(counted, memory[0, -1])]
        out: FloatArray = w[:, 0] * p + w[:, 1] * counted.p + w[:, 2] * counted.literal
        return out

    def nats(self, network: FloatArray, ids: IdArray, *, scored_from: int = 1) -> FloatArray:
        """Nats of symbols under both.

        Args:
            network: (n,) nats of the symbols from `scored_from` on, under the network.
            ids: (scored_from + n,) of the text.
            scored_from: position of the first symbol with nats; those before it are context.
        """
        contexts, p_counts, p_longest = _counted(self.ngram, ids, scored_from)
        w = self.weights[contexts]
        mixed = w[:, 0] * np.exp(-network) + w[:, 1] * p_counts + w[:, 2] * p_longest
        out: FloatArray = -np.log(np.maximum(mixed, _TINY))
        return out


def learn_mixture(
    models: Sequence[CharRNN],
    train: IdArray,
    val: IdArray,
    separator: IdArray | None = None,
    *,
    longest: int | None = None,
) -> Mixture:
    """Count a network's training text and weigh the counts on its validation text.

    Args:
        models: networks whose probabilities are averaged.
        train: (N,) ids of the training part.
        val: (M,) ids of the validation part, at least two; the first `LEARNED_FROM` are used.
        separator: ids that end a document.
        longest: most symbols of context to try; None: `LONGEST`.

    Raises:
        ValueError: too short a text.
    """
    val = val[:LEARNED_FROM]
    before = train[-1:] if len(train) else None
    ngram, _ = choose_order(train, val, models[0].vocab_size, range(1, (longest or LONGEST) + 1))
    return weigh(ngram, mixed_surprisals(models, val, separator=separator, before=before), val)


def weigh(ngram: NgramModel, network: FloatArray, ids: IdArray) -> Mixture:
    """The weights with which counts and a network find a text least surprising.

    Args:
        ngram: the counts.
        network: (N - 1,) nats of every symbol but the first under the network.
        ids: (N,) of the text.
    """
    contexts, p_counts, p_longest = _counted(ngram, ids)
    p, count = np.stack((np.exp(-network), p_counts, p_longest), axis=1), _KINDS * (ngram.order + 1)
    met = np.bincount(contexts, minlength=count)[:, None]
    weights = np.full((count, 3), 1.0 / 3.0)
    for _ in range(_ROUNDS if len(network) else 0):
        shares = weights[contexts] * p
        shares /= np.maximum(shares.sum(axis=1, keepdims=True), _TINY)
        sums = np.stack([np.bincount(contexts, share, count) for share in shares.T], axis=1)
        before, weights = weights, (sums + _PRIOR * shares.mean(axis=0)) / (met + _PRIOR)
        if np.abs(weights - before).max() < _MOVED:
            break
    return Mixture(ngram, weights)


def cross_fitted(ngram: NgramModel, network: FloatArray, ids: IdArray) -> FloatArray:
    """(N - 1,) nats of a text under both, each half with the weights that the other half teaches.

    For a text that there is only one of: weights are never measured on what they were learned from.
    """
    middle = len(network) // 2
    halves = ((slice(0, middle), ids[: middle + 1], 1), (slice(middle, None), ids, middle + 1))
    out = np.empty(len(network))
    for part, text, scored_from in halves:
        other = (network[middle:], ids[middle:]) if part.stop else (network[:middle], ids[: middle + 1])
        out[part] = weigh(ngram, *other).nats(network[part], text, scored_from=scored_from)
    return out


def _counted(
    ngram: NgramModel, ids: IdArray, scored_from: int = 1
) -> tuple[npt.NDArray[np.intp], FloatArray, FloatArray]:
    """Of each symbol of a text from `scored_from` on: the index of its weights, its p_c and its p_l."""
    nothing = np.empty(0)
    found, run = [(np.empty(0, np.intp), nothing, nothing)], 0.0
    for counted in ngram.likelihoods(ids):
        runs = _runs(counted.seen == ngram.order, run)
        found.append((_contexts(counted, runs), counted.p, counted.literal))
        run = runs[-1]
    contexts, p, literal = (np.concatenate(parts)[scored_from - 1 :] for parts in zip(*found, strict=True))
    return contexts, p, literal


def _runs(whole: npt.NDArray[np.bool_], before: float) -> FloatArray:
    """(n,) r, for positions where the whole order was seen or not, after a run of `before`."""
    places = np.arange(1.0, len(whole) + 1.0)
    runs: FloatArray = places - np.maximum.accumulate(np.where(whole, -before, places))
    return runs


def _contexts(counted: Likelihoods, runs: FloatArray) -> npt.NDArray[np.intp]:
    """Index of the weights for each symbol or column."""
    size = np.searchsorted(_BACKOFFS, counted.backoff)
    length: npt.NDArray[np.intp] = np.searchsorted(_RUNS, runs)
    return _KINDS * counted.seen + (len(_RUNS) + 1) * size + length
