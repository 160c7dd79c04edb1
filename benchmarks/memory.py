"""At which lag each cell stops remembering: the share of right answers in the recall task."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from charrnn.config.load import config_from_dict
from charrnn.data.encode import encode_text
from charrnn.data.synthetic import build_text, generator_nats, make_task
from charrnn.runs.directory import RunDirectory
from charrnn.training.trainer import Trainer

LAGS = (2, 5, 10, 20, 40, 80)
NOISES = (1, 8)  # a filler without information, and characters that must be predicted too
CELLS = ("rnn", "gru", "lstm")
SYMBOLS, HIDDEN, STEPS = 8, 64, 2500


def right_answers(cell: str, lag: int, noise: int = 1, steps: int = STEPS) -> float:
    """Share of the held-out answers that are the trained network's most likely symbol; 1/8 is chance."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        text = folder / "recall.txt"
        task = make_task("recall", {"lag": lag, "symbols": SYMBOLS, "noise": noise})
        build_text("recall", task, chars=300_000, seed=1, output=text)
        training = {
            "batch_size": 32, "seq_length": max(64, 2 * (lag + 4)), "epochs": None, "max_steps": steps,
            "learning_rate": 0.005 if cell != "rnn" else 0.002, "eval_every": None, "sample_every": None,
            "checkpoint_every": 10**6, "replicas": 1,
        }  # fmt: skip
        settings = {"corpus": {"source": str(text)}, "model": {"cell": cell, "hidden_size": HIDDEN}}
        config = config_from_dict({**settings, "training": training}, where="benchmark")
        run = RunDirectory(folder / "run")
        run.open_new(config, overwrite=True)
        trainer = Trainer(config, encode_text([text], "utf-8", folder / "cache"), run)
        for _ in trainer.run():
            pass
        known = generator_nats(text)
        assert known is not None
        start = len(known[1]) - len(trainer.val_ids)
        answers = known[0].answers(known[1])
        answers = answers[answers > start + 4 * (lag + 4)] - start
        part = np.asarray(trainer.val_ids[:20_000]).astype(np.intp)
        _, log_p = trainer.model.trace(part[:, None], trainer.model.zero_state(1))
        answers = answers[answers < len(part)]
        return float((log_p[answers - 1, :, 0].argmax(axis=1) == trainer.val_ids[answers]).mean())


def measure(args: argparse.Namespace) -> tuple[list[Table], dict[str, Any]]:
    """One table per noise: a row per cell, a column per lag."""
    tables, data = [], {}
    for noise in NOISES:
        found = {cell: {lag: right_answers(cell, lag, noise) for lag in LAGS} for cell in CELLS}
        title = f"Right answers after LAG of {noise} kinds of noise (chance: {100 / SYMBOLS:.1f}%)"
        table = Table("cell", *map(str, LAGS), title=title)
        for cell, shares in found.items():
            table.add_row(cell, *(f"{100 * share:.0f}%" for share in shares.values()))
        tables.append(table)
        data[str(noise)] = {cell: {str(lag): share for lag, share in shares.items()} for cell, shares in found.items()}
    return tables, data
