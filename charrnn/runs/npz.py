"""Write an `.npz`, or read one from anybody: plain arrays only, in memory of a few times the file's size.

Nothing in a file is trusted before it has been checked against the actual bytes: members must
be stored uncompressed, their sizes must add up to no more than the file, and an array's header must have the one form
that NumPy writes and match the number of bytes that follow. No pickles, no expressions, no links.
"""

from __future__ import annotations

import contextlib
import io
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
from charrnn.files import IrregularFileError, open_regular
from charrnn.runs.reading import run_meant

_DIRECTORY_LIMIT = 1 << 20  # bytes of the archive's table of contents; a large model needs 50 thousand
BROKEN = (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError, ValueError, OverflowError, struct.error)
# `numpy.lib.format` reads headers with `ast.literal_eval`, which accepts more than checkpoints need; a regex does not.
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
        with open_regular(path) as file, open_archive(file) as archive:
            return dict(_arrays(path, archive))
    except FileNotFoundError:
        hint = run_meant(path, "train one: charrnn train my.txt")
        raise CheckpointError(f"{path}: no such checkpoint", hint=hint) from None
    except IrregularFileError as error:
        link = os.path.realpath(path) if path.is_symlink() else None
        hint = None if link is None else f"give the file itself: {link}, if you trust it"
        raise CheckpointError(f"{path}: {error.strerror}", hint=hint) from None
    except BROKEN as error:
        hint = run_meant(path, "give a run's directory, or a checkpoint in it; charrnn runs lists runs")
        raise CheckpointError(f"{path}: not a charrnn checkpoint, or damaged ({error})", hint=hint) from None
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error.strerror or error}") from None


def write_arrays(file: IO[bytes], arrays: Mapping[str, np.ndarray]) -> None:
    """Write an uncompressed `.npz`, one array after the other, without a copy of any.

    It writes what `numpy.savez(..., allow_pickle=False)` writes; before NumPy 2.2 that function takes `allow_pickle`
    for the name of an array.

    Raises:
        ValueError: an array of objects, which only a pickle could hold.
        OSError: the file cannot be written.
    """
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, np.asanyarray(array), version=(1, 0), allow_pickle=False)


@contextlib.contextmanager
def open_archive(file: IO[bytes]) -> Iterator[zipfile.ZipFile]:
    """A ZIP file whose members are uncompressed, have distinct names and fit into the file.

    Args:
        file: a regular file, open.

    Raises:
        zipfile.BadZipFile: it is not such a file; reading a member raises this or one of `BROKEN`.
    """
    size = os.fstat(file.fileno()).st_size
    modest = _Modest(file)
    with zipfile.ZipFile(modest) as archive:
        members = archive.infolist()
        if any(m.compress_type != zipfile.ZIP_STORED or m.flag_bits & 1 for m in members):
            raise zipfile.BadZipFile("compressed or encrypted members")
        if any(m.compress_size != m.file_size for m in members) or sum(m.file_size for m in members) > size:
            raise zipfile.BadZipFile("its members claim more bytes than the file has")
        if len({m.filename for m in members}) < len(members):
            raise zipfile.BadZipFile("two members have the same name")
        modest.limit = size
        yield archive


class _Modest(io.BufferedReader):
    """A file that returns at most `limit` bytes at a time: `zipfile` requests as much as a directory claims to have."""

    limit = _DIRECTORY_LIMIT

    def __init__(self, file: IO[bytes]) -> None:
        super().__init__(io.FileIO(file.fileno(), closefd=False))

    def read(self, size: int | None = -1, /) -> bytes:
        """See the class."""
        if size is not None and size > self.limit:
            raise zipfile.BadZipFile("too many members")
        return super().read(size)


def _arrays(path: Path, archive: zipfile.ZipFile) -> Iterator[tuple[str, np.ndarray]]:
    for member in archive.infolist():
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
        raise UnsoundError(f"has a size that does not match its shape {shape}")
    array: np.ndarray = np.frombuffer(data, dtype, offset=start).reshape(shape)
    if dtype.kind == "f" and not np.isfinite(array).all():
        raise UnsoundError("holds values that are not finite numbers")
    return array
