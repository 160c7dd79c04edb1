"""Locks: who looks takes none; where there are none, training goes on and says so."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from charrnn.errors import SettingsError
from charrnn.locks import FileLock, LockedError, is_locked
from charrnn.runs.directory import RunDirectory
from charrnn.runs.table import find_runs
from tests.conftest import ROOT, Run
from tests.reliability.disks import mounted
from tests.reliability.processes import ENDLESS, train, wait_for_rows, write_settings

fcntl = pytest.importorskip("fcntl")


def test_a_lock_is_seen_from_outside_and_inside(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    assert not is_locked(path)
    look = f"from charrnn.locks import is_locked; from pathlib import Path; print(is_locked(Path({str(path)!r})))"

    def seen() -> str:
        words = [sys.executable, "-c", look]
        done = subprocess.run(words, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, check=True)
        return done.stdout.decode().strip()

    with FileLock(path, wait=False) as lock:
        assert lock.held
        assert is_locked(path)
        assert seen() == "True"
        with pytest.raises(LockedError), FileLock(path, wait=False):
            pass
        assert is_locked(path)  # whoever was refused has not opened it for others
    assert not is_locked(path)
    assert seen() == "False"


def test_looking_never_keeps_a_training_out(tmp_path: Path) -> None:
    with RunDirectory(tmp_path).lock():
        pass
    stop = threading.Event()

    def look() -> None:
        while not stop.is_set():
            is_locked(tmp_path / ".lock")

    lookers = [threading.Thread(target=look) for _ in range(3)]
    for thread in lookers:
        thread.start()
    try:
        for _ in range(500):
            with RunDirectory(tmp_path).lock():
                pass
    finally:
        stop.set()
        for thread in lookers:
            thread.join()


@pytest.mark.parametrize("code", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP])
def test_without_locks_training_goes_on_with_a_note(
    tmp_path: Path, charrnn_here: Run, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    """Some of Lustre, NFS and FUSE."""

    def flock(handle: int, operation: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(fcntl, "flock", flock)
    settings = write_settings(tmp_path, steps=5)
    done = charrnn_here("train", "-c", settings, "--run-dir", tmp_path / "run", "--progress", "plain")
    assert done.returncode == 0, done.stderr
    assert "this file system has no locks" in done.stderr
    assert charrnn_here("train", "-c", settings, "--run-dir", tmp_path / "run", "--resume", "-q").returncode == 0
    assert charrnn_here("runs", tmp_path).returncode == 0


def test_a_lock_that_is_no_file_is_refused(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / ".lock").symlink_to(outside)
    with pytest.raises(SettingsError, match="cannot be written"), RunDirectory(tmp_path / "a").lock():
        pass
    assert not outside.exists()
    (tmp_path / "b").mkdir()
    os.mkfifo(tmp_path / "b" / ".lock")
    with pytest.raises(SettingsError, match="cannot be written"), RunDirectory(tmp_path / "b").lock():
        pass
    assert not is_locked(tmp_path / "b" / ".lock")


def test_a_running_run_is_in_the_table_on_a_disk_that_may_only_be_read(tmp_path: Path) -> None:
    with mounted(tmp_path / "disk", "4m") as disk:
        settings = write_settings(tmp_path)
        process = train(settings, disk.path / "run", "-q", *ENDLESS)
        wait_for_rows(disk.path / "run")
        assert [run.status for run in find_runs(disk.path)] == ["running"]
        process.kill()
        process.communicate()
        subprocess.run(["mount", "-o", "remount,ro", str(disk.path)], check=True)
        assert [run.status for run in find_runs(disk.path)] == ["stopped"]
