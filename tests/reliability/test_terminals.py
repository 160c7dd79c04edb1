"""Displays that die: real terminals closed, real readers killed, full devices; no step is lost, exit codes hold."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Run
from tests.reliability.processes import ENDLESS, ENVIRONMENT, command, rows, saved_step, wait_for_rows, write_settings

pytestmark = [pytest.mark.extras, pytest.mark.skipif(sys.platform == "win32", reason="terminals of POSIX")]


@pytest.mark.parametrize("progress", ["plain", "tqdm", "rich"])
def test_a_terminal_that_is_really_closed_loses_nothing(tmp_path: Path, progress: str) -> None:
    import pty

    settings, run = write_settings(tmp_path), tmp_path / "run"
    words = command("train", "-c", settings, "--run-dir", run, "--progress", progress, *ENDLESS)
    process, terminal = pty.fork()
    if process == 0:
        os.execve(words[0], words, ENVIRONMENT)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not (run / "history.jsonl").exists():
        if select.select([terminal], [], [], 0.05)[0]:
            os.read(terminal, 65536)
    wait_for_rows(run)
    os.close(terminal)  # SIGHUP comes, and every write to the terminal is an error
    _, status = os.waitpid(process, 0)
    assert os.waitstatus_to_exitcode(status) == 129
    assert saved_step(run) >= rows(run)


@pytest.mark.parametrize("progress", ["plain", "tqdm"])
def test_an_interrupt_that_also_kills_the_reader_saves(tmp_path: Path, progress: str) -> None:
    """`train 2>&1 | tee log` and Ctrl-C, which both get."""
    settings, run = write_settings(tmp_path), tmp_path / "run"
    reader = subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
    assert reader.stdin is not None
    words = command("train", "-c", settings, "--run-dir", run, "--progress", progress, "--json", *ENDLESS)
    process = subprocess.Popen(words, stdout=reader.stdin, stderr=reader.stdin, env=ENVIRONMENT)
    reader.stdin.close()
    wait_for_rows(run)
    reader.kill()
    reader.wait()
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=60) == 130
    assert saved_step(run) >= rows(run)


@pytest.mark.parametrize("progress", ["plain", "tqdm", "rich"])
def test_a_run_ends_well_though_its_reader_has_long_gone(tmp_path: Path, progress: str) -> None:
    settings, run = write_settings(tmp_path, steps=30), tmp_path / "run"
    end, begin = os.pipe()
    os.close(end)
    words = command("train", "-c", settings, "--run-dir", run, "--progress", progress)
    with os.fdopen(begin, "wb") as pipe:
        assert subprocess.run(words, stdout=pipe, stderr=pipe, env=ENVIRONMENT, check=False).returncode == 0
    assert saved_step(run) == 30


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_a_full_standard_error_changes_no_exit_code(tmp_path: Path) -> None:
    settings, run = write_settings(tmp_path, steps=30), tmp_path / "run"

    def code(*arguments: object, **streams: Any) -> int:
        with Path("/dev/full").open("wb") as full:
            streams = {"stderr": full, "stdout": subprocess.DEVNULL} | dict.fromkeys(streams, full)
            return subprocess.run(command(*arguments), env=ENVIRONMENT, cwd=tmp_path, check=False, **streams).returncode

    assert code("train", "-c", settings, "--run-dir", run) == 0
    assert saved_step(run) == 30
    assert code("train", "-c", settings, "--run-dir", run) == 2  # holds a run already
    assert code("sample", tmp_path / "nothing") == 4
    assert code("find-lr", "-c", settings, "--steps", 10) in (0, 2)
    (tmp_path / "s.yaml").write_text(
        f"base: {settings}\nset: {{training.max_steps: 3}}\ngrid: {{training.seed: [1]}}\n"
    )
    assert code("sweep", tmp_path / "s.yaml", "--run-dir", tmp_path / "sweep") == 0
    assert code("train", "-c", settings, "--run-dir", tmp_path / "again", "--json", stdout=True) == 1
    assert saved_step(tmp_path / "again") == 30  # what could not be said is an error, but nothing is lost


@pytest.mark.parametrize("closed", [(2,), (1, 2), (0, 1, 2)])
def test_closed_streams(tmp_path: Path, closed: tuple[int, ...]) -> None:
    """As in `charrnn train 2>&-`: no file of the run is taken for one of them."""
    settings, run = write_settings(tmp_path, steps=9), tmp_path / "run"

    def close() -> None:
        for number in closed:
            os.close(number)

    words = command("train", "-c", settings, "--run-dir", run)
    done = subprocess.run(words, env=ENVIRONMENT, preexec_fn=close, check=False, timeout=60)
    assert done.returncode == 0
    assert saved_step(run) == 9
    done = subprocess.run([*words, "--resume", "--json"], env=ENVIRONMENT, preexec_fn=close, check=False, timeout=60)
    assert done.returncode == (1 if 1 in closed else 0)  # there is nowhere to put what was asked for


def test_ignored_signals_stay_ignored(tmp_path: Path) -> None:
    """SIGHUP under nohup, SIGINT of a script's background job."""
    settings, run = write_settings(tmp_path), tmp_path / "run"

    def ignore() -> None:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        signal.signal(signal.SIGINT, signal.SIG_IGN)

    words = command("train", "-c", settings, "--run-dir", run, "-q", *ENDLESS)
    process = subprocess.Popen(words, env=ENVIRONMENT, preexec_fn=ignore)
    wait_for_rows(run)
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGINT):
        process.send_signal(number)
    before = rows(run)
    wait_for_rows(run, before + 20)
    assert process.poll() is None
    assert rows(run) >= before + 20
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=60) == 143


def test_a_display_that_fails_is_put_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, charrnn_here: Run) -> None:
    from charrnn.cli.views import training as views

    def fail(self: object, event: object) -> None:
        raise RuntimeError("no such colour")

    monkeypatch.setattr(views.PlainView, "show", fail)
    settings = write_settings(tmp_path, steps=9)
    done = charrnn_here("train", "-c", settings, "--run-dir", tmp_path / "run", "--progress", "plain", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["steps"] == 9
    assert done.stderr.count("no such colour") == 1


def test_training_saves_before_it_tells(tmp_path: Path) -> None:
    """Whoever takes the events may break at any of them: what was due is on the disk."""
    from charrnn.runs.events import StepReport
    from tests.training.small_runs import config, start

    every = ("training.checkpoint_every=1", "training.log_every=1", "training.eval_every=null")
    trainer = start(tmp_path / "a", config("gru", *every))
    with contextlib.closing(trainer.run()) as events:
        for event in events:
            if isinstance(event, StepReport):
                assert saved_step(tmp_path / "a") == event.step
                if event.step == 3:
                    break
    assert saved_step(tmp_path / "a") == 3
