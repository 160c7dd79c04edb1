"""Real trainings in real processes, for tests that kill them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from charrnn.runs.checkpoint import load_checkpoint
from tests.conftest import ROOT, SENTENCES

# Nothing is saved but at a stop, so that a checkpoint shows that the stop saved.
ENDLESS = [
    "--set", "training.max_steps=100000000", "--set", "training.checkpoint_every=100000000", "--set",
    "training.eval_every=null", "--set", "training.sample_every=null", "--set", "training.log_every=1",
]  # fmt: skip
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}
TWO = ("--set", "training.replicas=2", "--set", "training.batch_size=16")

SETTINGS = """
corpus: {source: SOURCE}
model: {cell: CELL, hidden_size: 12, dropout: 0.1}
training: {batch_size: 4, seq_length: 16, epochs: null, max_steps: STEPS, eval_every: 7, checkpoint_every: 1,
  sample_every: 9, sample_length: 10, log_every: 3, learning_rate: 0.01, warmup_steps: 3, kernels: KERNELS}
"""


def write_settings(folder: Path, *, cell: str = "gru", steps: int = 60, kernels: str = "numpy") -> Path:
    """A small run that saves after every step."""
    folder.mkdir(parents=True, exist_ok=True)
    text = folder / "text.txt"
    text.write_text(SENTENCES * 12, encoding="utf-8")
    path = folder / "run.yaml"
    path.write_text(
        SETTINGS.replace("SOURCE", str(text))
        .replace("CELL", cell)
        .replace("STEPS", str(steps))
        .replace("KERNELS", kernels),
        encoding="utf-8",
    )
    return path


def train(settings: Path, run: Path, *arguments: str, **options: Any) -> subprocess.Popen[str]:
    """Start `charrnn train`."""
    return subprocess.Popen(
        [sys.executable, "-m", "charrnn", "train", "-c", str(settings), "--run-dir", str(run), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        **options,
    )


def final_state(run: Path) -> tuple[dict[str, np.ndarray], list[dict[str, Any]], str]:
    """Arrays of the last checkpoint, history without times, samples."""
    with np.load(run / "last.npz", allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files if name not in ("meta",)}
    rows = [json.loads(line) for line in (run / "history.jsonl").read_text(encoding="utf-8").splitlines()]
    timeless = [{k: v for k, v in row.items() if k not in ("seconds", "chars_per_second")} for row in rows]
    return arrays, timeless, (run / "samples.txt").read_text(encoding="utf-8")


def assert_same_state(a: Path, b: Path) -> None:
    """Two runs ended alike to the last bit."""
    arrays, others = final_state(a), final_state(b)
    assert arrays[0].keys() == others[0].keys()
    for name, values in arrays[0].items():
        np.testing.assert_array_equal(values, others[0][name], err_msg=name)
    assert arrays[1:] == others[1:]


def command(*arguments: object) -> list[str]:
    """A command line."""
    return [sys.executable, "-m", "charrnn", *map(str, arguments)]


def wait_for_rows(run: Path, count: int = 3) -> None:
    """Until the history has so many rows."""
    deadline = time.monotonic() + 60
    history = run / "history.jsonl"
    while time.monotonic() < deadline and (not history.exists() or history.read_bytes().count(b"\n") < count):
        time.sleep(0.02)


def saved_step(run: Path) -> int:
    """Of the last checkpoint."""
    return int(load_checkpoint(run / "last.npz").counters["step"])


def rows(run: Path) -> int:
    """Of the history."""
    return (run / "history.jsonl").read_bytes().count(b"\n")
