"""Errors about a text say which one."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import SENTENCES, Run, assert_one_line_error


@pytest.fixture
def few(tmp_path: Path) -> Path:
    (tmp_path / "few.txt").write_text("hello world\n")
    (tmp_path / "few.yaml").write_text("corpus: {source: few.txt}\ntraining: {max_steps: 2, seq_length: 4}\n")
    return tmp_path


@pytest.mark.parametrize(
    "words",
    [
        "train few.txt", "config suggest few.txt", "find-lr --config few.yaml --set training.seq_length=64",
        "train few.yaml --set corpus.documents=lines --set corpus.split=shuffled",
        "train few.yaml --set corpus.val_fraction=0.01", "train few.yaml --set corpus.document_separator=@@",
        "compare few.yaml --budget 1s --set training.seq_length=64",
    ],
)  # fmt: skip
def test_a_text_that_is_too_short_is_named(charrnn_here: Run, few: Path, words: str) -> None:
    assert_one_line_error(charrnn_here(*words.split()), 3, "error: few.txt: ")


def test_a_text_that_is_too_short_for_a_model_is_named(charrnn_here: Run, runs: Path, few: Path) -> None:
    for words in ("inspect memory", "inspect units --find upper-case --length 9", "inspect errors --start 11"):
        assert_one_line_error(charrnn_here(*words.split(), runs / "a", "--text", "few.txt"), 3, "error: few.txt: ")
    for words in ("inspect memory --steps 5000", "inspect units --start 99999"):
        assert_one_line_error(charrnn_here(*words.split(), runs / "a"), 3, "text.txt, val part: ")


def test_so_short_a_text_trains_in_windows_that_fit(
    charrnn_here: Run, few: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("charrnn.training.choice._MEASURED_SECONDS", 0.01)
    (few / "short.txt").write_text(SENTENCES[:33])
    done = charrnn_here("config", "suggest", "short.txt", "--set", "training.seq_length=8")
    assert done.returncode == 0, done.stderr
    assert "seq_length: 8" in done.stdout
