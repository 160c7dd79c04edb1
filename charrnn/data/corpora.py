"""Find a text: a named corpus, a file, a glob or a directory.

Built-in corpora are made from the running Python, so they need no network; their content differs between Python
versions, and their files' names say which.
"""

from __future__ import annotations

import difflib
import hashlib
import os
import platform
import re
import sysconfig
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from charrnn.config.builtin import bundled_path
from charrnn.data.decoding import EncodingError, TextRules
from charrnn.data.download import ByteProgress, download
from charrnn.data.reading import TextReader
from charrnn.data.sources import STDIN, FoundFiles, expand, files_at
from charrnn.errors import DataError, SettingsError
from charrnn.files import atomic_writer, write_atomically, writing

_SKIPPED_FOLDERS = frozenset({"site-packages", "dist-packages", "test", "tests", "idle_test", "__pycache__"})
_DEFINED = re.compile(rb"^[ \t]*(?:async +)?(?:def|class) +([A-Za-z_][A-Za-z_0-9]*)", re.MULTILINE)


@dataclass(frozen=True)
class CorpusEntry:
    """A line of the catalogue.

    Attributes:
        kind: "builtin" or "url".
        url, sha256, size_bytes: of a "url" corpus.
    """

    name: str
    title: str
    kind: str
    licence: str
    url: str | None = None
    sha256: str | None = None
    size_bytes: int | None = None


@dataclass(frozen=True)
class CorpusInfo:
    """What a text consists of.

    Attributes:
        size_bytes, characters, symbols, lines: counts; characters and symbols are None where it is not in the encoding.
        encoding: that it was read with, or where it could not be, the likely one; None where nobody knows.
        crlf, lone_cr: line ends other than LF.
        notes: files that were left out.
    """

    source: str
    files: int
    size_bytes: int
    encoding: str | None
    characters: int | None
    symbols: int | None
    lines: int
    crlf: int
    lone_cr: int
    sha256: str
    notes: tuple[str, ...] = ()


def cache_dir() -> Path:
    """Where built, fetched and encoded texts are kept: $CHARRNN_HOME, else charrnn in the user's cache folder.

    Raises:
        SettingsError: this user has no home, and no such folder is named.
    """
    if home := os.environ.get("CHARRNN_HOME"):
        return Path(expand(home))
    if base := os.environ.get("XDG_CACHE_HOME"):
        return Path(base) / "charrnn"
    try:
        return Path.home() / ".cache" / "charrnn"
    except RuntimeError:  # neither HOME nor an entry for this user
        raise SettingsError(
            "there is no home directory to keep encoded texts in",
            hint="set CHARRNN_HOME to a writable folder",
        ) from None


def corpus_dir() -> Path:
    """Where named corpora are kept."""
    return cache_dir() / "corpora"


def spool_dir() -> Path:
    """Where texts are kept that could be read only once, such as standard input."""
    return cache_dir() / "spooled"


def catalogue() -> dict[str, CorpusEntry]:
    """The named corpora.

    Raises:
        DataError: the catalogue is damaged.
    """
    import msgspec

    from charrnn.config.yaml import load_yaml

    path = bundled_path("corpora/catalogue.yaml")
    entries = load_yaml(path.read_text(encoding="utf-8"), where=str(path))
    try:
        return {name: msgspec.convert({"name": name, **fields}, CorpusEntry) for name, fields in entries.items()}  # type: ignore[attr-defined]
    except (AttributeError, TypeError, msgspec.ValidationError) as error:
        raise DataError(f"{path}: not a catalogue: {error}") from None


def corpus_path(entry: CorpusEntry) -> Path:
    """Where a named corpus is, or will be."""
    version = f"-{platform.python_version()}" if entry.kind == "builtin" else ""
    return corpus_dir() / f"{entry.name}{version}.txt"


def resolve(source: str | Sequence[str], *, progress: ByteProgress | None = None) -> tuple[Path, ...]:
    """The files of a text, in reading order; see `find_files`."""
    return find_files(source, progress=progress).paths


def find_files(
    source: str | Sequence[str],
    *,
    encoding: str = "utf-8",
    base: Path = Path(),
    progress: ByteProgress | None = None,
) -> FoundFiles:
    """The files of a text, in reading order, and notes about those that were left out.

    Where the environment names a folder in $CHARRNN_TEXT, its files are the text whatever the source is called: so a
    trial that runs on another machine keeps its settings, and its text comes along.

    Args:
        source: one or several of: a name of the catalogue (made or fetched when missing), a file, a glob, a directory
            (all texts in it and below, sorted; hidden files and runs are left out), a named pipe, or - for standard
            input.
        encoding: of the files; with "bytes", directories give all their regular files.
        base: folder that relative paths start from.
        progress: called with (bytes done, total bytes) while a corpus is fetched.

    Raises:
        DataError: there is no such text.
    """
    if sent := os.environ.get("CHARRNN_TEXT"):
        try:
            return FoundFiles(tuple(sorted(Path(sent).iterdir())))
        except OSError as error:
            raise DataError(f"{sent}: cannot be read: {error.strerror}") from None
    sources = [source] if isinstance(source, str) else list(source)
    if STDIN in sources and len(sources) > 1:
        raise DataError("standard input (-) cannot be one source of several", hint="name files, or pipe all of them in")
    found = [_find(item, encoding, base, progress) for item in sources]
    paths = [path for part in found for path in part.paths]
    unique = tuple(dict.fromkeys(paths))
    notes = [note for part in found for note in part.notes]
    if len(unique) < len(paths):
        notes.append(f"files that were named twice are read once ({len(paths) - len(unique)} of {len(paths)})")
    return FoundFiles(unique, tuple(notes))


def _find(source: str, encoding: str, base: Path, progress: ByteProgress | None) -> FoundFiles:
    entries = catalogue()
    if source in entries:
        path = corpus_path(entries[source])
        return FoundFiles((path if path.is_file() else get(source, progress=progress),))
    found = files_at(source, base=base, encoding=encoding, spools=spool_dir())
    if found is not None:
        return found
    near = difflib.get_close_matches(source, entries, n=1)
    hint = f"did you mean {near[0]}?" if near else f"named corpora: {', '.join(entries)}"
    raise DataError(f"{source}: no such file, directory or named corpus", hint=hint)


def get(name: str, *, progress: ByteProgress | None = None, again: bool = False) -> Path:
    """Build or fetch a named corpus, unless it is there.

    Raises:
        DataError: no such name, or it cannot be made or fetched.
    """
    entries = catalogue()
    if name not in entries:
        near = difflib.get_close_matches(name, entries, n=1)
        raise DataError(
            f"{name}: no such corpus", hint=f"did you mean {near[0]}?" if near else "see charrnn corpus list"
        )
    entry = entries[name]
    path = corpus_path(entry)
    if path.is_file() and not again:
        return path
    if entry.kind == "url":
        if entry.url is None or entry.sha256 is None:
            raise DataError(f"{name}: the catalogue has no address or checksum for it")
        return download(
            entry.url, path, sha256=entry.sha256, size_bytes=entry.size_bytes, again=again, progress=progress
        )
    with writing(path, hint="set CHARRNN_HOME to a writable folder"):
        path.parent.mkdir(parents=True, exist_ok=True)
        _BUILDERS[name](path)
    return path


def _build_python_docs(path: Path) -> None:
    try:
        from pydoc_data.topics import topics
    except ImportError:
        raise DataError(
            "python-docs: this Python has no pydoc_data.topics", hint="use python-stdlib or a text of your own"
        ) from None
    write_atomically(path, "\n\n".join(topics[key].strip() for key in sorted(topics)).encode() + b"\n")


def _build_python_stdlib(path: Path) -> None:
    with atomic_writer(path) as file:
        for data in _standard_library():
            file.write(data.rstrip(b"\n") + b"\n\n")


def _build_python_names(path: Path) -> None:
    names = dict.fromkeys(name for data in _standard_library() for name in _DEFINED.findall(data))
    write_atomically(path, b"".join(name + b"\n" for name in names))


def _standard_library() -> Iterator[bytes]:
    root = Path(sysconfig.get_path("stdlib"))
    for source in sorted(root.rglob("*.py")):
        if _SKIPPED_FOLDERS.isdisjoint(source.relative_to(root).parts):
            data = source.read_bytes().replace(b"\r\n", b"\n")
            if _is_utf8(data):
                yield data


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


_BUILDERS: dict[str, Callable[[Path], None]] = {
    "python-docs": _build_python_docs,
    "python-names": _build_python_names,
    "python-stdlib": _build_python_stdlib,
}


def info(source: str, *, encoding: str = "utf-8") -> CorpusInfo:
    """Count what a text consists of, in bounded memory; see `find_files` for what a source is.

    Raises:
        DataError: there is no such text, or it cannot be read.
    """
    found = find_files(source, encoding=encoding)
    try:
        return _count(source, found, encoding)
    except EncodingError as error:
        counted = _count(source, found, "bytes")
        return replace(counted, encoding=error.likely, characters=None, symbols=None)


def _count(source: str, found: FoundFiles, encoding: str) -> CorpusInfo:
    digest, symbols = hashlib.sha256(), set[str | int]()
    size = lines = characters = 0

    def on_bytes(chunk: bytes, between: bool) -> None:
        nonlocal size
        digest.update(chunk)
        size += 0 if between else len(chunk)

    reader = TextReader(found.paths, TextRules(encoding), on_bytes, chunk_bytes=1 << 20)
    for piece, _ in reader:
        symbols.update(piece)
        characters += len(piece)
        lines += piece.count(b"\n") if isinstance(piece, bytes) else piece.count("\n")
    return CorpusInfo(
        source=source,
        files=len(found.paths),
        size_bytes=size,
        encoding=next(iter(reader.found.wide.values()), encoding),
        characters=characters,
        symbols=len(symbols),
        lines=lines,
        crlf=reader.found.crlf,
        lone_cr=reader.found.lone_cr,
        sha256=digest.hexdigest(),
        notes=found.notes,
    )
