"""Advice as a user meets it: in the log, in the summary, from `charrnn doctor`, in the report, in the display."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import pytest
from rich.console import Console

from charrnn.cli.views.advice import NewAdvice, closing_advice, fitting, in_words
from charrnn.cli.views.training import RichView, TqdmView
from charrnn.runs.directory import RunDirectory
from charrnn.runs.events import Advice, Advised, RunFinished, RunStarted
from tests.conftest import Run, assert_one_line_error

LONGER = ("training.max_minutes=4", "model.dropout=0.1")
WIDE = ("--set", "model.hidden_size=150", "--set", "training.max_steps=3")  # far too wide for 2,000 characters
SIZE = "parameters can memorise 1,749 characters"


def pieces(count: int) -> tuple[Advice, ...]:
    return tuple(
        Advice(f"key-{k}", f"finding number {k} about the run", (f"model.dropout=0.{k}",)) for k in range(count)
    )


def test_a_run_that_needs_advice_gets_it_everywhere(charrnn_here: Run, config_file: Path, tmp_path: Path) -> None:
    done = charrnn_here("train", "-c", config_file, "--run-dir", "a", "--progress", "plain", "--json", *WIDE)
    lines = done.stderr.splitlines()
    assert SIZE in next(line for line in lines if line.startswith("advice: "))
    assert [SIZE in line for line in lines].index(True) < [line.startswith("step ") for line in lines].index(True)
    assert "ended after 3 steps (training.max_steps)" in lines
    assert any("best validation loss" in line and line.endswith("at step 3") for line in lines)
    assert "; try --set model.hidden_size=" in done.stderr
    assert any("3 steps are only a start" in line for line in lines[-4:])
    summary = json.loads(done.stdout)
    assert (summary["reason"], summary["best_step"]) == ("max_steps", 3)
    assert [piece["key"] for piece in summary["advice"]] == ["text-too-small", "repeated-text", "underfitting"]
    assert json.loads((tmp_path / "a" / "summary.json").read_text())["advice"] == summary["advice"]

    (tmp_path / "text.txt").unlink()  # an ended run needs its own files alone
    told = json.loads(charrnn_here("doctor", "a", "--json").stdout)
    assert told["advice"] == summary["advice"]
    assert (told["best"]["step"], told["ended"]) == (3, "ended after 3 steps (training.max_steps)")
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "a").rename(tmp_path / "checkpoints" / "a")
    text = charrnn_here("doctor")
    assert "newest run: checkpoints/a" in text.stderr
    assert SIZE in text.stdout
    assert text.stdout.count("advice: ") == 3
    assert len(text.stderr.splitlines()) == 1
    watched = charrnn_here("watch", "--once")
    assert "newest run: checkpoints/a" in watched.stderr
    assert "step 3 of 3" in watched.stdout
    page = charrnn_here("report", "--no-activations", "--json")  # of the newest run, too
    assert any(SIZE in line for line in json.loads(page.stdout)["runs"][0]["advice"])
    assert SIZE in (tmp_path / "report.html").read_text()
    assert [run["name"] for run in json.loads(charrnn_here("plot", "--json").stdout)["runs"]] == ["a"]


def test_a_run_that_goes_on_is_diagnosed_from_its_text(charrnn_here: Run, config_file: Path, tmp_path: Path) -> None:
    charrnn_here("train", "-c", config_file, "--run-dir", "a", "--quiet", *WIDE)
    (tmp_path / "a" / "summary.json").unlink()  # as if it had been stopped
    assert "; stopped early\n" in charrnn_here("doctor", "a").stdout
    with RunDirectory(tmp_path / "a").lock():
        found = charrnn_here("doctor", "a")
    assert "; still running\n" in found.stdout
    assert SIZE in found.stdout
    assert "only a start" not in found.stdout
    (tmp_path / "text.txt").rename(tmp_path / "moved.txt")
    found = charrnn_here("doctor", "a")
    assert SIZE not in found.stdout
    assert found.stderr.startswith("note: the text was not checked: ")
    assert SIZE in charrnn_here("doctor", "a", "--corpus", "moved.txt").stdout
    assert_one_line_error(charrnn_here("doctor", "nowhere"), 3, "nowhere")


def test_a_display_has_room_for_three_pieces_at_most(capsys: pytest.CaptureFixture[str]) -> None:
    assert len(fitting(pieces(5), 200, 50)) == 3
    lines = fitting(pieces(5), 40, 4)
    assert len(lines) == 4
    assert max(map(len, lines)) <= 40
    assert fitting(pieces(5), 40, 1) == []
    view = RichView(Console(width=80, height=40, force_terminal=True), live=False)
    view.show(RunStarted(Path("a"), 10, 5, 100, 10, 1, 10, None, 0, ()))
    view.show(Advised(0, pieces(5)))
    view.print_once()
    shown = capsys.readouterr().out
    assert [f"finding number {k}" in shown for k in range(4)] == [True, True, True, False]
    view.show(Advised(5, ()))
    view.print_once()
    assert "finding" not in capsys.readouterr().out


def test_a_log_says_each_piece_once(capsys: pytest.CaptureFixture[str]) -> None:
    new = NewAdvice()
    assert len(new.lines(Advised(0, pieces(2)))) == 2
    assert new.lines(Advised(1, pieces(3))) == ["advice: finding number 2 about the run; try --set model.dropout=0.2"]
    view = TqdmView()
    view.show(RunStarted(Path("a"), 10, 5, 100, 10, 1, 10, None, 0, ()))
    for step in (0, 1):
        view.show(Advised(step, pieces(1)))
    view.close()
    assert capsys.readouterr().err.count("finding number 0") == 1


def test_a_stopped_run_goes_on_with_what_it_knew(charrnn_here: Run, config_file: Path, tmp_path: Path) -> None:
    charrnn_here("train", "-c", config_file, "--run-dir", "a", "--quiet")
    charrnn_here("train", "-c", config_file, "--run-dir", "b", "--quiet", "--set", "training.max_steps=8")
    charrnn_here("train", "-c", config_file, "--run-dir", "b", "--quiet", "--resume")
    whole, parts = (json.loads((tmp_path / name / "summary.json").read_text()) for name in "ab")
    assert [piece["key"] for piece in whole["advice"]] == [piece["key"] for piece in parts["advice"]]
    assert parts["best_step"] is not None


def test_advice_speaks_in_the_options_that_were_given(charrnn_here: Run, config_file: Path, tmp_path: Path) -> None:
    def ended(*words: object) -> str:
        done = charrnn_here(*words)
        assert done.returncode == 0, done.stderr
        return next(line for line in done.stderr.splitlines() if "ended after" in line).rpartition(" ")[2]

    (tmp_path / "timed.yaml").write_text(
        "corpus: {source: text.txt, val_fraction: 0}\nmodel: {hidden_size: 8}\n"
        "training: {epochs: null, max_minutes: 0.0001, sample_every: null}\n"
    )
    assert ended("train", "-c", "timed.yaml", "--run-dir", "a") == "(training.max_minutes)"
    assert ended("train", "-c", "timed.yaml", "--minutes", "0.01", "--run-dir", "b") == "(--minutes)"
    over = charrnn_here("train", "--resume", "b").stderr
    assert "(--minutes); raise that to continue" in over
    assert "training.max_minutes" not in over
    assert "try --budget 2000" in charrnn_here("compare", "tiny.yaml", "--budget", "5").stderr
    assert ended("compare", "tiny.yaml", "--budget", "0.01s", "--overwrite") == "(--budget)"

    finished = RunFinished("max_minutes", {"ended": "ended", "advice": [asdict(Advice("a", "b", LONGER))]})
    (line,) = closing_advice(in_words(finished, {"training.max_minutes": "--minutes {}"}).summary)[1:]
    assert line == "advice: b; try --minutes 4 --set model.dropout=0.1"
    more = closing_advice({"advice": [asdict(piece) for piece in pieces(4)], "run_dir": "my run"})[-1]
    assert more == "more advice: charrnn doctor 'my run'"
