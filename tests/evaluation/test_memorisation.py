"""Copied n-grams against plain substring search."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from charrnn.evaluation.memorisation import copied, occurrences
from tests.conftest import Run

TEXTS = st.text(alphabet="abc", max_size=60)


def ids(text: str) -> np.ndarray:
    return np.array([ord(c) - 97 for c in text], np.uint16)


@given(text=TEXTS, source=st.text(alphabet="abc", max_size=200), n=st.integers(1, 12))
def test_every_n_gram_against_substring_search(text: str, source: str, n: int) -> None:
    places = occurrences(ids(text), ids(source), n)
    assert len(places) == max(0, len(text) - n + 1)
    for k, place in enumerate(places):
        piece = text[k : k + n]
        assert (piece in source) == (place >= 0)
        if place >= 0:
            assert source[place : place + n] == piece


@given(text=TEXTS, source=st.text(alphabet="abc", max_size=200))
def test_the_longest_piece(text: str, source: str) -> None:
    found = copied([ids(text)], ids(source), lengths=(1, 3))
    pieces = {text[i:j] for i in range(len(text)) for j in range(i + 1, len(text) + 1)}
    assert found.longest == max((len(p) for p in pieces if p in source), default=0)
    piece = text[found.start : found.start + found.longest]
    assert source[found.source_start : found.source_start + found.longest] == piece
    if len(text) < 3:
        assert math.isnan(found.shares[3])


def test_pieces_lie_within_one_text() -> None:
    found = copied([ids("abca"), ids(""), ids("bccc")], ids("aabcccb"), lengths=(2, 3, 5))
    assert (found.longest, found.start, found.source_start) == (4, 4, 2)  # not "abccc"
    assert found.shares[2] == pytest.approx(5 / 6)
    assert found.shares[3] == pytest.approx(3 / 4)
    assert math.isnan(found.shares[5])


def test_pieces_across_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("charrnn.evaluation.memorisation._CHUNK", 10)
    source = np.random.default_rng(0).integers(0, 50, 200).astype(np.uint16)
    for n in (1, 5, 9, 25):
        assert (occurrences(source, source, n) == np.arange(200 - n + 1)).all() or n < 3
        assert (occurrences(source, source, n) >= 0).all()


def test_the_commands(charrnn_here: Run, config_file: Path, text_file: Path, tmp_path: Path) -> None:
    trained = charrnn_here("train", "--config", config_file, "--quiet", "--run-dir", "checkpoints/a")
    assert trained.returncode == 0, trained.stderr
    report = json.loads(charrnn_here("eval", "--no-baselines", "--memorization", "--json").stdout)["memorisation"]
    assert set(report["generated"]["shares"]) == {"8", "12", "16", "24", "32", "50"}
    # This corpus repeats itself, so its held-out end stands in the training part.
    assert report["unseen_text"]["shares"]["50"] == 1.0
    assert report["generated"]["shares"]["50"] < 0.5
    source = text_file.read_text()[: int(0.9 * len(text_file.read_text()))]
    assert report["generated"]["longest_text"] in source
    table = charrnn_here("eval", "--no-baselines", "--memorization").stdout
    assert "n-grams" in table
    sampled = charrnn_here("sample", "--memorization", "--length", "60", "--seed", "1", "--no-include-prime")
    assert sampled.returncode == 0, sampled.stderr
    assert "occur in the training text" in sampled.stderr
    longest = int(sampled.stderr.split("longest piece: ")[1].split()[0])
    made = sampled.stdout[:-1]
    assert longest == max(j - i for i in range(60) for j in range(i, 61) if made[i:j] in source)
