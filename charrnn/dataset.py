"""A text as ids: encoded once into a memory-mapped file, split, and cut into windows.

B streams run through a split side by side; window k holds step k*T .. k*T+T of every stream, so that the state a
stream ends one window with is the state it begins the next with.
"""

from __future__ import annotations

import codecs
import hashlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from charrnn.atomic import atomic_writer
from charrnn.errors import DataError
from charrnn.vocabulary import IdArray, Vocabulary, code_points

Progress = Callable[[int, int | None], None]
IntpArray = npt.NDArray[np.intp]

_CHUNK_BYTES = 1 << 22
_LAYOUT = 1  # of the encoded files; part of their key
SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class EncodedText:
    """A corpus as ids.

    Attributes:
        ids: (N,) memory-mapped, smallest unsigned type.
        path: the file they are in.
        vocabulary: its symbols.
        sha256: of the text's bytes.
        size_bytes: of the text.
        notes: what a user should know: a byte-order mark dropped, CR/LF line ends kept.
    """

    ids: IdArray
    path: Path
    vocabulary: Vocabulary
    sha256: str
    size_bytes: int
    notes: tuple[str, ...] = ()


@dataclass
class _Scan:
    """What the first pass over the text finds."""

    sha256: str
    size_bytes: int
    characters: int
    values: npt.NDArray[np.unsignedinteger[Any]]
    notes: tuple[str, ...]


def encode_text(
    paths: Sequence[Path], encoding: str, cache_dir: Path, *, progress: Progress | None = None
) -> EncodedText:
    """Encode files, read one after another, into ids; reuse the encoded file of the same content.

    Two passes of bounded memory: one finds the symbols and the content's hash, one writes the ids. The encoded file's
    name is a hash of content and encoding, so it cannot be stale.

    Args:
        paths: the text's files.
        encoding: "utf-8" or "bytes".
        cache_dir: where encoded files are kept.
        progress: told the bytes done and in all, both passes counted.

    Raises:
        DataError: unreadable, empty, or not valid UTF-8 (with the offset of the first bad byte).
    """
    scan = _scan(paths, encoding, progress)
    if scan.characters == 0:
        raise DataError(
            f"{_name(paths)}: the text is empty", hint="give a file with at least a few thousand characters"
        )
    vocabulary = Vocabulary(scan.values, encoding)
    key = hashlib.sha256(json.dumps([_LAYOUT, encoding, scan.sha256]).encode()).hexdigest()[:32]
    target = cache_dir / f"{key}.ids"
    size = scan.characters * vocabulary.dtype.itemsize
    if not target.is_file() or target.stat().st_size != size:
        _write_ids(paths, encoding, vocabulary, target, scan, progress)
    ids = np.memmap(target, vocabulary.dtype, mode="r", shape=(scan.characters,))
    return EncodedText(ids, target, vocabulary, scan.sha256, scan.size_bytes, scan.notes)


def _name(paths: Sequence[Path]) -> str:
    return str(paths[0]) if len(paths) == 1 else f"{paths[0]} and {len(paths) - 1} more"


def _pieces(paths: Sequence[Path], encoding: str, on_bytes: Callable[[bytes], None]) -> Iterator[str | bytes]:
    """Decoded pieces of the files, at most a few megabytes each; a byte-order mark at a file's start is dropped."""
    for path in paths:
        decoder = codecs.getincrementaldecoder("utf-8")() if encoding == "utf-8" else None
        offset = 0
        try:
            with path.open("rb") as file:
                while chunk := file.read(_CHUNK_BYTES):
                    on_bytes(chunk)
                    if offset == 0 and decoder and chunk.startswith(codecs.BOM_UTF8):
                        chunk, offset = chunk[3:], 3
                    pending = len(decoder.getstate()[0]) if decoder else 0
                    yield decoder.decode(chunk) if decoder else chunk
                    offset += len(chunk)
                pending = len(decoder.getstate()[0]) if decoder else 0
                if decoder:
                    decoder.decode(b"", final=True)
        except UnicodeDecodeError as error:
            at = offset - pending + error.start
            raise DataError(
                f"{path}: not valid UTF-8: byte 0x{error.object[error.start]:02X} at offset {at}",
                hint="set corpus.encoding: bytes to learn from raw bytes, or convert the file",
            ) from None
        except OSError as error:
            raise DataError(f"{path}: cannot be read: {error.strerror}") from None


def _scan(paths: Sequence[Path], encoding: str, progress: Progress | None) -> _Scan:
    digest = hashlib.sha256()
    total = 2 * sum(path.stat().st_size for path in paths if path.is_file())
    seen = np.zeros(256 if encoding == "bytes" else 0x110000, dtype=bool)
    size, characters, line_ends, boms = 0, 0, 0, 0

    def on_bytes(chunk: bytes) -> None:
        nonlocal size, line_ends
        digest.update(chunk)
        size += len(chunk)
        line_ends += chunk.count(b"\r\n")
        if progress:
            progress(size, total)

    for piece in _pieces(paths, encoding, on_bytes):
        values = code_points(piece)
        seen[values] = True
        characters += values.size
    if encoding == "utf-8":
        boms = sum(_starts_with_bom(path) for path in paths)
    notes = []
    if boms:
        notes.append(f"a UTF-8 byte-order mark was dropped ({boms} of {len(paths)} files)")
    if line_ends:
        notes.append(f"{line_ends:,} CR/LF line ends are kept: the model learns both characters")
    # Where a file ends matters: two corpora of the same bytes cut differently are the same text, and so share a key.
    return _Scan(digest.hexdigest(), size, characters, np.flatnonzero(seen).astype(np.uint32), tuple(notes))


def _starts_with_bom(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(3) == codecs.BOM_UTF8


def _write_ids(
    paths: Sequence[Path],
    encoding: str,
    vocabulary: Vocabulary,
    target: Path,
    scan: _Scan,
    progress: Progress | None,
) -> None:
    done = scan.size_bytes

    def on_bytes(chunk: bytes) -> None:
        nonlocal done
        done += len(chunk)
        if progress:
            progress(done, 2 * scan.size_bytes)

    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with atomic_writer(target) as file:
            for piece in _pieces(paths, encoding, on_bytes):
                file.write(vocabulary.lookup(code_points(piece)).astype(vocabulary.dtype).tobytes())
            if file.tell() != scan.characters * vocabulary.dtype.itemsize:
                raise DataError(f"{_name(paths)}: the text changed while it was read", hint="try again")
    except OSError as error:
        raise DataError(
            f"{target.parent}: the encoded text cannot be written: {error.strerror or os.strerror(error.errno or 0)}",
            hint="free some room, or set CHARRNN_HOME to a folder that can be written",
        ) from None


def split_bounds(size: int, *, val_fraction: float, test_fraction: float) -> dict[str, tuple[int, int]]:
    """Contiguous train, val and test parts of a text of `size` symbols: name -> (start, stop)."""
    val_start = int(size * (1.0 - val_fraction - test_fraction))
    test_start = int(size * (1.0 - test_fraction)) if test_fraction else size
    return {"train": (0, val_start), "val": (val_start, test_start), "test": (test_start, size)}


@dataclass(frozen=True)
class Window:
    """A piece of the streams.

    Attributes:
        inputs: (T, B) ids.
        targets: (T, B) ids, each the symbol after its input.
        resets: (R, 2) pairs (t, b): a new document begins with input t of stream b; None where there are none.
    """

    inputs: IntpArray
    targets: IntpArray
    resets: IntpArray | None


class WindowStream:
    """B parallel streams over a split, cut into windows of at most T steps.

    Streams start evenly spaced and are equally long; where the predictions do not divide by B, neighbouring streams
    overlap by one symbol (`repeated` counts them), so that nothing is left out. The last window of an epoch is as
    short as what is left.

    Args:
        ids: (N,) of the split; N-1 predictions.
        batch_size: B wanted; fewer where the text is too short for B streams of T steps.
        seq_length: T.
        separator: ids that end a document; None for one document.

    Raises:
        DataError: fewer than T+1 symbols.
    """

    def __init__(self, ids: IdArray, batch_size: int, seq_length: int, *, separator: IdArray | None = None) -> None:
        predictions = len(ids) - 1
        if predictions < seq_length:
            raise DataError(
                f"the training part has {len(ids):,} symbols, but a window needs training.seq_length + 1 = "
                f"{seq_length + 1}",
                hint="use a longer text, a smaller training.seq_length or smaller corpus fractions",
            )
        self.ids, self.separator = ids, separator
        self.seq_length = seq_length
        self.columns = min(batch_size, predictions // seq_length)
        self.steps = -(-predictions // self.columns)
        self.starts = np.arange(self.columns, dtype=np.int64) * predictions // self.columns
        self.repeated = self.steps * self.columns - predictions
        self.windows_per_epoch = -(-self.steps // seq_length)

    def window_steps(self, index: int) -> int:
        """Steps of window `index`: T, or what is left."""
        return min(self.seq_length, self.steps - index * self.seq_length)

    def window(self, index: int, columns: slice = slice(None)) -> Window:
        """Window `index` of an epoch, for all streams or some of them."""
        first = index * self.seq_length
        return cut_window(self.ids, self.starts[columns] + first, self.window_steps(index), self.separator)


def cut_window(ids: IdArray, starts: npt.NDArray[np.int64], length: int, separator: IdArray | None) -> Window:
    """`length` steps from each of the (B,) `starts`; starts before the text read its first symbol."""
    steps = np.arange(length + 1, dtype=np.int64)[:, None]
    both = ids[np.maximum(starts[None, :] + steps, 0)].astype(np.intp)
    resets = None if separator is None else _document_starts(ids, starts, length, separator)
    return Window(both[:-1], both[1:], resets)


def _document_starts(ids: IdArray, starts: npt.NDArray[np.int64], length: int, separator: IdArray) -> IntpArray | None:
    """(R, 2) of the (t, b) whose preceding symbols are the separator."""
    positions = starts[None, :] + np.arange(length, dtype=np.int64)[:, None]
    found = positions >= len(separator)
    for back, symbol in enumerate(separator[::-1], start=1):
        found &= ids[np.maximum(positions - back, 0)] == symbol
    return np.argwhere(found) if found.any() else None
