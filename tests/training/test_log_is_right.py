"""What a user reads in a log is what was computed: history, samples, lines on the terminal, summary.

`test_settings_change_the_run` compares every number of every report with a plain loop; here are the ways from there to
the user, and a validation text so long that it is read as several streams.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from charrnn.cli.views.training import train_view
from charrnn.evaluation.loss import evaluate
from charrnn.evaluation.reading import _LEAST_PART
from charrnn.nn.network import CharRNN
from charrnn.runs.events import RunFinished, SampleMade, StepReport
from tests.training.reference_network import Network
from tests.training.reference_rules import begins_document
from tests.training.runs_as_events import Clock
from tests.training.small_runs import config, start

SLOW = 0.125  # seconds that the clock shows for a step; exact in binary


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Any], list[tuple[float, float, float]]]:
    """A run: its folder, its events, and of each step the loss, the gradient's norm and the rate."""
    folder, clock = tmp_path_factory.mktemp("log") / "run", Clock()
    trainer = start(folder, config("gru", "training.grad_clip=0.1", "training.max_steps=14"), clock=clock)
    step, steps = trainer.take_step, []

    def noted(rate: float | None = None) -> float:
        before = trainer.model.params.flat.copy()
        loss = step(rate)
        assert (before != trainer.model.params.flat).any()
        steps.append((loss, trainer.grad_norm, trainer.learning_rate))
        return loss

    run = trainer.group.run

    def timed(*arguments: Any, **options: Any) -> float:
        clock.now += SLOW
        return run(*arguments, **options)

    trainer.take_step, trainer.group.run = noted, timed  # type: ignore[method-assign]
    return folder, list(trainer.run()), steps


def test_a_report_is_of_the_steps_since_the_last(ran: Any) -> None:
    _, events, steps = ran
    reports, last = [e for e in events if isinstance(e, StepReport)], 0
    assert len({r.step - previous for previous, r in zip([0, *(r.step for r in reports)], reports, strict=False)}) > 1
    chars = 0
    for report in reports:
        losses = [loss for loss, _, _ in steps[last : report.step]]
        assert report.train_loss == pytest.approx(np.mean(losses), rel=1e-12)  # all windows here have one size
        assert (report.grad_norm, report.learning_rate) == steps[report.step - 1][1:]
        assert report.grad_norm > 0.1  # before clipping
        assert report.chars_per_second == (report.chars - chars) / (SLOW * (report.step - last))
        assert report.seconds == SLOW * report.step
        last, chars = report.step, report.chars
    assert last == len(steps) == 14


def test_the_files_hold_what_was_reported(ran: Any) -> None:
    folder, events, _ = ran
    rows = [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]
    assert rows == [asdict(e) for e in events if isinstance(e, StepReport)]
    samples = [f"--- step {e.step} ---\n{e.text}\n\n" for e in events if isinstance(e, SampleMade)]
    assert (folder / "samples.txt").read_text() == "".join(samples)
    assert len(samples) > 1


def test_the_lines_on_the_terminal_are_the_reports(ran: Any, capsys: pytest.CaptureFixture[str]) -> None:
    _, events, _ = ran
    with train_view("plain") as show:
        for event in events:
            show(event)
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("step ")]
    shown = {int(line.split()[1]): line for line in lines}
    validated = [e for e in events if isinstance(e, StepReport) and e.val_loss is not None]
    assert set(shown) >= {e.step for e in validated}
    for event in (e for e in events if isinstance(e, StepReport) and e.step in shown):
        numbers = re.findall(r"[\d,]+(?:\.\d+)?(?:e[-+]\d+)?", shown[event.step])
        expected = [f"{event.epoch:.2f}", f"{event.train_loss:.4f}"]
        if event.val_loss is not None:
            expected += [f"{event.val_loss:.4f}", f"{event.val_loss / math.log(2):.4f}"]
        expected += [f"{event.grad_norm:.3f}", f"{event.learning_rate:.2e}", f"{event.chars_per_second:,.0f}"]
        assert numbers[1 : len(expected) + 1] == expected


def test_the_summary_is_of_the_whole_run(ran: Any) -> None:
    _, events, _ = ran
    finished = events[-1]
    assert isinstance(finished, RunFinished)
    summary = finished.summary
    validated = [e.val_loss for e in events if isinstance(e, StepReport) and e.val_loss is not None]
    assert summary["steps"] == 14
    assert summary["seconds"] == 14 * SLOW
    assert summary["chars_per_second"] == summary["chars"] / summary["seconds"]
    assert (summary["val_loss"], summary["best_val_loss"]) == (validated[-1], min(validated))
    assert summary["bits_per_char"] == pytest.approx(summary["val_loss"] / math.log(2), rel=1e-12)
    assert summary["perplexity"] == pytest.approx(math.exp(summary["val_loss"]), rel=1e-12)


@pytest.mark.parametrize("separator", [None, [3, 1]])
@pytest.mark.parametrize("size", [2, 700, 2200])
def test_the_validation_loss_is_that_of_one_reader_of_the_whole_text(size: int, separator: list[int] | None) -> None:
    """Wherever the documents begin. A text long enough to be read in parts agrees as closely as is promised."""
    V, rng = 6, np.random.default_rng(0)
    model = CharRNN(V, cell="lstm", hidden_size=5, num_layers=2, dtype=np.float64)
    model.init(rng)
    model.params.flat += rng.normal(0.0, 0.3, model.params.size)
    ids = rng.integers(0, V, size).tolist()
    resets = [(place, 0) for place in range(size - 1) if begins_document(ids, place, separator)]
    state = [np.zeros((2, 5, 1)) for _ in range(2)]
    log_p = Network("lstm", 2, None, V).predict(dict(model.params), np.array(ids[:-1])[:, None], state, resets)
    nats = -sum(float(log_p[place, symbol, 0]) for place, symbol in enumerate(ids[1:]))
    found = evaluate(
        model, np.array(ids, np.uint8), separator=None if separator is None else np.array(separator, np.uint8)
    )
    assert found.characters == size - 1
    assert found.loss == pytest.approx(nats / (size - 1), rel=1e-10, abs=0.0 if size < 2 * _LEAST_PART else 5e-4)
    assert found.loss == found.nats / (size - 1)
