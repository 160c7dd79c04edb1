"""Windows and macOS, simulated at their system calls; see `foreign`."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from charrnn.sweep.plan import read_plan
from tests.conftest import SENTENCES
from tests.reliability.foreign import environment
from tests.reliability.processes import (
    ENDLESS,
    ENVIRONMENT,
    TWO,
    assert_same_state,
    command,
    rows,
    saved_step,
    wait_for_rows,
    write_settings,
)

pytestmark = [
    pytest.mark.extras,
    pytest.mark.skipif(sys.platform != "linux", reason="simulates other systems on Linux"),
]


@pytest.fixture(params=["windows", "macos"])
def system(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def run(words: list[str], env: dict[str, str], **options: Any) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(words, env=env, capture_output=True, text=True, check=False, timeout=120, **options)
    assert "Traceback" not in done.stderr, done.stderr
    return done


def test_the_simulation_is_on(tmp_path: Path) -> None:
    """What fails on Windows fails in it: else the other tests would show nothing."""
    code = """
import os, sys
def fails(call):
    try: call()
    except (OSError, ImportError, ValueError, AttributeError): return True
open("a", "w").close()
read = open("a", "rb")
print([
    fails(lambda: os.fsync(read.fileno())), fails(lambda: os.replace("a", "b")), fails(lambda: os.open(".", 0)),
    fails(lambda: __import__("fcntl")), fails(lambda: os.mkdir("a:b")), fails(lambda: os.memfd_create("x")),
    fails(lambda: __import__("subprocess").Popen(["true"], pass_fds=(3,))), fails(lambda: os.mkdir("nul")),
])
"""
    done = run([sys.executable, "-c", code], environment(tmp_path / "site", "windows"), cwd=tmp_path)
    assert done.stdout.strip() == str([True] * 8), done.stderr


SEVERAL = """
import json, sys
from charrnn.cli.app import run
print([run(words) for words in json.loads(sys.argv[1])], file=sys.stderr)
"""


def test_train_resume_sample_and_look(tmp_path: Path, system: str) -> None:
    settings, env = write_settings(tmp_path, steps=20), environment(tmp_path / "site", system)
    train = ["train", "-c", str(settings), "--set", "training.replicas=1", "-q", "--run-dir"]
    first, second = str(tmp_path / "run"), str(tmp_path / "whole")
    done = run(command(*train, first, "--set", "training.max_steps=9"), env)
    assert done.returncode == 0, done.stderr
    words = [
        [*train, first, "--resume"], ["sample", first, "--length", "20", "--seed", "1"], ["runs", str(tmp_path)],
        ["eval", first, "--no-baselines"], [*train, second], [*train, first, "--overwrite"],
    ]  # fmt: skip
    done = run([sys.executable, "-c", SEVERAL, json.dumps(words)], env)
    assert done.stderr.splitlines()[-1] == str([0] * len(words)), done.stderr
    assert saved_step(tmp_path / "run") == 20
    assert_same_state(tmp_path / "run", tmp_path / "whole")


def test_locks_keep_a_second_training_out(tmp_path: Path, system: str) -> None:
    settings, env = write_settings(tmp_path), environment(tmp_path / "site", system)
    words = command("train", "-c", settings, "--run-dir", tmp_path / "run", "-q", *ENDLESS)
    first = subprocess.Popen(words, env=env)
    wait_for_rows(tmp_path / "run")
    second = run(words, env)
    assert (second.returncode, "another process is training" in second.stderr) == (2, True), second.stderr
    table = json.loads(run(command("runs", tmp_path, "--json", "--columns", "status"), env).stdout)
    assert [row["status"] for row in table["runs"]] == ["running"]
    first.kill()
    first.wait()
    assert run([*words, "--overwrite", "--set", "training.max_steps=3"], env).returncode == 0


def test_a_sweep_stops_and_goes_on(tmp_path: Path, system: str) -> None:
    """Where there is no SIGTERM, a trial is asked to stop through a pipe; it saves."""
    settings, env = write_settings(tmp_path), environment(tmp_path / "site", system)
    for name in ("Text.txt", "text.TXT"):  # one name on both systems
        (tmp_path / "texts" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "texts" / name).write_text(SENTENCES * 9)
    sweep = tmp_path / "s.yaml"
    sweep.write_text(
        f"base: {settings}\ngrid: {{corpus.source: [texts/Text.txt, texts/text.TXT]}}\n"
        "set: {training.eval_every: null, training.sample_every: null, training.log_every: 1}\n",
        encoding="utf-8",
    )
    names = [trial.name for trial in read_plan(sweep).trials]
    assert len({name.casefold() for name in names}) == 2
    words = command("sweep", sweep, "--run-dir", tmp_path / "sweep", "--jobs", 2, "-q")
    process = subprocess.Popen(
        [*words, "--set", "training.max_steps=1000000"], env=env, cwd=tmp_path, stderr=subprocess.PIPE, text=True
    )
    for name in names:
        wait_for_rows(tmp_path / "sweep" / name)
    process.send_signal(2)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 130, errors
    for name in names:
        assert saved_step(tmp_path / "sweep" / name) >= rows(tmp_path / "sweep" / name)
    done = run([*words, "--overwrite", "--set", "training.max_steps=20"], env, cwd=tmp_path)
    assert done.returncode == 0, done.stderr


def test_replicas_share_memory(tmp_path: Path, system: str) -> None:
    settings, env = write_settings(tmp_path, steps=6), environment(tmp_path / "site", system)
    done = run(command("train", "-c", settings, "--run-dir", tmp_path / "there", *TWO), env)
    assert done.returncode == 0, done.stderr
    done = run(command("train", "-c", settings, "--run-dir", tmp_path / "here", *TWO), ENVIRONMENT)
    assert done.returncode == 0, done.stderr
    assert_same_state(tmp_path / "there", tmp_path / "here")


def test_trials_that_outlive_their_sweep_save(tmp_path: Path, system: str) -> None:
    settings, env = write_settings(tmp_path), environment(tmp_path / "site", system)
    sweep = tmp_path / "s.yaml"
    sweep.write_text(f"base: {settings}\ngrid: {{training.seed: [1]}}\n", encoding="utf-8")
    words = command("sweep", sweep, "--run-dir", tmp_path / "sweep", *ENDLESS, "-q")
    process = subprocess.Popen(words, env=env)
    run_dir = tmp_path / "sweep" / "seed=1"
    wait_for_rows(run_dir)
    process.kill()
    process.wait()
    deadline = time.monotonic() + 60
    while not (run_dir / "last.npz").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert saved_step(run_dir) >= 3
