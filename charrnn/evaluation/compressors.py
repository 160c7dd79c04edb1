"""Bits per character of gzip, xz and bz2, for comparison."""

from __future__ import annotations

import bz2
import lzma
import zlib
from collections.abc import Iterable, Iterator
from typing import Protocol

_CHUNK_BYTES = 1 << 20
_XZ = {"id": lzma.FILTER_LZMA2, "preset": 9 | lzma.PRESET_EXTREME, "dict_size": 8 << 20}


class _Coder(Protocol):
    """The part of a compressor object that is needed."""

    def compress(self, data: bytes, /) -> bytes: ...
    def flush(self) -> bytes: ...


def compressed_bits_per_char(data: bytes | Iterable[bytes], characters: int) -> dict[str, float]:
    """Bits per character that gzip, xz and bz2 need, each at its strongest setting.

    Neither the text nor its compressed form is held in memory; only the compressors' own windows are, of which
    xz's is by far the largest. Its dictionary is kept to 8 MiB (some 100 MB in all; its strongest setting would take
    0.7 GB), which changes nothing for texts up to that size.

    Args:
        data: the text's bytes, whole or in pieces; pieces are read once, in order.
        characters: how many characters (or bytes, in byte mode) they are.

    Returns:
        Name -> bits per character, file header and checksum included: `gzip -9`, `xz -9e --lzma2=dict=8MiB`,
        `bzip2 -9`.

    Raises:
        ValueError: no characters.
    """
    if characters < 1:
        raise ValueError("the text is empty")
    coders: dict[str, _Coder] = {
        "gzip": zlib.compressobj(9, zlib.DEFLATED, 31),  # 31: with the header and trailer of a .gz file
        "xz": lzma.LZMACompressor(filters=[_XZ]),
        "bz2": bz2.BZ2Compressor(9),
    }
    sizes = dict.fromkeys(coders, 0)
    for piece in _pieces(data) if isinstance(data, bytes) else data:
        for name, coder in coders.items():
            sizes[name] += len(coder.compress(piece))
    for name, coder in coders.items():
        sizes[name] += len(coder.flush())
    return {name: 8 * size / characters for name, size in sizes.items()}


def _pieces(data: bytes) -> Iterator[bytes]:
    for start in range(0, len(data), _CHUNK_BYTES):
        yield data[start : start + _CHUNK_BYTES]
