"""Choose the matrix library's kernel and threads before NumPy loads. Imports nothing numeric.

OpenBLAS takes some AVX-512 processors (AMD's Zen 4 and 5) for older ones and runs them at half their speed; naming the
AVX-512 kernel in its environment, before NumPy is imported, gives the other half back (118 -> 210 GFLOP/s a core,
measured on Zen 5). Where the processor cannot run it, or the user has chosen, nothing is changed.
"""

from __future__ import annotations

import contextlib
import os
import platform
import sys
from collections.abc import Iterator
from pathlib import Path

CORETYPE = "OPENBLAS_CORETYPE"
_THREADS = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS")
_NEEDED = {"avx512f", "avx512dq", "avx512bw", "avx512vl", "avx512cd"}


def cpu_flags(cpuinfo: Path = Path("/proc/cpuinfo")) -> frozenset[str]:
    """The processor's feature flags as Linux tells them; empty elsewhere."""
    try:
        with cpuinfo.open(encoding="utf-8", errors="replace") as file:
            for line in file:
                if line.startswith("flags"):
                    return frozenset(line.partition(":")[2].split())
    except OSError:
        pass
    return frozenset()


def choose_kernel(threads: int | None = None) -> None:
    """Set OpenBLAS's environment for this process; does nothing once NumPy is loaded.

    Args:
        threads: BLAS threads; None leaves the library's own choice. The user's environment wins over both.
    """
    if "numpy" in sys.modules:
        return
    x86 = platform.machine().lower() in {"x86_64", "amd64"}
    if x86 and CORETYPE not in os.environ and cpu_flags() >= _NEEDED:
        os.environ[CORETYPE] = "SkylakeX"
    if threads is not None and not any(name in os.environ for name in _THREADS):
        os.environ[_THREADS[0]] = str(threads)


def kernel_name() -> str:
    """The kernel asked for, for a checkpoint's metadata: results differ in the last bits between kernels."""
    return os.environ.get(CORETYPE, "default") + "/" + platform.machine()


@contextlib.contextmanager
def blas_threads(count: int) -> Iterator[None]:
    """Run the block with `count` threads in every BLAS library loaded, then go back.

    For processes that have loaded NumPy already: replicas want one thread each, evaluation between two steps wants all.
    """
    from threadpoolctl import threadpool_limits

    with threadpool_limits(limits=count, user_api="blas"):
        yield
