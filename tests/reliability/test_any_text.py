"""Texts of every kind train, sample and evaluate, or are refused in one line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.conftest import Run, assert_one_line_error

QUICK = ("--set", "training.max_steps=3", "--set", "model.hidden_size=8", "--set", "training.seq_length=8", "-q")
TEXTS = {
    "emoji": "👩‍👩‍👧🇸🇪👍🏽 and words " * 40,
    "combining marks": "e\u0301 n\u0303 o\u0308\u0332 " * 60,
    "right to left": "שלום עולם مرحبا بالعالم " * 40,
    "null characters": "a\0b\0\0c" * 60,
    "windows line ends": "one\r\ntwo\r\n" * 40,
    "terminal escapes": "\x1b[2J\x1b]0;title\x07red\x9b31m" * 40,
    "one symbol": "a" * 300,
    "one huge line": "word " * 20_000,
    "markup": "<script>[bold]{x}</script> [/]" * 30,
}


@pytest.mark.parametrize("name", TEXTS)
def test_texts_of_every_kind_train_and_sample(name: str, charrnn_here: Run, tmp_path: Path) -> None:
    text = tmp_path / "text.txt"
    text.write_text(TEXTS[name], encoding="utf-8", newline="")
    for encoding in ("utf-8", "bytes"):
        run = tmp_path / encoding
        done = charrnn_here(
            "train", "-c", "quickstart", "--set", f"corpus.source={text}", "--set", f"corpus.encoding={encoding}",
            "--run-dir", run, *QUICK,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        sampled = charrnn_here("sample", run, "--length", 50, "--seed", 1, "--no-include-prime")
        assert sampled.returncode == 0, sampled.stderr
        if encoding == "utf-8":
            assert set(sampled.stdout.removesuffix("\n")) <= set(TEXTS[name])
        report = json.loads(charrnn_here("eval", run, "--json").stdout)
        assert report["loss"] >= 0.0


def test_what_cannot_be_learned_from_is_refused_in_one_line(charrnn_here: Run, tmp_path: Path) -> None:
    latin, wide = "naïve".encode("latin-1") * 50, "text".encode("utf-16") * 50
    cases = {"empty": b"", "short": b"abc", "latin": latin, "wide": wide}
    train = ("train", "-c", "quickstart", "--run-dir", tmp_path / "r", *QUICK)
    errors = {}
    for name, content in cases.items():
        path = tmp_path / f"{name}.txt"
        path.write_bytes(content)
        done = charrnn_here(*train, "--set", f"corpus.source={path}")
        assert_one_line_error(done, 3)
        assert not (tmp_path / "r").exists()
        errors[name] = done.stderr
    assert "at offset 2" in errors["latin"]
    assert "encoding: bytes" in errors["wide"]


def test_marks_and_line_ends_are_reported(charrnn_here: Run, tmp_path: Path) -> None:
    path = tmp_path / "text.txt"
    path.write_bytes(b"\xef\xbb\xbf" + b"one\r\n" * 100)
    done = charrnn_here(
        "train", "-c", "quickstart", "--set", f"corpus.source={path}", *QUICK[:-1], "--progress", "plain"
    )
    assert done.returncode == 0
    assert "byte-order mark was dropped" in done.stderr
    assert "CR/LF" in done.stderr


@pytest.mark.extras  # takes long
def test_a_hundred_thousand_symbols(charrnn_here: Run, tmp_path: Path) -> None:
    text = "".join(chr(c) for c in range(0x20, 0x20 + 101_000) if not 0xD800 <= c < 0xE000)
    path = tmp_path / "text.txt"
    path.write_text(text, encoding="utf-8", newline="")
    done = charrnn_here(
        "train", "-c", "quickstart", "--set", f"corpus.source={path}", "--set", "training.batch_size=2",
        "--set", "corpus.val_fraction=0.001", "--json", *QUICK,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["vocab_size"] > 98_000
    assert len(charrnn_here("sample", "--length", 5, "--seed", 1).stdout) == 6


def test_bytes_come_out_as_whole_characters(tmp_path: Path) -> None:
    from charrnn.data.vocabulary import TextDecoder, Vocabulary

    data = "é€😀".encode()
    vocabulary = Vocabulary.of(data)
    decoder = TextDecoder(vocabulary)
    pieces = [decoder.feed(int(i)) for i in vocabulary.encode(data)]
    assert [p for p in pieces if p] == ["é", "€", "😀"]
    assert decoder.finish() == ""
    decoder.feed(int(vocabulary.encode(data)[0]))
    assert decoder.finish() == "\ufffd"
