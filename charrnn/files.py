"""Files that are either the old one or the new one, locks that a dead process does not keep, and nobody else's files.

Whatever cannot be written is one error, made here: see `unwritable`. A directory from a stranger may hold a link, a
pipe or a device in the place of a file: what is read from or written to such a directory goes through `open_regular`,
which follows no link and opens nothing that may never end.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import struct
import sys
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


class IrregularFileError(OSError):
    """A link, a pipe, a device or a directory in the place of a file."""


_FLAGS = {"rb": os.O_RDONLY, "r+b": os.O_RDWR, "ab": os.O_WRONLY | os.O_APPEND | os.O_CREAT}
# Windows lacks some of these; it has neither pipes nor devices in the file system.
_NO_LINK = getattr(os, "O_NOFOLLOW", 0)
_COMMON = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)


def open_regular(path: Path, mode: str = "rb", *, follow: bool = False) -> IO[bytes]:
    """Open a file that must be one: no link (unless `follow`), pipe, device or directory.

    Args:
        path: the file.
        mode: "rb", "r+b" or "ab", which makes a missing file.
        follow: accept a link to a regular file, for files that the user named.

    Raises:
        IrregularFileError: it is something else.
        OSError: missing, or not permitted.
    """
    return os.fdopen(_regular_handle(path, _FLAGS[mode], follow=follow), mode)


def _regular_handle(path: Path, flags: int, *, follow: bool = False) -> int:
    with contextlib.suppress(FileNotFoundError):  # before it is opened: opening a device may already do something
        _check_regular(path.stat() if follow else path.lstat())
    try:
        handle = os.open(path, flags | _COMMON | (0 if follow else _NO_LINK), 0o666)
    except OSError as error:
        if error.errno == errno.ELOOP and not follow:  # exchanged for a link after the look
            raise IrregularFileError(errno.ELOOP, "a symbolic link") from None
        raise
    try:
        _check_regular(os.fstat(handle))
    except OSError:
        os.close(handle)
        raise
    return handle


def _check_regular(found: os.stat_result) -> None:
    if not stat.S_ISREG(found.st_mode):
        kind = (
            "a symbolic link" if stat.S_ISLNK(found.st_mode)
            else "a directory" if stat.S_ISDIR(found.st_mode)
            else "a pipe or a device"
        )  # fmt: skip
        raise IrregularFileError(errno.EINVAL, f"{kind}, not a regular file")


def read_regular(path: Path, *, limit: int, follow: bool = False) -> bytes:
    """The content of a file that must be a regular one (see `open_regular`) of at most `limit` bytes.

    Raises:
        OSError: missing, irregular, larger, or not permitted.
    """
    with open_regular(path, follow=follow) as file:
        data = file.read(min(limit, os.fstat(file.fileno()).st_size) + 1)
    if len(data) > limit:
        raise OSError(errno.EFBIG, f"larger than {limit:,} bytes")
    return data


def make_folder(path: Path) -> None:
    """Make a directory, with those above it, unless it is there; a link in its place leads elsewhere, and is refused.

    Raises:
        OSError: not a directory, or not permitted.
    """
    path.mkdir(parents=True, exist_ok=True)
    if path.is_symlink():
        raise IrregularFileError(errno.ELOOP, "a symbolic link, not a directory")


def unshare(path: Path) -> None:
    """Give a file that has other names (hard links) a copy of its own, so that writing to it changes no other file.

    Raises:
        OSError: see `open_regular`; nothing happens where there is no such file.
    """
    try:
        with open_regular(path) as file:
            if os.fstat(file.fileno()).st_nlink > 1:
                with atomic_writer(path) as copy:
                    while chunk := file.read(1 << 20):
                        copy.write(chunk)
    except FileNotFoundError:
        return


def write_output(target: Path, data: bytes) -> None:
    """Write what a user asked for to where they asked for it.

    A regular file is replaced as a whole, through a link if it is one; a device, a pipe or standard output (such as
    /dev/stdout) is written into.

    Raises:
        OSError: no room, no permission; the old content stands.
    """
    if not is_stream(target):
        write_atomically(Path(os.path.realpath(target)), data)
        return
    with target.open("wb", buffering=0) as file:
        view = memoryview(data)
        while view:
            view = view[file.write(view) :]


def is_stream(target: Path) -> bool:
    """Whether a path leads to something that can be written into but not replaced."""
    try:
        found = target.stat()
    except OSError:
        return False
    if stat.S_ISREG(found.st_mode):  # standard output may be a file, reached through a link of the system
        return any(_same_file(found, handle) for handle in (1, 2))
    return not stat.S_ISDIR(found.st_mode)


def _same_file(found: os.stat_result, handle: int) -> bool:
    try:
        return os.path.samestat(found, os.fstat(handle))
    except OSError:  # closed
        return False


class LockedError(Exception):
    """Somebody else holds the lock."""


class FileLock:
    """An exclusive lock for as long as the block runs; where the system has no `flock`, it does nothing.

    Args:
        path: the lock's file, made if missing and never removed (removing it would let two processes lock two files of
            one name).
        wait: wait for whoever holds it, instead of `LockedError`.

    Attributes:
        held: whether there is a lock.
    """

    def __init__(self, path: Path, *, wait: bool) -> None:
        self.path, self.wait = path, wait
        self.held = False
        self._handle: int | None = None

    def __enter__(self) -> FileLock:
        try:
            import fcntl
        except ImportError:  # Windows
            return self
        handle = _regular_handle(self.path, os.O_RDWR | os.O_CREAT)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | (0 if self.wait else fcntl.LOCK_NB))
        except BlockingIOError:
            os.close(handle)
            raise LockedError(self.path) from None
        except BaseException:
            os.close(handle)
            raise
        _mark(handle)
        self._handle, self.held = handle, True
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


# `flock` cannot be asked about without being taken, and a look that takes it would refuse whoever starts just then. So
# the holder also keeps a record lock, about which the kernel answers questions; struct flock as Linux lays it out.
_FLOCK = struct.Struct("hhqqi4x")


def _mark(handle: int) -> None:
    """Let `is_locked` know; where it cannot be done (some network file systems), nothing else is lost."""
    import fcntl

    if sys.platform == "linux":
        with contextlib.suppress(OSError):
            fcntl.fcntl(handle, fcntl.F_OFD_SETLK, _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0))


def is_locked(path: Path) -> bool:
    """Whether somebody holds the `FileLock` of this path, without touching it; False where that cannot be known."""
    try:
        import fcntl

        handle = _regular_handle(path, os.O_RDONLY)
    except (ImportError, OSError):
        return False
    try:
        if sys.platform == "linux":
            answer = fcntl.fcntl(handle, fcntl.F_OFD_GETLK, _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0))
            return bool(_FLOCK.unpack(answer)[0] != fcntl.F_UNLCK)
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)  # no such question elsewhere: for an instant, and shared
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        os.close(handle)
    return False
