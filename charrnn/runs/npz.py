"""Writing an `.npz`, and reading one from anybody: plain arrays only, and never more memory than the file has bytes.

Nothing in a file that is read is believed before it has been checked against the bytes that are there: members must
be stored uncompressed, their sizes must add up to no more than the file, and an array's header must be in the one form
that NumPy writes and promise exactly the bytes that follow. No pickles, no expressions, no links.
"""

from __future__ import annotations

import math
import os
import re
import stat
import struct
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO

import numpy as np

from charrnn.errors import CheckpointError

_DIRECTORY_LIMIT = 1 << 20  # bytes of the archive's table of contents; a large model needs 50 thousand
_END = struct.Struct("<4s4H2LH")  # end of the table of contents, PKWARE's APPNOTE 4.3.16
_END64_LOCATOR = struct.Struct("<4sLQL")  # 4.3.15
_END64 = struct.Struct("<4sQ2H2L4Q")  # 4.3.14
_HEADER = re.compile(
    rb"\{'descr': '([<>|=]?[iufU]\d{1,9})', 'fortran_order': False, "
    rb"'shape': \(((?:\d{1,18}, ?)*(?:\d{1,18})?)\), \} *\n"
)


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """Name -> array of an `.npz` file.

    Raises:
        CheckpointError: missing, unreadable, or not a sound file of plain, finite arrays.
    """
    try:
        with _open(path) as file:
            size = os.fstat(file.fileno()).st_size
            if _directory_bytes(file, size) > _DIRECTORY_LIMIT:
                raise CheckpointError(f"{path}: not a charrnn checkpoint (too many members)")
            with zipfile.ZipFile(file) as archive:
                return dict(_members(path, archive, size))
    except FileNotFoundError:
        raise CheckpointError(f"{path}: no such checkpoint", hint="train one: charrnn train `config` FILE") from None
    except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError, ValueError, struct.error) as error:
        raise CheckpointError(f"{path}: not a charrnn checkpoint, or damaged ({error})") from None
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error.strerror or error}") from None


def write_arrays(file: IO[bytes], arrays: Mapping[str, np.ndarray]) -> None:
    """Write an uncompressed `.npz`, one array after the other, without a copy of any.

    It writes what `numpy.savez(..., allow_pickle=False)` writes; that function takes `allow_pickle` for the name of an
    array before NumPy 2.2.

    Raises:
        ValueError: an array of objects, which only a pickle could hold.
        OSError: the file cannot be written.
    """
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, np.asanyarray(array), version=(1, 0), allow_pickle=False)


def _open(path: Path) -> IO[bytes]:
    mode = path.lstat().st_mode
    if stat.S_ISLNK(mode):
        raise CheckpointError(
            f"{path}: a symbolic link", hint=f"give the file itself: {os.path.realpath(path)}, if you trust it"
        )
    if not stat.S_ISREG(mode):  # a device or a pipe may never end
        raise CheckpointError(f"{path}: not a regular file")
    return path.open("rb")


def _directory_bytes(file: IO[bytes], size: int) -> int:
    """Size that the archive claims for its table of contents, which `zipfile` would read whole."""
    if size < _END.size:
        raise zipfile.BadZipFile("too short for an archive")
    file.seek(size - _END.size)
    end = _END.unpack(file.read(_END.size))
    if end[0] != b"PK\x05\x06":
        raise zipfile.BadZipFile("no end of an archive, or something after it")
    claimed = int(end[5])
    if size >= _END.size + _END64_LOCATOR.size:
        file.seek(size - _END.size - _END64_LOCATOR.size)
        locator = _END64_LOCATOR.unpack(file.read(_END64_LOCATOR.size))
        if locator[0] == b"PK\x06\x07":
            file.seek(size - _END.size - _END64_LOCATOR.size - _END64.size)
            end64 = _END64.unpack(file.read(_END64.size))
            claimed = int(end64[8])
    return claimed


def _members(path: Path, archive: zipfile.ZipFile, size: int) -> Iterator[tuple[str, np.ndarray]]:
    members = archive.infolist()
    if any(m.compress_type != zipfile.ZIP_STORED or m.flag_bits & 1 for m in members):
        raise CheckpointError(f"{path}: not a charrnn checkpoint (compressed or encrypted members)")
    if sum(m.file_size for m in members) > size:
        raise CheckpointError(f"{path}: damaged: its members claim more bytes than the file has")
    names = [m.filename for m in members]
    if len(set(names)) < len(names):
        raise CheckpointError(f"{path}: damaged: two members have the same name")
    for member in members:
        if not member.filename.endswith(".npy") or stat.S_ISLNK(member.external_attr >> 16):
            raise CheckpointError(f"{path}: not a charrnn checkpoint (holds {member.filename[:60]!r})")
        name = member.filename[: -len(".npy")]
        try:
            yield name, _array(archive.read(member))
        except UnsoundError as error:
            raise CheckpointError(f"{path}: {name[:60]!r} {error}") from None


class UnsoundError(Exception):
    """What is wrong with an array."""


def _array(data: bytes) -> np.ndarray:
    if data[:8] != b"\x93NUMPY\x01\x00" or len(data) < 10:
        raise UnsoundError("is not an array of the .npy format 1.0")
    start = 10 + int.from_bytes(data[8:10], "little")
    header = _HEADER.fullmatch(data[10:start])
    if header is None:
        raise UnsoundError("has a header, a dtype or an order that no checkpoint has")
    shape = tuple(int(n) for n in header[2].replace(b" ", b"").split(b",") if n)
    try:
        dtype = np.dtype(header[1].decode())
    except (TypeError, ValueError):
        raise UnsoundError(f"has dtype {header[1].decode()}, which does not exist") from None
    if dtype.itemsize == 0 or math.prod(shape) * dtype.itemsize != len(data) - start:
        raise UnsoundError(f"has another size than its shape {shape} says")
    array: np.ndarray = np.frombuffer(data, dtype, offset=start).reshape(shape)
    if dtype.kind == "f" and not np.isfinite(array).all():
        raise UnsoundError("holds values that are not finite numbers")
    return array
