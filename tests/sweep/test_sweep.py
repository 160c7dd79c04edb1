"""Sweeps as a user runs them: real processes, killed, resumed, failing; the same numbers by hand."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from charrnn.cli.views.sweep import short_names
from charrnn.config.load import load_config
from charrnn.sweep.executors import HistoryTail, core_groups
from charrnn.sweep.plan import overridden
from tests.conftest import ROOT, Run, assert_one_line_error
from tests.sweep.processes import begin, wait_until


def children(process: int) -> list[int]:
    found = subprocess.run(["ps", "-eo", "pid,ppid"], capture_output=True, text=True, check=True).stdout
    return [int(pid) for pid, parent in (line.split() for line in found.splitlines()[1:]) if int(parent) == process]


def rows(folder: Path) -> dict[str, dict[str, Any]]:
    found = json.loads((folder / "results.json").read_text())["runs"]
    return {row["name"]: row for row in found}


@pytest.mark.extras
def test_killed_half_way_and_resumed(charrnn: Run, tmp_path: Path, base: Callable[[int], Path]) -> None:
    base(120)
    (tmp_path / "s.yaml").write_text(
        "base: base.yaml\ngrid: {model.cell: [rnn, gru], model.hidden_size: [8, 12]}\nseeds: [1, 2, 3]\n"
    )
    sweep = begin(tmp_path, "s.yaml", "--jobs", "2")
    folder = tmp_path / "checkpoints" / "s"
    wait_until(lambda: len(list(folder.glob("*/summary.json"))) >= 4)
    sweep.send_signal(signal.SIGKILL)
    sweep.wait()
    finished = {path.parent.name: path.stat().st_mtime_ns for path in folder.glob("*/summary.json")}
    assert 4 <= len(finished) < 12
    done = charrnn("sweep", "s.yaml", "--resume", "--jobs", "2", "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["counts"] == {"done": 12}
    assert len(result["runs"]) == 12
    assert {row["status"] for row in result["runs"]} == {"done"}
    losses = [row["loss"] for row in result["runs"]]
    assert losses == sorted(losses)
    for name, stamp in finished.items():  # none run again after it was done
        assert (folder / name / "summary.json").stat().st_mtime_ns == stamp
        assert json.loads((folder / name / "trial.json").read_text())["attempts"] == 1
    for path in folder.glob("*/history.jsonl"):  # and the others went on rather than began again
        steps = [json.loads(line)["step"] for line in path.read_text().splitlines()]
        assert steps == sorted(set(steps)), path
        stops = set(steps) - set(range(5, 121, 5))  # one that had the time to save told so
        assert set(range(5, 121, 5)) <= set(steps), path
        assert len(stops) <= 1, path

    best = result["runs"][0]
    again = charrnn("train", "--config", Path(best["path"]) / "config.yaml", "--run-dir", "by-hand", "--json")
    assert again.returncode == 0, again.stderr
    assert json.loads(again.stdout)["best_val_loss"] == best["loss"]  # bit for bit

    with (folder / "results.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    assert [row["name"] for row in table] == [row["name"] for row in result["runs"]]
    assert set(table[0]) >= {"loss", "model.cell", "model.hidden_size", "training.seed"}
    manifest = json.loads((folder / "sweep.json").read_text())
    assert len(manifest["trials"]) == 12
    assert manifest["command"][1:] == ["sweep", "s.yaml", "--resume", "--jobs", "2", "--json"]
    (earlier,) = manifest["before"]
    assert earlier["command"][1:] == ["sweep", "s.yaml", "--jobs", "2"]
    assert set(earlier) >= {"charrnn", "python", "numpy", "kernel", "system", "folder", "begun"}
    for trial in manifest["trials"]:  # what the sweep says of itself makes each trial's settings
        made = overridden(load_config(folder / "base.yaml"), trial["overrides"], where=trial["name"])
        used = load_config(folder / trial["name"] / "config.yaml")
        assert used == overridden(made, {"training.replicas": used.training.replicas}, where="")
    assert (folder / "sweep.yaml").read_text() == (tmp_path / "s.yaml").read_text()


def test_failures_are_isolated_and_reported(charrnn_here: Run, tmp_path: Path, base: Callable[[int], Path]) -> None:
    base(20)
    (tmp_path / "s.yaml").write_text(
        "base: base.yaml\nset: {training.grad_clip: null, training.optimizer: sgd}\n"
        "grid: {training.learning_rate: [0.01, 1.0e+38]}\n"
    )
    done = charrnn_here("sweep", "s.yaml", "--jobs", "1")
    assert_one_line_error(done, 1, "1 of 2 trials failed", "learning_rate=1e+38", "norm")
    assert "learning_rate=0.01\tdone" in done.stdout
    resumed = charrnn_here("sweep", "s.yaml", "--resume", "--json")
    assert json.loads(resumed.stdout)["counts"] == {"done": 1}  # what failed is not run again unasked
    folder = tmp_path / "checkpoints" / "s"
    assert json.loads((folder / "learning_rate=1e+38" / "trial.json").read_text())["attempts"] == 1
    charrnn_here("sweep", "s.yaml", "--resume", "--retry-failed")
    assert json.loads((folder / "learning_rate=1e+38" / "trial.json").read_text())["attempts"] == 2


@pytest.mark.extras
def test_ctrl_c_saves_every_trial(charrnn: Run, tmp_path: Path, base: Callable[[int], Path]) -> None:
    base(100000)
    (tmp_path / "s.yaml").write_text("base: base.yaml\ngrid: {model.hidden_size: [8, 9]}\n")
    sweep = begin(tmp_path, "s.yaml", "--jobs", "2", stderr=subprocess.PIPE)
    folder = tmp_path / "checkpoints" / "s"
    wait_until(lambda: len(list(folder.glob("*/last.npz"))) == 2)
    if hasattr(os, "sched_getaffinity"):  # each trial on processors of its own
        shares = [os.sched_getaffinity(process) for process in children(sweep.pid)]
        assert len(shares) == 2
        if len(os.sched_getaffinity(0)) > 1:
            assert shares[0].isdisjoint(shares[1])
            assert shares[0] | shares[1] == os.sched_getaffinity(0)
    sweep.send_signal(signal.SIGINT)
    errors = sweep.communicate(timeout=60)[1].decode()
    assert sweep.returncode == 130
    assert "stopping, once 2 running trials are saved; Ctrl-C again stops at once" in errors
    assert "0 of 2 trials finished (none yet), 2 saved" in errors
    shorter = charrnn("runs", folder, "--json")
    found = json.loads(shorter.stdout)["runs"]
    assert [run["status"] for run in found] == ["stopped", "stopped"]
    refused = charrnn("sweep", "s.yaml", "--resume", "--set", "model.cell=rnn")
    assert_one_line_error(refused, 2, "base settings that differ")


def test_a_trial_that_fails_before_it_has_settings_counts(
    charrnn_here: Run, tmp_path: Path, base: Callable[[int], Path], text_file: Path
) -> None:
    """A text that is missing; another cannot be fetched or made."""
    base(20)
    (tmp_path / "s.yaml").write_text(f"base: base.yaml\ngrid: {{corpus.source: [{text_file}, /no/such/text.txt]}}\n")
    done = charrnn_here("sweep", "s.yaml", "--jobs", 1, "--json")
    assert_one_line_error(done, 1, "1 of 2 trials failed", "/no/such/text.txt")
    table = json.loads(done.stdout)
    assert table["counts"] == {"done": 1, "failed": 1}
    assert [run["status"] for run in table["runs"]] == ["done", "failed"]
    assert table["runs"][1]["corpus.source"] == "/no/such/text.txt"
    with (tmp_path / "checkpoints" / "s" / "results.csv").open() as file:
        assert [row["status"] for row in csv.DictReader(file)] == ["done", "failed"]
    (record,) = [json.loads(p.read_text()) for p in tmp_path.rglob("trial.json") if "no_such" in str(p)]
    assert "/no/such/text.txt" in record["error"]  # written by the trial itself, without "charrnn: error: "
    assert "charrnn" not in record["error"]
    again = charrnn_here("sweep", "s.yaml", "--jobs", 1, "--resume", "--quiet")
    assert_one_line_error(again, 1, "1 of 2 trials failed")
    end, begin = os.pipe()
    os.close(end)
    words = [sys.executable, "-m", "charrnn", "sweep", "s.yaml", "--resume"]
    with os.fdopen(begin, "wb") as pipe:  # nobody reads the table: that something failed stands
        read = subprocess.run(
            words, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}, stdout=pipe, check=False
        )
    assert read.returncode == 1


def test_a_history_that_is_cut_back_is_followed(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"

    def write(steps: range, more: str) -> None:
        path.write_text("".join(json.dumps({"step": step, "more": more}) + "\n" for step in steps))

    tail = HistoryTail(path, skip=False)
    assert tail.rows() == []
    write(range(5), "a")
    assert [row["step"] for row in tail.rows()] == [0, 1, 2, 3, 4]
    before = HistoryTail(path, skip=True)
    for length in range(1, 12):  # the old end falls anywhere within the new rows
        write(range(5 + length), "b" * length)
        assert [row["step"] for row in tail.rows()] == [4 + length]
    assert [row["step"] for row in before.rows()] == list(range(5, 16))
    with path.open("a") as file:
        file.write('{"event": "rollback", "step": 99}\n{"step": 16, "mo')
    assert tail.rows() == []


def test_processors_are_divided(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {3, 0, 1, 2, 4}, raising=False)
    assert core_groups(1) == [[0, 1, 2, 3, 4]]
    assert core_groups(2) == [[0, 1], [2, 3, 4]]
    assert core_groups(7) == [[0], [1], [2], [3], [4], [0], [1]]


@pytest.mark.extras
def test_the_time_of_all_trials(charrnn: Run, tmp_path: Path, base: Callable[[int], Path]) -> None:
    base(10_000_000)
    (tmp_path / "s.yaml").write_text(
        "base: base.yaml\ngrid: {model.hidden_size: [8, 9]}\nbudget: {total_minutes: 0.1}\n"
    )
    done = charrnn("sweep", "s.yaml", "--jobs", "1")
    assert done.returncode == 0, done.stderr
    assert "time is used up" in done.stderr
    assert "1 running trial is saved\n" in done.stderr  # nobody has pressed Ctrl-C
    statuses = [run["status"] for run in json.loads((tmp_path / "checkpoints/s/results.json").read_text())["runs"]]
    assert statuses == ["stopped"]


def test_directories_are_not_mixed_up(charrnn_here: Run, tmp_path: Path, base: Callable[[int], Path]) -> None:
    base(5)
    (tmp_path / "s.yaml").write_text("base: base.yaml\n")
    assert_one_line_error(charrnn_here("sweep", "s.yaml", "--resume"), 2, "no sweep to resume")
    assert charrnn_here("sweep", "s.yaml", "--quiet").returncode == 0
    assert_one_line_error(charrnn_here("sweep", "s.yaml"), 2, "already holds a sweep")
    kept = tmp_path / "checkpoints" / "s" / "mine.txt"
    kept.write_text("notes")
    (tmp_path / "s.yaml").write_text("base: base.yaml\nset: {model.hidden_size: 9}\n")
    assert charrnn_here("sweep", "s.yaml", "--overwrite", "--quiet").returncode == 0
    assert kept.read_text() == "notes"
    assert_one_line_error(charrnn_here("sweep", "s.yaml", "--join"), 2, "--join is for sweeps with a search")
    for options, said in (
        (["--resume", "--overwrite"], "--resume continues a sweep and --overwrite replaces it"),
        (["--join", "--overwrite"], "--join works on a running sweep, so it excludes --resume and --overwrite"),
        (["--retry-failed"], "--retry-failed needs --resume"),
    ):
        assert_one_line_error(charrnn_here("sweep", "s.yaml", *options), 2, said)
    a_run = "checkpoints/s/base"
    refused = charrnn_here("sweep", "s.yaml", "--run-dir", a_run, "--overwrite")
    assert_one_line_error(refused, 2, f"{a_run}: the directory of a run")
    assert not (tmp_path / a_run / "sweep.json").exists()


def test_a_narrow_column_tells_trials_apart() -> None:
    assert short_names(["cell=gru,size=8,seed=1", "cell=gru,size=9,seed=2"]) == (
        "size seed", {"cell=gru,size=8,seed=1": "8 1", "cell=gru,size=9,seed=2": "9 2"},
    )  # fmt: skip
    assert short_names(["0000,rate=1", "0001,rate=1"]) == ("trial", {"0000,rate=1": "0000", "0001,rate=1": "0001"})
    assert short_names(["cell=gru", "base"]) == ("trial", {"cell=gru": "cell=gru", "base": "base"})
    assert short_names(["cell=gru"]) == ("cell", {"cell=gru": "gru"})
    assert short_names([]) == ("trial", {})


def test_table_on_a_terminal(tmp_path: Path, base: Callable[[int], Path]) -> None:
    import pty

    base(20)
    (tmp_path / "s.yaml").write_text("base: base.yaml\ngrid: {model.hidden_size: [8, 9]}\n")
    parent, child = pty.openpty()
    sweep = subprocess.Popen(
        [sys.executable, "-m", "charrnn", "sweep", "s.yaml"],
        cwd=tmp_path,
        stdout=child,
        stderr=child,
        env={**os.environ, "PYTHONPATH": str(ROOT), "TERM": "xterm", "COLUMNS": "100", "LINES": "30"},
    )
    os.close(child)
    shown = b""
    while True:
        try:
            data = os.read(parent, 65536)
        except OSError:
            break
        if not data:
            break
        shown += data
    assert sweep.wait() == 0
    text = shown.decode("utf-8", "replace")
    assert "2 of 2 trials finished (2 done)" in text
    assert "running" in text
    assert "hidden_size" in text
    assert "bits/char" in text
