"""Choose the matrix library's kernel and threads before NumPy loads. Imports nothing numeric.

OpenBLAS mistakes some AVX-512 processors (AMD's Zen 4 and 5) for older ones and runs them at half their speed; naming
the AVX-512 kernel in its environment, before NumPy is imported, restores it (118 -> 210 GFLOP/s per core, measured on
Zen 5). If the processor cannot run that kernel, or the user has chosen one, nothing is changed.
"""

from __future__ import annotations

import contextlib
import os
import platform
import sys
from collections.abc import Iterator
from pathlib import Path

CORETYPE = "OPENBLAS_CORETYPE"
THREADS = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")  # the last is macOS's own library
_NEEDED = {"avx512f", "avx512dq", "avx512bw", "avx512vl", "avx512cd"}


def cpu_flags(cpuinfo: Path = Path("/proc/cpuinfo")) -> frozenset[str]:
    """The processor's feature flags as Linux reports them; empty on other systems."""
    try:
        with cpuinfo.open(encoding="utf-8", errors="replace") as file:
            for line in file:
                if line.startswith("flags"):
                    return frozenset(line.partition(":")[2].split())
    except OSError:
        pass
    return frozenset()


def available_cores() -> int:
    """Processors this process may use: those it may run on, or fewer where its container has a share of their time."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    share = cpu_quota()
    return allowed if share is None else max(1, min(allowed, int(share)))


def cpu_quota(root: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup")) -> float | None:
    """Processors' worth of time that this process's control groups allow, as in a container; None: no limit.

    Args:
        root: where the groups are mounted, version 2 or 1.
        own: says which this process is in.
    """
    groups = {root, root / "cpu", root / "cpu,cpuacct"}
    with contextlib.suppress(OSError):
        for line in own.read_text(encoding="utf-8", errors="replace").splitlines():
            _, _, rest = line.partition(":")
            controllers, _, path = rest.partition(":")
            mounted = root / controllers if controllers else root
            inside = mounted / path.lstrip("/")
            groups |= {group for group in (inside, *inside.parents) if group.is_relative_to(mounted)}
    found = [share for group in groups if (share := _share(group)) is not None]
    return min(found, default=None)


def _share(group: Path) -> float | None:
    """Quota of one group over its period."""
    for names in (("cpu.max",), ("cpu.cfs_quota_us", "cpu.cfs_period_us")):
        with contextlib.suppress(OSError, ValueError, ZeroDivisionError):
            words = " ".join((group / name).read_text(encoding="ascii") for name in names).split()
            quota, period = float(words[0]), float(words[1])  # "max" is no number, and -1 no limit
            if quota > 0:
                return quota / period
    return None


def choose_kernel(threads: int | None = None) -> None:
    """Set OpenBLAS's environment for this process; does nothing once NumPy is loaded.

    Args:
        threads: BLAS threads; None leaves the library's own choice, which does not know of a container's share of the
            processors. The user's environment wins over both.
    """
    if "numpy" in sys.modules:
        return
    x86 = platform.machine().lower() in {"x86_64", "amd64"}
    if x86 and CORETYPE not in os.environ and cpu_flags() >= _NEEDED:
        os.environ[CORETYPE] = "SkylakeX"
    if threads is None and cpu_quota() is not None:
        threads = available_cores()
    if threads is not None and not any(name in os.environ for name in THREADS):
        os.environ.update(dict.fromkeys((THREADS[0], THREADS[-1]), str(threads)))


def kernel_name() -> str:
    """The kernel requested, for a checkpoint's metadata: results differ in the last bits between kernels."""
    return os.environ.get(CORETYPE, "default") + "/" + platform.machine()


@contextlib.contextmanager
def blas_threads(count: int) -> Iterator[None]:
    """Run the block with `count` threads in every BLAS library loaded, then go back.

    For processes that have loaded NumPy already: replicas want one thread each, evaluation between two steps wants all.
    """
    from threadpoolctl import threadpool_limits

    with threadpool_limits(limits=count, user_api="blas"):
        yield
