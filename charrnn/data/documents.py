"""A text of many documents: where each begins, a fair split of them, and whether they are in alphabetical order.

A document begins at the text's first symbol and after each separator; the separator is its last part. The shuffled
split writes the ids once more, documents in an order drawn from a seed, so that the parts are contiguous again and
nothing that reads them need know. Memory is bounded: documents are shuffled in blocks of a million, and each block
gives its share to every part.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import IO

import numpy as np
import numpy.typing as npt

from charrnn.amounts import counted
from charrnn.config.typed_json import Count, decode
from charrnn.data.encode import Bounds, EncodedText
from charrnn.data.vocabulary import Vocabulary
from charrnn.data.windows import SPLITS
from charrnn.errors import DataError
from charrnn.files import read_regular, sync_folder, write_atomically, writing
from charrnn.locks import FileLock
from charrnn.nn.params import IdArray

Positions = npt.NDArray[np.int64]

_LAYOUT = 1  # of the shuffled files; part of their key
_CHUNK = 1 << 22  # symbols searched or copied at once
_BLOCK = 1 << 20  # documents shuffled together
_IN_MEMORY = 1 << 24  # symbols of a block that is shuffled in memory rather than document by document
_LOOKED, _PLACES = 1 << 18, 16  # symbols looked at for an order in each place of a large text, and the number of places
_HEAD = 16  # symbols of a document that decide its place in the alphabet
_FEWEST = 20  # documents that must follow the order before it is one
_GATHERED = 1 << 20  # symbols picked at once


class _OnDisk:
    """Ids read as they are asked for: of a mapped file, all that was ever looked at would stay in memory."""

    def __init__(self, text: EncodedText) -> None:
        self.path, self.dtype, self._count = text.path, text.ids.dtype, len(text.ids)

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, piece: slice) -> IdArray:
        start, stop, _ = piece.indices(self._count)
        with self.path.open("rb") as file:
            file.seek(start * self.dtype.itemsize)
            found: IdArray = np.frombuffer(file.read(max(0, stop - start) * self.dtype.itemsize), self.dtype)
        return found


def document_starts(ids: IdArray | _OnDisk, separator: IdArray) -> Iterator[Positions]:
    """Where documents begin, in order, some at a time: position 0, and those after a separator but the text's end.

    Separators that overlap (three line ends where two divide) count once, so that each document has its own.
    """
    length, last = len(separator), 0
    yield np.zeros(1, np.int64)
    for first in range(0, len(ids), _CHUNK):
        piece = np.asarray(ids[first : first + _CHUNK + length - 1])
        hits = np.ones(max(0, len(piece) - length + 1), bool)
        for k, symbol in enumerate(separator):
            hits &= piece[k : len(hits) + k] == symbol
        found = np.flatnonzero(hits).astype(np.int64) + first + length
        found = found[found < len(ids)]
        if length > 1 and len(found):
            found = _apart(found, last, length)
        if len(found):
            last = int(found[-1])
            yield found


def _apart(found: Positions, last: int, length: int) -> Positions:
    if found[0] - last >= length and (np.diff(found) >= length).all():
        return found
    kept = []
    for position in found.tolist():
        if position - last >= length:
            kept.append(position)
            last = position
    return np.array(kept, np.int64)


def _blocks(ids: _OnDisk, separator: IdArray) -> Iterator[Positions]:
    """(D + 1,) borders of at most `_BLOCK` documents each."""
    waiting = np.empty(0, np.int64)
    for found in document_starts(ids, separator):
        waiting = np.concatenate([waiting, found])
        while len(waiting) > _BLOCK:
            yield waiting[: _BLOCK + 1]
            waiting = waiting[_BLOCK:]
    yield np.append(waiting, len(ids))


def shuffled(
    text: EncodedText, separator: IdArray, *, seed: int, val_fraction: float, test_fraction: float
) -> EncodedText:
    """The same text with its documents in another order, and the bounds of its parts, which no document crosses.

    Args:
        text: encoded, ending with a separator.
        separator: ids that end a document.
        seed: of the order; the same text, fractions and seed give the same parts everywhere.
        val_fraction: share of the text, met as nearly as whole documents allow, but by one at least unless it is 0.
        test_fraction: the same for the test part.

    Raises:
        DataError: fewer documents than parts.
        SettingsError, StorageError: the file cannot be written.
    """
    facts = [_LAYOUT, text.path.name, separator.tolist(), seed, val_fraction, test_fraction]
    target = text.path.with_name(hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:32] + ".ids")
    beside = target.with_suffix(".parts")
    with (
        writing(target.parent, "the shuffled text", hint="set CHARRNN_HOME to a writable folder"),
        FileLock(target.with_suffix(".lock"), wait=True),
    ):
        sizes = _sizes(beside, target, len(text.ids), text.ids.itemsize)
        if sizes is None:
            shares = (1.0 - val_fraction - test_fraction, val_fraction, test_fraction)
            sizes = _Shuffle(_OnDisk(text), separator, seed, shares).write(target)
            write_atomically(beside, json.dumps(sizes).encode())
    ends = np.cumsum(sizes).tolist()
    bounds: Bounds = {name: (end - size, end) for name, end, size in zip(SPLITS, ends, sizes, strict=True)}
    ids = np.memmap(target, text.ids.dtype, mode="r", shape=(len(text.ids),))
    return replace(text, ids=ids, path=target, bounds=bounds)


def _sizes(beside: Path, target: Path, count: int, itemsize: int) -> list[int] | None:
    """Symbols in each part of a shuffled file that is complete; None where there is none."""
    try:
        sizes = decode(read_regular(beside, limit=1000), list[Count])
        complete = target.stat().st_size == count * itemsize
    except (OSError, ValueError):
        return None
    return sizes if complete and len(sizes) == len(SPLITS) and sum(sizes) == count else None


class _Shuffle:
    """Writes documents block by block into three files, which become one."""

    def __init__(self, ids: _OnDisk, separator: IdArray, seed: int, shares: tuple[float, float, float]) -> None:
        self._ids, self._separator, self._seed, self._shares = ids, separator, seed, shares
        self._sizes = [0, 0, 0]

    def write(self, target: Path) -> list[int]:
        """Make the file; symbols in each part."""
        parts = [target.with_suffix(f".{name}.part") for name in SPLITS]
        try:
            with contextlib.ExitStack() as stack:
                source = stack.enter_context(self._ids.path.open("rb", buffering=0))
                files = [stack.enter_context(part.open("wb")) for part in parts]
                for number, borders in enumerate(_blocks(self._ids, self._separator)):
                    self._block(source, files, number, borders)
            with parts[0].open("ab") as whole:
                for part in parts[1:]:
                    with part.open("rb") as held_out:
                        shutil.copyfileobj(held_out, whole, 1 << 20)
                whole.flush()
                os.fsync(whole.fileno())
            os.replace(parts[0], target)
            sync_folder(target.parent)
        finally:
            for part in parts:
                part.unlink(missing_ok=True)
        return self._sizes

    def _block(self, source: io.FileIO, files: Sequence[IO[bytes]], number: int, borders: Positions) -> None:
        count = len(borders) - 1
        # Raw numbers, because those of a bit generator never change between versions of NumPy.
        keys = np.random.Philox(key=[self._seed, number]).random_raw(count)
        order = np.argsort(keys, kind="stable")
        starts, lengths = borders[:-1][order], np.diff(borders)[order]
        cuts = self._cuts(lengths, first=number == 0)
        block = None
        if borders[-1] - borders[0] <= _IN_MEMORY:
            block = self._ids[int(borders[0]) : int(borders[-1])]
        for part, file in enumerate(files):
            chosen = slice(cuts[part], cuts[part + 1])
            self._sizes[part] += int(lengths[chosen].sum())
            if block is None:
                self._copy(source, file, starts[chosen], lengths[chosen])
            else:
                _gather(block, file, starts[chosen] - borders[0], lengths[chosen])

    def _cuts(self, lengths: Positions, *, first: bool) -> list[int]:
        """Where the parts' documents begin in a block's order, so that the parts so far are nearest to their shares."""
        wanted = [1, *(int(share > 0) for share in self._shares[1:])]
        count, ends = len(lengths), np.concatenate([[0], np.cumsum(lengths)])
        if first and count < sum(wanted):
            raise DataError(
                f"{counted(count, 'document')}, too few for a shuffled split",
                hint="set corpus.split: tail, or look at corpus.documents and corpus.document_separator",
            )
        least = wanted if first else [0, 0, 0]
        total, cuts = sum(self._sizes) + int(ends[-1]), [0]
        for part in (0, 1):
            target = sum(self._shares[: part + 1]) * total - sum(self._sizes[: part + 1])
            nearest = int(np.argmin(np.abs(ends - target)))
            cuts.append(min(max(nearest, cuts[-1] + least[part]), count - sum(least[part + 1 :])))
        if not wanted[2]:
            cuts[2] = count
        if not wanted[1]:
            cuts[1] = cuts[2]
        return [*cuts, count]

    def _copy(self, source: io.FileIO, file: IO[bytes], starts: Positions, lengths: Positions) -> None:
        """Copy documents one after another, the long ones in pieces; reading keeps less in memory than mapping."""
        size = self._ids.dtype.itemsize
        for start, length in zip((starts * size).tolist(), (lengths * size).tolist(), strict=True):
            for at in range(start, start + length, _CHUNK):
                source.seek(at)
                file.write(source.read(min(_CHUNK, start + length - at)))


def _gather(block: IdArray, file: IO[bytes], starts: Positions, lengths: Positions) -> None:
    """Copy documents out of a block, many at a time."""
    ends = np.cumsum(lengths)
    first = 0
    while first < len(starts):
        done = int(ends[first - 1]) if first else 0
        last = max(first + 1, int(np.searchsorted(ends, done + _GATHERED, side="right")))
        sizes = lengths[first:last]
        before = np.cumsum(sizes) - sizes
        places = np.arange(int(sizes.sum())) + np.repeat(starts[first:last] - before, sizes)
        file.write(block[places].tobytes())
        first = last


def alphabetical(text: EncodedText, separator: IdArray) -> bool:
    """Whether the documents are in alphabetical order; see `in_order`."""
    return in_order(_OnDisk(text), text.vocabulary, separator)


def in_order(ids: IdArray | _OnDisk, vocabulary: Vocabulary, separator: IdArray) -> bool:
    """Whether documents are in alphabetical order, forwards or backwards; a large text is looked at in places.

    Args:
        ids: (N,) of the documents.
        vocabulary: of the ids.
        separator: ids that end a document.
    """
    values = vocabulary.values.tolist()
    if vocabulary.encoding == "bytes":
        ranks = np.array([ord(chr(v).lower()) if v < 128 else v for v in values], np.int64)
    else:
        ranks = np.array([ord(chr(v).lower()[0]) for v in values], np.int64)
    firsts, rises, falls = [], 0, 0
    for start in np.linspace(0, max(0, len(ids) - _LOOKED), _PLACES if len(ids) > _LOOKED else 1).astype(int).tolist():
        heads = _heads(ids[start : start + _LOOKED], separator, ranks, whole=start == 0)
        if len(heads):
            firsts.append(heads[0])
            compared = _compare(heads[:-1], heads[1:])
            rises, falls = rises + int((compared < 0).sum()), falls + int((compared > 0).sum())
    between = _compare(np.array(firsts[:-1]), np.array(firsts[1:])) if len(firsts) > 1 else np.zeros(0)
    if rises < falls:
        rises, falls, between = falls, rises, -between
    return rises >= max(_FEWEST, 20 * falls) and int((between > 0).sum()) * 10 <= len(between)


def _heads(ids: IdArray, separator: IdArray, ranks: Positions, *, whole: bool) -> Positions:
    """(D, _HEAD) ranks of the first symbols of each document, -1 beyond its end; without empty documents."""
    starts = np.concatenate(list(document_starts(ids, separator)))[0 if whole else 1 :]
    lengths = np.diff(np.append(starts, len(ids))) - len(separator)
    starts, lengths = starts[lengths > 0], lengths[lengths > 0]
    places = starts[:, None] + np.arange(_HEAD)
    heads = ranks[ids[np.minimum(places, len(ids) - 1)]]
    return np.where(np.arange(_HEAD) < lengths[:, None], heads, -1)


def _compare(first: Positions, second: Positions) -> npt.NDArray[np.int8]:
    """(D,) -1, 0 or 1 where a row comes before the other, is equal, or comes after."""
    found = np.zeros(len(first), np.int8)
    for column in range(_HEAD if len(first) else 0):
        found = np.where(found == 0, np.sign(first[:, column] - second[:, column]), found).astype(np.int8)
    return found
