"""Strange machines: hostile working directories, no shared memory, no home, few descriptors, few processors."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

from charrnn.blas import available_cores, cpu_quota
from charrnn.errors import StorageError
from charrnn.training import memory, replicas
from tests.conftest import ROOT, Run, assert_one_line_error
from tests.reliability.disks import mounted
from tests.reliability.processes import TWO, command, saved_step, write_settings
from tests.training.small_runs import config, finish, start

pytestmark = pytest.mark.extras  # many processes

NAMES = ("random", "numpy", "json", "tempfile", "subprocess", "struct", "secrets", "msgspec", "yaml", "tqdm", "socket")


def run(words: list[str], **options: Any) -> subprocess.CompletedProcess[str]:
    options = {"env": {**os.environ, "PYTHONPATH": str(ROOT)}} | options
    return subprocess.run(words, capture_output=True, text=True, check=False, timeout=120, **options)


@pytest.mark.parametrize("way", ["module", "script"])
def test_nothing_is_imported_from_the_working_directory(tmp_path: Path, way: str) -> None:
    """Not by the command, a replica or a trial."""
    settings, here = write_settings(tmp_path, steps=4), tmp_path / "here"
    here.mkdir()
    for name in NAMES:
        (here / f"{name}.py").write_text(f"open({str(tmp_path / 'executed')!r}, 'w').close()\nraise SystemExit(77)\n")
    script = shutil.which("charrnn", path=Path(sys.executable).parent)
    if way == "script" and script is None:
        pytest.skip("not installed")
    first = [sys.executable, "-m", "charrnn"] if way == "module" else [str(script)]
    # An empty part means the working directory too.
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = run([*first, "train", "-c", str(settings), "--run-dir", "run", *TWO], cwd=here, env=environment)
    assert done.returncode == 0, done.stderr
    (here / "s.yaml").write_text(f"base: {settings}\ngrid: {{training.seed: [1]}}\n", encoding="utf-8")
    done = run([*first, "sweep", "s.yaml", "--run-dir", "sweep"], cwd=here, env=environment)
    assert done.returncode == 0, done.stderr
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize("size", ["64k", None])
def test_replicas_need_no_shared_memory_folder(tmp_path: Path, size: str | None) -> None:
    """A /dev/shm that is too small, in a mount namespace of its own; and none at all."""
    if not shutil.which("unshare") or run(["unshare", "-m", "true"]).returncode:
        pytest.skip("this user may not unshare mounts")
    settings = write_settings(tmp_path, steps=4)
    hide = f"mount -t tmpfs -o size={size} none /dev/shm" if size else "umount -l /dev/shm; rmdir /dev/shm || true"
    train = command("train", "-c", settings, "--run-dir", tmp_path / "run", *TWO, "--set", "model.hidden_size=128")
    done = run(["unshare", "-m", "sh", "-c", f'{hide.split(";")[0]}; exec "$@"', "sh", *train])
    assert done.returncode == 0, done.stderr
    assert saved_step(tmp_path / "run") == 4


def without_memfd(name: str, flags: int = 0) -> int:
    raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))


def test_memory_is_reserved_where_there_is_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without memfd: from /dev/shm to the folder for temporary files to one line, never a bus error."""
    monkeypatch.setattr(os, "memfd_create", without_memfd, raising=False)
    used: list[str | None] = []
    real = tempfile.TemporaryFile
    monkeypatch.setattr(tempfile, "TemporaryFile", lambda dir=None: (used.append(dir), real(dir=dir))[1])
    with mounted(tmp_path / "small", "64k") as disk, mounted(tmp_path / "larger", "4m") as larger:
        monkeypatch.setattr(memory, "_SHM", str(disk.path))
        monkeypatch.setattr(tempfile, "tempdir", str(larger.path))
        handle = memory.reserve(1 << 20)
        assert used == [str(disk.path), None]
        mapped = memory.attach(handle, 1 << 20)
        mapped[:] = b"\1" * (1 << 20)  # every page is there
        mapped.close()
        os.close(int(handle))
        with pytest.raises(StorageError, match="no place for the 17 MB that replicas share: No space left"):
            memory.reserve(1 << 24)
        monkeypatch.delattr(os, "posix_fallocate", raising=False)  # macOS has none
        with pytest.raises(StorageError, match="No space left"):
            memory.reserve(1 << 24)
        os.close(int(memory.reserve(1 << 20)))
        monkeypatch.setattr(memory, "_SHM", str(tmp_path / "nowhere"))
        os.close(int(memory.reserve(1 << 20)))


def test_one_process_needs_no_shared_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(size: int) -> int:
        raise AssertionError("reserved")

    monkeypatch.setattr(replicas, "reserve", fail)
    finish(start(tmp_path / "a", config("gru", "training.max_steps=3")))


def test_more_memory_than_there_is_is_one_line(charrnn: Run, tmp_path: Path) -> None:
    settings = write_settings(tmp_path, steps=2)
    for count in (1, 2):
        enormous = (
            "--set",
            f"training.replicas={count}",
            "--set",
            "model.hidden_size=65536",
            "--set",
            "model.num_layers=64",
        )
        done = charrnn("train", "-c", settings, "--run-dir", tmp_path / "run", *enormous)
        assert_one_line_error(done, 1, "out of memory")


def test_without_a_home_one_line_says_what_is_missing(tmp_path: Path) -> None:
    settings = write_settings(tmp_path, steps=2)
    kept = {k: v for k, v in os.environ.items() if k not in ("HOME", "CHARRNN_HOME", "XDG_CACHE_HOME")}
    code = (
        "import sys\nfrom pathlib import Path\ndef home(): raise RuntimeError('Could not determine home directory.')\n"
    )
    code += "Path.home = home\nfrom charrnn.cli.app import main\nmain()"
    words = [sys.executable, "-c", code, "train", "-c", str(settings), "--run-dir", str(tmp_path / "run")]
    done = run(words, env={**kept, "PYTHONPATH": str(ROOT)})
    assert_one_line_error(done, 2, "no home directory", "CHARRNN_HOME")
    done = run(words, env={**kept, "PYTHONPATH": str(ROOT), "CHARRNN_HOME": str(tmp_path / "home")})
    assert done.returncode == 0, done.stderr


def test_a_cache_that_cannot_be_written_is_one_line(
    charrnn: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv("CHARRNN_HOME", str(tmp_path / "file" / "cache"))
    done = charrnn("train", "-c", write_settings(tmp_path, steps=2), "--run-dir", tmp_path / "run")
    assert_one_line_error(done, 2, "the encoded text cannot be written", "CHARRNN_HOME")


def test_no_folder_for_temporary_files(charrnn: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path / "nowhere"))
    settings = write_settings(tmp_path, steps=3)
    done = charrnn("train", "-c", settings, "--run-dir", tmp_path / "run", *TWO)
    assert done.returncode == 0, done.stderr
    assert charrnn("find-lr", "-c", settings, "--steps", 20, "--to", 0.1).returncode == 0


@pytest.mark.skipif(sys.platform == "win32", reason="limits of POSIX")
def test_few_descriptors_train_or_say_so_in_one_line(tmp_path: Path) -> None:
    import resource

    settings = write_settings(tmp_path, steps=2)
    codes = set()
    for limit in (6, 9, 12, 24):

        def restrict(limit: int = limit) -> None:
            resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))

        words = command("train", "-c", settings, "--run-dir", tmp_path / str(limit), *TWO)
        done = run(words, preexec_fn=restrict)
        codes.add(done.returncode)
        if done.returncode:
            assert_one_line_error(done, done.returncode, "Too many open files")
    assert codes == {0, 1}


def test_a_directory_that_was_removed(tmp_path: Path) -> None:
    """The user's own, under a run whose paths are absolute."""
    settings, gone = write_settings(tmp_path, steps=3), tmp_path / "gone"
    gone.mkdir()
    code = f"import os, sys; os.chdir({str(gone)!r}); os.rmdir({str(gone)!r}); os.execv(sys.argv[1], sys.argv[1:])"
    done = run([sys.executable, "-c", code, *command("train", "-c", settings, "--run-dir", tmp_path / "run", *TWO)])
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("files", "own", "share"),
    [
        ({}, "0::/\n", None),
        ({"cpu.max": "max 100000"}, "0::/\n", None),
        ({"cpu.max": "150000 100000"}, "0::/\n", 1.5),
        ({"a/cpu.max": "400000 100000", "a/b/cpu.max": "max 100000"}, "0::/a/b\n", 4.0),
        ({"a/cpu.max": "400000 100000", "a/b/cpu.max": "50000 100000"}, "0::/a/b\n", 0.5),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, "3:cpu:/\n", None),
        ({"cpu/x/cpu.cfs_quota_us": "200000\n", "cpu/x/cpu.cfs_period_us": "100000\n"}, "3:cpu:/x\n", 2.0),
        ({"cpu.max": "hello"}, "nonsense\n", None),
    ],
)
def test_a_containers_share_of_the_processors(
    tmp_path: Path, files: dict[str, str], own: str, share: float | None
) -> None:
    for name, text in files.items():
        (tmp_path / "cgroup" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "cgroup" / name).write_text(text)
    (tmp_path / "own").write_text(own)
    assert cpu_quota(tmp_path / "cgroup", tmp_path / "own") == share
    assert cpu_quota(tmp_path / "nowhere", tmp_path / "nowhere") is None


def test_a_share_counts_as_so_many_processors(monkeypatch: pytest.MonkeyPatch) -> None:
    from charrnn import blas
    from charrnn.sweep import executors

    here = available_cores()
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(64)), raising=False)
    for share, cores in ((None, 64), (0.5, 1), (1.5, 1), (4.0, 4), (100.0, 64)):
        monkeypatch.setattr(blas, "cpu_quota", lambda share=share: share)
        assert available_cores() == cores
        assert sum(map(len, executors.core_groups(1))) == cores
    code = "from charrnn import blas; blas.cpu_quota = lambda: 3.0; blas.choose_kernel(); import os\n"
    code += "print(os.environ['OPENBLAS_NUM_THREADS'])"
    bare = {k: v for k, v in os.environ.items() if not k.endswith("_THREADS")} | {"PYTHONPATH": str(ROOT)}
    done = run([sys.executable, "-c", code], env=bare)
    assert int(done.stdout) == min(3, here), done.stderr
