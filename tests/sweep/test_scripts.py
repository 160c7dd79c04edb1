"""The shell scripts of docs/sweeps.md, run as they stand there."""

from __future__ import annotations

import csv
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import ROOT

PAGE = (ROOT / "docs" / "sweeps.md").read_text(encoding="utf-8")
SCRIPTS = dict(re.findall(r"<!-- script: (\w+) -->\n```sh\n(.*?)```", PAGE, re.DOTALL))


@pytest.fixture
def shell(tmp_path: Path, base: Callable[[int], Path]) -> Callable[[str], subprocess.CompletedProcess[str]]:
    base(6)
    folder = tmp_path / "bin"
    folder.mkdir()
    command = folder / "charrnn"
    command.write_text(f'#!/bin/sh\nPYTHONPATH={ROOT} exec {sys.executable} -m charrnn "$@"\n')
    command.chmod(0o755)

    def run(script: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["bash", "-euc", script],
            cwd=tmp_path,
            env={**os.environ, "PATH": f"{folder}:{os.environ['PATH']}"},
            capture_output=True,
            text=True,
            timeout=120,
            check=True,
        )

    return run


def test_the_page_has_the_scripts() -> None:
    assert set(SCRIPTS) == {"loop", "xargs", "parallel", "plot", "compare", "slurm"}


@pytest.mark.extras
def test_loop_plot_and_compare(shell: Callable[[str], subprocess.CompletedProcess[str]], tmp_path: Path) -> None:
    done = shell(SCRIPTS["loop"])
    assert len(list((tmp_path / "checkpoints/loop").glob("*/summary.json"))) == 6
    assert "model.cell" in done.stdout
    if shutil.which("python3") and __import__("importlib.util").util.find_spec("matplotlib"):
        shell(SCRIPTS["plot"])
        assert (tmp_path / "best.png").stat().st_size > 1000
    compared = shell(SCRIPTS["compare"]).stdout
    best = shell("charrnn runs checkpoints/loop --top 2 --columns name --csv").stdout.split()[1:]
    assert len(best) == 2
    assert all(name in compared for name in best)
    assert all((tmp_path / "checkpoints/compare" / name / "summary.json").exists() for name in best)


@pytest.mark.extras
def test_xargs(shell: Callable[[str], subprocess.CompletedProcess[str]], tmp_path: Path) -> None:
    shell(SCRIPTS["xargs"])
    with (tmp_path / "ranked.csv").open() as file:
        table = list(csv.DictReader(file))
    assert sorted(row["model.cell"] for row in table) == ["gru", "lstm", "rnn"]


@pytest.mark.extras
def test_gnu_parallel(shell: Callable[[str], subprocess.CompletedProcess[str]], tmp_path: Path) -> None:
    if not shutil.which("parallel"):
        pytest.skip("GNU parallel is not installed")
    done = shell(SCRIPTS["parallel"])
    assert len(list((tmp_path / "checkpoints/parallel").glob("*/summary.json"))) == 4
    assert len(done.stdout.splitlines()) == 4


@pytest.mark.extras
def test_slurm_array(shell: Callable[[str], subprocess.CompletedProcess[str]], tmp_path: Path) -> None:
    (tmp_path / "sweep.yaml").write_text("base: base.yaml\ngrid: {model.cell: [gru, lstm]}\n")
    shell(SCRIPTS["slurm"])
    array = (tmp_path / "array.sh").read_text()
    assert "--array=1-2" in array
    shell("SLURM_ARRAY_TASK_ID=2 bash array.sh")  # what a node does with its number
    assert (tmp_path / "checkpoints/sweep/cell=lstm/summary.json").exists()
    assert not (tmp_path / "checkpoints/sweep/cell=gru").exists()
    steps = (tmp_path / "checkpoints/sweep/cell=lstm/history.jsonl").read_text()
    shell("SLURM_ARRAY_TASK_ID=2 bash array.sh")  # queued again: it is done, and goes on rather than being refused
    assert (tmp_path / "checkpoints/sweep/cell=lstm/history.jsonl").read_text() == steps
    (tmp_path / "checkpoints/sweep/cell=gru").mkdir()
    shutil.copy(tmp_path / "checkpoints/sweep/cell=lstm/config.yaml", tmp_path / "checkpoints/sweep/cell=gru")
    shell("SLURM_ARRAY_TASK_ID=1 bash array.sh")  # killed before its first checkpoint
    assert (tmp_path / "checkpoints/sweep/cell=gru/summary.json").exists()
