"""A real Dask scheduler with two real worker processes on loopback, one of which is killed."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from charrnn.runs.checkpoint import load_checkpoint
from tests.conftest import ROOT, Run, assert_one_line_error
from tests.sweep.processes import begin, wait_until

pytestmark = pytest.mark.extras


class Cluster:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = {**os.environ, "PYTHONPATH": str(ROOT), "DASK_DISTRIBUTED__WORKER__DAEMON": "False"}
        log = folder / "scheduler.log"
        self.scheduler = self._start(log, "scheduler", "--port", "0", "--host", "127.0.0.1", "--no-dashboard")
        wait_until(lambda: bool(re.search(r"tcp://127\.0\.0\.1:\d+", log.read_text())))
        found = re.search(r"tcp://127\.0\.0\.1:\d+", log.read_text())
        assert found
        self.address = found[0]
        self.workers = [self.worker() for _ in range(2)]

    def worker(self) -> subprocess.Popen[bytes]:
        words = ("worker", self.address, "--nthreads", "1", "--no-nanny", "--no-dashboard")
        return self._start(self.folder / f"worker-{time.monotonic_ns()}.log", *words)

    def _start(self, log: Path, *words: str) -> subprocess.Popen[bytes]:
        with log.open("wb") as file:
            return subprocess.Popen(
                [sys.executable, "-m", "distributed.cli.dask_" + words[0], *words[1:]],
                stdout=file, stderr=subprocess.STDOUT, env=self.environment, cwd=self.folder,
            )  # fmt: skip

    def close(self) -> None:
        for process in (*self.workers, self.scheduler):
            process.kill()
            process.wait()


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    pytest.importorskip("distributed")
    folder = tmp_path / "cluster"
    folder.mkdir()
    made = Cluster(folder)
    yield made
    made.close()


def steps_saved(folder: Path) -> list[int]:
    return [load_checkpoint(path).counters["step"] for path in sorted(folder.glob("*/last.npz"))]


def test_a_worker_dies_and_its_trial_goes_on_elsewhere(
    charrnn: Run, tmp_path: Path, base: Callable[[int], Path], cluster: Cluster
) -> None:
    base(1200)
    (tmp_path / "s.yaml").write_text("base: base.yaml\ngrid: {model.cell: [gru, lstm, rnn]}\n")
    sweep = begin(tmp_path, "s.yaml", "--scheduler", cluster.address)
    folder = tmp_path / "checkpoints" / "s"
    wait_until(lambda: len(saved := steps_saved(folder)) >= 2 and min(saved) >= 40)
    cluster.workers[0].send_signal(signal.SIGKILL)
    assert sweep.wait(timeout=120) == 0
    logs = [path.read_text().split(" training characters")[1:] for path in folder.glob("*/log.txt")]
    moved = [log for log in logs if len(log) > 1]
    assert moved  # begun twice
    for log in moved:  # and not from the start: the second worker has a checkpoint of the first
        first, again = ([int(n) for n in re.findall(r"^step +(\d+)", part, re.MULTILINE)] for part in log[-2:])
        assert min(first) <= 20 < 40 < min(again)
    found = json.loads((folder / "results.json").read_text())["runs"]
    assert {run["status"] for run in found} == {"done"}
    assert len(found) == 3
    for name in ("cell=gru", "cell=lstm", "cell=rnn"):
        steps = [json.loads(line)["step"] for line in (folder / name / "history.jsonl").read_text().splitlines()]
        assert steps == list(range(5, 1201, 5))
        # The text that travelled is the one the settings name: here it can be evaluated again.
        assert "text.txt" in (folder / name / "config.yaml").read_text()
    scored = json.loads(charrnn("eval", folder / "cell=gru", "--no-baselines", "--json").stdout)
    assert scored["loss"] == pytest.approx(next(r["loss"] for r in found if r["name"] == "cell=gru"), rel=1e-5)
    resumed = charrnn("sweep", "s.yaml", "--resume", "--scheduler", cluster.address, "--json")
    assert json.loads(resumed.stdout)["counts"] == {"done": 3}


def test_a_failing_trial_and_no_scheduler(
    charrnn: Run, tmp_path: Path, base: Callable[[int], Path], cluster: Cluster
) -> None:
    base(20)
    (tmp_path / "s.yaml").write_text(
        "base: base.yaml\nset: {training.grad_clip: null, training.optimizer: sgd}\n"
        "grid: {training.learning_rate: [0.01, 1.0e+38]}\n"
    )
    done = charrnn("sweep", "s.yaml", "--scheduler", cluster.address)
    assert_one_line_error(done, 1, "1 of 2 trials failed", "norm")
    for address in ("nonsense://127.0.0.1:1", "tcp://127.0.0.1:1"):
        refused = charrnn("sweep", "s.yaml", "--dir", "new", "--scheduler", address)
        assert_one_line_error(refused, 2, f"--scheduler {address}")
        assert not (tmp_path / "new").exists()


def test_a_scheduler_that_dies_leaves_trials_that_go_on_here(
    charrnn: Run, tmp_path: Path, base: Callable[[int], Path], cluster: Cluster
) -> None:
    base(100000)
    (tmp_path / "s.yaml").write_text("base: base.yaml\ngrid: {model.cell: [gru, lstm]}\n")
    sweep = begin(tmp_path, "s.yaml", "--scheduler", cluster.address, stderr=subprocess.PIPE)
    folder = tmp_path / "checkpoints" / "s"
    wait_until(lambda: len(saved := steps_saved(folder)) == 2 and min(saved) >= 40)
    cluster.scheduler.send_signal(signal.SIGKILL)
    _, messages = sweep.communicate(timeout=60)
    ended = subprocess.CompletedProcess([], sweep.returncode, "", messages.decode())
    assert_one_line_error(ended, 1, "lost the scheduler", "--resume")
    steps = steps_saved(folder)
    resumed = begin(tmp_path, "s.yaml", "--resume", "--jobs", "2")
    wait_until(lambda: all(now > then for now, then in zip(steps_saved(folder), steps, strict=True)))
    resumed.send_signal(signal.SIGINT)
    assert resumed.wait(timeout=60) == 130
