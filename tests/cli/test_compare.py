"""`charrnn compare`: the same budget for each, resumable, and the table against the runs' own files."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from charrnn.inspection.plots import figures
from charrnn.runs.events import Event, StepReport
from tests.conftest import Run, assert_one_line_error


def test_three_cells_under_one_budget(charrnn_here: Run, config_file: Path, tmp_path: Path) -> None:
    for cell in ("rnn", "gru"):
        (tmp_path / f"{cell}.yaml").write_text(config_file.read_text().replace("cell: gru", f"cell: {cell}"))
    words = ("compare", "rnn.yaml", "gru.yaml", "gru.yaml", "--budget", "30", "--set", "training.log_every=5")
    done = charrnn_here(*words, "--json", "--quiet", "--target-loss", "2.8")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert [run["name"] for run in result["runs"]] == ["rnn", "gru", "gru-2"]
    assert [run["steps"] for run in result["runs"]] == [30, 30, 30]
    assert [curve["name"] for curve in result["curves"]] == ["rnn", "gru", "gru-2"]
    for run in result["runs"]:
        folder = tmp_path / "checkpoints/compare" / run["name"]
        rows = [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]
        losses = [(row["step"], row["val_loss"]) for row in rows if row["val_loss"] is not None]
        assert run["loss"] == min(loss for _, loss in losses)
        assert run["steps_to_target"] == next((step for step, loss in losses if loss <= 2.8), None)
        assert run["parameters"] == json.loads((folder / "summary.json").read_text())["parameters"]
        assert run["target"] == 2.8
    assert result["runs"][1]["loss"] == result["runs"][2]["loss"]
    refused = charrnn_here(*words)
    assert_one_line_error(refused, 2, "holds a run already")
    late = charrnn_here("compare", "rnn.yaml", "gru.yaml", "--budget", "3", "--dir", "late", "--json", "-q")
    assert late.returncode == 0
    (tmp_path / "late/rnn").rename(tmp_path / "late/other")
    assert_one_line_error(
        charrnn_here("compare", "rnn.yaml", "gru.yaml", "--budget", "3", "--dir", "late"), 2, "late/gru"
    )
    assert not (tmp_path / "late/rnn").exists()  # nothing is trained before that is known
    before = (tmp_path / "checkpoints/compare/rnn/summary.json").stat().st_mtime_ns
    (tmp_path / "checkpoints/compare/gru/summary.json").unlink()
    again = charrnn_here(*words, "--resume", "--progress", "none")
    assert again.returncode == 0, again.stderr
    assert (tmp_path / "checkpoints/compare/rnn/summary.json").stat().st_mtime_ns == before
    assert (tmp_path / "checkpoints/compare/gru/summary.json").exists()
    lines = again.stdout.splitlines()
    assert lines[0].split("\t")[:4] == ["", "cell", "parameters", "best loss"]
    assert len(lines) == 4
    assert [line.split("\t")[3] for line in lines[1:]] == sorted(line.split("\t")[3] for line in lines[1:])


@pytest.fixture
def two(config_file: Path, tmp_path: Path) -> tuple[str, ...]:
    """The command that compares two small runs."""
    for cell in ("rnn", "gru"):
        (tmp_path / f"{cell}.yaml").write_text(config_file.read_text().replace("cell: gru", f"cell: {cell}"))
    return ("compare", "rnn.yaml", "gru.yaml", "--run-dir", "a b", "--progress", "none")


def steps(done: subprocess.CompletedProcess[str]) -> list[int]:
    assert done.returncode == 0, done.stderr
    return [run["steps"] for run in json.loads(done.stdout)["runs"]]


@contextlib.contextmanager
def interrupted_at(step: int) -> Iterator[None]:
    """Ctrl-C while the first run trains."""

    @contextlib.contextmanager
    def view(kind: str) -> Iterator[Callable[[Event], None]]:
        def show(event: Event) -> None:
            if isinstance(event, StepReport) and event.step == step:
                os.kill(os.getpid(), signal.SIGINT)

        yield show

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("charrnn.cli.views.training.train_view", view)
        yield


def test_only_the_same_comparison_is_resumed(charrnn_here: Run, two: tuple[str, ...], tmp_path: Path) -> None:
    words = (*two, "--budget", "6", "--set", "model.hidden_size=5")
    assert steps(charrnn_here(*words, "--json")) == [6, 6]
    (tmp_path / "a b/gru/summary.json").unlink()  # stopped before its end
    files = sorted((path, path.stat().st_mtime_ns) for path in tmp_path.rglob("*.*") if path.name != ".lock")
    name = Path("a b", "rnn")
    what_to_do = "give the same --budget and settings, replace the runs with --overwrite, or choose another --run-dir"
    for more, said in (
        (("--budget", "9"), f"{name}: its budget was 6 steps, not 9 steps"),
        (("--budget", "2m"), f"{name}: its budget was 6 steps, not 2 min"),
        (("--set", "training.learning_rate=0.5"), f"{name}: training.learning_rate was 0.01 in this run, not 0.5"),
        (("--set", "training.state_reset=0"), "training.state_reset was 0.05 in this run, not 0.0"),
        (("--set", "training.seed=2", "--set", "model.dropout=0.1"), "model.dropout was 0.0 in this run, not 0.1 (t"),
    ):
        assert_one_line_error(charrnn_here(*words, *more, "--resume"), 2, said, what_to_do)
    (tmp_path / "a b/rnn").rename(tmp_path / "rnn")
    done = charrnn_here(*words, "--budget", "9", "--resume")
    assert_one_line_error(done, 2, f"{Path('a b', 'gru')}: its budget was 6 steps")  # nor is another begun before
    (tmp_path / "rnn").rename(tmp_path / "a b/rnn")
    assert sorted((path, path.stat().st_mtime_ns) for path in tmp_path.rglob("*.*") if path.name != ".lock") == files
    assert_one_line_error(charrnn_here(*words, "--resume", "--overwrite"), 2, "--resume continues a comparison and")
    assert steps(charrnn_here(*words, "--resume", "--json")) == [6, 6]


@pytest.mark.parametrize("setting", ["training.max_steps=5", "training.epochs=2", "training.max_minutes=1"])
def test_the_budget_is_given_once(charrnn_here: Run, two: tuple[str, ...], setting: str, tmp_path: Path) -> None:
    done = charrnn_here(*two, "--budget", "1s", "--set", setting)
    assert_one_line_error(done, 2, f"--set {setting.partition('=')[0]}: the budget determines it", "give --budget")
    assert not (tmp_path / "a b").exists()


def test_ctrl_c_names_the_command_that_goes_on(charrnn_here: Run, two: tuple[str, ...], tmp_path: Path) -> None:
    words = (*two, "--budget", "8", "--set", "training.seed=3", "--target-loss", "2.5", "--json")
    with interrupted_at(4):
        done = charrnn_here(*words)
    assert done.returncode == 130
    assert f"saved in {Path('a b', 'rnn', 'last.npz')}" in done.stderr
    command = shlex.split(done.stderr.partition("continue with: charrnn ")[2])
    assert {*command} == {*words, "--resume"}
    assert not (tmp_path / "a b/gru").exists()
    assert steps(charrnn_here(*command)) == [8, 8]
    with interrupted_at(4):  # the second run is an old one
        done = charrnn_here(*words, "--overwrite")
    assert "begin anew with: charrnn compare " in done.stderr
    assert done.stderr.endswith(" --json --overwrite\n")
    (tmp_path / "a b/rnn/last.npz").unlink()  # as if killed before it was saved
    assert steps(charrnn_here(*command)) == [8, 8]


def test_time_as_a_budget(charrnn_here: Run, config_file: Path) -> None:
    done = charrnn_here("compare", config_file, "--budget", "0.3s", "--quiet", "--dir", "here", "--overwrite", "--json")
    (run,) = json.loads(done.stdout)["runs"]
    assert 0.3 <= run["seconds"] < 5
    assert run["seconds_to_target"] is not None


@pytest.mark.parametrize("budget", ["", "m", "-3", "0", "1.5", "2h", "1e3"])
def test_budgets_that_are_none(charrnn_here: Run, config_file: Path, budget: str) -> None:
    assert_one_line_error(charrnn_here("compare", config_file, "--budget", budget), 2, "--budget")


def test_what_cannot_be_drawn_is_said_first(
    charrnn_here: Run, config_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*words: str, code: int = 2, said: str) -> None:
        assert_one_line_error(charrnn_here(*words), code, said)
        assert not (tmp_path / "checkpoints").exists()

    compare, find = ("compare", str(config_file), "--budget", "3", "--plot"), ("find-lr", "-c", str(config_file), "-o")
    for words, csv in ((compare, ""), (find, ".csv, ")):
        refused(*words, "loss.txt", said=f"loss.txt: the name must end in {csv}.png, .svg or .pdf")
        with monkeypatch.context() as patch:
            patch.setattr(figures, "find_spec", lambda name: None)
            refused(*words, "loss.png", code=6, said="a plot needs matplotlib")
    monkeypatch.setattr(figures, "find_spec", lambda name: "there")
    for words in (compare, find):
        refused(*words, "none/loss.png", said="cannot be written: No such file or directory")
    refused(*find, "none/curve.csv", said="cannot be written: No such file or directory")
    refused("report", "x", "-o", "none/r.html", said="cannot be written: No such file or directory")
    refused(*find[:-1], "--to", "inf", said="both finite")


@pytest.mark.extras
def test_the_picture(charrnn_here: Run, config_file: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    done = charrnn_here("compare", config_file, "--budget", "10", "--quiet", "--plot", "c.png")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "c.png").read_bytes().startswith(b"\x89PNG")
