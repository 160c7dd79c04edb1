"""What the Tab key completes."""

from __future__ import annotations

import io
import subprocess
import sys
from contextlib import redirect_stdout
from pathlib import Path

import pytest

from charrnn.cli import completion
from charrnn.cli.app import app
from charrnn.nn.cells import CELLS
from tests.conftest import ROOT


def completed(monkeypatch: pytest.MonkeyPatch, *words: str) -> list[str]:
    """What bash gets for a line of these words, of which the last is being typed."""
    monkeypatch.setenv("_CHARRNN_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", "\n".join(["charrnn", *words]))
    monkeypatch.setenv("COMP_CWORD", str(len(words)))
    out = io.StringIO()
    with redirect_stdout(out):
        completion.answer(app)
    return out.getvalue().split()


def test_commands_options_and_choices(monkeypatch: pytest.MonkeyPatch) -> None:
    assert completed(monkeypatch, "tr") == ["train"]
    assert completed(monkeypatch, "inspect", "wei") == ["weights"]
    assert completed(monkeypatch, "sample", "--tem") == ["--temperature"]
    assert completed(monkeypatch, "train", "--progress", "p") == ["plain"]


def test_recipes_and_settings_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny.yaml").touch()
    (tmp_path / "tiny.txt").touch()
    built_in = [path.stem for path in sorted((ROOT / "configs").glob("tiny*.yaml"))]
    assert completed(monkeypatch, "train", "--config", "tiny") == [*built_in, "tiny.yaml"]


def test_keys_and_values_of_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    assert set(completed(monkeypatch, "train", "--set", "model.num")) == {"model.num_layers=1"}
    assert {"model.cell=", "model.dropout="} < set(completed(monkeypatch, "compare", "rnn", "--set", "model."))
    others = [cell for cell in sorted(CELLS) if cell != "lstm"]  # the default comes first
    assert completed(monkeypatch, "train", "--set", "model.cel") == [f"model.cell={c}" for c in ("lstm", *others)]
    # bash divides words at the equals sign, and replaces only what comes after it
    assert completed(monkeypatch, "train", "--set", "model.cell", "=") == ["lstm", *others]
    assert completed(monkeypatch, "train", "--set", "model.cell", "=", "g") == ["gru"]
    assert completed(monkeypatch, "train", "--set", "training.random_offsets", "=") == ["false", "true"]
    assert completed(monkeypatch, "train", "--set", "training.patience", "=") == ["null"]
    assert "tiny-shakespeare" in completed(monkeypatch, "train", "--set", "corpus.source", "=")


def test_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("checkpoints/a", "checkpoints/a/inside", "checkpoints/sweep/x", "elsewhere/b"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "config.yaml").touch()
    assert completed(monkeypatch, "sample", "") == ["checkpoints/a", "checkpoints/sweep/x"]
    assert completed(monkeypatch, "watch", "checkpoints/s") == ["checkpoints/sweep/x"]
    assert completed(monkeypatch, "plot", "elsewhere/") == ["elsewhere/b"]
    assert completed(monkeypatch, "eval", "else") == ["elsewhere/"]


def test_nothing_is_said_in_the_middle_of_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(completion, "_settings", lambda: 1 / 0)
    assert completed(monkeypatch, "train", "--set", "m") == []


@pytest.mark.extras  # needs bash
def test_bash_itself(tmp_path: Path) -> None:
    program = tmp_path / "charrnn"
    program.write_text(f'#!/bin/sh\nPYTHONPATH="{ROOT}" exec "{sys.executable}" -m charrnn "$@"\n')
    program.chmod(0o755)
    script = """
PATH="$PWD:$PATH"; eval "$(charrnn --show-completion)"
COMP_WORDS=(charrnn train --set model.cell = g); COMP_CWORD=5
_charrnn_completion charrnn; echo "${COMPREPLY[@]}"
COMP_WORDS=(charrnn runs --eff); COMP_CWORD=2
_charrnn_completion charrnn; echo "${COMPREPLY[@]}"
"""
    done = subprocess.run(["bash", "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("gru\n--effects\n", "")
