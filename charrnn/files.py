"""Files that are either the old one or the new one, and locks that a dead process does not keep.

Whatever cannot be written is one error, made here: see `unwritable`.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import struct
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import IO

from charrnn.errors import CharRNNError, SettingsError, StorageError


def _numbers(*names: str) -> frozenset[int]:
    return frozenset(getattr(errno, name) for name in names if hasattr(errno, name))


# Another place would do: it does not exist, is no directory, or is somebody else's. The rest is the disk's trouble.
_WRONG_PLACE = _numbers(
    "EACCES", "EPERM", "ENOENT", "ENOTDIR", "EISDIR", "EROFS", "ENAMETOOLONG", "ELOOP", "EEXIST", "EINVAL"
)
_FULL = _numbers("ENOSPC", "EDQUOT", "EFBIG")
_UNSUPPORTED = _numbers("ENOSYS", "ENOLCK", "EOPNOTSUPP", "ENOTSUP", "EINVAL")
_WINDOWS_TRIES = 50  # of a rename or lock that somebody else is in the way of, 20 ms apart


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
    reason = error.strerror or (os.strerror(error.errno) if error.errno else str(error))
    message = f"{path}: {what + ' ' if what else ''}cannot be written: {reason}"
    if error.errno in _WRONG_PLACE:
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
            sync(file.fileno())
        os.chmod(name, 0o666 & ~_umask())
        _replace(name, target)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(name)
        raise
    sync_folder(target.parent)


def _replace(name: str, target: Path) -> None:
    """Rename; where a file that somebody reads cannot be replaced (Windows), wait a moment for them."""
    for left in range(_WINDOWS_TRIES, 0, -1):
        try:
            os.replace(name, target)
            return
        except PermissionError:
            if hasattr(os, "getuid") or left == 1:  # not Windows, or no longer
                raise
            time.sleep(0.02)


def sync(handle: int) -> None:
    """Force a file that is open for writing to the disk, past the drive's own cache where the system can say so.

    Raises:
        OSError: the disk is failing; not where the file system has no such call.
    """
    try:
        with contextlib.suppress(ImportError, AttributeError, OSError):
            import fcntl

            # macOS, whose fsync stops at the drive
            fcntl.fcntl(handle, fcntl.F_FULLFSYNC)  # type: ignore[attr-defined,unused-ignore]
            return
        os.fsync(handle)
    except OSError as error:
        if error.errno not in _UNSUPPORTED:
            raise


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


def append(path: Path, data: bytes) -> None:
    """Add to the end of a file, all of it or nothing.

    Raises:
        OSError: no room, no permission.
    """
    with path.open("ab", buffering=0) as file:
        start = file.seek(0, os.SEEK_END)
        try:
            done = 0
            while done < len(data):
                done += file.write(data[done:]) or 0
        except OSError:
            with contextlib.suppress(OSError):
                file.truncate(start)
            raise


class LockedError(Exception):
    """Somebody else holds the lock."""


class FileLock:
    """An exclusive lock for as long as the block runs.

    Args:
        path: the lock's file, made if missing and never removed (removing it would let two processes lock two files of
            one name).
        wait: wait for whoever holds it, instead of `LockedError`.

    Attributes:
        held: whether there is a lock; False where the file system has none (some of Lustre, NFS and FUSE).
    """

    def __init__(self, path: Path, *, wait: bool) -> None:
        self.path, self.wait = path, wait
        self.held = False
        self._handle: int | None = None

    def __enter__(self) -> FileLock:
        flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOFOLLOW", 0)
        handle = os.open(self.path, flags, 0o666)
        try:
            if not stat.S_ISREG(os.fstat(handle).st_mode):
                raise OSError(errno.EINVAL, "not a regular file")
            self.held = _lock(handle, wait=self.wait)
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


def _lock(handle: int, *, wait: bool) -> bool:
    """Lock a file, or find that it cannot be done here.

    Raises:
        BlockingIOError: somebody else has it.
    """
    try:
        import fcntl
    except ImportError:
        return _lock_on_windows(handle, wait=wait)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError as error:
        if error.errno not in _UNSUPPORTED:
            raise
        return False
    # Who looks must not take the lock, not even for a moment; but only locks of this second kind can be looked at.
    with contextlib.suppress(OSError):
        fcntl.fcntl(handle, getattr(fcntl, "F_OFD_SETLK", fcntl.F_SETLK), _record_lock(fcntl.F_WRLCK))
    return True


_KIND_AT = 0 if sys.platform == "linux" else 20  # of the kind in it


def _record_lock(kind: int) -> bytes:
    """C's `struct flock` for the whole file."""
    if sys.platform == "linux":
        return struct.pack("hhqqi4x", kind, 0, 0, 0, 0)
    return struct.pack("qqihh4x", 0, 0, 0, kind, 0)  # macOS and the BSDs


def _lock_on_windows(handle: int, *, wait: bool) -> bool:
    import msvcrt

    if os.fstat(handle).st_size == 0:
        os.write(handle, b"\0")  # a byte to lock, which nobody else can read then
    while True:
        os.lseek(handle, 0, os.SEEK_SET)
        try:
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined,unused-ignore]
        except OSError as error:
            if error.errno not in (errno.EACCES, errno.EDEADLK):
                if error.errno in _UNSUPPORTED:
                    return False
                raise
            if not wait:
                raise BlockingIOError(errno.EAGAIN, "locked") from None
            time.sleep(0.02)
        else:
            return True


def is_locked(path: Path) -> bool:
    """Whether somebody holds the lock, found out without taking it; False where that cannot be known."""
    try:
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOFOLLOW", 0))
    except OSError:
        return False
    try:
        import fcntl

        ask = getattr(fcntl, "F_OFD_GETLK", fcntl.F_GETLK)
        found = fcntl.fcntl(handle, ask, _record_lock(fcntl.F_RDLCK))
        return bool(struct.unpack_from("h", found, _KIND_AT)[0] != fcntl.F_UNLCK)
    except ImportError:
        return _is_locked_on_windows(handle)
    except OSError:
        return False
    finally:
        os.close(handle)


def _is_locked_on_windows(handle: int) -> bool:
    try:
        os.read(handle, 1)
    except PermissionError:
        return True
    return False
