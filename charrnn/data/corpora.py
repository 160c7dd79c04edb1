"""Find a text: a named corpus, a file, a glob or a directory.

Built-in corpora are made from the running Python, so they need no network; their content differs between Python
versions, and their files' names say which.
"""

from __future__ import annotations

import difflib
import glob
import hashlib
import os
import platform
import sysconfig
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from charrnn.config.builtin import bundled_path
from charrnn.data.download import ByteProgress, download
from charrnn.errors import DataError, SettingsError
from charrnn.files import atomic_writer, write_atomically, writing

_SKIPPED_FOLDERS = frozenset({"site-packages", "dist-packages", "test", "tests", "idle_test", "__pycache__"})


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
        size_bytes, characters, symbols, lines: counts; characters and symbols are None where it is not UTF-8.
    """

    source: str
    files: int
    size_bytes: int
    characters: int | None
    symbols: int | None
    lines: int
    sha256: str


def cache_dir() -> Path:
    """Where built, fetched and encoded texts are kept: $CHARRNN_HOME, else charrnn in the user's cache folder.

    Raises:
        SettingsError: this user has no home, and no such folder is named.
    """
    if home := os.environ.get("CHARRNN_HOME"):
        return Path(home)
    if base := os.environ.get("XDG_CACHE_HOME"):
        return Path(base) / "charrnn"
    try:
        return Path.home() / ".cache" / "charrnn"
    except RuntimeError:  # neither HOME nor an entry for this user
        raise SettingsError(
            "there is no home directory to keep encoded texts in",
            hint="set CHARRNN_HOME to a folder that can be written",
        ) from None


def corpus_dir() -> Path:
    """Where named corpora are kept."""
    return cache_dir() / "corpora"


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


def resolve(source: str, *, progress: ByteProgress | None = None) -> tuple[Path, ...]:
    """The files of a text, in reading order.

    Where the environment names a folder in $CHARRNN_TEXT, its files are the text whatever the source is called: so a
    trial that runs on another machine keeps its settings, and its text comes along.

    Args:
        source: a name of the catalogue (made or fetched when missing), a file, a glob or a directory (all files in it
            and below, sorted; hidden ones are left out).
        progress: called with (bytes done, total bytes) while a corpus is fetched.

    Raises:
        DataError: there is no such text.
    """
    if sent := os.environ.get("CHARRNN_TEXT"):
        return _checked(sent, sorted(_files_below(Path(sent))))
    entries = catalogue()
    if source in entries:
        path = corpus_path(entries[source])
        return (path,) if path.is_file() else (get(source, progress=progress),)
    path = Path(source)
    if path.is_file():
        return (path,)
    if path.is_dir():
        return _checked(source, sorted(_files_below(path)))
    if glob.has_magic(source):
        return _checked(source, sorted(Path(p) for p in glob.glob(source, recursive=True) if os.path.isfile(p)))
    near = difflib.get_close_matches(source, entries, n=1)
    hint = f"did you mean {near[0]}?" if near else f"named corpora: {', '.join(entries)}"
    raise DataError(f"{source}: no such file, directory or named corpus", hint=hint)


def _files_below(folder: Path) -> Iterator[Path]:
    for name, folders, files in os.walk(folder):
        folders[:] = [f for f in folders if not f.startswith(".")]
        yield from (Path(name, f) for f in files if not f.startswith("."))


def _checked(source: str, files: list[Path]) -> tuple[Path, ...]:
    if not files:
        raise DataError(f"{source}: no files there", hint="give a file, or a glob or directory that holds some")
    return tuple(files)


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
        return download(entry.url, path, sha256=entry.sha256, size_bytes=entry.size_bytes, progress=progress)
    with writing(path, hint="set CHARRNN_HOME to a folder that can be written"):
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
    root = Path(sysconfig.get_path("stdlib"))
    with atomic_writer(path) as file:
        for source in sorted(root.rglob("*.py")):
            if _SKIPPED_FOLDERS.isdisjoint(source.relative_to(root).parts):
                data = source.read_bytes().replace(b"\r\n", b"\n")
                if _is_utf8(data):
                    file.write(data.rstrip(b"\n") + b"\n\n")


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


_BUILDERS: dict[str, Callable[[Path], None]] = {
    "python-docs": _build_python_docs,
    "python-stdlib": _build_python_stdlib,
}


def info(source: str) -> CorpusInfo:
    """Count what a text consists of, in bounded memory; see `resolve` for what a source is.

    Raises:
        DataError: there is no such text, or it cannot be read.
    """
    import codecs

    paths = resolve(source)
    digest, size, lines, characters = hashlib.sha256(), 0, 0, 0
    symbols: set[str] | None = set()
    for path in paths:
        decoder = codecs.getincrementaldecoder("utf-8")()
        try:
            with path.open("rb") as file:
                while True:
                    chunk = file.read(1 << 20)
                    digest.update(chunk)
                    size, lines = size + len(chunk), lines + chunk.count(b"\n")
                    if symbols is not None:
                        text = decoder.decode(chunk, final=not chunk)
                        characters += len(text)
                        symbols.update(text)
                    if not chunk:
                        break
        except UnicodeDecodeError:
            symbols = None
            digest, size, lines = _count_bytes(paths)
            break
        except OSError as error:
            raise DataError(f"{path}: cannot be read: {error.strerror}") from None
    return CorpusInfo(
        source=source,
        files=len(paths),
        size_bytes=size,
        characters=None if symbols is None else characters,
        symbols=None if symbols is None else len(symbols),
        lines=lines,
        sha256=digest.hexdigest(),
    )


def _count_bytes(paths: tuple[Path, ...]) -> tuple[hashlib._Hash, int, int]:
    digest, size, lines = hashlib.sha256(), 0, 0
    for path in paths:
        with path.open("rb") as file:
            while chunk := file.read(1 << 20):
                digest.update(chunk)
                size, lines = size + len(chunk), lines + chunk.count(b"\n")
    return digest, size, lines
