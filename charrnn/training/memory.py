"""Memory shared by several processes, reserved before it is used: a missing page would kill them with SIGBUS."""

from __future__ import annotations

import errno
import mmap
import os
import secrets
import tempfile
from collections.abc import Callable

from charrnn.errors import StorageError

_SHM = "/dev/shm"
_ZEROS = bytes(1 << 20)

# A file descriptor, or on Windows the name of a mapping.
Handle = int | str


def reserve(size: int) -> Handle:
    """Memory of `size` bytes, all zero, that vanishes with the last process that has it.

    Raises:
        MemoryError: there is not enough.
        StorageError: no place for it.
    """
    if not hasattr(mmap, "PROT_READ"):  # Windows
        return f"charrnn-{os.getpid()}-{secrets.token_hex(8)}"
    reasons: list[OSError] = []
    for make in _PLACES:
        handle = None
        try:
            handle = make()
            os.ftruncate(handle, size)
            if make is not _in_memory:
                _fill(handle, size)
        except OSError as error:
            reasons.append(error)
            if handle is not None:
                os.close(handle)
        else:
            return handle
    if any(reason.errno == errno.ENOMEM for reason in reasons):
        raise MemoryError
    raise StorageError(
        f"no place for the {size / 1e6:,.0f} MB that replicas share: {reasons[-1].strerror or reasons[-1]}",
        hint="set training.replicas: 1, or TMPDIR to a folder with room",
    )


def attach(handle: Handle, size: int) -> mmap.mmap:
    """The memory of `reserve`, in this process or another that was given the handle.

    Raises:
        MemoryError: no room for it in this process.
    """
    try:
        if isinstance(handle, str):
            return mmap.mmap(-1, size, tagname=handle)  # type: ignore[call-arg,unused-ignore]
        return mmap.mmap(handle, size)
    except OSError as error:
        if error.errno == errno.ENOMEM or getattr(error, "winerror", None) in (8, 1455):
            raise MemoryError from None
        raise


def _in_memory() -> int:
    """An anonymous file (Linux), which no file system's size limits."""
    if not hasattr(os, "memfd_create"):
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    return os.memfd_create("charrnn")


def _in_shm() -> int:
    return _nameless(_SHM)


def _in_temporary_folder() -> int:
    return _nameless(None)


_PLACES: tuple[Callable[[], int], ...] = (_in_memory, _in_shm, _in_temporary_folder)


def _nameless(folder: str | None) -> int:
    with tempfile.TemporaryFile(dir=folder) as file:
        return os.dup(file.fileno())


def _fill(handle: int, size: int) -> None:
    """Have room for every byte."""
    if hasattr(os, "posix_fallocate"):
        try:
            os.posix_fallocate(handle, 0, size)
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS):
                raise
        else:
            return
    done = 0
    while done < size:
        done += os.pwrite(handle, _ZEROS[: size - done], done)
