"""Files that are written whole or not at all, and opened only if they are regular files.

Whatever cannot be read or written is one error, made here: see `unreadable` and `unwritable`. A directory from a
stranger may hold a link, a pipe or a device in the place of a file: what is read from or written to such a directory
goes through `open_regular`, which follows no link and opens nothing that may never end.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from charrnn.errors import CharRNNError, DataError, SettingsError, StorageError


def _numbers(*names: str) -> frozenset[int]:
    return frozenset(getattr(errno, name) for name in names if hasattr(errno, name))


# Another place would do: it does not exist, is no directory, or is somebody else's. The rest is the disk's trouble.
_WRONG_PLACE = _numbers(
    "EACCES", "EPERM", "ENOENT", "ENOTDIR", "EISDIR", "EROFS", "ENAMETOOLONG", "ELOOP", "EEXIST", "EINVAL"
)
_FULL = _numbers("ENOSPC", "EDQUOT", "EFBIG")
UNSUPPORTED = _numbers("ENOSYS", "ENOLCK", "EOPNOTSUPP", "ENOTSUP", "EINVAL")
_LONGEST_NAME = 200  # that a message shows whole
_WINDOWS_TRIES = 50  # of a rename that somebody else is in the way of, 20 ms apart


def unreadable(path: Path, error: OSError) -> DataError:
    """The error for a text or another file of data that cannot be read.

    Args:
        path: of the file.
        error: that the system gave.
    """
    hint = "give a file, not a directory" if path.is_dir() else None
    return DataError(f"{path}: cannot be read: {error.strerror or error}", hint=hint)


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
    return StorageError(message, hint="free some space" if error.errno in _FULL else hint)


def unusable(error: OSError) -> CharRNNError:
    """The error for a path that nobody has expected the system to refuse.

    Args:
        error: that the system gave, with the path.
    """
    name = os.fsdecode(error.filename) if isinstance(error.filename, str | bytes) else str(error.filename)
    kind = SettingsError if error.errno in _WRONG_PLACE else StorageError
    return kind(
        f"{name if len(name) <= _LONGEST_NAME else name[:_LONGEST_NAME] + '...'}: {error.strerror or error.errno}"
    )


def check_place(path: Path) -> None:
    """Check, before the work whose result goes there, that a file can be written.

    Raises:
        SettingsError: a directory, in none, or - for standard output.
    """
    if str(path) == "-":
        raise SettingsError("-: standard output is not supported here", hint="write to a file: give its name")
    if path.is_dir() or not path.parent.is_dir():
        number = errno.EISDIR if path.is_dir() else errno.ENOENT
        raise unwritable(path, OSError(number, os.strerror(number)))


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
        if error.errno not in UNSUPPORTED:
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
    return os.fdopen(regular_handle(path, _FLAGS[mode], follow=follow), mode)


def regular_handle(path: Path, flags: int, *, follow: bool = False) -> int:
    """Open like `os.open`, a file that must be one; see `open_regular`.

    Raises:
        OSError: likewise.
    """
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


def read_named(path: Path) -> bytes:
    """All of a file or pipe that the user has named, but not of a device, which may have no end.

    Raises:
        DataError: missing, not permitted, or a device.
    """
    try:
        mode = path.stat().st_mode
        if stat.S_ISCHR(mode) or stat.S_ISBLK(mode):
            raise IrregularFileError(errno.EINVAL, "a device, neither a file nor a pipe")
        return path.read_bytes()
    except OSError as error:
        raise unreadable(path, error) from None


def walk(folder: Path) -> Iterator[tuple[Path, list[str], list[str]]]:
    """Like `os.walk`, however deep folders lie in each other; what may not be read is left out.

    Yields:
        A folder, and the names of the folders in it, which may be thinned out, and of all else: links too.
    """
    todo = [folder]
    while todo:
        here = todo.pop()
        folders: list[str] = []
        others: list[str] = []
        with contextlib.suppress(OSError), os.scandir(here) as entries:
            for entry in entries:
                (folders if entry.is_dir(follow_symlinks=False) else others).append(entry.name)
        yield here, folders, others
        todo += [here / name for name in folders]


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


def append(path: Path, data: bytes) -> None:
    """Add to the end of a file, all of it or nothing.

    Raises:
        OSError: no room, no permission.
    """
    handle = regular_handle(path, _FLAGS["ab"])
    try:
        start, view = os.fstat(handle).st_size, memoryview(data)
        try:
            while view:
                view = view[os.write(handle, view) :]
        except OSError:
            with contextlib.suppress(OSError):
                os.ftruncate(handle, start)
            raise
    finally:
        os.close(handle)
