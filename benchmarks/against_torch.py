"""Training and sampling on NumPy's kernels and on compiled ones, beside PyTorch at its best number of threads."""

from __future__ import annotations

import argparse
import os
import sys
from typing import Any

from rich.table import Table

from benchmarks.contestants import Size
from benchmarks.race import Result, race
from charrnn.nn.compiled import why_not

SHAPES = ({"L": 2, "H": 128}, {"L": 1, "H": 256}, {"L": 2, "H": 256}, {"L": 1, "H": 512}, {"L": 3, "H": 512},
          {"L": 2, "H": 128, "B": 50, "T": 50})  # fmt: skip
CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
TORCH = {f"torch {n}": n for n in sorted({1, CORES})}


def training(args: argparse.Namespace) -> tuple[list[Table], dict[str, Any]]:
    """A training step: forward, backward, clip and Adam."""
    tables, data = [], {}
    for cell in args.cells:
        names = kernels_of(cell)
        kinds = {name: (name, CORES) for name in names}
        if CORES > 1:
            kinds[f"one {names[0]}"] = (names[0], 1)
        kinds |= {name: ("torch", n) for name, n in TORCH.items()} | {"peak": ("gemm", CORES)}
        table = Table(
            "size", *names, "PyTorch", *(f"{name} / PyTorch" for name in names), "of the sgemm peak",
            "of one thread", *(f"MB {name}" for name in names), "MB PyTorch",
            title=f"Training, {cell}: characters per second",
        )  # fmt: skip
        ratios: dict[str, list[float]] = {name: [] for name in names}
        for shape in shapes_of(args):
            size = Size(cell, **shape)
            result = race(kinds, size, repeats=args.repeats, turn_seconds=args.turn)
            table.add_row(*_training_row(size, result, ratios))
            data[f"{cell} {size.name}"] = result.as_dict()
        means = {name: geometric_mean(values) for name, values in ratios.items()}
        table.add_row("geometric mean", *("" for _ in (*names, "PyTorch")), *(f"{mean:.2f}" for mean in means.values()))
        data[f"{cell} geometric mean"] = means
        tables.append(table)
    return tables, data


def _training_row(size: Size, result: Result, ratios: dict[str, list[float]]) -> list[str]:
    """A row; its ratios are added to those of the rows before."""
    t, chars, first = result.median, size.B * size.T, next(iter(ratios))
    one = f"one {first}"
    contestants = (*ratios, best_torch(t))
    _add_ratios(size, result, ratios)
    return [
        size.name, *(f"{chars / t[name]:,.0f}" for name in contestants),
        *(f"{values[-1]:.2f}" for values in ratios.values()),
        f"{result.times(first, 'peak'):.2f}", f"{result.times(first, one if one in t else first):.2f}",
        *(f"{result.memory[name]:.0f}" for name in contestants),
    ]  # fmt: skip


def sampling(args: argparse.Namespace) -> tuple[list[Table], dict[str, Any]]:
    """Characters per second: one stream, then 64 at once."""
    tables, data = [], {}
    for cell in args.cells[:1]:
        names = kernels_of(cell)
        kinds = {name: (f"{name}-sample", CORES) for name in names}
        kinds |= {name: ("torch-sample", n) for name, n in TORCH.items()}
        for streams in (1, 64):
            table = Table(
                "size", *names, "PyTorch", *(f"{name} / PyTorch" for name in names),
                title=f"Sampling, {cell}, {streams} at once: characters per second",
            )  # fmt: skip
            ratios: dict[str, list[float]] = {name: [] for name in names}
            for shape in shapes_of(args):
                if "B" in shape:
                    continue
                size = Size(cell, **shape, B=streams)
                result = race(kinds, size, repeats=args.repeats, turn_seconds=args.turn)
                t = result.median
                _add_ratios(size, result, ratios)
                table.add_row(
                    f"{size.L}x{size.H}", *(f"{streams / t[name]:,.0f}" for name in (*names, best_torch(t))),
                    *(f"{values[-1]:.1f}" for values in ratios.values()),
                )  # fmt: skip
                data[f"{streams} {size.L}x{size.H}"] = result.as_dict()
            tables.append(table)
    return tables, data


def textbook(args: argparse.Namespace) -> tuple[list[Table], dict[str, Any]]:
    """What NumPy's kernels gain over a network as tutorials write it."""
    table, data = Table("cell", "size", "times textbook", title="NumPy's kernels against a textbook network"), {}
    for cell in args.cells:
        for shape in shapes_of(args)[:2]:
            size = Size(cell, **shape)
            kinds = {"numpy": ("numpy", CORES), "textbook": ("textbook", CORES)}
            result = race(kinds, size, repeats=min(3, args.repeats), turn_seconds=args.turn)
            table.add_row(cell, size.name, f"{result.times('numpy', 'textbook'):.1f}")
            data[f"{cell} {size.name}"] = result.as_dict()
    return [table], data


def turns(args: argparse.Namespace) -> tuple[list[Table], dict[str, Any]]:
    """Whether turns are fair: a contestant's speed beside others that wait, over its speed alone, in alternation."""
    table, data = Table("contestant", "beside others / alone", title="Speed in turns, LSTM 1x256"), {}
    size = Size("lstm", 1, 256)
    kinds = {name: (name, CORES) for name in kernels_of("lstm")} | {"torch": ("torch", CORES), "peak": ("gemm", CORES)}
    for name in (next(iter(kinds)), "torch"):
        speeds = []
        for _ in range(3):
            alone = race({name: kinds[name]}, size, repeats=args.repeats, turn_seconds=args.turn).median[name]
            speeds.append(alone / race(kinds, size, repeats=args.repeats, turn_seconds=args.turn).median[name])
        table.add_row(name, ", ".join(f"{speed:.2f}" for speed in sorted(speeds)))
        data[name] = speeds
    return [table], data


def shapes_of(args: argparse.Namespace) -> list[dict[str, int]]:
    """The sizes to measure: those of `--sizes`, or the usual ones."""
    if not args.sizes:
        return list(SHAPES)
    return [dict(zip("LH", map(int, size.split("x")), strict=True)) for size in args.sizes]


def kernels_of(cell: str) -> list[str]:
    """The kernels a cell can run on here, the fastest first."""
    return ["numpy"] if why_not(cell) else ["compiled", "numpy"]


def best_torch(seconds: dict[str, float]) -> str:
    """PyTorch at its best number of threads."""
    return min(TORCH, key=seconds.__getitem__)


def _add_ratios(size: Size, result: Result, ratios: dict[str, list[float]]) -> None:
    for name, values in ratios.items():
        values.append(result.times(name, best_torch(result.median)))
    shown = ", ".join(f"{name} {values[-1]:.2f}" for name, values in ratios.items())
    print(f"{size.cell} {size.L}x{size.H}: {shown} times PyTorch", file=sys.stderr, flush=True)


def geometric_mean(values: list[float]) -> float:
    """Of positive numbers."""
    product = 1.0
    for value in values:
        product *= value
    return product ** (1.0 / len(values))
