"""Cost of the live display: training under a pseudo-terminal with it, and with `--quiet`, in turns."""

from __future__ import annotations

import argparse
import json
import os
import pty
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from rich.table import Table

SETTINGS = (
    "--set", "training.max_steps=200", "--set", "training.eval_every=null", "--set",
    "training.sample_every=50", "--set", "training.checkpoint_every=100000",
)  # fmt: skip


def chars_per_second(folder: Path, *options: str) -> float:
    """Of one short training whose standard error is a terminal."""
    shutil.rmtree(folder / "run", ignore_errors=True)
    controller, terminal = pty.openpty()
    command = [sys.executable, "-m", "charrnn", "train", "-c", "lstm", "--overwrite", "--json", *SETTINGS, *options]
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "80", "LINES": "24"}
    process = subprocess.Popen(
        [*command, "--run-dir", str(folder / "run")], stdout=subprocess.PIPE, stderr=terminal, env=environment
    )
    os.close(terminal)

    def drain() -> None:
        try:
            while os.read(controller, 1 << 16):
                pass
        except OSError:  # the other end is closed
            pass

    reader = threading.Thread(target=drain)
    reader.start()
    history = folder / "run" / "history.jsonl"
    while process.poll() is None and not (history.exists() and history.stat().st_size):
        time.sleep(0.01)
    began = time.time()
    out, _ = process.communicate()
    reader.join()
    os.close(controller)
    # Wall time from the first report to the last checkpoint: everything between two steps counts, imports do not.
    ended = (folder / "run" / "last.npz").stat().st_mtime
    first = json.loads((folder / "run" / "history.jsonl").read_text().splitlines()[0])
    return (float(json.loads(out)["chars"]) - first["chars"]) / (ended - began)


def measure(args: argparse.Namespace) -> tuple[list[Table], dict[str, Any]]:
    """Medians of interleaved trainings."""
    speeds: dict[str, list[float]] = {"live": [], "quiet": []}
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(args.repeats):
            speeds["live"].append(chars_per_second(Path(folder), "--progress", "rich"))
            speeds["quiet"].append(chars_per_second(Path(folder), "--quiet"))
    live, quiet = (statistics.median(speeds[name]) for name in ("live", "quiet"))
    table = Table("display", "chars/s", "of quiet", title="Live display, LSTM 1x256, B = 32, T = 64")
    table.add_row("rich", f"{live:,.0f}", f"{live / quiet:.3f}")
    table.add_row("quiet", f"{quiet:,.0f}", "1.000")
    return [table], {"chars_per_second": speeds, "ratio": live / quiet}
