"""The bytes of a file, unpacked where it is compressed, a piece at a time however much it unpacks to."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import lzma
import os
import zlib
from pathlib import Path
from types import TracebackType
from typing import IO, Protocol

from charrnn.errors import DataError
from charrnn.files import atomic_writer, unreadable, writing

_PIECE = 1 << 20
_MOST_TIMES, _ALWAYS = 500, 1 << 26  # as large as packed, or bytes, that a text may become; few shrink by more than 10
_XZ_MEMORY = 1 << 28  # a header may ask for 4 GiB; xz -9 needs 65 MiB
_MAGIC = {b"\x1f\x8b\x08": "gzip", b"BZh": "bzip2", b"\xfd7zXZ\x00": "xz"}


class _Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...

    def close(self) -> None: ...


class RawFile:
    """A file opened for reading; gzip, bzip2 and xz are recognised by their first bytes.

    Attributes:
        packed: "gzip", "bzip2", "xz" or None.

    Raises:
        DataError: it cannot be read, or its compressed data is damaged or cut short.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._held, self._unpacked = b"", 0
        try:
            self._file = path.open("rb")
            magic = self._file.read(10)
            self._file.seek(0)
            self._limit = max(_ALWAYS, _MOST_TIMES * os.fstat(self._file.fileno()).st_size)
        except OSError as error:
            raise unreadable(path, error) from None
        self.packed = _packing(magic)
        self._source = _unpacked(self._file, self.packed)

    def __enter__(self) -> RawFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._source.close()
        self._file.close()

    def peek(self, size: int) -> bytes:
        """The next `size` bytes, fewer at the end, without taking them."""
        while len(self._held) < size and (more := self._read(size - len(self._held))):
            self._held += more
        return self._held[:size]

    def read(self, size: int) -> bytes:
        """At most `size` bytes; none at the end."""
        if self._held:
            piece, self._held = self._held[:size], self._held[size:]
            return piece
        return self._read(size)

    def _read(self, size: int) -> bytes:
        try:
            piece = self._source.read(size)
        except (EOFError, zlib.error, lzma.LZMAError, OSError) as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise unreadable(self.path, error) from None
            reason = "it is cut short" if isinstance(error, EOFError) else str(error)
            raise DataError(f"{self.path}: the {self.packed} data is damaged: {reason}") from None
        self._unpacked += len(piece)
        if self.packed and self._unpacked > self._limit:
            raise DataError(
                f"{self.path}: unpacks to more than {_MOST_TIMES} times its size, as no text does",
                hint="unpack it to a file",
            )
        return piece


def _packing(magic: bytes) -> str | None:
    found = next((name for start, name in _MAGIC.items() if magic.startswith(start)), None)
    if found == "bzip2" and magic[4:] not in (b"1AY&SY", b"\x17rE8P\x90"):  # a text may well begin with BZh
        return None
    return found


def _unpacked(file: IO[bytes], packed: str | None) -> _Readable:
    if packed == "gzip":
        return gzip.GzipFile(fileobj=file, mode="rb")
    if packed == "bzip2":
        return bz2.BZ2File(file)
    return _XzFile(file) if packed == "xz" else file


class _XzFile:
    """`lzma.LZMAFile` with a limit to the memory that the file may ask for."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._decoder = lzma.LZMADecompressor(memlimit=_XZ_MEMORY)
        self._rest = b""

    def read(self, size: int) -> bytes:
        while True:
            if self._decoder.eof:
                self._rest = self._decoder.unused_data.lstrip(b"\0") or self._file.read(_PIECE).lstrip(b"\0")
                if not self._rest:
                    return b""
                self._decoder = lzma.LZMADecompressor(memlimit=_XZ_MEMORY)
            data, self._rest = self._rest, b""
            if self._decoder.needs_input and not data and not (data := self._file.read(_PIECE)):
                raise EOFError
            if piece := self._decoder.decompress(data, size):
                return piece

    def close(self) -> None:
        """Nothing of its own to close."""


def spool(stream: _Readable, folder: Path) -> Path:
    """Keep what can be read only once, such as standard input, as a file named by the SHA-256 of its text.

    Raises:
        DataError: its compressed data is damaged.
        SettingsError, StorageError: it cannot be kept there.
    """
    part = folder / f"incoming-{os.getpid()}-{id(stream):x}"
    with writing(folder, "the text", hint="set CHARRNN_HOME to a writable folder"):
        folder.mkdir(parents=True, exist_ok=True)
        try:
            with atomic_writer(part) as file:
                while piece := stream.read(_PIECE):
                    file.write(piece)
            target = spooled(folder, text_sha256(part))
            os.replace(part, target)
        finally:
            part.unlink(missing_ok=True)
    return target


def spooled(folder: Path, sha256: str) -> Path:
    """Where `spool` keeps the text with this hash."""
    return folder / f"{sha256}.txt"


def text_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, unpacked where it is compressed."""
    digest = hashlib.sha256()
    with RawFile(path) as file:
        while piece := file.read(_PIECE):
            digest.update(piece)
    return digest.hexdigest()
