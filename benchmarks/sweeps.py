"""A sweep of four trials: two jobs against one, with one replica per trial and with one per core."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from rich.table import Table

SWEEP = """\
base: quickstart
set: {{training.max_steps: {steps}, training.max_minutes: null, training.eval_every: null, training.sample_every: null,
  corpus.val_fraction: 0, training.checkpoint_every: 100000, training.batch_size: 32, training.replicas: {replicas}}}
grid: {{training.seed: [1, 2, 3, 4]}}
"""


def seconds(replicas: int | str, jobs: int, steps: int) -> float:
    """Wall time of the whole sweep, processes and all."""
    root = Path(__file__).resolve().parents[1]
    with tempfile.TemporaryDirectory() as place:
        Path(place, "s.yaml").write_text(SWEEP.format(steps=steps, replicas=replicas), encoding="utf-8")
        words = [sys.executable, "-m", "charrnn", "sweep", "s.yaml", "--jobs", str(jobs), "--quiet"]
        began = time.perf_counter()
        subprocess.run(words, cwd=place, check=True, env={**os.environ, "PYTHONPATH": str(root)})
        return time.perf_counter() - began


def ratios(steps: int = 600, repeats: int = 3) -> dict[str, dict[str, float]]:
    """Median times (seconds) by turns, and their ratio."""
    out = {}
    for replicas in (1, "auto"):
        times: dict[int, list[float]] = {1: [], 2: []}
        for _ in range(repeats):
            for jobs, found in times.items():
                found.append(seconds(replicas, jobs, steps))
        one, two = (sorted(found)[len(found) // 2] for found in times.values())
        out[str(replicas)] = {"one job": one, "two jobs": two, "ratio": two / one}
    return out


def measure(args: argparse.Namespace) -> tuple[list[Table], dict[str, Any]]:
    """The table."""
    data = ratios(repeats=min(args.repeats, 3))
    table = Table("replicas per trial", "one job, s", "two jobs, s", "ratio", title="Sweep of four trials (LSTM, 256)")
    for name, row in data.items():
        table.add_row(name, *(f"{row[key]:.2f}" for key in ("one job", "two jobs", "ratio")))
    return [table], data
