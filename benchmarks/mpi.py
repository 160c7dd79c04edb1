"""Data-parallel training: MPI ranks and replicas of one process, on this machine, in turns, with the same losses.

Needs `mpirun` and the extra `[mpi]`. One BLAS thread each, so that only the way of sharing differs.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

from rich.table import Table

SETTINGS = """\
corpus: {{source: {source}, val_fraction: 0}}
model: {{cell: lstm, hidden_size: {hidden}}}
training: {{batch_size: {columns}, seq_length: 64, epochs: null, max_steps: {steps},
  schedule: constant, log_every: {every}, eval_every: null, checkpoint_every: 1000000, sample_every: null}}
"""
SIZES = ((256, 64, 100), (512, 64, 32), (256, 512, 16))  # H, B, steps
CONTESTANTS = (("replicas", 1), ("replicas", 2), ("ranks", 2), ("ranks", 4))


def train(folder: Path, kind: str, count: int) -> tuple[float, float]:
    """Characters per second between the first report and the last, and the last loss (nats)."""
    run = folder / f"{kind}-{count}"
    words = [sys.executable, "-m", "charrnn", "train", "--config", "c.yaml", "--run-dir", str(run), "--overwrite", "-q"]
    if kind == "ranks":
        words = [*launcher(count), *words]
    else:
        words += ["--set", f"training.replicas={count}"]
    root = Path(__file__).resolve().parents[1]
    environment = {**os.environ, "PYTHONPATH": str(root), "OPENBLAS_NUM_THREADS": "1"}
    subprocess.run(words, cwd=folder, check=True, env=environment)
    first, *_, last = (json.loads(line) for line in (run / "history.jsonl").read_text().splitlines())
    return (last["chars"] - first["chars"]) / (last["seconds"] - first["seconds"]), last["train_loss"]


def launcher(ranks: int) -> list[str]:
    """`mpirun`, allowed to start more ranks than there are processors."""
    version = subprocess.run(["mpirun", "--version"], capture_output=True, text=True, check=True).stdout
    more = ["--oversubscribe", "--allow-run-as-root", "--bind-to", "none"] if "Open MPI" in version else []
    return ["mpirun", "-n", str(ranks), *more]


def measure(args: argparse.Namespace) -> tuple[list[Table], dict[str, Any]]:
    """The table."""
    names = [f"{count} {kind if count > 1 else 'process'}" for kind, count in CONTESTANTS]
    table = Table("size", *names, "losses differ by", title="Data-parallel training: characters per second")
    data: dict[str, Any] = {}
    source = str(Path(args.text).resolve()) if Path(args.text).is_file() else args.text
    for hidden, columns, steps in SIZES:
        with tempfile.TemporaryDirectory() as place:
            text = SETTINGS.format(source=source, hidden=hidden, columns=columns, steps=steps, every=steps // 4)
            Path(place, "c.yaml").write_text(text, encoding="utf-8")
            found: dict[str, list[tuple[float, float]]] = {name: [] for name in names}
            for _ in range(min(args.repeats, 3)):
                for name, contestant in zip(names, CONTESTANTS, strict=True):
                    found[name].append(train(Path(place), *contestant))
        speeds = {name: median(speed for speed, _ in turns) for name, turns in found.items()}
        losses = {name: turns[0][1] for name, turns in found.items()}
        spread = max(losses.values()) - min(losses.values())
        size = f"1x{hidden}, {columns} columns"
        table.add_row(size, *(f"{speeds[name]:,.0f}" for name in names), f"{spread:.1e}")
        data[size] = {"chars_per_second": speeds, "losses": losses, "steps": steps}
    return [table], data
