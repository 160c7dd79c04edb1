"""Vocabularies, encoding, splits and windows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from charrnn.data import encode
from charrnn.data.encode import encode_text
from charrnn.data.reading import TextRules
from charrnn.data.vocabulary import Vocabulary
from charrnn.data.windows import WindowStream, split_bounds
from charrnn.errors import DataError

texts = st.text(st.characters(codec="utf-8"), min_size=1, max_size=200)


@given(texts)
def test_every_text_comes_back_from_its_ids(text: str) -> None:
    vocabulary = Vocabulary.of(text)
    assert vocabulary.decode(vocabulary.encode(text)) == text
    assert Vocabulary.from_meta(vocabulary.to_meta()) == vocabulary
    raw = text.encode()
    assert Vocabulary.of(raw).decode(Vocabulary.of(raw).encode(raw)) == raw


@given(texts)
def test_an_encoded_file_holds_the_same_ids(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    folder = tmp_path_factory.mktemp("encode")
    (folder / "a.txt").write_text("x" + text, encoding="utf-8", newline="")
    encoded = encode_text([folder / "a.txt"], "utf-8", folder / "cache")
    assert encoded.vocabulary.decode(encoded.ids) == "x" + text
    assert encoded.ids.dtype == np.min_scalar_type(len(encoded.vocabulary) - 1)


def test_characters_split_between_pieces_are_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("charrnn.data.encode._CHUNK_BYTES", 5)
    (tmp_path / "a.txt").write_text("né€😀" * 9, encoding="utf-8")
    encoded = encode_text([tmp_path / "a.txt"], "utf-8", tmp_path)
    assert encoded.vocabulary.decode(encoded.ids) == "né€😀" * 9


def test_progress_is_of_the_bytes_of_both_passes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encode, "_CHUNK_BYTES", 4)
    files = [tmp_path / "a.txt", tmp_path / "b.txt"]
    files[0].write_bytes(b"abcdefghij")
    files[1].write_bytes(b"klmnop")
    for rules in (None, TextRules("utf-8", after_files="--")):  # what is put between the files is not read from them
        seen: list[tuple[int, int | None]] = []
        encode_text(
            files, "utf-8", tmp_path / "cache", rules=rules, progress=lambda *counts, seen=seen: seen.append(counts)
        )
        assert {total for _, total in seen} == {32}
        assert list(dict.fromkeys(done for done, _ in seen)) == [4, 8, 10, 14, 16, 20, 24, 26, 30, 32]


def test_invalid_utf8_is_refused_with_its_offset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("charrnn.data.encode._CHUNK_BYTES", 7)
    (tmp_path / "a.bin").write_bytes("déjà vu ".encode() * 3 + b"\xff\xfe" + b"more")
    offset = len("déjà vu ".encode() * 3)
    with pytest.raises(DataError, match=f"byte 0xFF at offset {offset}") as caught:
        encode_text([tmp_path / "a.bin"], "utf-8", tmp_path)
    assert "bytes" in (caught.value.hint or "")
    assert len(encode_text([tmp_path / "a.bin"], "bytes", tmp_path).ids) == offset + 6
    (tmp_path / "b.txt").write_bytes("café".encode()[:-1])
    with pytest.raises(DataError, match="at offset 3"):
        encode_text([tmp_path / "b.txt"], "utf-8", tmp_path)


def test_byte_order_marks_are_dropped_and_line_ends_kept(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"\xef\xbb\xbfone\r\ntwo\r\n")
    encoded = encode_text([tmp_path / "a.txt"], "utf-8", tmp_path)
    assert encoded.vocabulary.decode(encoded.ids) == "one\r\ntwo\r\n"
    assert "byte-order mark" in encoded.notes[0]
    assert "2 CR/LF" in encoded.notes[1]


def test_a_changed_text_is_encoded_anew(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("abc" * 9)
    first = encode_text([path], "utf-8", tmp_path / "c")
    path.write_text("abd" * 9)
    second = encode_text([path], "utf-8", tmp_path / "c")
    assert first.vocabulary.decode(first.ids) == "abc" * 9
    assert second.vocabulary.decode(second.ids) == "abd" * 9
    assert len(list((tmp_path / "c").glob("*.ids"))) == 2


def test_unknown_symbols_are_named_with_their_place() -> None:
    vocabulary = Vocabulary.of("abc ")
    with pytest.raises(DataError, match=r"'é' \(U\+00E9\) at position 2 and 1 more are not"):
        vocabulary.encode("abéx")
    assert vocabulary.decode(vocabulary.encode("abéx", unknown="skip")) == "ab"
    assert vocabulary.decode(vocabulary.encode("abéx", unknown="replace")) == "ab  "


def test_splits_are_contiguous_and_complete() -> None:
    bounds = split_bounds(1_115_394, val_fraction=0.1, test_fraction=0.0)
    assert bounds == {"train": (0, 1_003_854), "val": (1_003_854, 1_115_394), "test": (1_115_394, 1_115_394)}
    bounds = split_bounds(1000, val_fraction=0.2, test_fraction=0.1)
    assert [b[0] for b in bounds.values()] + [1000] == [0, *(b[1] for b in bounds.values())]


@given(st.integers(2, 400), st.integers(1, 12), st.integers(1, 20))
def test_an_epoch_predicts_every_symbol(size: int, batch: int, length: int) -> None:
    ids = np.arange(size, dtype=np.uint16)
    if size - 1 < length:
        with pytest.raises(DataError, match=r"training\.seq_length"):
            WindowStream(ids, batch, length)
        return
    stream = WindowStream(ids, batch, length)
    seen = np.zeros(size, int)
    last: np.ndarray | None = None
    for k in range(stream.windows_per_epoch):
        window = stream.window(k)
        assert window.inputs.shape[0] <= length
        np.testing.assert_array_equal(window.targets, window.inputs + 1)  # the ids count up
        if last is not None:
            np.testing.assert_array_equal(window.inputs[0], last)  # each stream goes on where it stopped
        last = window.targets[-1]
        np.add.at(seen, window.targets, 1)
    assert seen[0] == 0
    assert (seen[1:] >= 1).all()
    assert seen.sum() - (size - 1) == stream.repeated < stream.columns


def test_documents_begin_after_their_separator() -> None:
    vocabulary = Vocabulary.of("ab|\n")
    ids = vocabulary.encode("aba|\nbb|\na|b\n|a|\n" * 2)
    stream = WindowStream(ids, 1, 8, separator=vocabulary.encode("|\n"))
    found = [
        k * 8 + int(t)
        for k in range(stream.windows_per_epoch)
        for t, _ in (stream.window(k).resets if stream.window(k).resets is not None else [])
    ]
    text = vocabulary.decode(ids)
    assert isinstance(text, str)
    assert found == [i for i in range(2, len(text) - 1) if text[i - 2 : i] == "|\n"]
