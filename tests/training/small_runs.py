"""Runs of a second, their settings and what they leave."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from charrnn.config.load import parse_config
from charrnn.config.schema import Config
from charrnn.data.encode import encode_text
from charrnn.runs.checkpoint import load_checkpoint
from charrnn.runs.directory import RunDirectory
from charrnn.runs.events import Event
from charrnn.training.trainer import Trainer
from tests.conftest import SENTENCES

BASE = """
corpus: {source: unused}
model: {cell: CELL, hidden_size: 12, num_layers: 2, dropout: 0.2}
training: {batch_size: 4, seq_length: 16, epochs: 2, eval_every: 7, checkpoint_every: 5, sample_every: 9,
  sample_length: 10, log_every: 3, learning_rate: 0.01, warmup_steps: 3}
"""


def config(cell: str = "lstm", *overrides: str) -> Config:
    return parse_config(BASE.replace("CELL", cell), where="test", overrides=overrides)


def start(
    folder: Path, settings: Config, *, text: str = SENTENCES * 8, resume: bool = False, **options: Any
) -> Trainer:
    folder.mkdir(parents=True, exist_ok=True)
    source = folder.parent / "text.txt"
    source.write_text(text, encoding="utf-8")
    encoded = encode_text([source], settings.corpus.encoding, folder.parent / "cache")
    run = RunDirectory(folder)
    if not resume:
        run.open_new(settings, overwrite=True)
        return Trainer(settings, encoded, run, **options)
    saved = load_checkpoint(run.last)
    run.reopen(settings)
    trainer = Trainer(settings, encoded, run, resume_from=saved, **options)
    run.cut_logs(trainer.counters.history_bytes, trainer.counters.samples_bytes)
    return trainer


def finish(trainer: Trainer) -> list[Event]:
    return list(trainer.run())


def history(folder: Path) -> list[dict[str, object]]:
    rows = [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]
    return [{k: v for k, v in row.items() if k not in ("seconds", "chars_per_second")} for row in rows]
