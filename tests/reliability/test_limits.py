"""Texts larger than memory, and checkpoints of old."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from charrnn.errors import CheckpointError
from charrnn.runs.checkpoint import FORMAT, load_checkpoint
from charrnn.sampling.generate import generate_text
from charrnn.sampling.options import SamplingOptions
from tests.conftest import ROOT, Run, assert_one_line_error

FIXTURE = ROOT / "tests" / "fixtures" / "format-1.npz"


def write_large(path: Path, size: int) -> None:
    piece = ("the cat sat on the mat, naïve, größer. " * 3000).encode()
    with path.open("wb") as file:
        for _ in range(size // len(piece) + 1):
            file.write(piece)


def limited(limit: int, *arguments: object) -> subprocess.CompletedProcess[str]:
    """A command whose private memory may not exceed `limit` bytes (mapped files do not count: they can be dropped)."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, "-m", "charrnn", *map(str, arguments)],
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_DATA, (limit, limit)),
        env=environment,
        check=False,
    )


def train_and_evaluate(
    folder: Path, size: int, limit: int, steps: int, *options: str, settings: tuple[str, ...] = ()
) -> None:
    text = folder / "large.txt"
    write_large(text, size)
    small = ("--set", "model.hidden_size=64", "--set", "training.eval_every=null", "--set", "training.replicas=1",
             "--set", "corpus.val_fraction=0.001", "--set", f"training.max_steps={steps}", "-q", "--json")  # fmt: skip
    run = folder / "run"
    more = [f"--set={setting}" for setting in (f"corpus.source={text}", *settings)]
    done = limited(limit, "train", "-c", "lstm", *more, *small, "--run-dir", run)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["steps"] == steps
    evaluated = limited(limit, "eval", run, "--json", *options)
    assert evaluated.returncode == 0, evaluated.stderr
    assert json.loads(evaluated.stdout)["characters"] > size // 1200


@pytest.mark.extras
@pytest.mark.skipif(sys.platform != "linux", reason="limits of Linux")
def test_a_text_larger_than_the_memory_allowed(tmp_path: Path) -> None:
    train_and_evaluate(tmp_path, 200_000_000, 190_000_000, 2, "--no-baselines")
    assert limited(80_000_000, "eval", tmp_path / "run").returncode != 0  # the limit does bite


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="limits of Linux")
def test_a_gigabyte_in_four_hundred_megabytes(tmp_path: Path) -> None:
    train_and_evaluate(tmp_path, 1_000_000_000, 400_000_000, 50)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="limits of Linux")
def test_the_shuffled_documents_of_a_gigabyte_in_four_hundred_megabytes(tmp_path: Path) -> None:
    settings = ("corpus.document_separator=', '", "corpus.split=shuffled", "corpus.normalize=nfc")
    train_and_evaluate(tmp_path, 1_000_000_000, 400_000_000, 2, "--no-baselines", settings=settings)


def test_a_checkpoint_of_format_1_still_works(charrnn: Run, tmp_path: Path) -> None:
    saved = load_checkpoint(FIXTURE)
    model, vocabulary = saved.build_model(), saved.vocabulary
    greedy = SamplingOptions(temperature=0.0)
    text = "".join(generate_text(model, vocabulary, vocabulary.encode("the "), length=40, seed=0, options=greedy))
    assert text == (FIXTURE.parent / "format-1.txt").read_text(encoding="utf-8")
    assert saved.counters["step"] == 300
    run = tmp_path / "run"
    run.mkdir()
    (run / "last.npz").write_bytes(FIXTURE.read_bytes())
    source = tmp_path / "format-1-corpus.txt"
    source.write_bytes((FIXTURE.parent / "format-1-corpus.txt").read_bytes())
    settings = FIXTURE.parent / "format-1.yaml"
    resumed = charrnn("train", "-c", settings, "--run-dir", run, "--resume", "-q", "--set", "training.max_steps=302")
    assert resumed.returncode == 0, resumed.stderr
    after = load_checkpoint(run / "last.npz")
    assert after.counters["step"] == 302
    # No setting that came later changes what a run does that was begun without it.
    assert saved.config.training.state_reset == after.config.training.state_reset == 0.0


def test_a_newer_format_names_what_is_needed(charrnn: Run, tmp_path: Path) -> None:
    with np.load(FIXTURE, allow_pickle=False) as old:
        arrays = {name: old[name] for name in old.files}
    arrays["format"] = np.array(FORMAT + 1)
    np.savez(tmp_path / "new.npz", **arrays)  # type: ignore[arg-type]
    with pytest.raises(CheckpointError, match=f"format {FORMAT + 1}"):
        load_checkpoint(tmp_path / "new.npz")
    assert_one_line_error(charrnn("sample", tmp_path / "new.npz"), 4, "use the version of charrnn that wrote it")
