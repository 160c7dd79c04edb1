"""Plots, watching, TensorBoard: the numbers are the history's."""

from __future__ import annotations

import json
import math
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from charrnn.cli.views.training import RichView
from charrnn.inspection.plots import curves, figures
from charrnn.inspection.plots.curves import curve_data, round_numbers, smoothed
from charrnn.runs.events import RunStarted, StepReport
from charrnn.runs.history import read_history
from tests.conftest import ROOT, Run, assert_one_line_error
from tests.reliability.processes import train, write_settings

NAMES = ("a $x_1$", "b {^}", "plain")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Three histories; one with a rollback, one with escapes in its samples."""
    folder = tmp_path_factory.mktemp("plot")
    settings = write_settings(folder)
    paths = []
    for k, name in enumerate(NAMES):
        run = folder / name
        run.mkdir()
        rows = [
            {"step": s, "epoch": s / 10, "chars": 64 * s, "train_loss": 3.0 / s + k,
             "val_loss": 2.0 / s if s % 2 else None,
             "grad_norm": 1.0 / s, "learning_rate": 0.01, "chars_per_second": 1000.0, "seconds": s / 2}
            for s in range(1, 9)
        ]  # fmt: skip
        lines = [json.dumps(row) for row in rows]
        if k == 1:
            lines.insert(4, json.dumps({"event": "rollback", "step": 4, "to_step": 3, "lr_scale": 0.5, "reason": "x"}))
        (run / "history.jsonl").write_text("\n".join(lines) + "\n")
        (run / "config.yaml").write_text(settings.read_text())
        (run / "samples.txt").write_text("--- step 2 ---\nold\n\n--- step 8 ---\nnew \x1b[31mred\n\n")
        paths.append(run)
    return paths


def test_the_numbers_are_the_historys(charrnn_here: Run, runs: list[Path]) -> None:
    done = charrnn_here("plot", *runs, "--json")
    assert done.returncode == 0, done.stderr
    for run, shown in zip(runs, json.loads(done.stdout)["runs"], strict=True):
        rows = [json.loads(line) for line in (run / "history.jsonl").read_text().splitlines() if "event" not in line]
        assert shown["name"] == run.name
        for name in ("step", "chars", "seconds", "train_loss", "val_loss", "learning_rate", "grad_norm"):
            assert shown[name] == [row[name] for row in rows]
        bits = [None if row["val_loss"] is None else row["val_loss"] / math.log(2) for row in rows]
        assert shown["val_bits"] == pytest.approx(bits)
        assert shown["best"]["step"] == 7
    assert [r["rollbacks"] for r in curve_data([read_history(p) for p in runs])] == [[], [4], []]
    assert smoothed([1.0, 3.0, None, 5.0], 2) == [1.0, 2.0, None, 5.0]


@pytest.mark.extras
def test_pictures_of_every_kind(charrnn_here: Run, runs: list[Path], tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    for suffix, head in ((".png", b"\x89PNG"), (".svg", b"<?xml"), (".pdf", b"%PDF")):
        for x in ("steps", "chars", "seconds"):
            output = tmp_path / f"{x}{suffix}"
            done = charrnn_here("plot", *runs, "--x", x, "-o", output)
            assert done.returncode == 0, done.stderr
            assert output.read_bytes().startswith(head)
            assert output.stat().st_size > 8000
    assert charrnn_here("plot", runs[0]).returncode == 0
    assert (runs[0] / "loss.png").exists()
    assert_one_line_error(charrnn_here("plot", runs[0], "-o", "x.jpeg"), 2, ".png")
    assert_one_line_error(charrnn_here("plot", runs[0], "-o", tmp_path / "no" / "x.png"), 2, "cannot be written")


def test_a_file_is_drawn_besides_what_is_shown(
    charrnn_here: Run, runs: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[tuple[Path, str]] = []
    monkeypatch.setattr(figures, "find_spec", lambda name: "there")
    monkeypatch.setattr(curves, "draw_curves", lambda histories, output, x: drawn.append((output, x)))
    monkeypatch.setattr(curves, "draw_in_terminal", lambda histories, **words: "a picture")
    for words, shown in ((["--json"], '{"runs"'), (["--terminal"], "a picture\n"), ([], "")):
        done = charrnn_here("plot", runs[2], "--x", "chars", "-o", "p.png", *words)
        assert done.stdout.startswith(shown)
        assert done.stderr == "wrote p.png\n"
        assert bool(done.stdout) == bool(shown)
        assert drawn.pop() == (Path("p.png"), "chars")
        if words:
            assert charrnn_here("plot", runs[2], *words).stdout == done.stdout
            assert drawn == []
    assert_one_line_error(charrnn_here("plot", runs[2], "--json", "--terminal"), 2, "--terminal and --json both")
    assert_one_line_error(charrnn_here("plot", runs[2], "--json", "-o", "p.txt"), 2, "p.txt: the name must end in")


@pytest.mark.extras
def test_a_plot_in_the_terminal(charrnn: Run, runs: list[Path]) -> None:
    pytest.importorskip("plotext")
    done = charrnn("plot", *runs, "--terminal")
    assert done.returncode == 0, done.stderr
    assert "loss, nats per character" in done.stdout
    assert "plain, validation" in done.stdout
    assert "\x1b" not in done.stdout


@pytest.mark.parametrize(
    ("command", "missing", "extra"),
    [
        (["plot", "RUN", "-o", "x.png"], "matplotlib", "plots"),
        (["plot", "RUN", "--terminal"], "plotext", "plots"),
        (["train", "-c", "quickstart", "--set", "training.tensorboard=true"], "tensorboard", "tensorboard"),
    ],
)
def test_a_missing_extra_names_its_install_line(
    runs: list[Path], tmp_path: Path, command: list[str], missing: str, extra: str
) -> None:
    code = f"import sys; sys.modules[{missing!r}] = None; from charrnn.cli.app import run; sys.exit(run(sys.argv[1:]))"
    done = subprocess.run(
        [sys.executable, "-c", code, *[str(runs[0]) if c == "RUN" else c for c in command]],
        capture_output=True, text=True, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}, check=False,
    )  # fmt: skip
    assert_one_line_error(done, 6, missing, f'pip install "charrnn[{extra}]"')
    assert list(tmp_path.iterdir()) == []


def test_watching_once(charrnn_here: Run, runs: list[Path]) -> None:
    done = charrnn_here("watch", runs[2], "--once")
    assert done.returncode == 0, done.stderr
    assert "step 8 of 60" in done.stdout
    assert "0.2857 nats" in done.stdout  # the best: 2/7
    assert "trained, stopped" in done.stdout
    assert "new \\x1b[31mred" in done.stdout
    assert "old" not in done.stdout
    assert_one_line_error(charrnn_here("watch", runs[2] / "nowhere", "--once"), 3, "history.jsonl")


def test_watching_ends_with_its_run(tmp_path: Path) -> None:
    settings = write_settings(tmp_path, steps=40)
    watcher = subprocess.Popen(
        [sys.executable, "-m", "charrnn", "watch", str(tmp_path / "run"), "--wait", "--interval", "0.1"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), "TERM": "xterm"},
    )  # fmt: skip
    training = train(settings, tmp_path / "run", "-q")
    training.communicate()
    out, err = watcher.communicate(timeout=30)
    assert watcher.returncode == 0, err
    assert "step 40 of 40" in out
    assert "trained, done" in out
    assert err.endswith(f"\n{tmp_path / 'run'}: done after step 40\n")
    assert out.count("step 40 of 40") == 1  # without a terminal, reports are lines, and the panel comes once
    assert "step     40" in err


def test_watching_goes_on_as_long_as_the_run_is_locked(
    charrnn_here: Run, runs: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    from charrnn.runs import table  # noqa: F401 - which keeps the real one

    locked, slept = [True, True, False], []
    monkeypatch.setattr("charrnn.locks.is_locked", lambda path: locked.pop(0))
    monkeypatch.setattr("charrnn.cli.commands.watch.time.sleep", slept.append)
    done = charrnn_here("watch", runs[2], "--interval", "0.5")
    assert (done.returncode, slept, locked) == (0, [0.5, 0.5, 0.0], [])
    *lines, end = done.stderr.splitlines()
    assert end == f"{runs[2]}: stopped after step 8"
    assert {line.split()[1] for line in lines} >= {"1", "2", "3", "5", "7"}  # the first, and those with a validation
    assert done.stdout.count("step 8 of 60") == 1


def test_watching_redraws_on_a_terminal_alone(
    charrnn_here: Run, runs: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    for terminal in (True, False):
        monkeypatch.setattr("charrnn.cli.commands.watch.on_terminal", lambda terminal=terminal: terminal)
        assert ("step      1" in charrnn_here("watch", runs[2]).stderr) is not terminal


def test_a_view_can_begin_again() -> None:
    from rich.console import Console

    view = RichView(Console(file=open(os.devnull, "w")), live=False)  # noqa: SIM115
    view._sample = "x"
    view.forget()
    assert view._sample == ""
    view._console.file.close()


def test_the_time_left_is_said_where_it_is_known(capsys: pytest.CaptureFixture[str]) -> None:
    from rich.console import Console

    for steps, seconds, said in ((None, None, "10 s trained "), (4, None, "10 s left"), (None, 10.0, "finishing")):
        view = RichView(Console(width=80), live=False)
        view.show(RunStarted(Path("x"), None, 0, 0, 0, 0, steps, seconds, 0, ()))
        view.show(StepReport(2, 0.1, 100, 1.0, None, 1.0, 0.1, 100.0, 10.0))
        view.print_once()
        assert said in capsys.readouterr().out


@pytest.mark.extras
@pytest.mark.filterwarnings("ignore")
def test_tensorboard_files_hold_the_history(tmp_path: Path) -> None:
    loader = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    settings = write_settings(tmp_path, steps=20)
    process = train(settings, tmp_path / "run", "-q", "--set", "training.tensorboard=true")
    _, err = process.communicate()
    assert process.returncode == 0, err
    events = loader.EventAccumulator(str(tmp_path / "run" / "tensorboard"))
    events.Reload()
    history = read_history(tmp_path / "run")

    def scalars(tag: str) -> list[tuple[int, float]]:
        found = []
        for event in events.Tensors(tag):
            (value,) = event.tensor_proto.float_val or [
                __import__("numpy").frombuffer(event.tensor_proto.tensor_content, "float32")[0]
            ]
            found.append((event.step, float(value)))
        return found

    expected = [(row["step"], row["train_loss"]) for row in history.rows]
    assert scalars("loss/train_nats") == [(s, pytest.approx(v, rel=1e-6)) for s, v in expected]
    measured = [(row["step"], row["val_loss"] / math.log(2)) for row in history.rows if row["val_loss"] is not None]
    assert scalars("loss/val_bits_per_char") == [(s, pytest.approx(v, rel=1e-6)) for s, v in measured]


@pytest.mark.extras
def test_a_plot_in_the_terminal_has_colours_where_they_are_wanted(
    charrnn_here: Run, runs: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("plotext")
    monkeypatch.setenv("NO_COLOR", "")
    monkeypatch.setenv("CLICOLOR_FORCE", "1")
    coloured = charrnn_here("plot", runs[1], runs[2], "--terminal").stdout
    assert len(set(re.findall(r"\x1b\[38;5;(\d+)m", coloured))) == 4
    monkeypatch.setenv("NO_COLOR", "1")
    plain = charrnn_here("plot", runs[1], runs[2], "--terminal").stdout
    assert "\x1b" not in plain
    lines = [f"{run.name}, {kind}" for run in runs[1:] for kind in ("train", "validation")]
    for letter, line in zip("o+x*", lines, strict=True):
        assert f"{letter}{letter} {line}" in plain  # without colour, lines of braille would look alike


@pytest.mark.parametrize(
    ("low", "high", "count", "expected"),
    [(5, 140, 5, [50, 100]), (2.84, 4.13, 6, [3, 3.5, 4]), (1, 1, 5, []), (0, 4.4e6, 5, [0, 1e6, 2e6, 3e6, 4e6])],
)
def test_marks_on_an_axis_are_round_numbers(low: float, high: float, count: float, expected: list[float]) -> None:
    assert round_numbers(low, high, count) == expected
