"""A text as ids: encoded once into a file that is mapped into memory, however large the text.

Two passes of bounded memory: one finds the symbols and the content's hash, one writes the ids. The file's name is a
hash of content and encoding, so it cannot be stale. The second pass notes how far it is now and then, so that one cut
short is taken up again; two processes that encode the same text wait for each other.
"""

from __future__ import annotations

import codecs
import hashlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

import msgspec
import numpy as np
import numpy.typing as npt

from charrnn.data.vocabulary import Vocabulary, code_points
from charrnn.errors import DataError
from charrnn.files import sync_folder, write_atomically, writing
from charrnn.locks import FileLock
from charrnn.nn.params import IdArray

ByteProgress = Callable[[int, int | None], None]

_CHUNK_BYTES = 1 << 22
_NOTE_CHUNKS = 16  # chunks of the text between two notes of how far it is
_LAYOUT = 1  # of the encoded files; part of their key


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
    paths: Sequence[Path],
    encoding: str,
    cache_dir: Path,
    *,
    known: Vocabulary | None = None,
    progress: ByteProgress | None = None,
) -> EncodedText:
    """Encode files, read one after another, into ids; reuse the encoded file of the same content.

    Args:
        paths: the text's files.
        encoding: "utf-8" or "bytes".
        cache_dir: where encoded files are kept.
        known: symbols that get an id whether the text has them or not.
        progress: called with (bytes done, total bytes), both passes counted.

    Raises:
        DataError: unreadable, empty, or not valid UTF-8 (with the offset of the first bad byte).
        SettingsError, StorageError: the cache cannot be written.
    """
    scan = _scan(paths, encoding, progress)
    if scan.characters == 0:
        raise DataError(
            f"{_name(paths)}: the text is empty", hint="give a file with at least a few thousand characters"
        )
    values = scan.values if known is None else np.union1d(scan.values, known.values)
    vocabulary = Vocabulary(values, encoding)
    added = [] if len(values) == len(scan.values) else [hashlib.sha256(vocabulary.values.tobytes()).hexdigest()]
    key = hashlib.sha256(json.dumps([_LAYOUT, encoding, scan.sha256, *added]).encode()).hexdigest()[:32]
    target = cache_dir / f"{key}.ids"
    with writing(cache_dir, "the encoded text", hint="set CHARRNN_HOME to a folder that can be written"):
        _write_ids(paths, encoding, vocabulary, target, scan, progress)
    ids = np.memmap(target, vocabulary.dtype, mode="r", shape=(scan.characters,))
    return EncodedText(ids, target, vocabulary, scan.sha256, scan.size_bytes, scan.notes)


def _name(paths: Sequence[Path]) -> str:
    return str(paths[0]) if len(paths) == 1 else f"{paths[0]} and {len(paths) - 1} more"


@dataclass
class _Position:
    """A place in the files between two characters, and how many symbols come before it."""

    file: int = 0
    offset: int = 0
    characters: int = 0


def _pieces(
    paths: Sequence[Path], encoding: str, on_bytes: Callable[[bytes], None], start: _Position | None = None
) -> Iterator[tuple[str | bytes, _Position]]:
    """Decoded pieces of the files, at most a few megabytes each, and where each ends.

    A byte-order mark at a file's start is dropped.
    """
    start = start or _Position()
    characters = start.characters
    for index, path in enumerate(paths[start.file :], start.file):
        decoder = codecs.getincrementaldecoder("utf-8")() if encoding == "utf-8" else None
        offset, pending = start.offset if index == start.file else 0, 0
        try:
            with path.open("rb") as file:
                file.seek(offset)
                while chunk := file.read(_CHUNK_BYTES):
                    on_bytes(chunk)
                    read = len(chunk)
                    if offset == 0 and decoder and chunk.startswith(codecs.BOM_UTF8):
                        chunk, offset, read = chunk[3:], 3, read - 3
                    pending = len(decoder.getstate()[0]) if decoder else 0
                    piece = decoder.decode(chunk) if decoder else chunk
                    offset += read
                    characters += len(piece)
                    left = len(decoder.getstate()[0]) if decoder else 0
                    yield piece, _Position(index, offset - left, characters)
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


def _scan(paths: Sequence[Path], encoding: str, progress: ByteProgress | None) -> _Scan:
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

    for piece, _ in _pieces(paths, encoding, on_bytes):
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
    progress: ByteProgress | None,
) -> None:
    size = scan.characters * vocabulary.dtype.itemsize
    target.parent.mkdir(parents=True, exist_ok=True)
    part, note = target.with_suffix(".part"), target.with_suffix(".note")
    if target.is_file() and target.stat().st_size == size:
        return
    with FileLock(target.with_suffix(".lock"), wait=True):
        if target.is_file() and target.stat().st_size == size:  # somebody else was at it
            return
        with part.open("r+b" if part.exists() else "w+b") as file:
            start = _noted(note, part, vocabulary.dtype.itemsize)
            file.truncate(start.characters * vocabulary.dtype.itemsize)
            file.seek(0, os.SEEK_END)
            _append_ids(file, note, paths, encoding, vocabulary, start, scan, progress)
            if file.tell() != size:
                raise DataError(f"{_name(paths)}: the text changed while it was read", hint="try again")
        os.replace(part, target)
        sync_folder(target.parent)
        note.unlink(missing_ok=True)


def _append_ids(
    file: IO[bytes],
    note: Path,
    paths: Sequence[Path],
    encoding: str,
    vocabulary: Vocabulary,
    start: _Position,
    scan: _Scan,
    progress: ByteProgress | None,
) -> None:
    done = scan.size_bytes + start.offset + sum(path.stat().st_size for path in paths[: start.file])

    def on_bytes(chunk: bytes) -> None:
        nonlocal done
        done += len(chunk)
        if progress:
            progress(done, 2 * scan.size_bytes)

    for count, (piece, position) in enumerate(_pieces(paths, encoding, on_bytes, start), 1):
        file.write(vocabulary.lookup(code_points(piece)).astype(vocabulary.dtype).tobytes())
        if count % _NOTE_CHUNKS == 0:
            _sync(file)
            write_atomically(note, json.dumps(asdict(position)).encode())
    _sync(file)


def _sync(file: IO[bytes]) -> None:
    file.flush()
    os.fsync(file.fileno())


def _noted(note: Path, part: Path, itemsize: int) -> _Position:
    """How far an earlier process got; the beginning where there is no note or it is not to be trusted."""
    try:
        position = msgspec.json.decode(note.read_bytes(), type=_Position)
    except (OSError, msgspec.MsgspecError):
        return _Position()
    return position if 0 <= position.characters * itemsize <= part.stat().st_size else _Position()
