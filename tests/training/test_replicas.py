"""Batch replicas: the same numbers to rounding, the same bits every time, nothing left behind."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from charrnn.errors import CharRNNError
from charrnn.nn.cells import CELLS
from charrnn.runs.events import StepReport
from charrnn.training.group import choose_replicas, columns_of
from charrnn.training.trainer import Trainer
from tests.conftest import ROOT
from tests.training.small_runs import config, finish, history, start


def trained(folder: Path, cell: str, replicas: int) -> Trainer:
    more = (f"training.replicas={replicas}", "training.batch_size=6", "training.state_reset=0.3")
    trainer = start(folder, config(cell, *more))
    finish(trainer)
    return trainer


# Of one cell in the ordinary suite; how replicas work together knows nothing of cells.
@pytest.mark.parametrize(
    "cell", [c if c == "lstm" else pytest.param(c, marks=pytest.mark.extras) for c in sorted(CELLS)]
)
def test_replicas_agree_to_rounding_and_repeat_their_bits(tmp_path: Path, cell: str) -> None:
    one = trained(tmp_path / "1", cell, 1)
    for count in (2, 3):
        several = trained(tmp_path / f"{count}", cell, count)
        assert several.counters.replicas == count
        np.testing.assert_allclose(several.model.params.flat, one.model.params.flat, atol=2e-4)
        assert several.counters.val_loss == pytest.approx(one.counters.val_loss, rel=1e-4)
    again = trained(tmp_path / "again", cell, 2)
    two = trained(tmp_path / "two", cell, 2)
    np.testing.assert_array_equal(again.model.params.flat, two.model.params.flat)
    assert history(tmp_path / "again") == history(tmp_path / "two")


def test_the_gradient_of_one_step_is_the_same(tmp_path: Path) -> None:
    found = []
    for count in (1, 2):
        trainer = start(tmp_path / str(count), config("lstm", f"training.replicas={count}"))
        trainer.group.start()
        try:
            nats = trainer.group.run(0, seed=1, step=0, offset=0, stopping=False, seconds=0.0)
        finally:
            trainer.group.close()
        found.append((nats, trainer.model.grads.flat.copy(), [s.copy() for s in trainer.state]))
    assert found[0][0] == pytest.approx(found[1][0], rel=1e-6)
    np.testing.assert_allclose(found[0][1], found[1][1], atol=1e-6)
    for a, b in zip(found[0][2], found[1][2], strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)


def test_a_resumed_run_with_replicas_equals_an_undisturbed_one(tmp_path: Path) -> None:
    settings = config("gru", "training.replicas=2")
    whole = start(tmp_path / "a", settings)
    finish(whole)
    broken = start(tmp_path / "b", settings)
    for event in broken.run():
        if isinstance(event, StepReport) and event.step >= 13:
            break
    resumed = start(tmp_path / "b", settings, resume=True)
    finish(resumed)
    np.testing.assert_array_equal(resumed.model.params.flat, whole.model.params.flat)
    assert history(tmp_path / "b") == history(tmp_path / "a")


def test_columns_are_shared_out_whole() -> None:
    for columns in (1, 5, 16, 33):
        for count in range(1, min(columns, 5) + 1):
            parts = [columns_of(rank, count, columns) for rank in range(count)]
            assert parts[0].start == 0
            assert parts[-1].stop == columns
            assert all(a.stop == b.start for a, b in itertools.pairwise(parts))
            assert max(p.stop - p.start for p in parts) - min(p.stop - p.start for p in parts) <= 1
    assert choose_replicas(4, 3) == 3
    assert choose_replicas("auto", 4) == 1


def test_a_worker_that_dies_ends_the_run_with_the_checkpoint_intact(tmp_path: Path) -> None:
    trainer = start(tmp_path / "a", config("gru", "training.replicas=2", "training.epochs=50"))

    def kill_a_worker() -> None:
        for event in trainer.run():
            if isinstance(event, StepReport) and event.step == 9:
                os.kill(worker_of(os.getpid()), signal.SIGKILL)

    with pytest.raises(CharRNNError, match="replica 1 ended by signal 9"):
        kill_a_worker()
    resumed = start(tmp_path / "a", config("gru", "training.replicas=2", "training.epochs=1"), resume=True)
    assert resumed.counters.step >= 5


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads /proc")
def test_a_killed_parent_leaves_no_worker_and_no_memory(config_file: Path) -> None:
    before = set(os.listdir("/dev/shm"))
    overrides = [
        "--set",
        "training.max_steps=1000000",
        "--set",
        "training.replicas=2",
        "--set",
        "training.kernels=numpy",
    ]
    command = [sys.executable, "-m", "charrnn", "train", "-c", str(config_file), "-q", *overrides]
    process = subprocess.Popen(command, cwd=config_file.parent, env={**os.environ, "PYTHONPATH": str(ROOT)})
    history_file = config_file.parent / "checkpoints" / "tiny" / "history.jsonl"
    deadline = time.monotonic() + 60
    while not (history_file.exists() and history_file.stat().st_size) and time.monotonic() < deadline:
        time.sleep(0.05)
    worker = worker_of(process.pid)
    process.kill()
    process.wait()
    while alive(worker) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not alive(worker)
    assert set(os.listdir("/dev/shm")) <= before


def worker_of(parent: int) -> int:
    """The child of `parent` that is a replica."""
    for entry in Path("/proc").iterdir():
        try:
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
            if (
                entry.name.isdigit()
                and int(fields[1]) == parent
                and b"training.worker" in (entry / "cmdline").read_bytes()
            ):
                return int(entry.name)
        except OSError:
            continue
    raise AssertionError(f"{parent} has no worker")


def alive(process: int) -> bool:
    try:
        return (Path("/proc") / str(process) / "stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
