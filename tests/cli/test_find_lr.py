"""The learning-rate range test: its curve, its advice, and that nothing is left behind."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path

import pytest

from charrnn.training.lr_finder import LrPoint, suggest
from tests.conftest import Run, assert_one_line_error


def test_advice_from_a_known_curve() -> None:
    rates = [10 ** (-5 + 0.05 * k) for k in range(100)]
    losses = [4 - 2 / (1 + math.exp(-4 * (math.log10(r) + 3))) + 50 * max(0, math.log10(r) + 1) ** 2 for r in rates]
    points = [LrPoint(r, loss, loss) for r, loss in zip(rates, losses, strict=True)]
    advice = suggest(points, complete=False)
    assert advice.steepest == pytest.approx(1e-3, rel=0.15)
    assert advice.lowest == pytest.approx(0.1, rel=0.2)
    assert advice.rate == pytest.approx(advice.lowest / 10)
    assert advice.diverged == rates[-1]
    assert suggest(points[:30], complete=True).diverged is None
    with pytest.raises(ValueError, match="three"):
        suggest(points[:2], complete=True)


def test_the_command(charrnn_here: Run, config_file: Path, tmp_path: Path) -> None:
    before = set(tmp_path.iterdir())
    words = ("find-lr", "--config", config_file, "--steps", "60", "--from", "1e-4", "--to", "300")
    done = charrnn_here(*words, "--json", "--output", "curve.csv")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert 1e-4 <= found["rate"] <= 300
    rates = [point["rate"] for point in found["curve"]]
    assert rates == sorted(rates)
    assert rates[0] == pytest.approx(1e-4)
    assert len(rates) < 60  # it ends where the loss has risen
    assert found["diverged"] == rates[-1]
    with (tmp_path / "curve.csv").open() as file:
        assert [float(row["rate"]) for row in csv.DictReader(file)] == rates
    assert set(tmp_path.iterdir()) - before == {tmp_path / "curve.csv"}
    assert json.loads(charrnn_here(*words, "--json").stdout) == found
    text = charrnn_here(*words, "--set", "model.cell=rnn").stdout
    assert "--set training.learning_rate=" in text


def test_mistakes(charrnn_here: Run, config_file: Path) -> None:
    assert_one_line_error(charrnn_here("find-lr", "-c", config_file, "--from", "1", "--to", "0.1"), 2, "0 < from < to")
    words = ("find-lr", "-c", config_file, "--from", "1e37", "--to", "1e38", "--set", "training.optimizer=sgd")
    done = charrnn_here(*words, "--set", "training.grad_clip=null")
    assert_one_line_error(done, 2, "use a smaller --from")
    done = charrnn_here("find-lr", "-c", config_file, "--steps", "10", "--output", "nowhere/c.csv")
    assert_one_line_error(done, 2, "cannot be written")


@pytest.mark.extras
def test_the_picture(charrnn_here: Run, config_file: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    assert charrnn_here("find-lr", "-c", config_file, "--steps", "20", "--output", "c.png").returncode == 0
    assert (tmp_path / "c.png").read_bytes().startswith(b"\x89PNG")
