"""The process of one contestant: `python -m benchmarks.child KIND CELL L H B T V COUNT`.

Reads commands from standard input, one per line: a number of steps, answered with the seconds they took, or `memory`,
answered with the megabytes that it and its own children take.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path


def family(pid: int) -> list[int]:
    """A process and those it has started, and they in turn (Linux)."""
    found = [pid]
    for member in found:
        for task in Path(f"/proc/{member}/task").iterdir():
            found += map(int, (task / "children").read_text().split())
    return found


def memory() -> float:
    """Megabytes: peak of this process and its children; pages that they share count once (Linux)."""
    total = 0
    for pid in family(os.getpid()):
        status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
        rollup = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:])
        kilobytes = {k: int(v.split()[0]) for k, v in {**status, **rollup}.items() if k in ("VmHWM", "Rss", "Pss")}
        total += kilobytes["VmHWM"] - (kilobytes["Rss"] - kilobytes["Pss"])
    return total / 1024


def main() -> None:
    """Serve until standard input ends."""
    kind, cell, *numbers = sys.argv[1:]
    layers, hidden, batch, steps, symbols, count = map(int, numbers)
    from charrnn.blas import choose_kernel

    # Like the program itself: one BLAS thread per replica; otherwise all cores.
    choose_kernel(threads=1 if kind in ("numpy", "compiled") else count)
    from benchmarks.contestants import Size, make

    step = make(kind, Size(cell, layers, hidden, batch, steps, symbols), count)
    scale = getattr(step, "scale", 1.0)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    for line in sys.stdin:
        if line.strip() == "memory":
            sys.stdout.write(f"{memory()}\n")
        else:
            started = time.perf_counter()
            for _ in range(int(line)):
                step()
            sys.stdout.write(f"{(time.perf_counter() - started) * scale}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
