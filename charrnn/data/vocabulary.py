"""Symbols and their ids: characters of a text, or raw bytes."""

from __future__ import annotations

import codecs
import itertools
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from charrnn.errors import CheckpointError, DataError
from charrnn.nn.params import IdArray

UNKNOWN_HINT = "use `unknown` skip or `unknown` replace"  # where the caller offers that
_CODE_POINTS = 0x110000
_UNKNOWN = np.iinfo(np.uint32).max


def smallest_dtype(size: int) -> np.dtype[np.unsignedinteger[Any]]:
    """The smallest unsigned integer type that holds the ids 0..size-1."""
    return np.min_scalar_type(max(size - 1, 0))


def code_points(text: str | bytes) -> npt.NDArray[np.unsignedinteger[Any]]:
    """(N,) code points of a text (uint32), or byte values of bytes (uint8), without a Python loop."""
    if isinstance(text, bytes):
        return np.frombuffer(text, np.uint8)
    # surrogatepass: a lone surrogate cannot come from a decoded file, but may come from a shell argument.
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)


def describe_symbol(value: int, encoding: str) -> str:
    """A symbol as an error message shows it: `'é' (U+00E9)` or `byte 0xFF`."""
    return f"byte 0x{value:02X}" if encoding == "bytes" else f"{chr(value)!r} (U+{value:04X})"


class Vocabulary:
    """The symbols of a corpus in the order of their code points.

    Args:
        values: (V,) code points or byte values, increasing.
        encoding: "utf-8" for characters, "bytes" for raw bytes.

    Attributes:
        undecodable: what a `TextDecoder` does with bytes that are no UTF-8: "replace" them by U+FFFD, or
            "surrogateescape", which keeps them.

    Example:
        >>> vocabulary = charrnn.Vocabulary.of("hello")
        >>> vocabulary.encode("hole").tolist()
        [1, 3, 2, 0]
        >>> vocabulary.decode([1, 0])
        'he'
    """

    def __init__(self, values: Iterable[int], encoding: str) -> None:
        self.encoding, self.undecodable = encoding, "replace"
        self.values = np.asarray(list(values), dtype=np.uint32)
        table = np.full(256 if encoding == "bytes" else _CODE_POINTS, _UNKNOWN, np.uint32)
        table[self.values] = np.arange(len(self.values), dtype=np.uint32)
        self._table = table
        self.dtype = smallest_dtype(len(self.values))

    @classmethod
    def of(cls, text: str | bytes) -> Vocabulary:
        """The vocabulary of a text: of its characters, or of its bytes."""
        return cls(np.unique(code_points(text)), "bytes" if isinstance(text, bytes) else "utf-8")

    def __len__(self) -> int:
        return len(self.values)

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Vocabulary)
            and self.encoding == other.encoding
            and np.array_equal(self.values, other.values)
        )

    def __hash__(self) -> int:
        return hash((self.encoding, self.values.tobytes()))

    def lookup(self, values: npt.NDArray[np.unsignedinteger[Any]]) -> npt.NDArray[np.uint32]:
        """(N,) code points or bytes -> (N,) ids; `unknown_id` where a symbol is not in the vocabulary."""
        ids: npt.NDArray[np.uint32] = self._table[values]
        return ids

    @property
    def unknown_id(self) -> int:
        """What `lookup` gives for symbols that are not in the vocabulary."""
        return int(_UNKNOWN)

    def encode(self, text: str | bytes, *, what: str = "text", unknown: str = "error") -> IdArray:
        """Symbols to ids.

        Args:
            text: a str for characters; bytes (or a str, taken as UTF-8) for a byte vocabulary.
            what: names the text in errors.
            unknown: "error", "skip" (leave unknown symbols out) or "replace" (by a space or, where the vocabulary has
                none, its first symbol).

        Returns:
            (N,) ids of the smallest type.

        Raises:
            DataError: an unknown symbol, with its position and how many there are, under "error".
            ValueError: another value of `unknown`.
        """
        if unknown not in ("error", "skip", "replace"):
            raise ValueError(f"unknown: must be error, skip or replace, not {unknown!r}")
        if self.encoding == "bytes" and isinstance(text, str):
            text = text.encode("utf-8", "surrogateescape")
        elif self.encoding == "utf-8" and isinstance(text, bytes):
            text = text.decode("utf-8")
        values = code_points(text)
        ids = self.lookup(values)
        missing = np.flatnonzero(ids == _UNKNOWN)
        if missing.size and unknown == "error":
            first = int(missing[0])
            named = [describe_symbol(int(v), self.encoding) for v in np.unique(values[missing])[:5]]
            more = f" and {missing.size - 1:,} more are" if missing.size > 1 else " is"
            listed = f" (unknown: {', '.join(named)})" if len(named) > 1 else ""
            raise DataError(
                f"{what}: {describe_symbol(int(values[first]), self.encoding)} at position {first}{more} "
                f"not among the model's {len(self)} symbols{listed}",
                hint=self._normal_form_hint(text)
                or f"{UNKNOWN_HINT}, or train on a text that has " + ("them" if len(named) > 1 else "it"),
            )
        if missing.size and unknown == "skip":
            ids = ids[ids != _UNKNOWN]
        elif missing.size:
            space = self._table[ord(" ")]
            ids = np.where(ids == _UNKNOWN, 0 if space == _UNKNOWN else space, ids)
        return ids.astype(self.dtype)

    def _normal_form_hint(self, text: str | bytes) -> str | None:
        """What to do where the text would be known in another Unicode normal form."""
        if isinstance(text, bytes):
            return None
        for form in ("NFC", "NFD", "NFKC", "NFKD"):
            if (self.lookup(code_points(unicodedata.normalize(form, text))) != _UNKNOWN).all():
                return f"the model knows it in another Unicode normal form: convert it to {form}"
        return None

    def decode(self, ids: npt.ArrayLike) -> str | bytes:
        """(N,) ids to a str, or to bytes for a byte vocabulary."""
        values = self.values[np.asarray(ids, dtype=np.intp)]
        if self.encoding == "bytes":
            return values.astype(np.uint8).tobytes()
        return values.astype("<u4").tobytes().decode("utf-32-le", "surrogatepass")

    def symbols(self, ids: npt.ArrayLike) -> Sequence[str]:
        r"""(N,) ids to N texts to be shown: a str or, for a byte vocabulary, a list with bytes above 0x7f as `\xff`."""
        decoded = self.decode(ids)
        if isinstance(decoded, str):
            return decoded
        return [bytes([value]).decode("ascii", "backslashreplace") for value in decoded]

    def to_meta(self) -> dict[str, Any]:
        """A JSON form for checkpoints."""
        return {"encoding": self.encoding, "symbols": [int(v) for v in self.values]}

    @classmethod
    def from_meta(cls, meta: object) -> Vocabulary:
        """Back from `to_meta`.

        Raises:
            CheckpointError: not a vocabulary.
        """
        if not isinstance(meta, dict) or meta.get("encoding") not in ("utf-8", "bytes"):
            raise CheckpointError("the vocabulary is damaged: no known encoding")
        symbols, limit = meta.get("symbols"), 256 if meta["encoding"] == "bytes" else _CODE_POINTS
        if not isinstance(symbols, list) or not symbols:
            raise CheckpointError("the vocabulary is damaged: it has no symbols")
        in_range = all(type(v) is int and 0 <= v < limit for v in symbols)
        if not in_range or any(a >= b for a, b in itertools.pairwise(symbols)):
            raise CheckpointError("the vocabulary is damaged: its symbols are not increasing code points")
        return cls(symbols, meta["encoding"])


def has_lines(vocabulary: Vocabulary) -> bool:
    """Whether a line end is among the symbols."""
    return int(vocabulary.lookup(np.array([ord("\n")], np.uint32))[0]) != vocabulary.unknown_id


def default_prime(vocabulary: Vocabulary) -> IdArray:
    """The id of a line end or, where there is none, of the first symbol."""
    newline = vocabulary.lookup(np.array([ord("\n")], np.uint32))
    return (newline if has_lines(vocabulary) else newline * 0).astype(vocabulary.dtype)


class TextDecoder:
    """Turns ids into text as they come; bytes of a split character wait for the rest of it."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._symbols: Sequence[str | bytes] = [vocabulary.decode([k]) for k in range(len(vocabulary))]
        utf8 = codecs.getincrementaldecoder("utf-8")
        self._decoder = utf8(vocabulary.undecodable) if vocabulary.encoding == "bytes" else None

    def feed(self, symbol: int) -> str:
        """The text that one more symbol completes; may be empty in a byte vocabulary."""
        piece = self._symbols[symbol]
        if isinstance(piece, str):
            return piece
        return self._decoder.decode(piece) if self._decoder else ""

    def finish(self) -> str:
        """What is left of an unfinished character."""
        return self._decoder.decode(b"", final=True) if self._decoder else ""
