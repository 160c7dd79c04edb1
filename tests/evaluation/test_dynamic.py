"""Dynamic evaluation against the formula written out, and that it leaves the model as it was."""

from __future__ import annotations

import json

import numpy as np
import pytest

from charrnn.evaluation.dynamic import RATE, dynamic_evaluate
from charrnn.evaluation.loss import evaluate
from charrnn.nn.network import CharRNN
from tests.cli_reference import commands
from tests.conftest import Run, assert_one_line_error


def made(V: int = 6) -> tuple[CharRNN, np.ndarray]:
    rng = np.random.default_rng(0)
    model = CharRNN(V, cell="gru", hidden_size=8, dtype=np.float64)
    model.init(rng)
    return model, rng.integers(0, V, 103).astype(np.uint16)


def test_a_rate_of_zero_is_ordinary_evaluation() -> None:
    model, ids = made()
    found = dynamic_evaluate(model, ids, square_mean=None, rate=0.0)
    assert found.characters == 102
    assert found.loss == pytest.approx(evaluate(model, ids, streams=1).loss, rel=1e-9)


@pytest.mark.parametrize("with_moments", [True, False])
def test_the_formula(with_moments: bool) -> None:
    model, ids = made()
    squares = np.random.default_rng(1).uniform(1e-6, 1e-2, model.params.size) if with_moments else None
    before = model.params.flat.copy()
    found = dynamic_evaluate(model, ids, square_mean=squares, rate=0.01, decay=0.1, segment=7)
    np.testing.assert_array_equal(model.params.flat, before)
    nats, state, theta = 0.0, model.zero_state(1), before.copy()
    root = None if squares is None else np.sqrt(squares)
    for first in range(0, 102, 7):
        part = ids[first : first + 8].astype(np.intp)
        model.params.flat[:] = theta
        nats += model.loss_and_grad(part[:-1, None], part[1:, None], state)
        g = model.grads.flat
        theta = theta - 0.01 * (g if root is None else g / (root + root.mean()))
        theta = theta + 0.1 * (before - theta)
    assert found.nats == pytest.approx(nats, rel=1e-9)


def test_it_begins_where_the_text_before_ends_and_documents_begin_from_zero() -> None:
    model, ids = made()
    around = {"before": ids[60:10:-1], "separator": ids[20:22]}
    found = dynamic_evaluate(model, ids, square_mean=None, rate=0.0, segment=9, **around)
    assert found.nats == pytest.approx(evaluate(model, ids, streams=1, **around).nats, rel=1e-9)
    for name in around:
        without = {key: value for key, value in around.items() if key != name}
        assert abs(evaluate(model, ids, streams=1, **without).nats - found.nats) > 1e-4


def test_it_learns_the_habits_of_a_text() -> None:
    model, _ = made()
    ids = np.tile(np.array([0, 3, 1, 4, 2], np.uint16), 400)
    assert dynamic_evaluate(model, ids, square_mean=None, rate=0.5, decay=0.0).loss < 0.7 * evaluate(model, ids).loss


def test_moments_of_another_size_are_refused() -> None:
    model, ids = made()
    with pytest.raises(ValueError, match="square_mean"):
        dynamic_evaluate(model, ids, square_mean=np.ones(3))


def test_the_command(charrnn_here: Run, config_file: object) -> None:
    assert charrnn_here("train", "--config", config_file, "--quiet", "--run-dir", "checkpoints/a").returncode == 0
    report = json.loads(charrnn_here("eval", "--dynamic", "--no-baselines", "--json").stdout)
    assert 0 < report["dynamic"]["loss"] != report["loss"]
    for words, said in (
        (("checkpoints/a", "checkpoints/a", "--dynamic"), "--dynamic is for one model"),
        (("--dynamic-rate", "0.1"), "add --dynamic"),
        (("--per-char", "color", "--json"), "--per-char color and --json cannot both be given"),
    ):
        assert_one_line_error(charrnn_here("eval", *words), 2, said)
    zero = json.loads(charrnn_here("eval", "--dynamic", "--dynamic-rate", "0", "--no-baselines", "--json").stdout)
    assert zero["dynamic"]["loss"] == pytest.approx(zero["loss"], rel=1e-4)
    assert "dynamic" in charrnn_here("eval", "--dynamic", "--no-baselines").stdout


def test_the_help_tells_the_rate() -> None:
    options = {
        p.name: p.help for name, c in commands() if name == "charrnn eval" for p in c.params if hasattr(p, "help")
    }  # type: ignore[attr-defined]
    assert f" {RATE}." in options["dynamic_rate"]
