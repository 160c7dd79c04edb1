"""Trained models for tests of many commands."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import SENTENCES, train_here


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two trained models of one vocabulary, and one of another; not to be changed."""
    folder = tmp_path_factory.mktemp("runs")
    (folder / "text.txt").write_text(SENTENCES * 12)
    (folder / "other.txt").write_text("0123456789 " * 200)
    for name, text, cell in (("a", "text.txt", "gru"), ("b", "text.txt", "lstm"), ("other", "other.txt", "rnn")):
        (folder / f"{name}.yaml").write_text(
            f"corpus: {{source: {folder / text}}}\nmodel: {{cell: {cell}, hidden_size: 24}}\n"
            "training: {batch_size: 4, seq_length: 16, epochs: null, max_steps: 250, learning_rate: 0.02, "
            "eval_every: 50, sample_every: null}\n"
        )
        train_here("--config", folder / f"{name}.yaml", "--run-dir", folder / name)
    return folder


@pytest.fixture(scope="session")
def byte_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trained model of bytes; not to be changed."""
    folder = tmp_path_factory.mktemp("bytes")
    (folder / "text.txt").write_text("à la fin de l'été, où êtes-vous ?\n" * 40, encoding="utf-8")
    (folder / "c.yaml").write_text(
        f"corpus: {{source: {folder / 'text.txt'}, encoding: bytes}}\nmodel: {{cell: gru, hidden_size: 8}}\n"
        "training: {batch_size: 4, seq_length: 16, epochs: null, max_steps: 20, sample_every: null}\n"
    )
    train_here("--config", folder / "c.yaml", "--run-dir", folder / "run")
    return folder / "run"
