"""Every option of the commands that generate and score, used once from a real process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.test_sample_control import runs
from tests.cli_reference import commands
from tests.conftest import ROOT

__all__ = ["runs"]

SAMPLE = [
    "--length 20 --prime the --seed 1 --num-samples 2 --separator == --unknown skip --no-include-prime --quiet --raw",
    "--prime-file prime.txt --seed 1 --best-of 3 --include-prime --json",
    "--fill form.txt --seed 1 --unknown skip --length 10",
    "--seed 1 --stop . --stop-on-newline --until-words 4 --color surprise --memorisation",
    "--beam 3 --length-penalty 0.5 --length 10",
    "--interactive --seed 1 --length 5",
    "--seed 1 --length 20 --temperature 0.9 --top-k 8 --top-p 0.95 --min-p 0.01 --typical 0.9 --top-n-sigma 3 "
    "--repetition-penalty 1.1 --presence-penalty 0.1 --frequency-penalty 0.1 --penalty-window 30 --ban q "
    "--dry-multiplier 0.5 --dry-base 1.5 --dry-allowed-length 5 --dry-window 100 --dry-breakers . "
    "--xtc-probability 0.2 --xtc-threshold 0.2 --logit-bias e=0.5 --mirostat-tau 3 --mirostat-eta 0.2",
    "--seed 1 --length 20 --dynamic-temperature 0.5:1.2 --dynamic-exponent 1 --order top-k,min-p,temperature --top-k 5",
]
OTHERS = {
    "charrnn eval": [
        "a --split val --no-baselines --json --dynamic --dynamic-rate 0.0001 --memorisation",
        "a --text form.txt --unknown skip --baselines",
        "a --text form.txt --unknown skip --per-char json",
        "a --text form.txt --unknown skip --per-line",
        "a --text form.txt --unknown skip --surprising 2",
    ],
    "charrnn rank": ["form.txt a --by total --prime the --top 1 --unknown skip --json"],
    "charrnn compress": [
        "a form.txt --output f.crnn --streams 2 --no-baselines --json",
        "a form.txt -o g.crnn --baselines --quiet",
    ],
    "charrnn decompress": ["a f.crnn --output back.txt --quiet"],
    "charrnn export": ["a --to json --output m.json"],
    "charrnn import": ["m.json --run-dir imported --overwrite"],
}  # fmt: skip
# Used where their extra is: --constrain in test_sample_control, names of PyTorch's parts in tests/export.
ELSEWHERE = {"--constrain", "--vocab", "--rnn", "--head", "--embedding"}


def options(name: str) -> set[str]:
    """The long spellings of a command's options; of a pair such as --x/--no-x both."""
    found = set()
    for key, command in commands():
        if key == name:
            for parameter in command.params:  # type: ignore[attr-defined]
                if parameter.param_type_name == "option":
                    found |= {word for word in (*parameter.opts, *parameter.secondary_opts) if word.startswith("--")}
    return found - {"--help"}


def used(lines: list[str]) -> set[str]:
    return {word for line in lines for word in line.split() if word.startswith("--")}


def test_none_is_forgotten() -> None:
    assert options("charrnn sample") - ELSEWHERE == used(SAMPLE)
    for name, lines in OTHERS.items():
        assert options(name) - ELSEWHERE == used(lines), name


def run(folder: Path, words: list[str], stdin: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "charrnn", *words], cwd=folder, input=stdin, capture_output=True, text=True, timeout=60,
        env={**os.environ, "PYTHONPATH": str(ROOT)}, check=False,
    )  # fmt: skip


@pytest.mark.parametrize("line", SAMPLE)
def test_sample(runs: Path, line: str) -> None:
    (runs / "form.txt").write_text("the {{word}} sat")
    (runs / "prime.txt").write_text("the cat")
    done = run(runs, ["sample", "a", *line.split()], stdin="the cat\n")
    assert done.returncode == 0, done.stderr
    assert done.stdout


def test_the_others(runs: Path) -> None:
    (runs / "form.txt").write_text("the cat sat on the mat\nthe dog ran")
    for name, lines in OTHERS.items():
        for line in lines:
            done = run(runs, [*name.split()[1:], *line.split()])
            assert done.returncode == 0, (name, line, done.stderr)
    assert (runs / "back.txt").read_text() == (runs / "form.txt").read_text()
