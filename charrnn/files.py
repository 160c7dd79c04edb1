"""Files that are either the old one or the new one, and locks that a dead process does not keep.

Whatever cannot be written is one error, made here: see `unwritable`.
"""

from __future__ import annotations

import contextlib
import errno
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import IO

from charrnn.errors import CharRNNError, SettingsError, StorageError

# Another place would do: it does not exist, is no directory, or is somebody else's. The rest is the disk's trouble.
_WRONG_PLACE = frozenset(
    getattr(errno, name)
    for name in ("EACCES", "EPERM", "ENOENT", "ENOTDIR", "EISDIR", "EROFS", "ENAMETOOLONG", "ELOOP", "EEXIST", "EINVAL")
)

_FULL = frozenset({errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC), errno.EFBIG})


def unwritable(path: Path, error: OSError, what: str = "", *, hint: str | None = None) -> CharRNNError:
    """The error for a file or directory that cannot be written.

    Args:
        path: of the file or directory.
        error: that the system gave.
        what: it is, as in "the run directory".
        hint: where to write instead.

    Returns:
        SettingsError where another path would do, StorageError where the disk is full or failing.
    """
    wrong_place = error.errno in _WRONG_PLACE
    reason = error.strerror or (os.strerror(error.errno) if error.errno else str(error))
    message = f"{path}: {what + ' ' if what else ''}cannot be written: {reason}"
    if wrong_place:
        return SettingsError(message, hint=hint)
    return StorageError(message, hint="free some room" if error.errno in _FULL else hint)


@contextlib.contextmanager
def writing(path: Path, what: str = "", *, hint: str | None = None) -> Iterator[None]:
    """Turn what the system says against writing in the block into the error of `unwritable`.

    Raises:
        SettingsError: the place cannot be written.
        StorageError: the disk is full or failing.
    """
    try:
        yield
    except OSError as error:
        raise unwritable(path, error, what, hint=hint) from None


@contextlib.contextmanager
def atomic_writer(target: Path) -> Iterator[IO[bytes]]:
    """A binary file that becomes `target` when the block ends without an exception.

    It is written beside the target, flushed to the disk and renamed over it; after an exception nothing is left.

    Raises:
        OSError: no room, no permission.
    """
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.", suffix=".tmp")
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, 0o666 & ~_umask())
        os.replace(name, target)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(name)
        raise
    sync_folder(target.parent)


def remove_stale(folder: Path) -> None:
    """Remove what processes that were killed while they wrote have left; only where nobody else can be writing."""
    for path in folder.glob(".*.tmp"):
        with contextlib.suppress(OSError):
            path.unlink()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def sync_folder(folder: Path) -> None:
    """Make the rename itself durable, where the system allows it (not on Windows)."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def write_atomically(target: Path, data: bytes) -> None:
    """Replace the content of `target`.

    Raises:
        OSError: no room, no permission; the old content stands.
    """
    with atomic_writer(target) as file:
        file.write(data)


class LockedError(Exception):
    """Somebody else holds the lock."""


class FileLock:
    """An exclusive lock for as long as the block runs; where the system has no `flock`, it does nothing.

    Args:
        path: the lock's file, made if missing and never removed (removing it would let two processes lock two files of
            one name).
        wait: wait for whoever holds it, instead of `LockedError`.
    """

    def __init__(self, path: Path, *, wait: bool) -> None:
        self.path, self.wait = path, wait
        self._handle: int | None = None

    def __enter__(self) -> FileLock:
        try:
            import fcntl
        except ImportError:  # Windows
            return self
        handle = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | (0 if self.wait else fcntl.LOCK_NB))
        except BlockingIOError:
            os.close(handle)
            raise LockedError(self.path) from None
        except BaseException:
            os.close(handle)
            raise
        self._handle = handle
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None
