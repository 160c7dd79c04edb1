"""Seconds of training to a loss: the fast recipe against the whole CPU recipe of nanoGPT's character demo.

The text is tiny-shakespeare, which must be in the cache (`charrnn corpus fetch tiny-shakespeare`) or named with
--text. Both sides get all cores; only training time counts, without validation.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from rich.table import Table

TARGET = 1.886  # the published loss of nanoGPT's recipe, nats
RECIPE = "tiny-shakespeare-fast"
EVERY = 25  # steps between validations, so that the time is accurate to half a second


def ours(text: str, seed: int, folder: Path) -> dict[str, float]:
    """Seconds until TARGET, and the loss at the recipe's end."""
    words = [
        sys.executable, "-m", "charrnn", "compare", RECIPE, "--budget", "30s", "--target-loss", str(TARGET),
        "--run-dir", str(folder), "--quiet", "--json", "--set", f"corpus.source={text}",
        "--set", f"training.seed={seed}", "--set", f"training.eval_every={EVERY}",
        "--set", "training.sample_every=null",
    ]  # fmt: skip
    (run,) = json.loads(subprocess.run(words, check=True, capture_output=True, text=True).stdout)["runs"]
    return {"seconds": run["seconds_to_target"], "val_loss": run["loss"], "parameters": run["parameters"]}


def theirs(text: str, cores: int) -> dict[str, float]:
    """See `benchmarks.gpt`."""
    words = [sys.executable, "-m", "benchmarks.gpt", text, str(cores)]
    found: dict[str, float] = json.loads(subprocess.run(words, check=True, capture_output=True, text=True).stdout)
    return found


def measure(args: argparse.Namespace) -> tuple[list[Table], dict[str, Any]]:
    """One run of the transformer at one thread and at all, three seeds of the recipe."""
    from charrnn.blas import available_cores
    from charrnn.data.corpora import resolve

    (path,) = resolve(args.text)
    peers = [theirs(str(path), threads) for threads in sorted({1, available_cores()})]
    peer = min(peers, key=lambda run: run["seconds"])
    with tempfile.TemporaryDirectory() as place:
        runs = [ours(str(path), seed, Path(place, str(seed))) for seed in (1337, 1338, 1339)]
    seconds = statistics.median(run["seconds"] for run in runs)
    table = Table("", "parameters", "seconds", "of the peer's", "loss at its end", title=f"Seconds to {TARGET} nats")
    table.add_row(
        "nanoGPT's recipe, whole", f"{peer['parameters']:,}", f"{peer['seconds']:.1f}", "1", f"{peer['val_loss']:.3f}"
    )
    loss = statistics.median(run["val_loss"] for run in runs)
    table.add_row(
        f"{RECIPE}, until there", f"{runs[0]['parameters']:,}", f"{seconds:.1f}", f"{seconds / peer['seconds']:.3f}",
        f"{loss:.3f}",
    )  # fmt: skip
    return [table], {"peers": peers, "runs": runs}
