"""SIGKILL at random instants: no broken file, and the resumed run ends as an undisturbed one."""

from __future__ import annotations

import random
import signal
import time
from pathlib import Path

import pytest

from charrnn.runs.checkpoint import load_checkpoint
from tests.reliability.processes import assert_same_state, train, write_settings


def kill_and_resume(folder: Path, kills: int, seed: int, kernels: str = "numpy") -> None:
    """Kill trainings `kills` times in all, as many runs as that takes; half the instants are before the first step."""
    rng = random.Random(seed)
    settings = write_settings(folder, kernels=kernels)
    whole = folder / "whole"
    undisturbed = train(settings, whole, "-q")
    undisturbed.communicate()
    assert undisturbed.returncode == 0
    done = 0
    while done < kills:
        run = folder / f"run{done}"
        finished = False
        while not finished:
            resume = ["--resume"] if (run / "last.npz").exists() else ["--overwrite"]
            process = train(settings, run, *resume, "--progress", "plain")
            if done < kills:
                if rng.random() < 0.7:  # the headline stands just before the first step
                    assert process.stderr is not None
                    process.stderr.readline()
                    time.sleep(rng.uniform(0.0, 0.4))
                else:
                    time.sleep(rng.uniform(0.0, 1.2))
                process.kill()
                done += 1
            _, err = process.communicate()
            assert process.returncode in (0, -signal.SIGKILL), err
            finished = process.returncode == 0
            for path in run.glob("*.npz"):
                load_checkpoint(path)
        assert not list(run.glob(".*.tmp"))
        assert_same_state(run, whole)


@pytest.mark.parametrize("kills", [2, pytest.param(4, marks=pytest.mark.extras)])
def test_a_killed_run_resumes_to_the_same_bits(tmp_path: Path, kills: int) -> None:
    kill_and_resume(tmp_path, kills=kills, seed=int(time.time()))


@pytest.mark.extras
def test_a_killed_run_on_compiled_kernels_does_so_too(tmp_path: Path) -> None:
    kill_and_resume(tmp_path, kills=4, seed=int(time.time()), kernels="compiled")


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(10))
def test_two_hundred_kills(tmp_path: Path, seed: int) -> None:
    kill_and_resume(tmp_path, kills=20, seed=seed)
