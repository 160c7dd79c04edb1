"""Locks on files that a dead process does not keep: the system takes them back when the process ends."""

from __future__ import annotations

import os
from pathlib import Path
from types import TracebackType


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
