"""The settings that all sweeps start from."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

BASE = (
    "corpus: {{source: {text}}}\n"
    "model: {{cell: gru, hidden_size: 8}}\n"
    "training: {{batch_size: 4, seq_length: 16, epochs: null, max_steps: {steps}, eval_every: 20,\n"
    "  checkpoint_every: 10, sample_every: null, log_every: 5, learning_rate: 0.01, warmup_steps: 2}}\n"
)


@pytest.fixture
def base(tmp_path: Path, text_file: Path) -> Callable[[int], Path]:
    def write(steps: int) -> Path:
        path = tmp_path / "base.yaml"
        path.write_text(BASE.format(text=text_file, steps=steps))
        return path

    return write
