"""`charrnn compare`: the same budget for each, resumable, and the table against the runs' own files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from charrnn.inspection.plots import figures
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
