"""Training over MPI with real ranks on this machine: the same numbers, one writer, lost ranks, stops, other numbers."""

from __future__ import annotations

import json
import math
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from charrnn.runs.checkpoint import load_checkpoint
from charrnn.training import mpi as mpi_module
from charrnn.training.mpi import launched
from tests.conftest import ROOT

pytestmark = pytest.mark.extras


@pytest.fixture(autouse=True)
def _needs_mpi() -> None:
    pytest.importorskip("mpi4py")
    if not shutil.which("mpirun"):
        pytest.skip("no mpirun")


def words(ranks: int, *arguments: str) -> list[str]:
    launcher = ["mpirun", "-n", str(ranks)]
    if "Open MPI" in subprocess.run(["mpirun", "--version"], capture_output=True, text=True, check=True).stdout:
        launcher += ["--oversubscribe", "--allow-run-as-root", "--bind-to", "none"]
    return [*launcher, sys.executable, "-m", "charrnn", "train", "--config", "c.yaml", *arguments]


Mpi = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def environment(tmp_path: Path, text_file: Path) -> dict[str, str]:
    (tmp_path / "c.yaml").write_text(
        f"corpus: {{source: {text_file}}}\nmodel: {{cell: lstm, hidden_size: 12, num_layers: 2, dropout: 0.2, "
        "weight_dropout: 0.1}\ntraining: {batch_size: 6, seq_length: 16, epochs: null, max_steps: 24, eval_every: 5,\n"
        "  checkpoint_every: 4, log_every: 2, sample_every: 10, learning_rate: 0.01, ema_decay: 0.9,\n"
        "  state_reset: 0.3}\n"
    )
    return {**os.environ, "PYTHONPATH": str(ROOT), "OMPI_MCA_btl_vader_single_copy_mechanism": "none"}


@pytest.fixture
def mpi(tmp_path: Path, environment: dict[str, str]) -> Mpi:
    def run(ranks: int, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            words(ranks, *arguments), cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300,
            check=False,
        )  # fmt: skip

    return run


def losses(folder: Path) -> list[tuple[int, float, float | None]]:
    rows = [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]
    return [(row["step"], row["train_loss"], row["val_loss"]) for row in rows]


def close(one: list[Any], two: list[Any]) -> None:
    assert [row[0] for row in one] == [row[0] for row in two]
    for a, b in zip(one, two, strict=True):
        assert a[1] == pytest.approx(b[1], rel=1e-4)
        assert (a[2] is None) == (b[2] is None)
        assert a[2] is None or a[2] == pytest.approx(b[2], rel=1e-4)


def test_one_two_and_four_ranks_learn_the_same(mpi: Mpi, tmp_path: Path) -> None:
    for ranks in (1, 2, 4):
        done = mpi(ranks, "--run-dir", f"run{ranks}", "--json")
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["steps"] == 24  # one object: rank 0 alone speaks
        assert done.stderr.count("saved in run") == 1
    close(losses(tmp_path / "run1"), losses(tmp_path / "run2"))
    close(losses(tmp_path / "run1"), losses(tmp_path / "run4"))
    one, four = (load_checkpoint(tmp_path / name / "last.npz") for name in ("run1", "run4"))
    for a, b in zip(one.state, four.state, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-3)  # all columns came to rank 0
    samples = [(tmp_path / name / "samples.txt").read_text().count("--- step") for name in ("run1", "run4")]
    assert samples[0] == samples[1]


def begin(tmp_path: Path, environment: dict[str, str], ranks: int, *arguments: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        words(ranks, *arguments), cwd=tmp_path, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )


def wait_for(path: Path) -> None:
    end = time.monotonic() + 300
    while not path.exists():
        assert time.monotonic() < end
        time.sleep(0.02)


def ranks_of(launcher: int) -> list[int]:
    """Process numbers of the ranks, below the launcher."""
    found = subprocess.run(["ps", "-eo", "pid,ppid,args"], capture_output=True, text=True, check=True).stdout
    rows = [line.split(None, 2) for line in found.splitlines()[1:]]
    below = {launcher}
    for _ in range(3):  # some launchers have proxies between
        below |= {int(pid) for pid, parent, _ in rows if int(parent) in below}
    mine = [(int(pid), command) for pid, _, command in rows if int(pid) in below - {launcher}]
    return [pid for pid, command in mine if command.startswith(sys.executable) and " -m charrnn " in command]


@pytest.mark.parametrize("lost", [0, -1])
def test_a_lost_rank_ends_all_and_another_number_goes_on(
    mpi: Mpi, tmp_path: Path, environment: dict[str, str], lost: int
) -> None:
    long = ("--set", "training.max_steps=100000")
    launcher = begin(tmp_path, environment, 3, "--run-dir", "run", *long)
    wait_for(tmp_path / "run" / "last.npz")
    os.kill(ranks_of(launcher.pid)[lost], signal.SIGKILL)
    assert launcher.wait(timeout=300) != 0
    assert ranks_of(launcher.pid) == []
    step = load_checkpoint(tmp_path / "run" / "last.npz").counters["step"]
    assert step % 4 == 0
    further = step + 8
    done = mpi(2, "--run-dir", "run", "--resume", "--set", f"training.max_steps={further}")
    assert done.returncode == 0, done.stderr
    assert load_checkpoint(tmp_path / "run" / "last.npz").counters["step"] == further
    reports = [row[0] for row in losses(tmp_path / "run")]
    assert reports == [k for k in range(1, further + 1) if k % 2 == 0 or k % 5 == 0]  # none twice, none missing


def test_resuming_with_more_ranks_is_the_undisturbed_run(mpi: Mpi, tmp_path: Path) -> None:
    constant = ("--set", "training.schedule=constant")
    assert mpi(1, "--run-dir", "whole", *constant).returncode == 0
    assert mpi(2, "--run-dir", "run", *constant, "--set", "training.max_steps=10").returncode == 0
    assert mpi(4, "--run-dir", "run", *constant, "--resume").returncode == 0
    close(losses(tmp_path / "whole"), losses(tmp_path / "run"))


@pytest.mark.parametrize("asked", ["a rank", "mpirun"])
def test_sigterm_saves(tmp_path: Path, environment: dict[str, str], asked: str) -> None:
    launcher = begin(
        tmp_path, environment, 2, "--run-dir", "run", "--set", "training.max_steps=100000",
        "--set", "training.checkpoint_every=1000000",
    )  # fmt: skip
    wait_for(tmp_path / "run" / "history.jsonl")
    # A rank alone is asked, and all stop after the same step; or the launcher, which hands it on.
    os.kill(ranks_of(launcher.pid)[-1] if asked == "a rank" else launcher.pid, signal.SIGTERM)
    assert launcher.wait(timeout=300) != 0
    saved = load_checkpoint(tmp_path / "run" / "last.npz")
    assert saved.counters["step"] >= 1


def test_errors_end_all_ranks(mpi: Mpi, tmp_path: Path) -> None:
    assert mpi(2, "--run-dir", "run").returncode == 0
    again = mpi(2, "--run-dir", "run")
    assert again.returncode == 2
    assert again.stderr.count("charrnn: error: ") == 1
    assert "holds a run already" in again.stderr
    diverged = mpi(2, "--run-dir", "other", "--set", "training.learning_rate=1e38", "--set", "training.grad_clip=null",
                   "--set", "training.optimizer=sgd")  # fmt: skip
    assert diverged.returncode == 5
    assert diverged.stderr.count("charrnn: error: ") == 1


class Peers:
    """A communicator whose other ranks come to the same end after some questions, or never."""

    def __init__(self, questions: float) -> None:
        self.left, self.codes = questions, list[int]()

    def Ibarrier(self) -> Peers:
        return self

    def Test(self) -> bool:
        self.left -= 1
        return self.left < 0

    def Abort(self, code: int) -> None:
        self.codes.append(code)
        self.left = 0


@pytest.mark.parametrize(("questions", "codes"), [(3, []), (math.inf, [5])])
def test_ranks_are_aborted_only_where_they_do_not_end_by_themselves(
    monkeypatch: pytest.MonkeyPatch, questions: float, codes: list[int]
) -> None:
    peers = Peers(questions)
    monkeypatch.setattr(mpi_module, "_world", SimpleNamespace(comm=peers, rank=0, size=2))
    monkeypatch.setattr(mpi_module, "_PATIENCE", {True: 0.1, False: 0.1})
    mpi_module.end(5)
    assert peers.codes == codes


UNLIKE = """
import numpy as np
from charrnn.training.mpi import MpiGroup, world
from charrnn.training.group import ReplicaSpec
network = {"cell": "gru", "hidden_size": 5, "num_layers": 1}
np.arange(200, dtype=np.uint8).tofile("ids") if world().rank == 0 else None
world().comm.barrier()
plan = ReplicaSpec(
    vocab_size=200, sizes=network, network=network, cell_module="charrnn.nn.cells.gru", ids_path="ids", ids_dtype="|u1",
    train_size=200, separator=None, offsets=False, batch_size=4, seq_length=8, state_reset=0.0, count=1,
)
group = MpiGroup(plan, plan.stream(), ranks=world())
group.model.params.flat[:] = 1 + world().rank / 1000
group.gather()
assert (group.model.params.flat == 1).all(), world().rank
"""


def test_parameters_of_unlike_machines_do_not_drift_apart(tmp_path: Path, environment: dict[str, str]) -> None:
    start = words(2)[: -len(["-m", "charrnn", "train", "--config", "c.yaml"])]
    subprocess.run([*start, "-c", UNLIKE], cwd=tmp_path, env=environment, check=True, timeout=300)


def test_who_was_launched_with_others(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith(("OMPI_", "PMI", "SLURM_", "MPI_")):
            monkeypatch.delenv(name)
    assert not launched()
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "3")  # tasks of a job, none of which knows the others
    assert not launched()
    monkeypatch.setenv("PMIX_RANK", "1")  # srun --mpi=pmix
    assert launched()
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "1")
    assert not launched()
    monkeypatch.setenv("PMI_SIZE", "2")  # MPICH, srun --mpi=pmi2
    assert launched()


def test_without_mpi4py_one_line_says_what_to_install(
    tmp_path: Path, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mpi4py").mkdir()
    (tmp_path / "mpi4py" / "__init__.py").write_text("raise ImportError('not here')")
    hidden = {**environment, "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}", "OMPI_COMM_WORLD_SIZE": "2"}
    done = subprocess.run(
        [sys.executable, "-m", "charrnn", "train", "--config", "c.yaml"],
        cwd=tmp_path, env=hidden, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 6
    assert 'pip install "charrnn[mpi]"' in done.stderr
