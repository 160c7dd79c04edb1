"""Windows and macOS as their system calls differ from Linux's, for real processes on Linux.

No such machine is at hand, so what they refuse or lack is refused or taken away here: a process that finds this file's
`install` in its `sitecustomize` has it from its first line on, and so have the processes that it starts.
"""

from __future__ import annotations

import errno
import fcntl
import io
import mmap
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import types
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
_RESERVED = re.compile(r"^(con|prn|aux|nul|com\d|lpt\d)(\..*)?$|[<>:\"|?*\x00-\x1f]|[. ]$", re.IGNORECASE)
_LINUX_ALONE = ("sched_getaffinity", "sched_setaffinity", "memfd_create", "posix_fallocate")
_POSIX_ALONE = (
    "getuid", "geteuid", "getgid", "fork", "mkfifo", "pwrite", "pread", "O_NOFOLLOW", "O_NONBLOCK", "O_CLOEXEC",
    "O_DIRECTORY", "getpgid", "setsid", "killpg",
)  # fmt: skip


def environment(folder: Path, system: str) -> dict[str, str]:
    """Of a process on that system.

    Args:
        folder: gets a `sitecustomize.py`.
        system: "windows" or "macos".
    """
    folder.mkdir(exist_ok=True)
    code = f"import sys\nsys.path.insert(0, {str(ROOT)!r})\nfrom tests.reliability import foreign\nforeign.{system}()\n"
    (folder / "sitecustomize.py").write_text(code + f"sys.path.remove({str(ROOT)!r})\n", encoding="utf-8")
    path = os.pathsep.join([str(folder), str(ROOT)])
    return {**os.environ, "PYTHONPATH": path, "FOREIGN_SYSTEM": system}


def macos() -> None:
    """No memfd, no affinity, no allocation ahead; names that differ in case are one file."""
    for name in _LINUX_ALONE:
        _remove(os, name)
    fcntl.F_FULLFSYNC = 51  # type: ignore[attr-defined]
    real_fcntl, real_mkdir = fcntl.fcntl, os.mkdir

    def call(handle: Any, command: int, argument: Any = 0) -> Any:
        if command == 51:
            if real_fcntl(handle, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
                raise OSError(errno.EBADF, os.strerror(errno.EBADF))
            return 0
        return real_fcntl(handle, command, argument)

    def mkdir(path: Any, *arguments: Any, **options: Any) -> None:
        folder, name = os.path.split(os.path.abspath(os.fspath(path)))
        if os.path.isdir(folder) and any(
            other != name and other.casefold() == name.casefold() for other in os.listdir(folder)
        ):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), path)
        real_mkdir(path, *arguments, **options)

    fcntl.fcntl, os.mkdir = call, mkdir


def windows() -> None:
    """What Windows refuses; what its C library, `msvcrt`, has instead of `fcntl`."""
    for name in (*_LINUX_ALONE, *_POSIX_ALONE):
        _remove(os, name)
    for name in ("PROT_READ", "PROT_WRITE", "MAP_SHARED"):
        _remove(mmap, name)
    _files()
    _locks()
    _processes()


def _remove(module: Any, name: str) -> None:
    if hasattr(module, name):
        delattr(module, name)


def _refuse(code: int, path: Any = None) -> OSError:
    return OSError(code, os.strerror(code), path)


def _is_open(path: Any) -> bool:
    """Whether this process has the file open or mapped: then it can be neither replaced nor removed."""
    wanted = os.path.realpath(os.fspath(path))
    if not os.path.exists(wanted):
        return False
    for number in os.listdir("/proc/self/fd"):
        try:
            if os.readlink(f"/proc/self/fd/{number}") == wanted:
                return True
        except OSError:
            continue
    with io.open_code("/proc/self/maps") as file:
        return wanted.encode() in file.read()


def _files() -> None:
    fsync, opened, replace, unlink, mkdir = os.fsync, os.open, os.replace, os.unlink, os.mkdir

    def sync(handle: int) -> None:
        if _GETFL(handle) & 3 == os.O_RDONLY:
            raise _refuse(errno.EBADF)
        fsync(handle)

    def open_handle(path: Any, *arguments: Any, **options: Any) -> int:
        if isinstance(path, str | os.PathLike) and os.path.isdir(path):
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return opened(path, *arguments, **options)

    def rename(source: Any, target: Any, **options: Any) -> None:
        for path in (source, target):
            if _is_open(path):
                raise PermissionError(errno.EACCES, "Access is denied", path)
        replace(source, target, **options)

    def remove(path: Any, **options: Any) -> None:
        if "dir_fd" not in options and _is_open(path):
            raise PermissionError(errno.EACCES, "The process cannot access the file", path)
        unlink(path, **options)

    def make(path: Any, *arguments: Any, **options: Any) -> None:
        if _RESERVED.search(os.path.basename(os.fspath(path))):
            raise OSError(errno.EINVAL, "The directory name is invalid", path)
        mkdir(path, *arguments, **options)

    shutil._use_fd_functions = False  # type: ignore[attr-defined]
    os.fsync, os.open, os.replace, os.rename = sync, open_handle, rename, rename
    os.unlink, os.remove, os.mkdir = remove, remove, make


def _GETFL(handle: int) -> int:
    return int(_real_fcntl(handle, 3))


_real_fcntl, _real_flock = fcntl.fcntl, fcntl.flock


def _locks() -> None:
    """Locks of bytes that nobody else can read then; the kernel's own locks stand for them."""
    sys.modules["fcntl"] = None  # type: ignore[assignment]
    module = types.ModuleType("msvcrt")
    module.LK_NBLCK = 2  # type: ignore[attr-defined]
    module.LK_UNLCK = 0  # type: ignore[attr-defined]
    read = os.read

    def locking(handle: int, mode: int, size: int) -> None:
        try:
            _real_flock(handle, 8 if mode == 0 else 2 | 4)
        except BlockingIOError:
            raise _refuse(errno.EACCES) from None

    def read_unlocked(handle: int, size: int) -> bytes:
        if stat.S_ISREG(os.fstat(handle).st_mode) and os.readlink(f"/proc/self/fd/{handle}").endswith(".lock"):
            try:
                _real_flock(handle, 1 | 4)
                _real_flock(handle, 8)
            except BlockingIOError:
                raise PermissionError(errno.EACCES, "Permission denied") from None
        return read(handle, size)

    module.locking = locking  # type: ignore[attr-defined]
    sys.modules["msvcrt"] = module
    os.read = read_unlocked


def _processes() -> None:
    _remove(signal, "SIGHUP")
    signal.SIGBREAK = 21  # type: ignore[attr-defined]
    real_signal, known = signal.signal, {2, 4, 6, 8, 11, 15, 21}

    def set_handler(number: int, handler: Any) -> Any:
        if number not in known:
            raise ValueError("invalid signal value")
        return real_signal(number, handler)

    signal.signal = set_handler
    subprocess.CREATE_NEW_PROCESS_GROUP = 0x200  # type: ignore[attr-defined]
    begin = subprocess.Popen.__init__

    def start(self: Any, *arguments: Any, **options: Any) -> None:
        if options.get("pass_fds") or options.get("preexec_fn") is not None:
            raise ValueError("not supported on Windows platforms")
        flags = options.pop("creationflags", 0)
        begin(self, *arguments, **options | {"start_new_session": bool(flags & 0x200)})

    def send_signal(self: Any, number: int) -> None:
        os.kill(self.pid, 9) if self.poll() is None else None  # TerminateProcess, whichever it was

    subprocess.Popen.__init__ = start  # type: ignore[method-assign]
    subprocess.Popen.send_signal = send_signal  # type: ignore[method-assign]
    subprocess.Popen.terminate = subprocess.Popen.kill = lambda self: self.send_signal(9)  # type: ignore[method-assign]
    real_map = mmap.mmap

    class Map(real_map):  # type: ignore[valid-type,misc]
        """A mapping without a file has a name instead."""

        def __new__(cls, handle: int, size: int, tagname: str | None = None, **options: Any) -> Any:
            if handle == -1 and tagname:
                path = os.path.join(tempfile.gettempdir(), f"mapping-{tagname}")
                with open(path, "r+b" if os.path.exists(path) else "w+b") as file:
                    file.truncate(size)
                    return real_map(file.fileno(), size)
            return real_map(handle, size, **options)

    mmap.mmap = Map  # type: ignore[misc]
