"""How much of a text is copied: the share of its n-grams that occur in another.

The n-grams of the (short) text are hashed and sorted, then those of the (long) source are looked up among them, chunk
by chunk, so that memory does not grow with the source. One hit of each hash is compared character by character. The
hash of n symbols is a polynomial modulo 2^64; with an odd base prefix sums give all of them at once:

    S_i = Σ_{k<i} x_k b^{-k}        hash(i, n) = b^i (S_{i+n} - S_i)

Source: Karp and Rabin (1987).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from charrnn.nn.params import IdArray

LENGTHS = (8, 12, 16, 24, 32, 50)

_BASE = 0x9E3779B97F4A7C15  # odd, so that it has an inverse modulo 2^64
_CHUNK = 1 << 20
_TOP_BITS = 18
_HASHES = npt.NDArray[np.uint64]


@dataclass(frozen=True)
class Copied:
    """What texts share with a source.

    Attributes:
        shares: n -> share of the texts' n-grams that occur in the source; NaN if no text has that many.
        longest: characters of the longest piece of a text that occurs in the source.
        start: where it begins in the texts put together.
        source_start: where it begins in the source (one of the positions).
    """

    shares: dict[int, float]
    longest: int
    start: int
    source_start: int


def copied(texts: Sequence[IdArray], source: IdArray, lengths: Sequence[int] = LENGTHS) -> Copied:
    """Compare texts with another one of the same vocabulary.

    Args:
        texts: ids of the short texts in question, at least one; n-grams lie within one of them.
        source: (M,) what they may have been copied from; may be memory-mapped.
        lengths: n of the n-grams.
    """
    whole = np.concatenate(texts)
    owner = np.repeat(np.arange(len(texts)), [len(text) for text in texts])
    shares = {}
    for n in lengths:
        found = occurrences(whole, source, n)[owner[: max(0, len(whole) - n + 1)] == owner[n - 1 :]]
        shares[n] = float("nan") if not found.size else float((found >= 0).mean())
    # If a piece of n characters occurs in the source, so do all shorter ones: bisection finds the longest.
    low, high, place = 0, max(map(len, texts)), (0, 0)
    while low < high:
        middle = (low + high + 1) // 2
        found = occurrences(whole, source, middle)
        copies = np.flatnonzero((found >= 0) & (owner[: len(found)] == owner[middle - 1 :]))
        if copies.size:
            low, place = middle, (int(copies[0]), int(found[copies[0]]))
        else:
            high = middle - 1
    return Copied(shares, low, *place)


def occurrences(text: IdArray, source: IdArray, n: int) -> npt.NDArray[np.int64]:
    """For each n-gram of `text`, in order, a position in `source` where it occurs, or -1."""
    count = len(text) - n + 1
    places = np.full(max(0, count), -1, np.int64)
    if count < 1 or len(source) < n:
        return places
    wanted, which = np.unique(_hashes(text, n), return_inverse=True)
    found = np.full(len(wanted), -1, np.int64)
    wanted_tops = np.zeros(1 << _TOP_BITS, np.bool_)  # most of the source is ruled out by a look at these
    wanted_tops[wanted >> np.uint64(64 - _TOP_BITS)] = True
    for start in range(0, len(source) - n + 1, _CHUNK):
        hashes = _hashes(source[start : start + _CHUNK + n - 1], n)
        near = np.flatnonzero(wanted_tops[hashes >> np.uint64(64 - _TOP_BITS)])
        slots = np.minimum(np.searchsorted(wanted, hashes[near]), len(wanted) - 1)
        hit = (wanted[slots] == hashes[near]) & (found[slots] < 0)
        fresh, slots = near[hit], slots[hit]
        found[slots[::-1]] = fresh[::-1] + start  # the first of equal ones is written last
    places = found[which]
    window = np.arange(n)
    for index in np.flatnonzero(places >= 0):  # two texts with the same hash: never seen yet, but possible
        if not np.array_equal(text[index + window], source[places[index] + window]):
            places[index] = -1
    return places


def _hashes(ids: IdArray, n: int) -> _HASHES:
    """(len - n + 1,) hashes of all n-grams; products and sums wrap around modulo 2^64."""
    size = len(ids)
    with np.errstate(over="ignore"):
        powers = np.cumprod(np.full(size, _BASE, np.uint64))
        inverse = np.cumprod(np.full(size, pow(_BASE, -1, 1 << 64), np.uint64))
        sums = np.concatenate((np.zeros(1, np.uint64), np.cumsum((ids.astype(np.uint64) + np.uint64(1)) * inverse)))
        out: _HASHES = (sums[n:] - sums[:-n]) * powers[: size - n + 1]
    return out
