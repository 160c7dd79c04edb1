"""Cost of control: the stream of `charrnn sample` against the bare loop of step, draw, decode and write, in turns.

Without extra filters or stop conditions the ratio should be at most 1.05; the other rows show what each one costs.
"""

from __future__ import annotations

import argparse
import contextlib
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from rich.table import Table

from charrnn.cli.commands.sampling.job import Job, stream, write_batch
from charrnn.cli.output import write
from charrnn.data.vocabulary import TextDecoder, Vocabulary
from charrnn.nn.network import CharRNN
from charrnn.nn.stepper import Stepper
from charrnn.sampling.draw import Chooser, SamplingOptions, Uniforms
from charrnn.sampling.generate import Control
from charrnn.sampling.options import SamplerOptions

SYMBOLS = "".join(map(chr, range(40, 105)))
PRIME = np.zeros(1, np.uint8)
_PIECES = 8  # more and shorter turns, so that other load on the machine affects both sides of a ratio
ROWS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "charrnn sample": ({}, {}),
    "--top-k 20 --top-p 0.95": ({"top_k": 20, "top_p": 0.95}, {}),
    "--stop": ({}, {"stop": ("\n\n",)}),
    "--min-p 0.05": ({"min_p": 0.05}, {}),
    "--dry-multiplier 0.8": ({"dry_multiplier": 0.8}, {}),
}


def bare(model: CharRNN, vocabulary: Vocabulary, length: int, count: int) -> None:
    """The minimum work per character; one stream is written as it is made, several at the end."""
    stepper, decoder = Stepper(model, count), TextDecoder(vocabulary)
    chooser, uniforms = Chooser(len(vocabulary), count, SamplingOptions(temperature=0.8)), Uniforms(1, count)
    logits, made = stepper.step(0 if count == 1 else np.zeros(count, np.intp)), []
    for _ in range(length):
        ids = chooser.choose(logits, uniforms.draw())
        if count == 1:
            write(decoder.feed(int(ids[0])))
        else:
            made.append(ids.copy())
        logits = stepper.step(ids)
    for row in np.stack(made, axis=1).tolist() if made else ():
        write("".join(map(decoder.feed, row)) + "\n")


def command(model: CharRNN, vocabulary: Vocabulary, length: int, count: int, name: str) -> None:
    """What `charrnn sample` runs once its flags are read."""
    options, control = ROWS[name]
    loaded: Any = SimpleNamespace(models=[model], vocabulary=vocabulary)
    job = Job(
        loaded, SamplerOptions(temperature=0.8, **options), PRIME, Control(length, **control), seed=1, count=count,
        include_prime=False,
    )  # fmt: skip
    (stream if count == 1 else write_batch)(job)


def seconds(run: Callable[..., None], length: int) -> float:
    """A step."""
    with Path("/dev/null").open("w") as nowhere, contextlib.redirect_stdout(nowhere):
        started = time.perf_counter()
        run(length=length)
    return (time.perf_counter() - started) / length


def measure(args: argparse.Namespace) -> tuple[list[Table], dict[str, Any]]:
    """Medians of turns, and of the ratios within a turn."""
    vocabulary, tables, data = Vocabulary.of(SYMBOLS), [], {}
    for layers, hidden, count in ((1, 256, 1), (2, 128, 1), (1, 256, 64)):
        model = CharRNN(len(vocabulary), cell="lstm", hidden_size=hidden, num_layers=layers, fuse_one_hot=False)
        model.init(np.random.default_rng(0))
        fixed = {"model": model, "vocabulary": vocabulary, "count": count}
        runs: dict[str, Callable[..., None]] = {"bare loop": partial(bare, **fixed)}
        runs |= {name: partial(command, **fixed, name=name) for name in ROWS}
        length = max(50, round(args.turn / _PIECES / seconds(runs["bare loop"], 300)))
        times: dict[str, list[float]] = {name: [] for name in runs}
        for turn in range(args.repeats * _PIECES):
            for name in runs if turn % 2 else reversed(runs):
                times[name].append(seconds(runs[name], length))
        table = Table(
            "what",
            "microseconds per character",
            "of the bare loop",
            title=f"Sampling control, LSTM {layers}x{hidden}, {count} at once",
        )
        ratios = {
            name: statistics.median(a / b for a, b in zip(times[name], times["bare loop"], strict=True))
            for name in runs
        }
        for name in runs:
            table.add_row(name, f"{1e6 * statistics.median(times[name]) / count:.1f}", f"{ratios[name]:.3f}")
        tables.append(table)
        data[f"{count} {layers}x{hidden}"] = {"seconds": times, "ratios": ratios}
    return tables, data
