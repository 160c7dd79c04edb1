"""Numbers at the edge of what is allowed: a result, or a line that says why not."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from msgspec import inspect

from charrnn.config.load import _sections
from charrnn.errors import CheckpointError, printable
from charrnn.evaluation.compression.codec import compress, decompress
from charrnn.runs.checkpoint import LARGEST, Checkpoint, load_checkpoint, save_checkpoint
from tests.checkpoints import make
from tests.conftest import Run, assert_one_line_error

WHOLE = (0, 1, 2, 64, 65536, 2**31, 2**63 - 1, 10**25)
REAL = (0.0, 5e-324, 1e-300, 1e-9, 1 - 1e-16, 1.0, 3e38, 1.7e308, -1e308)
# They say how long a run goes on, so that large ones take their time.
LENGTHS = {"training.max_steps", "training.sample_length"}
# What makes the setting matter.
WITH = {
    "training.momentum": ("training.optimizer=sgd",),
    "training.rho": ("training.optimizer=rmsprop",),
    "training.lr_decay": ("training.schedule=exponential",),
    "training.lr_decay_steps": ("training.schedule=exponential",),
    "training.plateau_patience": ("training.schedule=plateau",),
    "training.rollback_lr_factor": ("training.on_divergence=rollback", "training.learning_rate=3e38"),
    "training.max_rollbacks": ("training.on_divergence=rollback", "training.learning_rate=3e38"),
    "model.dropout": ("model.num_layers=2",),
    "training.epochs": ("training.max_steps=6",),
    "training.max_minutes": ("training.max_steps=6",),
}


def number_of(kind: inspect.Type) -> tuple[float, ...]:
    """Values to try for a setting of this type."""
    if isinstance(kind, inspect.Metadata):
        return number_of(kind.type)
    if isinstance(kind, inspect.UnionType):
        return next((found for part in kind.types if (found := number_of(part))), ())
    return WHOLE if isinstance(kind, inspect.IntType) else REAL if isinstance(kind, inspect.FloatType) else ()


def settings() -> Iterator[tuple[str, float]]:
    for section, cls in _sections().items():
        info = inspect.type_info(cls)
        assert isinstance(info, inspect.StructType)
        for field in info.fields:
            path = f"{section}.{field.name}"
            for value in number_of(field.type):
                if path not in LENGTHS or value < 100:
                    yield path, value


FEW = [
    ("model.dropout", 1 - 1e-16), ("model.weight_dropout", 1 - 1e-16), ("training.epochs", 1.7e308),
    ("training.learning_rate", 3e38), ("training.epsilon", 5e-324), ("training.max_rollbacks", 10**12),
]  # fmt: skip


def train_at(charrnn: Run, config_file: Path, path: str, value: float) -> None:
    small = ("model.hidden_size=4", "training.max_steps=6", "training.checkpoint_every=3", "training.replicas=1")
    words = [w for item in (*small, *WITH.get(path, ()), f"{path}={value!r}") for w in ("--set", item)]
    done = charrnn("train", "-c", config_file, "--run-dir", "r", "--overwrite", "-q", *words)
    assert done.returncode in (0, 2, 3, 5) or "out of memory" in done.stderr, (path, value, done.stderr)
    if done.returncode:
        assert_one_line_error(done, done.returncode)
        assert "unexpected" not in done.stderr, (path, value, done.stderr)


@pytest.mark.parametrize(("path", "value"), FEW)
def test_some_settings_at_the_edge(charrnn_here: Run, config_file: Path, path: str, value: float) -> None:
    train_at(charrnn_here, config_file, path, value)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # as on the command line, which looks at what comes of it
def test_all_settings_at_the_edge(charrnn_here: Run, config_file: Path) -> None:
    for path, value in settings():
        train_at(charrnn_here, config_file, path, value)


def with_weights(size: float) -> Checkpoint:
    rng = np.random.default_rng(3)
    made = make("lstm")
    for name, values in made.params.items():
        made.params[name] = (rng.choice([-size, size], values.shape)).astype(np.float32)
    return made


def test_weights_that_nothing_can_compute_with_are_refused(charrnn_here: Run, tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "a.npz", with_weights(1e38))
    assert_one_line_error(charrnn_here("sample", "a.npz", "--length", "5"), 4, "beyond 1e+15")
    with pytest.raises(CheckpointError):
        load_checkpoint(tmp_path / "a.npz")


def test_the_largest_weights_give_results_without_a_warning(charrnn_here: Run, tmp_path: Path) -> None:
    made = with_weights(LARGEST)
    save_checkpoint(tmp_path / "a.npz", made)
    symbols = "".join(map(chr, made.vocabulary.values))
    (tmp_path / "t.txt").write_text(symbols * 40, encoding="utf-8")
    for words in (
        ("sample", "a.npz", "--length", "20", "--seed", "1"),
        ("sample", "a.npz", "--length", "20", "--seed", "1", "--temperature", "1e-300", "--json"),
        ("eval", "a.npz", "--text", "t.txt", "--no-baselines", "--json"),
    ):
        done = charrnn_here(*words)
        assert done.returncode == 0, (words, done.stderr)
        assert "Warning" not in done.stderr
    content = (symbols * 20).encode()
    packed, _ = compress(content, made.build_model(), made.vocabulary)
    assert decompress(packed, made.build_model(), made.vocabulary) == content


def test_a_penalty_without_measure_is_a_penalty(charrnn_here: Run, tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "a.npz", make())
    for penalty in ("0", "1", "1e308"):
        words = ("sample", "a.npz", "--length", "8", "--beam", "3", "--length-penalty", penalty)
        assert charrnn_here(*words).returncode == 0


def test_segments_that_are_nearly_empty_are_put_together() -> None:
    made = make("gru")
    content = ("the cat sat on the mat. " * 200).encode()
    packed, _ = compress(content, made.build_model(), made.vocabulary, streams=4000)
    streams = struct.unpack_from("<H", packed, 6)[0]
    assert streams <= max(64, len(packed) // 16)
    assert decompress(packed, made.build_model(), made.vocabulary) == content


def test_messages_are_printable() -> None:
    assert printable("a\x1b[2J\x9b\u202e\nb") == r"a\x1b[2J\x9b\u202e b"
    assert printable("é 😀") == "é 😀"
    error = CheckpointError("x\x07", hint="y\x00")
    assert (error.message, error.hint, str(error)) == (r"x\x07", r"y\x00", r"x\x07")
    long = CheckpointError("a" * 50_000 + "b").message
    assert len(long) <= 1500
    assert (long[:100], long[-2:]) == ("a" * 100, "ab")
    assert math.isfinite(LARGEST**2 * 65536)
    assert np.isfinite(np.float32(LARGEST**2 * 65536))
