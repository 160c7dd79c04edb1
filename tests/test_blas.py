"""The matrix library's kernel and threads, in processes of their own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy  # noqa: F401 - brings the BLAS whose threads are counted
import pytest
from threadpoolctl import threadpool_info

from charrnn import blas

ZEN4 = "processor : 0\nflags\t\t: fpu sse avx avx2 avx512f avx512dq avx512bw avx512vl avx512cd\n"
NO_CD = ZEN4.replace(" avx512cd", "")


def chosen(cpuinfo: str, tmp_path: Path, *, machine: str = "x86_64", before: str = "", **environment: str) -> str:
    """`OPENBLAS_CORETYPE OPENBLAS_NUM_THREADS` after `choose_kernel(threads=1)`."""
    file = tmp_path / "cpuinfo"
    file.write_text(cpuinfo)
    code = f"""
import os, platform
from pathlib import Path
platform.machine = lambda: {machine!r}
{before}
from charrnn import blas
flags = blas.cpu_flags(Path({str(file)!r}))
blas.cpu_flags = lambda: flags
blas.choose_kernel(threads=1)
print(os.environ.get("OPENBLAS_CORETYPE"), os.environ.get("OPENBLAS_NUM_THREADS"))
"""
    clean = {k: v for k, v in os.environ.items() if k not in (blas.CORETYPE, "OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS")}
    done = subprocess.run(
        [sys.executable, "-c", code], env={**clean, **environment}, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def test_the_avx512_kernel_is_named_only_where_it_runs(tmp_path: Path) -> None:
    assert chosen(ZEN4, tmp_path) == "SkylakeX 1"
    assert chosen(NO_CD, tmp_path) == "None 1"
    assert chosen("", tmp_path) == "None 1"
    assert chosen(ZEN4, tmp_path, machine="aarch64") == "None 1"


def test_the_users_environment_wins(tmp_path: Path) -> None:
    assert chosen(ZEN4, tmp_path, OPENBLAS_CORETYPE="Haswell") == "Haswell 1"
    assert chosen(ZEN4, tmp_path, OPENBLAS_NUM_THREADS="4") == "SkylakeX 4"
    assert chosen(ZEN4, tmp_path, OMP_NUM_THREADS="4") == "SkylakeX None"


def test_nothing_is_changed_once_numpy_is_loaded(tmp_path: Path) -> None:
    assert chosen(ZEN4, tmp_path, before="import numpy") == "None None"


def test_a_machine_without_cpuinfo_starts(tmp_path: Path) -> None:
    assert blas.cpu_flags(tmp_path / "missing") == frozenset()


def test_threads_are_set_for_a_block_and_put_back() -> None:
    def threads() -> list[int]:
        return [library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"]

    before = threads()
    assert before
    with blas.blas_threads(3):
        assert threads() == [3] * len(before)
    assert threads() == before


def crashes_without_charrnn(kernel: str) -> bool:
    """Whether NumPy alone dies of a segmentation fault, as 2.5.5 does with kernels older than Nehalem."""
    code = "import numpy as np; a = np.ones((512, 512), np.float32); a @ a.T.copy()"
    done = subprocess.run([sys.executable, "-c", code], env={**os.environ, blas.CORETYPE: kernel}, check=False)
    return done.returncode == -signal.SIGSEGV


@pytest.mark.parametrize("kernel", ["Haswell", "SkylakeX", "Prescott"])
def test_the_same_network_with_every_kernel(kernel: str) -> None:
    """Kernels round differently and agree on everything else."""
    if kernel == "SkylakeX" and not blas.cpu_flags() >= blas._NEEDED:
        pytest.skip("no AVX-512")
    if crashes_without_charrnn(kernel):
        pytest.skip(f"a plain product crashes in this NumPy's OpenBLAS with the kernel {kernel}")
    code = """
import numpy as np
from charrnn.nn.network import CharRNN
model = CharRNN(20, cell="lstm", hidden_size=64, num_layers=2)
model.init(np.random.default_rng(0))
ids = np.random.default_rng(1).integers(0, 20, (33, 32))
print(model.loss_and_grad(ids[:-1], ids[1:], model.zero_state(32)), float(np.abs(model.grads.flat).sum()))
"""
    outputs = []
    for name in (kernel, "Nehalem"):
        environment = {**os.environ, blas.CORETYPE: name}
        done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
        outputs.append([float(x) for x in done.stdout.split()])
    assert outputs[0] == pytest.approx(outputs[1], rel=1e-4)
