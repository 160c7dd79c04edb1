"""Where the loss comes from: kind of character, position in the word, frequency of the context in training.

Source: Karpathy, Johnson and Fei-Fei (2015), section 4.4, of which this is a simpler form.
"""

from __future__ import annotations

import string
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from charrnn.nn.params import IdArray

_COUNTS = (
    (0, "never"),
    (1, "1 to 9 times"),
    (10, "10 to 99 times"),
    (100, "100 to 999 times"),
    (1000, "1,000 or more"),
)
HIGH_BYTE = "byte above 0x7f"  # of a vocabulary of bytes: part of a character
_LONGEST_WORD = 10
NGRAM = 5  # the symbol and the four before it


@dataclass(frozen=True)
class Share:
    """One group of symbols.

    Attributes:
        name: of the group.
        count: symbols in it.
        nats: their mean loss.
        of_loss: their share of the whole loss.
    """

    name: str
    count: int
    nats: float
    of_loss: float


def character_class(c: str) -> str:
    """The kind of a character, as named in the tables; of a byte that is none, the name of more than one letter."""
    if len(c) > 1:
        return HIGH_BYTE
    if c == "\n":
        return "line end"
    if c.isspace():
        return "blank"
    if c.isalpha():
        return "capital letter" if c.isupper() else "letter"
    if c.isdigit():
        return "digit"
    return "punctuation" if c in string.punctuation or not c.isalnum() else "other"


def by_character(text: Sequence[str], nats: npt.NDArray[np.floating]) -> list[Share]:
    """Groups by kind; `nats` (N-1,) belong to all characters of the text but the first."""
    return _shares([character_class(c) for c in text[1:]], nats)


def by_place_in_word(text: Sequence[str], nats: npt.NDArray[np.floating]) -> list[Share]:
    """Groups by how many letters of the word came before; what is outside words is one group, bytes above 0x7f too."""
    names, place = [], 0
    for c in text:
        if c.isalnum() or c in "_'":
            names.append(f"letter {place + 1}" if place < _LONGEST_WORD else f"letter {_LONGEST_WORD + 1} and later")
            place += 1
        elif len(c) > 1:  # of a letter, most likely; it ends no word
            names.append(HIGH_BYTE)
        else:
            names.append("between words")
            place = 0
    return _shares(names[1:], nats)


def by_frequency(ids: IdArray, train: IdArray, nats: npt.NDArray[np.floating], vocab_size: int) -> list[Share]:
    """Groups by how often the symbol, together with the four before it, occurs in the training text."""
    seen, counts = np.unique(_ngrams(train, vocab_size), return_counts=True)
    wanted = _ngrams(ids, vocab_size)
    found = np.searchsorted(seen, wanted)
    found_counts = np.where(
        seen[np.minimum(found, len(seen) - 1)] == wanted, counts[np.minimum(found, len(seen) - 1)], 0
    )
    borders = [border for border, _ in _COUNTS]
    groups = np.searchsorted(borders, found_counts, side="right") - 1
    return _shares([_COUNTS[g][1] for g in groups], nats[NGRAM - 2 :], order=[name for _, name in _COUNTS])


def _ngrams(ids: IdArray, vocab_size: int) -> npt.NDArray[np.uint64]:
    """(N - NGRAM + 1,) numbers, one for each run of symbols; products wrap around, which few runs share."""
    wide = ids.astype(np.uint64)
    out = np.zeros(max(0, len(ids) - NGRAM + 1), np.uint64)
    for k in range(NGRAM if out.size else 0):
        out = out * np.uint64(vocab_size) + wide[k : len(wide) - NGRAM + 1 + k]
    return out


def _shares(names: Sequence[str], nats: npt.NDArray[np.floating], order: Sequence[str] | None = None) -> list[Share]:
    values = nats.astype(np.float64)
    total = float(values.sum())
    groups = np.array(names)
    kinds = order or sorted(set(names), key=lambda name: -float(values[groups == name].sum()))
    out = []
    for name in kinds:
        part = values[groups == name]
        if part.size:
            out.append(Share(name, int(part.size), float(part.mean()), float(part.sum()) / total if total else 0.0))
    return out
