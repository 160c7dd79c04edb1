"""A text as ids: encoded once into a file that is mapped into memory, however large the text.

Two passes of bounded memory: one finds the symbols and the content's hash, one writes the ids. The file's name is a
hash of content and rules, so it cannot be stale; the second pass hashes what it reads again, so that a text replaced in
between leaves nothing under the old one's name. It notes how far it is now and then, so that one cut short is taken up
again; two processes that encode the same text wait for each other.
"""

from __future__ import annotations

import hashlib
import json
import os
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any

import msgspec
import numpy as np
import numpy.typing as npt

from charrnn.config.encodings import BYTES, codec_name
from charrnn.config.typed_json import decode
from charrnn.data.decoding import Found, TextRules
from charrnn.data.reading import Position, TextReader
from charrnn.data.vocabulary import Vocabulary, code_points
from charrnn.errors import DataError
from charrnn.files import read_regular, sync_folder, write_atomically, writing
from charrnn.locks import FileLock
from charrnn.nn.params import IdArray

ByteProgress = Callable[[int, int | None], None]
Bounds = dict[str, tuple[int, int]]

_CHUNK_BYTES = 1 << 22
_NOTE_CHUNKS = 16  # chunks of the text between two notes of how far it is
_MOST_NOTED = 1 << 26  # bytes of a note, which names what was put after each file
_LAYOUT = 2  # of the encoded files; part of their key


class OtherTextError(DataError):
    """The text is there, but it is not the one that was asked for by its hash."""


@dataclass(frozen=True)
class EncodedText:
    """A corpus as ids.

    Attributes:
        ids: (N,) memory-mapped, smallest unsigned type.
        path: the file they are in.
        vocabulary: its symbols.
        sha256: of the text's bytes, unpacked, and of what was put between files.
        size_bytes: of the text.
        notes: what a user should know: a byte-order mark dropped, CR/LF line ends kept.
        bounds: part -> (start, stop) of its ids; empty where nobody has split the text.
        started_in: the folder from which its source was found; "" where that does not matter.
    """

    ids: IdArray
    path: Path
    vocabulary: Vocabulary
    sha256: str
    size_bytes: int
    notes: tuple[str, ...] = ()
    bounds: Bounds = field(default_factory=dict)
    started_in: str = ""


@dataclass
class _Scan:
    """What the first pass over the text finds."""

    sha256: str
    size_bytes: int
    characters: int
    values: npt.NDArray[np.unsignedinteger[Any]]
    file_ends: list[int]
    notes: tuple[str, ...]


def encode_text(
    paths: Sequence[str | Path],
    encoding: str,
    cache_dir: str | Path,
    *,
    rules: TextRules | None = None,
    known: Vocabulary | None = None,
    expected: str | None = None,
    progress: ByteProgress | None = None,
) -> EncodedText:
    """Encode files, read one after another, into ids; reuse the encoded file of the same content.

    Args:
        paths: the text's files.
        encoding: any text encoding of Python's, or "bytes".
        cache_dir: where encoded files are kept.
        rules: how the files become one text, with the encoding in them; None: as `TextRules` does by itself.
        known: symbols that get an id whether the text has them or not.
        expected: SHA-256 of the only text that will do.
        progress: called with (bytes done, total bytes), both passes counted.

    Raises:
        DataError: unreadable, empty, or not in its encoding (with the offset of the first bad byte).
        OtherTextError: not the `expected` text.
        SettingsError, StorageError: the cache cannot be written.

    Example:
        >>> text = charrnn.encode_text([Path("tiny.txt")], "utf-8", Path("cache"))
        >>> text.vocabulary.decode(text.ids[:7])
        'the cat'
    """
    files, cache_dir = [Path(path) for path in paths], Path(cache_dir)
    rules = rules or TextRules(encoding)
    scan = _scan(files, rules, progress)
    if expected is not None and scan.sha256 != expected:
        raise OtherTextError(f"{_name(files)}: another text: its SHA-256 is {scan.sha256}, not {expected}")
    if scan.characters == 0:
        raise DataError(
            f"{_name(files)}: the text is empty", hint="give a file with at least a few thousand characters"
        )
    values = scan.values if known is None else np.union1d(scan.values, known.values)
    vocabulary = Vocabulary(values, BYTES if rules.raw else "utf-8")
    target = cache_dir / f"{_key(scan, rules, vocabulary)}.ids"
    with writing(cache_dir, "the encoded text", hint="set CHARRNN_HOME to a writable folder"):
        _write_ids(files, rules, vocabulary, target, scan, progress)
    ids = np.memmap(target, vocabulary.dtype, mode="r", shape=(scan.characters,))
    return EncodedText(ids, target, vocabulary, scan.sha256, scan.size_bytes, scan.notes)


def _key(scan: _Scan, rules: TextRules, vocabulary: Vocabulary) -> str:
    facts = [_LAYOUT, scan.sha256, codec_name(rules.encoding), *list(asdict(rules).values())[1:], scan.file_ends]
    if rules.normalize is not None:
        facts.append(unicodedata.unidata_version)
    facts.append(hashlib.sha256(vocabulary.values.tobytes()).hexdigest())
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:32]


def _name(paths: Sequence[Path]) -> str:
    return str(paths[0]) if len(paths) == 1 else f"{paths[0]} and {len(paths) - 1} more"


def _scan(paths: Sequence[Path], rules: TextRules, progress: ByteProgress | None) -> _Scan:
    digest = hashlib.sha256()
    total: int | None = 2 * sum(path.stat().st_size for path in paths if path.is_file())
    seen = np.zeros(256 if rules.raw else 0x110000, dtype=bool)
    size = 0

    def on_bytes(chunk: bytes, between: bool) -> None:
        nonlocal size
        digest.update(chunk)
        size += 0 if between else len(chunk)
        if progress and not between:
            progress(size, None if reader.found.packed else total)

    reader = TextReader(paths, rules, on_bytes, chunk_bytes=_CHUNK_BYTES)
    file_ends: list[int] = []
    characters = 0
    for piece, position in reader:
        seen[code_points(piece)] = True
        characters = position.characters
        if position.file > len(file_ends):
            file_ends.append(characters)
    notes = tuple(_notes(reader.found, rules, len(paths)))
    return _Scan(digest.hexdigest(), size, characters, np.flatnonzero(seen).astype(np.uint32), file_ends, notes)


def _notes(found: Found, rules: TextRules, files: int) -> list[str]:
    notes = []
    if found.boms:
        mark = "UTF-8 byte-order mark" if codec_name(rules.encoding) == "utf-8" else "byte-order mark"
        notes.append(f"a {mark} was dropped ({found.boms} of {files} files)")
    if found.wide:
        (first, codec), more = next(iter(found.wide.items())), len(found.wide) - 1
        also = f" and {more} more files" if more else ""
        notes.append(f"{first}{also}: read as {codec}, not {rules.encoding}: set corpus.encoding: {codec}")
    unix = rules.newlines == "unix"
    for count, name, learned in (
        (found.crlf, "CR/LF line ends", "the model learns both characters"),
        (found.lone_cr, "line ends of a CR alone", "no LF ends these lines"),
    ):
        if count and unix:
            notes.append(f"{count:,} {name} became LF")
        elif count:
            notes.append(f"{count:,} {name} are kept: {learned}; corpus.newlines: unix makes them LF")
    if found.nulls:
        notes.append(f"it contains {found.nulls:,} NUL characters: is it a text?")
    if found.inside:
        notes.append(f"{found.inside}: holds {rules.after_files!r}, which ends each file: a document ends there too")
    return notes


def _write_ids(
    paths: Sequence[Path],
    rules: TextRules,
    vocabulary: Vocabulary,
    target: Path,
    scan: _Scan,
    progress: ByteProgress | None,
) -> None:
    size = scan.characters * vocabulary.dtype.itemsize
    target.parent.mkdir(parents=True, exist_ok=True)
    part, note = target.with_suffix(".part"), target.with_suffix(".note")
    if _is_whole(target, scan.characters, vocabulary):
        return
    with FileLock(target.with_suffix(".lock"), wait=True):
        if _is_whole(target, scan.characters, vocabulary):  # somebody else was at it
            return
        writer = _Writer(paths, rules, vocabulary, scan, progress)
        try:
            writer.write(part, note, _noted(note, part, vocabulary.dtype.itemsize))
        except (_StaleNoteError, ValueError):  # ValueError: a damaged note
            writer.write(part, note, None)
        if part.stat().st_size != size or writer.digest.hexdigest() != scan.sha256:
            part.unlink()
            note.unlink(missing_ok=True)
            raise DataError(f"{_name(paths)}: the text changed while it was read", hint="try again")
        os.replace(part, target)
        sync_folder(target.parent)
        note.unlink(missing_ok=True)


def _is_whole(target: Path, characters: int, vocabulary: Vocabulary) -> bool:
    """Whether the ids are there and are ids of this vocabulary: a failing disk must not lead beyond the weights."""
    if not target.is_file() or target.stat().st_size != characters * vocabulary.dtype.itemsize:
        return False
    ids = np.memmap(target, vocabulary.dtype, mode="r", shape=(characters,))
    pieces = range(0, characters, _CHUNK_BYTES)
    return all(int(ids[start : start + _CHUNK_BYTES].max()) < len(vocabulary) for start in pieces)


class _StaleNoteError(Exception):
    """What an earlier process has read is not what the files hold now."""


class _Note(msgspec.Struct):
    """How far the second pass has come, and the hash of all that it had read by then."""

    position: Position
    read: int
    sha256: str


class _Writer:
    """The second pass."""

    def __init__(
        self,
        paths: Sequence[Path],
        rules: TextRules,
        vocabulary: Vocabulary,
        scan: _Scan,
        progress: ByteProgress | None,
    ) -> None:
        self._paths, self._rules, self._vocabulary, self._scan = paths, rules, vocabulary, scan
        self._progress = progress or (lambda done, total: None)

    def write(self, part: Path, note: Path, start: _Note | None) -> None:
        """Write the ids into `part`, from `start` on.

        Raises:
            _StaleNoteError: the files no longer begin as `start` says.
        """
        self.digest, self._read, self._done, self._start = hashlib.sha256(), 0, 0, start
        position = start.position if start else Position()
        reader = TextReader(self._paths, self._rules, self._on_bytes, start=position, chunk_bytes=_CHUNK_BYTES)
        with part.open("r+b" if start else "wb") as file:
            file.truncate(position.characters * self._vocabulary.dtype.itemsize)
            file.seek(0, os.SEEK_END)
            for count, (piece, at) in enumerate(reader, 1):
                file.write(self._vocabulary.lookup(code_points(piece)).astype(self._vocabulary.dtype).tobytes())
                if count % _NOTE_CHUNKS == 0:
                    _sync(file)
                    here = _Note(at, self._read, self.digest.hexdigest())
                    write_atomically(note, json.dumps(msgspec.to_builtins(here)).encode())
            _sync(file)
        if self._start:  # the files were over before they came to the place of the note
            raise _StaleNoteError

    def _on_bytes(self, chunk: bytes, between: bool) -> None:
        self.digest.update(chunk)
        self._read += len(chunk)
        self._done += 0 if between else len(chunk)
        if self._start and self._read == self._start.read:
            if self.digest.hexdigest() != self._start.sha256:
                raise _StaleNoteError
            self._start = None
        elif not self._start and not between:
            self._progress(self._scan.size_bytes + self._done, 2 * self._scan.size_bytes)


def _sync(file: IO[bytes]) -> None:
    file.flush()
    os.fsync(file.fileno())


def _noted(note: Path, part: Path, itemsize: int) -> _Note | None:
    """How far an earlier process got; None where there is no note or it is not to be trusted."""
    try:
        found = decode(read_regular(note, limit=_MOST_NOTED), _Note)
        size = part.stat().st_size
    except (OSError, ValueError):
        return None
    at = found.position
    sound = 0 <= at.characters * itemsize <= size and at.offset >= 0 and len(at.endings) == at.file
    return found if sound else None
