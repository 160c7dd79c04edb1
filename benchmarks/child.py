"""The process of one contestant: `python -m benchmarks.child KIND CELL L H B T V COUNT`.

Reads numbers of steps from standard input, a line each, and answers with the seconds they took.
"""

from __future__ import annotations

import os
import sys
import time


def main() -> None:
    """Serve until standard input ends."""
    kind, cell, *numbers = sys.argv[1:]
    layers, hidden, batch, steps, symbols, count = map(int, numbers)
    from charrnn.blas import choose_kernel

    threads = count if kind == "gemm" else 1
    if kind == "textbook":
        threads = os.cpu_count() or 1
    choose_kernel(threads=threads)
    from benchmarks.contestants import Size, make

    step = make(kind, Size(cell, layers, hidden, batch, steps, symbols), count)
    scale = getattr(step, "scale", 1.0)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    for line in sys.stdin:
        started = time.perf_counter()
        for _ in range(int(line)):
            step()
        sys.stdout.write(f"{(time.perf_counter() - started) * scale}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
