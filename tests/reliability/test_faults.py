"""Every call of a save can fail: the checkpoint before it stands, and nothing else is left."""

from __future__ import annotations

import errno
import os
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from charrnn import files as atomic
from charrnn.runs.checkpoint import load_checkpoint, save_checkpoint
from tests.checkpoints import make
from tests.conftest import ROOT, train_here
from tests.reliability.processes import write_settings


class Faults:
    """Counts calls and fails the one whose turn it is."""

    def __init__(self, turn: int, code: int, *, short: bool = False) -> None:
        self.turn, self.code, self.short = turn, code, short
        self.calls: list[str] = []

    def call(self, name: str, function: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        self.calls.append(name)
        if len(self.calls) == self.turn:
            if self.short and name == "write":
                function(arguments[0][: len(arguments[0]) // 2])
            raise OSError(self.code, os.strerror(self.code))
        return function(*arguments, **options)


class FaultyModule:
    def __init__(self, module: Any, faults: Faults, names: tuple[str, ...]) -> None:
        self._module, self._faults, self._names = module, faults, names

    def __getattr__(self, name: str) -> Any:
        real = getattr(self._module, name)
        if name not in self._names:
            return real
        if name == "fdopen":
            return lambda *a, **k: self._faults.call("fdopen", lambda: FaultyFile(real(*a, **k), self._faults))
        return lambda *a, **k: self._faults.call(name, real, *a, **k)


class FaultyFile:
    def __init__(self, file: Any, faults: Faults) -> None:
        self._file, self._faults = file, faults

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def __enter__(self) -> FaultyFile:
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()

    def write(self, data: Any) -> int:
        return int(self._faults.call("write", self._file.write, bytes(data)))

    def flush(self) -> None:
        self._faults.call("flush", self._file.flush)


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO])
@pytest.mark.parametrize("short", [False, True])
def test_the_previous_checkpoint_survives_a_failure_of_any_call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, short: bool
) -> None:
    path = tmp_path / "last.npz"
    old, new = make(), make()
    old.counters, new.counters = {"step": 1}, {"step": 2}
    save_checkpoint(path, old)
    seen: set[str] = set()
    turn = 0
    while True:
        turn += 1
        faults = Faults(turn, code, short=short)
        with monkeypatch.context() as patch:
            names = ("fdopen", "fsync", "chmod", "replace")
            patch.setattr(atomic, "os", FaultyModule(os, faults, names))
            patch.setattr(atomic, "tempfile", FaultyModule(atomic.tempfile, faults, ("mkstemp",)))
            try:
                save_checkpoint(path, new)
                failed = False
            except OSError:
                failed = True
        seen |= set(faults.calls)
        expected = 1 if failed else 2
        assert load_checkpoint(path).counters == {"step": expected}
        assert [p.name for p in tmp_path.iterdir()] == ["last.npz"], turn
        if turn > len(faults.calls):
            break
        save_checkpoint(path, old)
    assert seen == {"mkstemp", "fdopen", "write", "flush", "fsync", "chmod", "replace"}
    assert turn > 40


@pytest.mark.skipif(sys.platform == "win32", reason="limits of POSIX")
def test_a_full_disk_is_a_clear_error_and_the_last_checkpoint_stands(tmp_path: Path) -> None:
    """The kernel itself refuses to let the file grow: the same way as a full disk, for one process."""
    settings = write_settings(tmp_path)
    run = tmp_path / "run"

    def words(steps: int, *more: str) -> list[str]:
        return ["-c", str(settings), "--run-dir", str(run), "--set", f"training.max_steps={steps}", *more]

    def resume(limit: int) -> subprocess.CompletedProcess[str]:
        def restrict() -> None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

        return subprocess.run(
            [sys.executable, "-m", "charrnn", "train", "-q", *words(9, "--resume")],
            capture_output=True,
            text=True,
            preexec_fn=restrict,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            check=False,
        )

    train_here(*words(5))
    before = (run / "last.npz").read_bytes()
    full = resume(len(before) // 2)
    assert full.returncode == 1, full.stderr
    assert "cannot be written" in full.stderr
    assert "Traceback" not in full.stderr
    assert (run / "last.npz").read_bytes() == before
    assert not list(run.glob(".*.tmp"))
    train_here(*words(9, "--resume"))
    assert load_checkpoint(run / "last.npz").counters["step"] == 9
