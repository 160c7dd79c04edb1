"""Shared by all tests: a private cache folder, one BLAS thread a worker, subprocess runs of the command line."""

from __future__ import annotations

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # before NumPy loads: xdist runs a worker a core

import contextlib
import io
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import hypothesis
import pytest

# What a shell runs in the background ignores Ctrl-C, and so would every program that these tests start and interrupt.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# A slow machine is no failure: nothing in the tests is timed.
hypothesis.settings.register_profile("charrnn", deadline=None)
hypothesis.settings.load_profile("charrnn")

ROOT = Path(__file__).resolve().parents[1]
SHAKESPEARE = ROOT.parent / "shared" / "corpora" / "tiny-shakespeare.txt"
Run = Callable[..., "subprocess.CompletedProcess[str]"]

SENTENCES = (
    "the cat sat on the mat. the dog ran to the cat. a cat and a dog met on the mat. "
    "the mat was red and the dog was big. the cat saw the red mat and sat on it again. "
)


@pytest.fixture(autouse=True, scope="session")
def _private_cache(tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config) -> None:
    home = tmp_path_factory.mktemp("charrnn-home")
    os.environ["CHARRNN_HOME"] = str(home)
    # Machine code depends on its sources alone, so all sessions share it.
    with contextlib.suppress(OSError):  # where there are no links, each session compiles
        (home / "kernels").symlink_to(pytestconfig.cache.mkdir("kernels"), target_is_directory=True)


@pytest.fixture
def text_file(tmp_path: Path) -> Path:
    path = tmp_path / "text.txt"
    path.write_text(SENTENCES * 12, encoding="utf-8")
    return path


@pytest.fixture
def config_file(tmp_path: Path, text_file: Path) -> Path:
    path = tmp_path / "tiny.yaml"
    path.write_text(
        f"corpus: {{source: {text_file}}}\n"
        "model: {cell: gru, hidden_size: 16}\n"
        "training: {batch_size: 4, seq_length: 16, epochs: null, max_steps: 12, eval_every: 5, checkpoint_every: 4,\n"
        "  sample_every: 6, sample_length: 20, log_every: 2, learning_rate: 0.01, warmup_steps: 2}\n",
        encoding="utf-8",
    )
    return path


@pytest.fixture
def charrnn(tmp_path: Path) -> Run:
    """Run the command line in a real process, in an empty folder."""

    def run(
        *arguments: object, stdin: str | bytes | None = None, **options: object
    ) -> subprocess.CompletedProcess[str]:
        data = stdin.encode() if isinstance(stdin, str) else stdin
        done = subprocess.run(
            [sys.executable, "-m", "charrnn", *map(str, arguments)],
            input=data if data is not None else b"",
            capture_output=True,
            cwd=tmp_path,
            timeout=120,
            env={**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "100"},
            check=False,
            **options,  # type: ignore[call-overload]
        )
        out, err = done.stdout.decode("utf-8", "replace"), done.stderr.decode("utf-8", "replace")
        return subprocess.CompletedProcess(done.args, done.returncode, out, err)

    return run


@pytest.fixture
def charrnn_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """The same command line in this process: for tests of many commands, of which others run in real processes."""
    from charrnn.cli import app

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")

    def run(*arguments: object, stdin: str = "") -> subprocess.CompletedProcess[str]:
        out, err = io.StringIO(), io.StringIO()
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin.encode()), encoding="utf-8"))
        words = [str(argument) for argument in arguments]
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = app.run(words)
        return subprocess.CompletedProcess(words, code, out.getvalue(), err.getvalue())

    return run


def train_here(*words: object) -> None:
    """`charrnn train --quiet` in this process, for tests of what a run is good for afterwards."""
    from charrnn.cli import app

    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        assert app.run(["train", "--quiet", *map(str, words)]) == 0, err.getvalue()
    assert (out.getvalue(), err.getvalue()) == ("", "")


def assert_one_line_error(done: subprocess.CompletedProcess[str], code: int, *parts: str) -> None:
    """The command failed as DESIGN says: its code, one clear line (and perhaps a hint), no traceback."""
    assert done.returncode == code, (done.returncode, done.stdout, done.stderr)
    assert "Traceback" not in done.stderr
    errors = [line for line in done.stderr.splitlines() if line.startswith("charrnn: error: ")]
    assert len(errors) == 1, done.stderr
    for part in parts:
        assert part in done.stderr, (part, done.stderr)
