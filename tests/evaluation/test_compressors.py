"""Compressors: the figures are those of the real tools, in one read of the text."""

from __future__ import annotations

import bz2
import gzip
import lzma
from collections.abc import Iterator

import numpy as np
import pytest

from charrnn.evaluation import compressors as baselines
from charrnn.evaluation.compressors import compressed_bits_per_char

TEXT = "".join(chr(int(c)) for c in np.random.default_rng(0).choice([97, 98, 99, 100, 233, 0x4E2D], 100_000))
DATA = TEXT.encode("utf-8")


def test_figures_are_the_sizes_of_the_files_the_tools_write():
    sizes = {
        "gzip": len(gzip.compress(DATA, 9, mtime=0)),
        "xz": len(lzma.compress(DATA, preset=9 | lzma.PRESET_EXTREME)),
        "bz2": len(bz2.compress(DATA, 9)),
    }
    assert compressed_bits_per_char(DATA, len(TEXT)) == {name: 8 * size / len(TEXT) for name, size in sizes.items()}


def test_bits_are_counted_per_character_not_per_byte():
    per_char, per_byte = compressed_bits_per_char(DATA, len(TEXT)), compressed_bits_per_char(DATA, len(DATA))
    for name in ("gzip", "xz", "bz2"):
        assert per_char[name] * len(TEXT) == pytest.approx(per_byte[name] * len(DATA))
        assert per_char[name] > np.log2(6)  # no coder beats the entropy of a source without memory


@pytest.mark.parametrize("size", [7, 4096, 10**6])
def test_pieces_give_the_figures_of_the_whole(size: int, monkeypatch: pytest.MonkeyPatch):
    data = DATA[:30_000]
    whole = compressed_bits_per_char(data, 20_000)
    monkeypatch.setattr(baselines, "_CHUNK_BYTES", size)
    assert compressed_bits_per_char(data, 20_000) == whole
    assert compressed_bits_per_char((data[k : k + size] for k in range(0, len(data), size)), 20_000) == whole


def test_pieces_are_let_go_once_read():
    alive: set[int] = set()

    class Piece(bytes):
        def __del__(self) -> None:
            alive.discard(id(self))

    def pieces() -> Iterator[bytes]:
        for _ in range(10):
            assert len(alive) <= 1
            piece = Piece(DATA[:20_000])
            alive.add(id(piece))
            yield piece
            del piece

    expected = compressed_bits_per_char(DATA[:20_000] * 10, len(TEXT))
    assert compressed_bits_per_char(pieces(), len(TEXT)) == expected


def test_one_character_costs_the_headers():
    assert all(8 * 10 < bits < 8 * 100 for bits in compressed_bits_per_char(b"a", 1).values())


@pytest.mark.parametrize("data", [b"", b"abc", iter([b"abc"])])
def test_no_characters_are_refused(data: bytes | Iterator[bytes]):
    with pytest.raises(ValueError, match="the text is empty"):
        compressed_bits_per_char(data, 0)
