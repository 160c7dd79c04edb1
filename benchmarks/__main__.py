"""`python -m benchmarks [SUITE...]`: measure, print tables, write a JSON file."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks import control, encoding, evaluation, learning, live, memory, mixture, mpi, startup, sweeps
from benchmarks.contestants import Size
from benchmarks.race import race

CELLS = ("lstm", "gru", "rnn")
SHAPES = ({"L": 2, "H": 128}, {"L": 1, "H": 256}, {"L": 2, "H": 256}, {"L": 1, "H": 512}, {"L": 3, "H": 512},
          {"L": 2, "H": 128, "B": 50, "T": 50})  # fmt: skip
CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def training(args: argparse.Namespace) -> tuple[list[Table], dict[str, Any]]:
    """A training step against PyTorch, the sgemm peak, one replica, and a textbook network."""
    kinds = {
        "charrnn": ("charrnn", CORES),
        "one replica": ("charrnn", 1),
        **{f"torch {n}": ("torch", n) for n in sorted({1, CORES})},
        "peak": ("gemm", CORES),
        "textbook": ("textbook", CORES),
    }
    tables, data = [], {}
    for cell in args.cells:
        table = Table(
            "size", "charrnn", "PyTorch", "times PyTorch", "of the sgemm peak", "times one replica", "times textbook",
            "MB", "PyTorch MB", title=f"Training, {cell}: characters per second",
        )  # fmt: skip
        ratios = []
        for shape in SHAPES:
            size = Size(cell, **shape)
            result = race(kinds, size, repeats=args.repeats, turn_seconds=args.turn)
            t, chars = result.median, size.B * size.T
            best = min((name for name in t if name.startswith("torch")), key=t.__getitem__)
            ratios.append(t[best] / t["charrnn"])
            table.add_row(
                size.name, f"{chars / t['charrnn']:,.0f}", f"{chars / t[best]:,.0f}", f"{ratios[-1]:.2f}",
                f"{t['peak'] / t['charrnn']:.2f}", f"{t['one replica'] / t['charrnn']:.2f}",
                f"{t['textbook'] / t['charrnn']:.1f}",
                f"{result.memory['charrnn']:.0f}", f"{result.memory[best]:.0f}",
            )  # fmt: skip
            data[f"{cell} {size.name}"] = result.as_dict()
            print(f"{cell} {size.name}: {ratios[-1]:.2f}", file=sys.stderr)
        table.add_row("geometric mean", "", "", f"{geometric_mean(ratios):.2f}", end_section=True)
        tables.append(table)
    return tables, data


def sampling(args: argparse.Namespace) -> tuple[list[Table], dict[str, Any]]:
    """Characters per second: one stream, then 64 at once."""
    tables, data = [], {}
    for streams in (1, 64):
        table = Table(
            "size", "charrnn", "PyTorch", "times PyTorch",
            title=f"Sampling, lstm, {streams} at once: characters per second",
        )  # fmt: skip
        for shape in SHAPES[:5]:
            size = Size("lstm", **{**shape, "B": streams})
            # As `charrnn sample` runs: BLAS uses all cores.
            kinds = {"charrnn": ("charrnn-sample", CORES)}
            kinds |= {f"torch {n}": ("torch-sample", n) for n in sorted({1, CORES})}
            result = race(kinds, size, repeats=args.repeats, turn_seconds=args.turn / 2)
            t = result.median
            best = min((name for name in t if name.startswith("torch")), key=t.__getitem__)
            table.add_row(
                f"{size.L}x{size.H}", f"{streams / t['charrnn']:,.0f}", f"{streams / t[best]:,.0f}",
                f"{t[best] / t['charrnn']:.1f}",
            )  # fmt: skip
            data[f"{streams} {size.L}x{size.H}"] = result.as_dict()
        tables.append(table)
    return tables, data


def geometric_mean(values: list[float]) -> float:
    """Of positive numbers."""
    product = 1.0
    for value in values:
        product *= value
    return product ** (1.0 / len(values))


SUITES = {
    "training": training,
    "sampling": sampling,
    "control": control.measure,
    "startup": startup.measure,
    "encoding": encoding.measure,
    "live": live.measure,
    "sweeps": sweeps.measure,
    "mpi": mpi.measure,
    "memory": memory.measure,
    "learning": learning.measure,
    "evaluation": evaluation.measure,
    "mixture": mixture.measure,
}


def main() -> None:
    """Parse the command line and run the suites."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("suites", nargs="*", help=f"any of {', '.join(SUITES)}; default: all")
    parser.add_argument("--repeats", type=int, default=7, help="number of turns per contestant; the median is shown")
    parser.add_argument("--turn", type=float, default=0.6, help="seconds per turn")
    parser.add_argument("--cells", nargs="+", choices=CELLS, default=list(CELLS))
    parser.add_argument("--text", default="tiny-shakespeare", help="corpus or file for some suites, such as learning")
    parser.add_argument("--output", type=Path, default=Path("benchmarks.json"), help="JSON file with every figure")
    args = parser.parse_args()
    if unknown := set(args.suites) - set(SUITES):
        parser.error(f"no suite {', '.join(sorted(unknown))}")
    console = Console(width=None if sys.stdout.isatty() else 120)
    results: dict[str, Any] = {"machine": f"{platform.machine()}, {CORES} cores", "python": platform.python_version()}
    for name in args.suites or SUITES:
        tables, results[name] = SUITES[name](args)
        for table in tables:
            console.print(table)
    args.output.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
