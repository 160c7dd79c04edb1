"""What the Tab key completes."""

from __future__ import annotations

import io
import shutil
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
    return answered()


def answered() -> list[str]:
    """The lines that a shell gets."""
    out = io.StringIO()
    with redirect_stdout(out):
        completion.answer(app)
    return out.getvalue().splitlines()


def test_commands_options_and_choices(monkeypatch: pytest.MonkeyPatch) -> None:
    assert completed(monkeypatch, "tr") == ["train"]
    assert completed(monkeypatch, "inspect", "wei") == ["weights"]
    assert completed(monkeypatch, "sample", "--tem") == ["--temperature"]
    assert completed(monkeypatch, "train", "--progress", "p") == ["plain"]
    assert completed(monkeypatch, "train", "--minutes", "nan", "--progress", "p") == ["plain"]  # wrong, but not yet
    assert completed(monkeypatch, "help", "tr") == ["train"]


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


@pytest.mark.parametrize(
    ("shell", "line", "expected"),
    [
        ("fish", "charrnn train --config own", ["own.yaml"]),
        ("fish", "charrnn train --config quick", ["quickstart\tThe first run"]),
        ("fish", "charrnn train --set model.cell=g", ["model.cell=gru"]),
        ("zsh", "charrnn train --config own", ["local -a words=(own.yaml); _describe word words"]),
        ("zsh", "charrnn train --config che", ["compadd -S '' -- checkpoints/"]),
        ("zsh", "charrnn train --config it", ["""local -a words=('it'"'"'s: own.yaml'); _describe word words"""]),
        ("zsh", "charrnn train --set model.num_l", ["local -a words=(model.num_layers=1); _describe word words"]),
    ],
)
def test_answers_to_other_shells(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shell: str, line: str, expected: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "checkpoints").mkdir()
    for name in ("own.yaml", "it's: own.yaml"):
        (tmp_path / name).touch()
    monkeypatch.setenv("_CHARRNN_COMPLETE", f"complete_{shell}")
    monkeypatch.setenv("_TYPER_COMPLETE_ARGS", line)
    monkeypatch.setenv("_TYPER_COMPLETE_FISH_ACTION", "get-args")
    assert answered() == [item.replace("s: ", r"s\: ") for item in expected]


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """The folder of a `charrnn` that shells can start, with settings and runs in it."""
    program = tmp_path / "charrnn"
    program.write_text(f'#!/bin/sh\nPYTHONPATH="{ROOT}" exec "{sys.executable}" -m charrnn "$@"\n')
    program.chmod(0o755)
    (tmp_path / "my own.yaml").touch()
    for run in ("verse", "prose"):
        (tmp_path / "checkpoints" / run).mkdir(parents=True)
        (tmp_path / "checkpoints" / run / "config.yaml").touch()
    return tmp_path


@pytest.mark.extras  # needs bash
def test_bash_itself(program: Path) -> None:
    script = """
PATH="$PWD:$PATH"; eval "$(charrnn --show-completion)"
COMP_WORDS=(charrnn train --set model.cell = g); COMP_CWORD=5
_charrnn_completion charrnn; echo "${COMPREPLY[@]}"
COMP_WORDS=(charrnn runs --eff); COMP_CWORD=2
_charrnn_completion charrnn; echo "${COMPREPLY[@]}"
"""
    done = subprocess.run(["bash", "-c", script], cwd=program, capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("gru\n--effects\n", "")


# A line -> what Tab makes of it, or shows below it.
_TYPED = {
    "charrnn ins": "inspect", "charrnn inspect wei": "weights", "charrnn train --config qui": "quickstart",
    "charrnn train --config che": "checkpoints/", "charrnn train --set tr": "training.",
    "charrnn train --set training.kern": "training.kernels=", "charrnn train --set model.cell=g": "model.cell=gru",
    "charrnn sample checkpoints/v": "checkpoints/verse", "charrnn sample --tem": "--temperature",
}  # fmt: skip


@pytest.mark.extras
@pytest.mark.skipif(shutil.which("fish") is None, reason="needs fish")
def test_fish_itself(program: Path) -> None:
    script = "set -x PATH $PWD $PATH; charrnn --show-completion | source; for line in $argv; complete -C $line; end"
    done = subprocess.run(
        ["fish", "--no-config", "-c", script, *_TYPED, "charrnn train --config my"],
        cwd=program, capture_output=True, text=True, check=True,
    )  # fmt: skip
    words = [line.partition("\t")[0] for line in done.stdout.splitlines()]
    assert [word for word in _TYPED.values() if word not in words] == ["training."]  # fish shows all that begin so
    assert sum(word.startswith("training.") for word in words) > 20
    assert words[-1] == "my own.yaml"
    assert "quickstart\tThe first run" in done.stdout.splitlines()


@pytest.mark.extras
@pytest.mark.skipif(shutil.which("zsh") is None, reason="needs zsh")
def test_zsh_itself(program: Path) -> None:
    script = r"""
zmodload zsh/zpty; PATH="$PWD:$PATH"
zpty shell 'zsh -f -i'
zpty -w shell 'PS1=; PS2=; stty cols 200; autoload -Uz compinit; compinit -u -d .dump'
zpty -w shell 'eval "$(charrnn --show-completion)"'
zpty -w shell 'insert() { print -r -- "<<$BUFFER>>"; BUFFER= }; zle -N insert; bindkey "^X" insert; print REA""DY'
zpty -r shell out '*READY*'
for line in "$@"; do
  zpty -w -n shell "$line"$'\t\x18'
  zpty -r shell out '*>>*'
  print -r -- "${${out##*<<}%%>>*}"
done
zpty -d shell
"""
    lines = [*_TYPED, "charrnn train --config my"]
    done = subprocess.run(
        ["zsh", "-f", "-c", script, "zsh", *lines],
        cwd=program, capture_output=True, text=True, check=True, timeout=120,
    )  # fmt: skip
    typed = dict(zip(lines, done.stdout.splitlines(), strict=True))
    for line, word in _TYPED.items():
        finished = "" if word[-1] in "/=." else " "  # after a word that is complete comes the next one
        assert typed[line] == f"{line.rpartition(' ')[0]} {word}{finished}"
    assert typed[lines[-1]] == r"charrnn train --config my\ own.yaml "
