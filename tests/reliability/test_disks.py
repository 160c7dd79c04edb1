"""Disks that fill up while something runs: real ones (tmpfs)."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Run, assert_one_line_error
from tests.reliability.disks import Disk, mounted
from tests.reliability.processes import ENDLESS, ENVIRONMENT, command, rows, saved_step, wait_for_rows, write_settings

pytestmark = pytest.mark.extras  # disks of their own, and many processes


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    with mounted(tmp_path / "disk", "8m") as found:
        yield found


def train_until_full(disk: Disk, settings: Path, *arguments: str) -> subprocess.Popen[str]:
    """A training whose history finds no room any more."""
    words = command("train", "-c", settings, "--run-dir", disk.path / "run", "--progress", "plain")
    process = subprocess.Popen(
        [*words, *arguments, *ENDLESS], env=ENVIRONMENT, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
    )
    wait_for_rows(disk.path / "run", 50)
    disk.fill()
    before, deadline = -1, time.monotonic() + 60
    while before != rows(disk.path / "run") and time.monotonic() < deadline:
        before = rows(disk.path / "run")
        time.sleep(0.5)
    assert process.poll() is None
    return process


def test_history_waits_for_room_and_loses_no_row(tmp_path: Path, disk: Disk) -> None:
    process = train_until_full(disk, write_settings(tmp_path))
    disk.free()
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "No space left on device; new rows are kept in memory" in errors
    run = disk.path / "run"
    steps = [json.loads(line)["step"] for line in (run / "history.jsonl").read_text(encoding="utf-8").splitlines()]
    assert steps == list(range(1, len(steps) + 1))
    assert saved_step(run) - len(steps) in (0, 1)  # the last step before a stop is not reported


def test_a_stop_on_a_full_disk_keeps_the_checkpoint_before(tmp_path: Path, disk: Disk) -> None:
    process = train_until_full(disk, write_settings(tmp_path), "--set", "training.on_divergence=rollback")
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 1, errors
    assert errors.count("charrnn: error: ") == 1
    assert "No space left on device" in errors
    assert "Traceback" not in errors
    assert saved_step(disk.path / "run") == 0
    assert not list((disk.path / "run").glob(".*.tmp"))


def test_files_for_tensorboard_end_no_run(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    settings = write_settings(tmp_path, steps=40)
    (tmp_path / "run").mkdir()
    words = command("train", "-c", settings, "--run-dir", tmp_path / "run", "--set", "training.tensorboard=true")
    with mounted(tmp_path / "run" / "tensorboard", "16k") as disk:
        disk.fill()
        done = subprocess.run(words, env=ENVIRONMENT, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("TensorBoard files cannot be written") == 1
    assert "Traceback" not in done.stderr
    assert saved_step(tmp_path / "run") == 40


def test_what_was_computed_is_shown_before_it_is_written(charrnn: Run, tmp_path: Path, disk: Disk) -> None:
    settings = write_settings(tmp_path, steps=9)
    disk.fill()
    done = charrnn("find-lr", "-c", settings, "--steps", 60, "--to", 0.3, "-o", disk.path / "curve.csv")
    assert_one_line_error(done, 1, "No space left on device")
    assert "suggestion" in done.stdout
    assert not (disk.path / "curve.csv").exists()


def test_a_sweep_on_a_full_disk_is_one_line(tmp_path: Path, disk: Disk) -> None:
    sweep = tmp_path / "s.yaml"
    sweep.write_text(f"base: {write_settings(tmp_path)}\ngrid: {{training.seed: [1, 2]}}\n", encoding="utf-8")
    words = command("sweep", sweep, "--run-dir", disk.path / "sweep", "--jobs", 1, *ENDLESS)
    process = subprocess.Popen(words, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    wait_for_rows(disk.path / "sweep" / "seed=1", 20)
    disk.fill()
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 1, errors
    assert errors.count("charrnn: error: ") == 1, errors
    assert "No space left on device" in errors
    disk.free()
    words = command(
        "sweep", sweep, "--run-dir", disk.path / "sweep", "--jobs", 1, "--resume", "--retry-failed", *ENDLESS
    )
    words += ["--set", "training.max_steps=20"]
    done = subprocess.run(words, env=ENVIRONMENT, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode in (0, 2), done.stderr


def test_a_cache_without_room_is_one_line(
    charrnn: Run, tmp_path: Path, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHARRNN_HOME", str(disk.path))
    settings = write_settings(tmp_path, steps=3)
    disk.fill()
    done = charrnn("train", "-c", settings, "--run-dir", tmp_path / "run")
    assert_one_line_error(done, 1, "the encoded text cannot be written", "No space left on device")
    assert not (tmp_path / "run").exists()


def test_overwriting_on_a_full_disk_keeps_the_old_run(charrnn: Run, tmp_path: Path, disk: Disk) -> None:
    settings, run = write_settings(tmp_path, steps=3), disk.path / "run"
    assert charrnn("train", "-c", settings, "--run-dir", run).returncode == 0
    disk.fill()
    done = charrnn("train", "-c", settings, "--run-dir", run, "--overwrite")
    assert_one_line_error(done, 1, "No space left on device")
    assert saved_step(run) == 3
    assert os.listdir(run)
