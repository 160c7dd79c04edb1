"""An n-gram model of characters with modified Kneser-Ney smoothing: what counting alone can predict.

With c(h, s) the count of symbol s after context h, N(h) that of all symbols after h, and h' the context without its
oldest symbol,

    p(s | h) = (c(h, s) - D(c(h, s))) / N(h) + b(h) p(s | h')        p(s | no context left) = 1 / V
    b(h)     = (sum over s of D(c(h, s))) / N(h)                     D(0) = 0,  D(c) = D(3) for c > 3

For the longest context, c counts occurrences in the text. For a shorter one it counts the different symbols that come
before h s (the start of the text is one more), because a shorter context is used only where a longer one knew little.
An unseen context defers to the shorter one entirely. Sources: Kneser and Ney (1995), "Improved backing-off for m-gram
language modeling"; Chen and Goodman (1999), "An empirical study of smoothing techniques for language modeling", for the
interpolated form and its three discounts. On the last tenth of tiny-shakespeare it needs 2.19 bits per character at its
best order, where Witten and Bell's method needs 2.41.

How it is stored: the context of k + 1 symbols before a position is the (k+1)-gram that ends one position earlier. So a
gram's rank among the sorted grams of its length identifies it as a context of the next length, every key is
`rank * V + symbol`, exact for any V, and one sort and one lookup table per length are enough.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]

MAX_CHARS = 2_000_000
LONGEST = 16  # symbols of context, where an order is chosen: manuals and code still gain from the sixteenth
_CHUNK_CHARS = 1 << 18
_FALLBACK_DISCOUNTS = (0.5, 1.0, 1.5)  # if the counts are too few, or all too large, to estimate any
_LEAST_DISCOUNT = 0.1  # above 0, so that every symbol stays possible
_PATIENCE = 2  # orders without improvement after which to stop


@dataclass(frozen=True)
class _Level:
    """The predictions of contexts of one length k.

    Attributes:
        pairs: (P,) sorted keys `rank of the context * V + next symbol`, one per different (k+1)-gram.
        shares: (P + 1,) the first term of p(s | h), by pair; the last is 0, which index -1 (no such pair) reads.
        backoff: (C + 1,) b(h), by rank of the context; the last is 1, which index -1 (no such context) reads.
    """

    pairs: IntArray
    shares: FloatArray
    backoff: FloatArray


@dataclass(frozen=True)
class Likelihoods:
    """What counting says of some symbols, and how much it knows.

    Attributes:
        p: probabilities, one per symbol, or (V, B) of every symbol.
        literal: the same by the longest context alone, without its share for others, unless nothing has followed it.
        seen: length of the longest context that the counted text has, one per symbol or column.
        backoff: b(h) of that context, the share left to shorter ones: near 0 where many counts agree.
    """

    p: FloatArray
    literal: FloatArray
    seen: npt.NDArray[np.intp]
    backoff: FloatArray


class NgramModel:
    """Predicts a symbol from the `order` symbols before it.

    Args:
        order: n, the number of context symbols; 0 knows frequencies only, so that order n counts (n+1)-grams.
        vocab_size: V.

    Attributes:
        used_chars: how many symbols `fit` counted: the last `max_chars` of the text. At 0, every symbol has 1 / V.

    Raises:
        ValueError: a negative order, or no symbols.

    Example:
        >>> model = charrnn.NgramModel(1, vocab_size=2).fit(np.array([0, 1, 0, 1, 0, 1]))
        >>> model.probabilities(np.array([0])).round(2).tolist()
        [0..., 0...]
    """

    def __init__(self, order: int, vocab_size: int) -> None:
        if order < 0 or vocab_size < 1:
            raise ValueError(f"order {order} and vocab_size {vocab_size}: at least 0 and 1 are needed")
        self.order, self.vocab_size = order, vocab_size
        self.used_chars = 0
        self._levels: list[_Level] = []

    def fit(self, ids: npt.NDArray[np.integer], *, max_chars: int = MAX_CHARS) -> NgramModel:
        """Count a text, forgetting what was counted before.

        Args:
            ids: (N,) integers below V of any type, in memory or memory-mapped.
            max_chars: count only that many symbols, from the end; some 100 bytes per symbol are used while
                counting, and at most 32 per symbol and order are kept.

        Raises:
            ValueError: ids of another shape, type or range; `max_chars` below 1.
        """
        text = _training_text(ids, self.vocab_size, max_chars)
        levels: list[_Level] = []
        for lower, top in itertools.islice(_grow(text, self.vocab_size), self.order + 1):
            levels = [*levels[:-1], *lower, top]
        self.used_chars, self._levels = len(text), levels
        return self

    def log_loss(self, ids: npt.NDArray[np.integer]) -> tuple[float, int]:
        """How badly the model predicts a text: sum of nats, and how many symbols were scored.

        Args:
            ids: (N,) integers below V of any type, in memory or memory-mapped; read in chunks. The first is context
                only; those after it have as much context as there is, up to the order.

        Returns:
            -sum of ln p, in nats, over ids[1:], and N - 1; (0.0, 0) for an empty text.

        Raises:
            ValueError: ids of another shape, type or range.
        """
        _as_text(ids[:1], self.vocab_size)  # a text too short to be scored is checked too
        nats = 0.0
        for reader in _readers(ids, self.vocab_size, self.order):
            for level in self._levels:
                reader.lengthen(level)
                reader.p = reader.mix(level)
            nats += reader.nats(reader.p)
        return nats, max(len(ids) - 1, 0)

    def likelihoods(self, ids: npt.NDArray[np.integer]) -> Iterator[Likelihoods]:
        """The probability of each symbol of a text but the first, in pieces, in order.

        Args:
            ids: (N,) as for `log_loss`.

        Raises:
            ValueError: ids of another shape, type or range.
        """
        for reader in _readers(ids, self.vocab_size, self.order):
            seen, backoff = np.zeros(len(reader.text), np.intp), np.ones(len(reader.text))
            shares = np.zeros(len(reader.text))
            for length, level in enumerate(self._levels):
                reader.lengthen(level)
                reader.p = reader.mix(level)
                known = reader.contexts >= 0
                seen[known], backoff[known] = length, level.backoff[reader.contexts[known]]
                shares[known] = level.shares[reader.grams[known]]
            literal, first = _undiscounted(shares, backoff, reader.p), reader.scored_from
            yield Likelihoods(reader.p[first:], literal[first:], seen[first:], backoff[first:])

    def probabilities(self, context_ids: npt.NDArray[np.integer]) -> FloatArray:
        """(V,) probabilities of the symbol after `context_ids`, (n,) integers below V of any number; they sum to 1.

        Raises:
            ValueError: ids of another shape, type or range.
        """
        memory = self.memory(1)
        for symbol in _as_text(context_ids[max(len(context_ids) - self.order, 0) :], self.vocab_size):
            memory = self.read(memory, symbol[None])
        return self.predict(memory).p[:, 0]

    def memory(self, columns: int) -> FloatArray:
        """(1, order, B): what is kept of B texts of which nothing was read yet.

        Entry k is 1 + the rank of the last k + 1 symbols among the grams of that length; 0 where they were never seen.
        """
        return np.zeros((1, self.order, columns))

    def read(self, memory: FloatArray, ids: npt.NDArray[np.integer]) -> FloatArray:
        """The (1, order, B) memory after (B,) ids more."""
        longer = np.zeros_like(memory)
        for k, level in enumerate(self._levels[: self.order]):
            context = memory[0, k - 1].astype(np.int64) - 1 if k else np.zeros(len(ids), np.int64)
            longer[0, k] = 1 + _find(level.pairs, np.where(context < 0, -1, context * self.vocab_size + ids))
        return longer

    def predict(self, memory: FloatArray) -> Likelihoods:
        """(V, B) probabilities of the next symbol of each text, and what is known of the (B,) contexts."""
        V, B = self.vocab_size, memory.shape[2]  # noqa: N806 - as in the formulas
        p, seen, backoff = np.full((V, B), 1 / V), np.zeros(B, np.intp), np.ones(B)
        shares = np.zeros((V, B))
        for length, level in enumerate(self._levels):
            h = memory[0, length - 1].astype(np.int64) - 1 if length else np.zeros(B, np.int64)
            p *= level.backoff[h]
            shares[:, h >= 0] = 0.0
            first, last = np.searchsorted(level.pairs, h * V), np.searchsorted(level.pairs, (h + 1) * V)
            for column in np.flatnonzero((h >= 0) & (last > first)):
                found = slice(first[column], last[column])
                shares[level.pairs[found] - h[column] * V, column] = level.shares[found]
                p[:, column] += shares[:, column]
            seen[h >= 0], backoff[h >= 0] = length, level.backoff[h[h >= 0]]
        return Likelihoods(p, _undiscounted(shares, backoff, p), seen, backoff)

    def digest(self) -> bytes:
        """16 bytes that identify what was counted."""
        found = hashlib.blake2b(digest_size=16)
        for level in self._levels:
            found.update(level.pairs.tobytes())
            found.update(level.shares.tobytes())
        return found.digest()


class _Reader:
    """A piece of text being predicted, from short contexts to long ones; 32 bytes per symbol.

    Args:
        text: (n,) ids.
        scored_from: position of the first symbol to be scored; those before it are context.
        vocab_size: V.

    Attributes:
        contexts: (n,) rank of the context before each symbol, -1 where it was never seen or the text begins.
        grams: (n,) rank of the context and symbol together, -1 where they were never seen.
        p: (n,) probability of each symbol, up to the levels mixed so far.
    """

    def __init__(self, text: npt.NDArray[np.integer], scored_from: int, vocab_size: int) -> None:
        self.text, self.scored_from, self.vocab_size = text, scored_from, vocab_size
        self.contexts = self.grams = np.zeros(len(text), np.int64)
        self.p = np.full(len(text), 1 / vocab_size)
        self._started = False

    def lengthen(self, level: _Level) -> None:
        """Look one symbol further back: find the contexts and grams of `level`."""
        if self._started:
            self.contexts = np.append(np.int64(-1), self.grams[:-1])
        self._started = True
        keys = self.contexts * self.vocab_size + self.text  # negative, so in no table, after unseen contexts
        self.grams = _find(level.pairs, keys)

    def mix(self, level: _Level) -> FloatArray:
        """(n,) probabilities: the prediction of the level of the last `lengthen`, backed off to `p`."""
        mixed: FloatArray = level.shares[self.grams] + level.backoff[self.contexts] * self.p
        return mixed

    def nats(self, p: FloatArray) -> float:
        """-sum of ln p over the symbols to be scored."""
        return -float(np.log(p[self.scored_from :]).sum())


def choose_order(
    train_ids: npt.NDArray[np.integer],
    val_ids: npt.NDArray[np.integer],
    vocab_size: int,
    orders: Iterable[int] = range(1, LONGEST + 1),
    *,
    max_chars: int = MAX_CHARS,
) -> tuple[NgramModel, dict[int, float]]:
    """Fit on the training text and keep the order that predicts the validation text best.

    The tables of an order contain those of the lower ones, so every order is counted and scored in the one pass that
    the longest would need; the pass ends after two orders in a row that are no better than the best so far.

    Args:
        train_ids: (N,) as for `NgramModel.fit`.
        val_ids: (M,) as for `NgramModel.log_loss`, at least two.
        vocab_size: V.
        orders: those allowed, in any sequence; tried upwards, the smaller of equals is kept.
        max_chars: symbols used, at most: the last ones of the training text and the first ones of the validation text.

    Returns:
        The fitted model, and the nats per character on the validation text of every order tried.

    Raises:
        ValueError: no orders, a negative one, fewer than two validation symbols, or ids that `fit` refuses.
    """
    allowed, validation = sorted(set(orders)), val_ids[:max_chars]
    if not allowed or len(validation) < 2:
        raise ValueError("at least one order and two validation symbols are needed to choose an order")
    model = NgramModel(allowed[0], vocab_size)
    text = _training_text(train_ids, vocab_size, max_chars)
    readers = list(_readers(validation, vocab_size, allowed[-1]))
    losses: dict[int, float] = {}
    levels: list[_Level] = []
    for order, (lower, top) in enumerate(itertools.islice(_grow(text, vocab_size), allowed[-1] + 1)):
        levels = [*levels[:-1], *lower, top]
        nats = sum(_lengthen(reader, lower, top) for reader in readers)
        if order not in allowed:
            continue
        losses[order] = nats / (len(validation) - 1)
        best = min(losses, key=losses.__getitem__)
        if best == order:
            model.order, model._levels = order, levels
        elif sum(tried > best for tried in losses) == _PATIENCE:
            break
    model.used_chars = len(text)
    return model, losses


def _lengthen(reader: _Reader, lower: list[_Level], top: _Level) -> float:
    """Take `reader` from an order to the next, as `_grow` yields them; nats under the new order."""
    for level in lower:
        reader.p = reader.mix(level)
    reader.lengthen(top)
    return reader.nats(reader.mix(top))


def _grow(text: IntArray, vocab_size: int) -> Iterator[tuple[list[_Level], _Level]]:
    """Count longer and longer contexts, for ever.

    Args:
        text: (N,) ids.
        vocab_size: V.

    Yields:
        For order 0, 1, ...: the level below, counted as a shorter context (in a list, empty for order 0), and the
        level of this order, counted as the longest context.
    """
    ranks = np.zeros(len(text), np.int64)  # of the context of each symbol that has one of this length
    contexts = 1
    pairs, grams, occurrences = _count(ranks, text, vocab_size)
    yield [], _level(pairs, occurrences, contexts, vocab_size)
    for length in itertools.count(1):
        shorter_pairs, shorter_grams, shorter_contexts = pairs, grams, contexts
        ranks, contexts = shorter_grams[:-1], len(shorter_pairs)
        pairs, grams, occurrences = _count(ranks, text[length:], vocab_size)
        suffixes = np.empty(len(pairs), np.int64)  # of each gram, without its oldest symbol
        suffixes[grams] = shorter_grams[1:]
        predecessors = np.bincount(suffixes, minlength=len(shorter_pairs))
        predecessors[shorter_grams[:1]] += 1  # the start of the text
        yield (
            [_level(shorter_pairs, predecessors, shorter_contexts, vocab_size)],
            _level(pairs, occurrences, contexts, vocab_size),
        )


def _count(ranks: IntArray, symbols: IntArray, vocab_size: int) -> tuple[IntArray, IntArray, IntArray]:
    """The different pairs of context and symbol, each position's index among them, and how often each occurs."""
    pairs, grams, occurrences = np.unique(ranks * vocab_size + symbols, return_inverse=True, return_counts=True)
    return pairs, grams.astype(np.int64, copy=False), occurrences.astype(np.int64, copy=False)


def _level(pairs: IntArray, counts: IntArray, contexts: int, vocab_size: int) -> _Level:
    """The probabilities that (P,) counts of pairs after `contexts` different contexts mean."""
    discounts = _discounts(counts)[np.minimum(counts, 3)]
    owners = pairs // vocab_size
    totals = np.bincount(owners, counts, contexts)
    freed = np.bincount(owners, discounts, contexts)
    backoff = np.divide(freed, totals, out=np.ones(contexts), where=totals > 0)  # 1: the text's end, nothing follows
    return _Level(pairs, np.append((counts - discounts) / totals[owners], 0.0), np.append(backoff, 1.0))


def _discounts(counts: IntArray) -> FloatArray:
    """(4,) discounts of the counts 0, 1, 2, 3 and more, from how many counts are 1, 2, 3, 4 (Chen and Goodman 1999)."""
    n1, n2, n3, n4 = (int(np.count_nonzero(counts == c)) for c in (1, 2, 3, 4))
    if not (n1 and n2 and n3 and n4):
        return np.array([0.0, *_FALLBACK_DISCOUNTS])
    y = n1 / (n1 + 2 * n2)
    estimates = [0.0, 1 - 2 * y * n2 / n1, 2 - 3 * y * n3 / n2, 3 - 4 * y * n4 / n3]
    return np.array([0.0, *np.maximum(estimates[1:], _LEAST_DISCOUNT)])


def _readers(ids: npt.NDArray[np.integer], vocab_size: int, order: int) -> Iterator[_Reader]:
    """Pieces of (N,) ids, each with the context it needs; together they score every symbol but the first."""
    for start in range(1, len(ids), _CHUNK_CHARS):
        first = max(start - order, 0)
        yield _Reader(_as_text(ids[first : start + _CHUNK_CHARS], vocab_size), start - first, vocab_size)


def _undiscounted(shares: FloatArray, backoff: FloatArray, p: FloatArray) -> FloatArray:
    literal: FloatArray = np.divide(shares, 1.0 - backoff, out=p.copy(), where=backoff < 1.0)
    return literal


def _find(table: IntArray, keys: IntArray) -> IntArray:
    """Index of each key in a sorted table, -1 if missing."""
    if not len(table):
        return np.full(len(keys), -1)
    at = np.minimum(np.searchsorted(table, keys), len(table) - 1)
    return np.where(table[at] == keys, at, -1)


def _training_text(ids: npt.NDArray[np.integer], vocab_size: int, max_chars: int) -> IntArray:
    if max_chars < 1:
        raise ValueError(f"max_chars {max_chars}: at least 1 is needed")
    return _as_text(ids[-max_chars:], vocab_size)


def _as_text(ids: npt.NDArray[np.integer], vocab_size: int) -> IntArray:
    """(N,) int64 copy of ids.

    Raises:
        ValueError: not one row of integers, or one of them is not below V.
    """
    if ids.ndim != 1 or ids.dtype.kind not in "iu":
        raise ValueError(f"ids are one row of integers, not {ids.ndim}-dimensional {ids.dtype}")
    if len(ids) and not (ids.min() >= 0 and ids.max() < vocab_size):
        raise ValueError(f"ids from {ids.min()} to {ids.max()} do not fit a vocabulary of {vocab_size}")
    return ids.astype(np.int64)
