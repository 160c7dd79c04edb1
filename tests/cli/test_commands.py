"""The commands as a shell sees them: real processes, real files, wrong inputs one by one."""

from __future__ import annotations

import errno
import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import typer

from charrnn.cli.app import attempt
from tests.conftest import ROOT, SENTENCES, Run, assert_one_line_error

JSON_KEYS = {
    *("run_dir", "checkpoint", "best_checkpoint", "steps", "epochs", "chars", "seconds", "chars_per_second"),
    *("train_loss", "val_loss", "best_val_loss", "bits_per_char", "perplexity", "parameters"),
}


@pytest.fixture
def trained(charrnn_here: Run, config_file: Path) -> Path:
    done = charrnn_here("train", "--config", config_file, "--quiet")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return config_file.parent / "checkpoints" / "tiny"


def test_train_sample_and_eval(charrnn: Run, charrnn_here: Run, config_file: Path) -> None:
    done = charrnn("train", "--config", config_file, "--json")
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert set(summary) >= JSON_KEYS
    assert summary["steps"] == 12
    assert "step     12" in done.stderr
    run = config_file.parent / summary["run_dir"]
    assert sorted(p.name for p in run.iterdir() if p.name != ".lock") == [
        "best.npz",
        "config.yaml",
        "history.jsonl",
        "last.npz",
        "samples.txt",
        "summary.json",
    ]

    seeded = ("--length", 40, "--seed", 3)
    first = charrnn_here("sample", *seeded, "--prime", "the cat")
    assert first.returncode == 0
    assert first.stdout.startswith("the cat")
    assert len(first.stdout) == 7 + 40 + 1
    assert charrnn("sample", "--length", 40, "--seed", 3, "--prime-file", "-", stdin="the cat").stdout == first.stdout
    assert (
        charrnn_here("sample", run, "--prime", "-", "--length", 40, "--seed", 3, stdin="the cat").stdout == first.stdout
    )
    greedy = [charrnn_here("sample", run, "--temperature", 0, "--length", 30, "--seed", s).stdout for s in (1, 2)]
    assert greedy[0] == greedy[1]
    many = charrnn_here(
        "sample", run, "--num-samples", 3, "--length", 8, "--seed", 1, "--separator", "==", "--top-k", 3
    )
    assert many.stdout.count("==\n") == 2
    assert "seed: " in charrnn_here("sample", run, "--length", 1).stderr

    report = json.loads(charrnn_here("eval", "--json").stdout)
    assert report["loss"] == pytest.approx(summary["best_val_loss"], rel=1e-6)
    assert report["perplexity"] == pytest.approx(2 ** report["bits_per_char"])
    assert set(report["baselines"]) == {"gzip", "xz", "bz2", "ngram", "ngram_chars", "ngram_order"}
    piped = json.loads(charrnn("eval", run, "--text", "-", "--no-baselines", "--json", stdin=SENTENCES).stdout)
    assert piped["characters"] == len(SENTENCES) - 1
    table = charrnn_here("eval", run, "--split", "train").stdout
    assert "gzip" in table
    assert "bits per character" in table


def test_runs_are_protected_resumed_and_replaced(charrnn_here: Run, config_file: Path, trained: Path) -> None:
    assert_one_line_error(charrnn_here("train", "-c", config_file), 2, "holds a run already", "--resume")
    more = charrnn_here("train", "-c", config_file, "--resume", "--set", "training.max_steps=15", "--json")
    assert json.loads(more.stdout)["steps"] == 15
    refused = charrnn_here("train", "-c", config_file, "--resume", "--set", "model.hidden_size=8")
    assert_one_line_error(refused, 2, "model.hidden_size")
    assert charrnn_here("train", "-c", config_file, "--overwrite", "-q").returncode == 0
    assert_one_line_error(
        charrnn_here("train", "-c", config_file, "--resume", "--run-dir", "new"), 2, "no run to resume"
    )


@pytest.mark.parametrize("progress", ["plain", "tqdm", "rich", "none"])
def test_every_display_works_without_a_terminal(charrnn_here: Run, config_file: Path, progress: str) -> None:
    done = charrnn_here("train", "-c", config_file, "--progress", progress)
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    assert ("12 steps" in done.stderr) == (progress != "none")


def test_wrong_settings_and_texts(charrnn_here: Run, config_file: Path, tmp_path: Path) -> None:
    def train(*overrides: str) -> subprocess.CompletedProcess[str]:
        return charrnn_here("train", "-c", config_file, *(x for o in overrides for x in ("--set", o)))

    (tmp_path / "empty.txt").touch()
    (tmp_path / "short.txt").write_text("hello")
    (tmp_path / "binary.bin").write_bytes(bytes(range(256)) * 20)
    assert_one_line_error(charrnn_here("train", "-c", "none.yaml"), 2, "none.yaml")
    assert_one_line_error(train("corpus.source=none.txt"), 3, "none.txt")
    assert_one_line_error(train("corpus.source=empty.txt"), 3, "empty")
    assert_one_line_error(train("corpus.source=short.txt"), 3, "training.seq_length")
    assert_one_line_error(train("corpus.source=binary.bin"), 3, "offset 128", "encoding: bytes")
    assert_one_line_error(train("training.bach_size=3"), 2, "training.batch_size")
    assert_one_line_error(train("training.batch_size='4'"), 2, "training.batch_size")
    assert_one_line_error(train("model.hidden_size=0"), 2, "model.hidden_size")
    assert_one_line_error(train("model.hidden_size=-3"), 2, "model.hidden_size")
    assert_one_line_error(train("model.cell=ltsm"), 2, "lstm")
    assert_one_line_error(
        train("training.learning_rate=1e38", "training.optimizer=sgd", "training.grad_clip=null"), 5, "step"
    )
    (tmp_path / "file").touch()
    assert_one_line_error(charrnn_here("train", "-c", config_file, "--run-dir", "file/run"), 2, "cannot be written")
    assert (
        charrnn_here(
            "train",
            "-c",
            config_file,
            "--set",
            "corpus.source=binary.bin",
            "--set",
            "corpus.encoding=bytes",
            "--run-dir",
            "bytes",
            "-q",
        ).returncode
        == 0
    )
    assert not list(tmp_path.rglob("*.tmp"))


def test_wrong_checkpoints_and_primes(charrnn_here: Run, trained: Path, tmp_path: Path) -> None:
    (tmp_path / "x.npz").write_text("not one")
    assert_one_line_error(charrnn_here("sample", "x.npz"), 4, "x.npz")
    assert_one_line_error(charrnn_here("sample", "none.npz"), 4, "none.npz")
    assert_one_line_error(charrnn_here("eval", tmp_path), 4, "neither best.npz nor last.npz")
    assert_one_line_error(charrnn_here("sample", trained, "--prime", "the é"), 3, "'é'", "position 4")
    assert charrnn_here("sample", trained, "--prime", "the é", "--unknown", "skip", "--length", 1).returncode == 0
    assert charrnn_here("sample", trained, "--prime", "the é", "--unknown", "replace", "--length", 1).returncode == 0
    assert_one_line_error(charrnn_here("sample", trained, "--temperature", -1), 2, "--temperature")
    assert_one_line_error(charrnn_here("sample", trained, "--prime", "a", "--prime-file", "b"), 2, "--prompt")
    assert_one_line_error(charrnn_here("sample", trained, "--prime-file", "none"), 3, "none")
    assert_one_line_error(charrnn_here("eval", trained, "--text", "none"), 3, "none")
    assert_one_line_error(charrnn_here("nonsense"), 2, "nonsense")
    (trained / "last.npz").unlink()
    (trained / "best.npz").unlink()
    assert_one_line_error(charrnn_here("sample"), 4, "no run under")


def test_a_missing_text_does_not_stop_sampling_nor_plain_evaluation(
    charrnn_here: Run, trained: Path, text_file: Path
) -> None:
    text_file.write_text("another text\n" * 40)
    assert_one_line_error(charrnn_here("eval", trained), 3, "not the text")
    assert charrnn_here("eval", trained, "--text", text_file, "--no-baselines", "--unknown", "skip").returncode == 0
    assert charrnn_here("sample", trained, "--length", 3).returncode == 0


def test_debug_shows_the_traceback(charrnn: Run) -> None:
    done = charrnn("sample", "none.npz", "--debug")
    assert done.returncode == 4
    traceback, _, error = done.stderr.partition("charrnn: error: ")
    assert traceback.startswith("Traceback")
    assert error.startswith("none.npz: no such")


def test_debug_changes_nothing_else(charrnn_here: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    assert charrnn_here("--debug", "config", "list").stderr == ""
    assert "Traceback" in (wrong := charrnn_here("sample", "--no-such", "--debug")).stderr
    assert wrong.returncode == 2
    monkeypatch.setattr("charrnn.config.builtin.recipes", lambda: 1 / 0)
    done = charrnn_here("config", "list", "--debug")
    assert done.returncode == 1
    assert done.stderr.endswith("charrnn: error: unexpected ZeroDivisionError: division by zero\n")
    assert "run again with --debug" in charrnn_here("config", "list").stderr


class Disk(io.RawIOBase):
    """A disk that is full, until it is emptied."""

    full = True

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        if self.full:
            raise OSError(errno.ENOSPC, "No space left on device")
        return len(data)


@pytest.mark.parametrize(
    "words",
    ["--help", "-h", "eval --help", "sample --help-all", "help eval", "--version", "--show-completion", "config list",
     "inspect units {} --length 5", "sample {} --length 5 --quiet", "sample {} --length 5 --raw --quiet"],
)  # fmt: skip
def test_whatever_cannot_be_written_is_said_alike(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, byte_run: Path, words: str
) -> None:
    monkeypatch.setattr("charrnn.cli.app.show_callback", lambda *arguments: typer.echo("complete"))
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(io.BufferedWriter(disk := Disk()), encoding="utf-8"))
    code = attempt(words.format(byte_run).split()).code
    disk.full = False
    monkeypatch.undo()
    assert code == 1
    assert "charrnn: error: standard output cannot be written: No space left" in capsys.readouterr().err


def test_without_any_run_all_commands_end_alike(charrnn_here: Run) -> None:
    for command in ("runs", "sample", "eval", "plot", "inspect weights"):
        assert_one_line_error(charrnn_here(*command.split()), 4, "no run under checkpoints/", "charrnn train my.txt")


def test_a_closed_pipe_ends_quietly(trained: Path) -> None:
    command = f"{sys.executable} -m charrnn sample {trained} --length 200000 --seed 1 | head -c 20"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command], capture_output=True, env=environment, timeout=60, check=False
    )
    assert (len(done.stdout), done.stderr, done.returncode) == (20, b"", 0)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_saves_and_says_how_to_go_on(config_file: Path, number: int, code: int, charrnn_here: Run) -> None:
    settings = ["--set", "training.max_steps=1000000", "--set", "training.kernels=numpy"]
    command = [sys.executable, "-m", "charrnn", "train", "-c", str(config_file), *settings]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(command, cwd=config_file.parent, env=environment, stderr=subprocess.PIPE, text=True)
    history = config_file.parent / "checkpoints" / "tiny" / "history.jsonl"
    deadline = time.monotonic() + 60
    while not (history.exists() and history.stat().st_size) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == code, err
    assert "--resume" in err
    assert charrnn_here("sample", "--length", 1).returncode == 0


def test_gradcheck_passes_and_can_fail(charrnn_here: Run, config_file: Path) -> None:
    good = charrnn_here(
        "gradcheck", "-c", config_file, "--set", "model.num_layers=2", "--set", "model.dropout=0.3", "--json"
    )
    assert good.returncode == 0, good.stderr
    report = json.loads(good.stdout)
    assert report["passed"]
    assert "layers.1.bias_hn" in report["errors"]
    bad = charrnn_here("gradcheck", "-c", config_file, "--tolerance", "1e-30")
    assert bad.returncode == 1
    assert "ABOVE" in bad.stdout


def test_corpus_commands(charrnn_here: Run, text_file: Path) -> None:
    names = [e["name"] for e in json.loads(charrnn_here("corpus", "list", "--json").stdout)["corpora"]]
    assert "python-docs" in names
    assert "python-docs" in charrnn_here("corpus", "list").stdout
    info = json.loads(charrnn_here("corpus", "info", text_file, "--json").stdout)
    assert info["characters"] == len(SENTENCES) * 12
    built = charrnn_here("corpus", "build", "python-docs")
    assert Path(built.stdout.strip()).is_file()
    assert_one_line_error(charrnn_here("corpus", "build", "tiny-shakespeare"), 2, "charrnn corpus fetch")
    assert_one_line_error(charrnn_here("corpus", "fetch", "shakespeare"), 3, "tiny-shakespeare")


def test_control_characters_are_shown_not_obeyed() -> None:
    from charrnn.cli.output import visible

    assert visible("a\x1b[31mb\x07\r\n\tc") == "a\\x1b[31mb\\x07\\r\n\tc"
    assert visible("👩‍👩‍👧 שלום é") == "👩‍👩‍👧 שלום é"
    assert visible("\x9b2J\u2028") == "\\x9b2J\u2028"


def test_sparklines_show_the_course() -> None:
    from charrnn.cli.views.progress import sparkline

    assert sparkline([8, 7, 6, 5, 4, 3, 2, 1], 8) == "█▇▆▅▄▃▂▁"
    assert sparkline([1.0] * 5, 3) == "▁▁▁"
    assert len(sparkline(list(range(1000)), 40)) == 40
    assert sparkline([], 5) == ""


def test_ctrl_c_while_the_program_is_loaded(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from charrnn.__main__ import main

    class Interrupted:
        def find_spec(self, name: str, *arguments: object) -> None:
            if name == "charrnn.cli.app":
                raise KeyboardInterrupt

    monkeypatch.delitem(sys.modules, "charrnn.cli.app", raising=False)
    monkeypatch.setattr(sys, "meta_path", [Interrupted(), *sys.meta_path])
    with pytest.raises(SystemExit) as ended:
        main()
    assert (ended.value.code, capsys.readouterr().err) == (130, "charrnn: interrupted\n")
