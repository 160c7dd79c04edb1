"""The files behind one source: a path, a glob, a directory, standard input.

Files that somebody named are taken as they are; in directories and globs, what is no text is left out and counted.
"""

from __future__ import annotations

import glob
import io
import os
import stat
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from charrnn.data.detect import HEAD_BYTES, is_no_text
from charrnn.data.raw import RawFile, spool
from charrnn.errors import DataError
from charrnn.files import walk

STDIN = "-"
_STDIN_TEXT = "CHARRNN_STDIN"  # where the process that started this one has kept its standard input
_PACKED = frozenset({".gz", ".bz2", ".xz"})
_SNIFFED = HEAD_BYTES // 8
_OF_RUNS = ("history.jsonl", "last.npz", "sweep.json")  # one of which is in every run and sweep


@dataclass(frozen=True)
class FoundFiles:
    """The files of a text.

    Attributes:
        paths: in reading order.
        notes: what was left out.
    """

    paths: tuple[Path, ...]
    notes: tuple[str, ...] = ()


def expand(path: str) -> str:
    """A path with `~` as the home folder it stands for."""
    return os.path.expanduser(path)


def files_at(source: str, *, base: Path, encoding: str, spools: Path) -> FoundFiles | None:
    """The files that a path, a glob or `-` means; None where there is nothing of that name.

    Args:
        source: as the settings have it.
        base: folder that a relative path starts from.
        encoding: of the files; see `is_no_text`.
        spools: folder that keeps what can be read only once.

    Raises:
        DataError: nothing to read there.
    """
    if source == STDIN:
        return FoundFiles((_standard_input(spools),))
    path = base / expand(source)
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError):  # ValueError: a null character in the path
        mode = 0
    if stat.S_ISREG(mode):
        return FoundFiles((path,))
    if stat.S_ISFIFO(mode):
        return FoundFiles((_pipe(path, spools),))
    if stat.S_ISDIR(mode):
        if holds_run(path):
            raise DataError(f"{source}: a run, not a text", hint="give a text file, or a glob or directory of some")
        return _texts(source, sorted(_files_below(path)), encoding)
    if mode:
        raise DataError(f"{source}: neither a file, a directory nor a pipe")
    if glob.has_magic(source):
        try:
            found = sorted(Path(p) for p in glob.glob(str(path), recursive=True))
        except RecursionError:
            raise DataError(f"{source}: its folders are nested too deeply to be searched") from None
        return _texts(source, [p for p in found if not p.is_dir()], encoding)
    return None


def holds_run(folder: Path) -> bool:
    """Whether a folder is that of a run or sweep, whose files, among them samples, are no text to learn from."""
    return any((folder / name).is_file() for name in _OF_RUNS)


def keep_standard_input(spools: Path) -> Path:
    """Read standard input now, for this process and those that it starts."""
    kept = _standard_input(spools)
    os.environ[_STDIN_TEXT] = str(kept)
    return kept


def _standard_input(spools: Path) -> Path:
    if kept := os.environ.get(_STDIN_TEXT):
        return Path(kept)
    return _once(sys.stdin, lambda: spool(getattr(sys.stdin, "buffer", None) or io.BytesIO(), spools))


_ONCE: dict[int | tuple[str, int], tuple[object, Path]] = {}


def _once(stream: object, read: Callable[[], Path], key: tuple[str, int] | None = None) -> Path:
    """What a stream gave, which can be read only once, however often this process asks for it."""
    name = key or id(stream)
    if name not in _ONCE:
        _ONCE[name] = (stream, read())  # the stream is kept, so that no other gets its id
    return _ONCE[name][1]


def _pipe(path: Path, spools: Path) -> Path:
    def read() -> Path:
        with path.open("rb") as stream:
            return spool(stream, spools)

    return _once(None, read, (os.path.abspath(path), path.stat().st_ino))


def _files_below(folder: Path) -> Iterator[Path]:
    for here, folders, others in walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".") and not holds_run(here / name)]
        yield from (here / name for name in others if not name.startswith(".") and not os.path.isdir(here / name))


def _texts(source: str, found: list[Path], encoding: str) -> FoundFiles:
    """Those of the files that can be texts, and a note about the others."""
    kept: list[Path] = []
    skipped: Counter[str] = Counter()
    example: dict[str, str] = {}
    for path in found:
        if why := _unusable(path, encoding):
            skipped[why] += 1
            example.setdefault(why, path.name)
        else:
            kept.append(path)
    parts = [f"{count} {why} ({example[why]}{', ...' if count > 1 else ''})" for why, count in skipped.items()]
    note = f"{source}: left out {sum(skipped.values())} of {len(found)} files: {', '.join(parts)}"
    if not kept:
        raise DataError(
            note if found else f"{source}: no files found",
            hint="give a text file, or a glob or directory that holds some" + ("" if found else " outside of runs"),
        )
    return FoundFiles(tuple(kept), (note,) if skipped else ())


def _unusable(path: Path, encoding: str) -> str | None:
    """Why a file that nobody named by itself is left out; None for a text."""
    try:
        regular = stat.S_ISREG(path.stat().st_mode)
    except OSError:
        return "dangling or unreachable"
    if not regular:
        return "not regular"
    try:
        with RawFile(path) as file:
            head = file.peek(_SNIFFED)
    except DataError:  # let reading say what is wrong with it
        return None
    name = path.stem if path.suffix in _PACKED else path.name
    return "not text" if is_no_text(name, head, encoding) else None
