"""What recipes are made of, in whole runs: the mean of the weights, offsets, plateaus; and runs stay repeatable."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from charrnn.data.windows import WindowStream
from charrnn.evaluation.loss import evaluate
from charrnn.nn.schedule import ScheduleOptions, rate_factor
from charrnn.runs.checkpoint import load_checkpoint
from charrnn.training.group import choose_replicas
from tests.training.small_runs import config, finish, history, start

EVERYTHING = (
    "training.ema_decay=0.9", "training.random_offsets=true", "model.weight_dropout=0.3",
    "model.variational_dropout=true", "model.embedding_size=5", "training.schedule=plateau",
    "training.plateau_patience=1", "training.seq_length=7",
)  # fmt: skip


def test_a_run_with_everything_resumes_to_the_same_bits(tmp_path: Path) -> None:
    settings = config("gru", *EVERYTHING, "training.max_steps=40", "training.epochs=null")
    finish(start(tmp_path / "whole", settings))
    trainer = start(tmp_path / "cut", settings)
    for _ in trainer.run():
        trainer.stop_requested = trainer.counters.step >= 17
    assert 17 <= trainer.counters.step < 40
    finish(start(tmp_path / "cut", settings, resume=True))
    one, two = (load_checkpoint(tmp_path / name / "last.npz") for name in ("whole", "cut"))
    for name, values in one.params.items():
        np.testing.assert_array_equal(values, two.params[name])
    np.testing.assert_array_equal(one.moments["average"], two.moments["average"])
    rows = {row["step"]: row for row in history(tmp_path / "cut")}
    for row in history(tmp_path / "whole"):
        for column in ("val_loss", "learning_rate", "grad_norm"):
            assert rows[row["step"]][column] == row[column]


def test_replicas_drop_the_same_weights(tmp_path: Path) -> None:
    params = []
    for count in (1, 2):
        settings = config("lstm", *EVERYTHING, f"training.replicas={count}", "training.max_steps=10")
        trainer = start(tmp_path / str(count), settings)
        finish(trainer)
        params.append(trainer.model.params.flat.copy())
    np.testing.assert_allclose(params[0], params[1], atol=2e-4)
    assert choose_replicas(2, 4) == 2


def test_the_best_checkpoint_holds_the_mean_and_its_loss(tmp_path: Path) -> None:
    trainer = start(tmp_path / "run", config("gru", "training.ema_decay=0.97", "training.max_steps=30"))
    finish(trainer)
    best, last = load_checkpoint(tmp_path / "run/best.npz"), load_checkpoint(tmp_path / "run/last.npz")
    rows = [row for row in history(tmp_path / "run") if row["val_loss"] is not None]
    assert evaluate(best.build_model(), trainer.val_ids, before=trainer.stream.ids).loss == pytest.approx(
        min(r["val_loss"] for r in rows), rel=1e-6
    )
    if best.counters["step"] == last.counters["step"]:
        flat = np.concatenate([values.ravel() for values in best.params.values()])
        np.testing.assert_array_equal(flat, last.moments["average"])
    assert any((best.params[name] != last.params[name]).any() for name in best.params)


@pytest.mark.parametrize("offset", [0, 1, 6])
def test_offsets_move_every_window_and_stay_inside(offset: int) -> None:
    ids = np.arange(500, dtype=np.uint16)
    stream = WindowStream(ids, 4, 7, offsets=True)
    assert stream.largest_offset == 6
    seen = [stream.window(k, offset=offset) for k in range(stream.windows_per_epoch)]
    inputs = np.concatenate([w.inputs for w in seen])
    assert (inputs[0] == stream.starts + offset).all()
    assert (np.diff(inputs, axis=0) == 1).all()
    assert max(w.targets.max() for w in seen) < 500
    assert len({stream.offset(5, epoch) for epoch in range(50)}) > 4
    assert stream.offset(5, 3) == stream.offset(5, 3)
    assert WindowStream(ids, 4, 7).offset(5, 3) == 0


def test_plateaus_lower_the_rate(tmp_path: Path) -> None:
    options = ScheduleOptions(lr_decay=0.5)
    assert rate_factor("plateau", step=9, progress=0.9, warmup_steps=0, options=options) == 1.0
    assert rate_factor("plateau", step=9, progress=0.9, warmup_steps=0, options=replace(options, plateaus=3)) == 0.125
    settings = config(
        "gru", "training.schedule=plateau", "training.plateau_patience=2", "training.learning_rate=0.5",
        "training.eval_every=2", "training.log_every=1", "training.max_steps=40", "training.epochs=null",
    )  # fmt: skip
    trainer = start(tmp_path / "run", settings)
    finish(trainer)
    rows = history(tmp_path / "run")
    best, since, rate, plateaus = np.inf, 0, 0.5, 0
    for row in rows:
        if row["step"] > 3:
            assert row["learning_rate"] == pytest.approx(rate)
        if row["val_loss"] is not None:
            since = 0 if row["val_loss"] < best else since + 1
            best = min(best, row["val_loss"])
            if since and since % 2 == 0:
                rate, plateaus = rate / 2, plateaus + 1
    assert trainer.counters.plateaus == plateaus > 0
