"""What can be said of a text before training: how much of its end was seen before, and whether it is like the rest.

Both are estimates from samples, so that a text of any size costs less than a second.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from charrnn.data.documents import in_order
from charrnn.data.vocabulary import Vocabulary
from charrnn.evaluation.memorisation import occurrences
from charrnn.nn.params import IdArray

PASSAGE = 50  # symbols; longer than what two texts of one language share by chance
_PLACES, _EACH = 64, 32  # of validation passages that are looked up
_SEARCHED, _STRETCHES = 1 << 22, 4  # symbols of the training part they are looked up in
_SLICES = 9  # pieces of the training part that the validation part is compared with
_SLICE = 1 << 16  # symbols read of each
_LEAST = 1000  # symbols below which statistics say nothing
_UNLIKE = 0.2  # nats that parts of one text hardly differ by
_CLASSES = 128  # the most frequent symbols; all others count as one
_PRIOR = 8.0  # symbols for which a context's own counts and the text's frequencies weigh alike


@dataclass(frozen=True)
class TextFacts:
    """A text as advice sees it.

    Attributes:
        train_chars, val_chars: symbols of the parts.
        repeated_share: share of validation passages (50 symbols) that occur in the training part, or in the 4 million
            symbols of it that were searched; None if the part is shorter.
        val_pair_nats: nats per symbol of the validation part under pairs of symbols counted in the training part; None
            if either is too short.
        train_pair_nats, train_pair_spread: mean and standard deviation of the same for pieces of the training part,
            each under the others.
        sorted_lines: whether the training part's lines are in alphabetical order; None if that is unknown.
        space_share: share of spaces in the training part; None if that is unknown.
    """

    train_chars: int
    val_chars: int
    repeated_share: float | None = None
    val_pair_nats: float | None = None
    train_pair_nats: float | None = None
    train_pair_spread: float | None = None
    space_share: float | None = None
    sorted_lines: bool | None = None

    @property
    def harder(self) -> float:
        """Nats by which the validation part is harder than the training part (easier: below 0); 0 if that is chance."""
        if self.val_pair_nats is None or self.train_pair_nats is None or self.train_pair_spread is None:
            return 0.0
        found = self.val_pair_nats - self.train_pair_nats
        return found if abs(found) > max(_UNLIKE, 4 * self.train_pair_spread) else 0.0


def look_at_text(train: IdArray, val: IdArray, vocabulary: Vocabulary | None = None) -> TextFacts:
    """Compare the parts of a text.

    Args:
        train: (N,) ids of the training part; may be memory-mapped.
        val: (M,) ids of the validation part.
        vocabulary: says which id is a space, and which letters come first.
    """
    val_nats, train_nats, spread = _pair_nats(train, val)
    space = np.empty(0) if vocabulary is None else vocabulary.encode(" ", unknown="skip")
    spaces = float(np.mean(np.concatenate(_stretches(train, 8, _SLICE)) == space[0])) if len(space) else None
    ordered = None
    if vocabulary is not None and len(newline := vocabulary.encode("\n", unknown="skip")):
        ordered = in_order(train, vocabulary, newline)
    return TextFacts(len(train), len(val), _repeated(train, val), val_nats, train_nats, spread, spaces, ordered)


def _stretches(ids: IdArray, count: int, length: int) -> list[IdArray]:
    """`count` evenly spaced stretches of `length` ids; the whole where there are no more."""
    if count * length >= len(ids):
        return [np.asarray(ids)]
    starts = np.linspace(0, len(ids) - length, count).astype(np.int64)
    return [np.asarray(ids[start : start + length]) for start in starts]


def _repeated(train: IdArray, val: IdArray) -> float | None:
    if len(val) < PASSAGE:
        return None
    source = np.concatenate(_stretches(train, _STRETCHES, _SEARCHED // _STRETCHES))
    length = _EACH + PASSAGE - 1
    looked_up = np.concatenate(_stretches(val, _PLACES, length))
    places = occurrences(looked_up, source, PASSAGE) >= 0
    if len(looked_up) < len(val):  # passages over the seam of two stretches are none of the text
        places = places[np.arange(len(places)) % length < _EACH]
    return float(places.mean())


def _pair_nats(train: IdArray, val: IdArray) -> tuple[float | None, float | None, float | None]:
    if len(val) < _LEAST or len(train) < 3 * _LEAST:
        return None, None, None
    count = min(_SLICES, len(train) // _LEAST)
    edges = np.linspace(0, len(train), count + 1).astype(np.int64)
    slices = [np.concatenate(_stretches(train[a:b], 8, _SLICE // 8)) for a, b in pairwise(edges)]
    tested = np.concatenate(_stretches(val, 8, _SLICE // 8))
    sizes = np.bincount(np.concatenate(slices))
    classes = np.full(max(len(sizes), int(tested.max()) + 1), _CLASSES - 1, np.intp)
    usual = np.argsort(-sizes, kind="stable")[: _CLASSES - 1]
    classes[usual] = np.arange(len(usual))
    counts = [_pairs(classes[piece]) for piece in slices]
    total = np.sum(counts, axis=0)
    own = [_nats(piece, total - piece) for piece in counts]
    return _nats(_pairs(classes[tested]), total), float(np.mean(own)), float(np.std(own, ddof=1))


def _pairs(ids: npt.NDArray[np.intp]) -> npt.NDArray[np.float64]:
    """(C, C) counts of neighbours."""
    pairs = np.bincount(ids[:-1] * _CLASSES + ids[1:], minlength=_CLASSES**2)
    return pairs.reshape(_CLASSES, _CLASSES).astype(np.float64)


def _nats(seen: npt.NDArray[np.float64], known: npt.NDArray[np.float64]) -> float:
    """Nats per symbol of the pairs seen, under those known."""
    single = known.sum(axis=0) + 1.0
    prior = _PRIOR * single / single.sum()
    log_p = np.log(known + prior) - np.log(known.sum(axis=1, keepdims=True) + _PRIOR)
    return float(-(seen * log_p).sum() / seen.sum())
