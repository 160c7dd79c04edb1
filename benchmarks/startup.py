"""Time from a command's start to its first output."""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from rich.table import Table

TRAIN = (
    "--set", "corpus.source=python-docs", "--set", "training.max_steps=1", "--set", "training.eval_every=null", "--set",
    "corpus.val_fraction=0", "--quiet",
)  # fmt: skip


def first_byte(command: list[str]) -> float:
    """Seconds from the start of a process to the first byte it writes (or its end, if it writes nothing)."""
    started = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert process.stdout is not None
    process.stdout.read(1)
    seconds = time.perf_counter() - started
    process.stdout.read()
    process.wait()
    return seconds


def measure(args: argparse.Namespace) -> tuple[list[Table], dict[str, Any]]:
    """Time to the first output, interleaved."""
    charrnn = [sys.executable, "-m", "charrnn"]
    with tempfile.TemporaryDirectory() as folder:
        run = str(Path(folder) / "run")
        subprocess.run([*charrnn, "train", "--config", "lstm", "--run-dir", run, *TRAIN], check=True)
        commands = {
            "python -c pass": [sys.executable, "-c", "pass"],
            "import typer": [sys.executable, "-c", "import typer, rich"],
            "import numpy": [sys.executable, "-c", "import numpy"],
            "import torch": [sys.executable, "-c", "import torch"],
            "charrnn --help": [*charrnn, "--help"],
            "first sampled character, 1x256": [
                *charrnn, "sample", run, "--length", "1", "--seed", "1", "--no-include-prime",
            ],
        }  # fmt: skip
        times: dict[str, list[float]] = {name: [] for name in commands}
        for _ in range(args.repeats + 1):
            for name, command in commands.items():
                times[name].append(first_byte(command))
    medians = {name: statistics.median(values[1:]) for name, values in times.items()}
    table = Table("what", "milliseconds", "of import torch", title="Start-up")
    for name, seconds in medians.items():
        table.add_row(name, f"{1000 * seconds:.0f}", f"{seconds / medians['import torch']:.2f}")
    return [table], {"seconds": medians, "repeats": times}
