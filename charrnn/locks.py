"""Locks that a dead process does not keep, and that can be looked at without being taken."""

from __future__ import annotations

import contextlib
import errno
import os
import struct
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

from charrnn.files import UNSUPPORTED, regular_handle


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
        handle = regular_handle(self.path, os.O_RDWR | os.O_CREAT)
        try:
            self.held = _lock(handle, wait=self.wait)
        except BlockingIOError:
            os.close(handle)
            raise LockedError(self.path) from None
        except BaseException:
            os.close(handle)
            raise
        self._handle = handle
        return self

    def is_current(self) -> bool:
        """Whether the lock's file is still the one of its name; True where there is no lock."""
        if self._handle is None:
            return True
        with contextlib.suppress(OSError):
            return os.path.samestat(os.fstat(self._handle), os.stat(self.path))
        return False

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None


@contextlib.contextmanager
def fleeting_lock(path: Path) -> Iterator[FileLock]:
    """A `FileLock` whose file is gone afterwards; whoever waited for the old file takes a new one."""
    while True:
        with FileLock(path, wait=True) as lock:
            if not lock.is_current():
                continue
            try:
                yield lock
            finally:
                with contextlib.suppress(OSError):
                    path.unlink()
            return


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
        if error.errno not in UNSUPPORTED:
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
                if error.errno in UNSUPPORTED:
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
        handle = regular_handle(path, os.O_RDONLY)
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
