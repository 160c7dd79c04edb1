"""A network and the counts of its training text as one predictor.

A network generalises and forgets; counts remember literally. With p_n and p_c the two predictions,

    p(s) = w p_n(s) + (1 - w) p_c(s)        w = w(k, b)

where k is the length of the longest context that the counted text has and b the share that this context leaves to
shorter ones, in three sizes: long and unanimous contexts are trusted, short ones are not. The weights are those that
make a text likely that neither has seen, usually the validation part, found by expectation maximisation:

    r_t = w p_n(s_t) / (w p_n(s_t) + (1 - w) p_c(s_t))        w = mean of r_t over the positions with this (k, b)

Source: Jelinek and Mercer (1980), "Interpolated estimation of Markov source parameters from sparse data", which buckets
weights by counts in the same way.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from charrnn.evaluation.loss import mixed_surprisals
from charrnn.evaluation.ngram import Likelihoods, NgramModel, choose_order
from charrnn.nn.network import CharRNN
from charrnn.nn.params import Array, IdArray

FloatArray = npt.NDArray[np.float64]

LEARNED_FROM = 200_000  # symbols, from the beginning of the validation part
_BACKOFFS = np.array([0.05, 0.3])  # bounds of the three sizes of b
_ROUNDS = 100
_PRIOR = 20.0  # positions' worth of the weight of all contexts together, for contexts that were hardly met
_TINY = np.finfo(np.float64).tiny


@dataclass(frozen=True)
class Mixture:
    """Weights for a network beside n-gram counts.

    Attributes:
        ngram: the counts.
        weights: (3 * (order + 1),) the network's share by context.
    """

    ngram: NgramModel
    weights: FloatArray

    def memory(self, columns: int) -> FloatArray:
        """(1, order, B) what is kept of B texts between symbols, before the first."""
        return self.ngram.memory(columns)

    def read(self, memory: FloatArray, ids: npt.NDArray[np.integer]) -> FloatArray:
        """The memory after (B,) ids more."""
        return self.ngram.read(memory, ids)

    def mix(self, p: Array, memory: FloatArray) -> FloatArray:
        """(V, B) probabilities of the network -> those of both."""
        counted = self.ngram.predict(memory)
        w = self.weights[_contexts(counted)]
        out: FloatArray = w * p + (1.0 - w) * counted.p
        return out

    def nats(self, network: FloatArray, ids: IdArray, *, scored_from: int = 1) -> FloatArray:
        """Nats of symbols under both.

        Args:
            network: (n,) nats of the symbols from `scored_from` on, under the network.
            ids: (scored_from + n,) of the text.
            scored_from: position of the first symbol with nats; those before it are context.
        """
        out, done = np.empty(len(network)), 0
        for counted in self.ngram.likelihoods(ids, scored_from=scored_from):
            piece = slice(done, done + len(counted.p))
            w = self.weights[_contexts(counted)]
            out[piece] = -np.log(np.maximum(w * np.exp(-network[piece]) + (1.0 - w) * counted.p, _TINY))
            done = piece.stop
        return out


def learn_mixture(models: Sequence[CharRNN], train: IdArray, val: IdArray, separator: IdArray | None = None) -> Mixture:
    """Count a network's training text and weigh the counts on its validation text.

    Args:
        models: networks whose probabilities are averaged.
        train: (N,) ids of the training part.
        val: (M,) ids of the validation part, at least two; the first `LEARNED_FROM` are used.
        separator: ids that end a document.

    Raises:
        ValueError: too short a text.
    """
    val = val[:LEARNED_FROM]
    before = train[-1:] if len(train) else None
    ngram, _ = choose_order(train, val, models[0].vocab_size)
    return weigh(ngram, mixed_surprisals(models, val, separator=separator, before=before), val)


def weigh(ngram: NgramModel, network: FloatArray, ids: IdArray) -> Mixture:
    """The weights with which counts and a network find a text least surprising.

    Args:
        ngram: the counts.
        network: (N - 1,) nats of every symbol but the first under the network.
        ids: (N,) of the text.
    """
    counted = list(ngram.likelihoods(ids))
    contexts, p_counts = np.concatenate([_contexts(c) for c in counted]), np.concatenate([c.p for c in counted])
    p_network, buckets = np.exp(-network), 3 * (ngram.order + 1)
    met = np.bincount(contexts, minlength=buckets)
    weights = np.full(buckets, 0.5)
    for _ in range(_ROUNDS):
        mine = weights[contexts] * p_network
        shares = mine / np.maximum(mine + (1.0 - weights[contexts]) * p_counts, _TINY)
        weights = (np.bincount(contexts, shares, buckets) + _PRIOR * shares.mean()) / (met + _PRIOR)
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


def _contexts(counted: Likelihoods) -> npt.NDArray[np.intp]:
    """Index of the weight for each symbol or column."""
    size: npt.NDArray[np.intp] = np.searchsorted(_BACKOFFS, counted.backoff)
    return 3 * counted.seen + size
