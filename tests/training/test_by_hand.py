"""What a trainer computes from counters and settings alone, by hand: ends, rates, shares, summaries, a range test."""

from __future__ import annotations

import math
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import numpy as np
import pytest

from charrnn import __version__
from charrnn.blas import kernel_name
from charrnn.config.schema import TrainingSettings
from charrnn.data.encode import encode_text
from charrnn.data.vocabulary import Vocabulary
from charrnn.data.windows import WindowStream
from charrnn.errors import CheckpointError, DataError, DivergenceError, SettingsError
from charrnn.evaluation.health import Health
from charrnn.nn.network import CharRNN
from charrnn.runs.directory import RunDirectory
from charrnn.training import snapshot
from charrnn.training.group import LocalGroup, choose_replicas
from charrnn.training.lr_finder import LrPoint, LrSuggestion, _points, range_test, suggest
from charrnn.training.pace import is_due, learning_rate, most_steps, reason_to_end
from charrnn.training.progress import Counters
from charrnn.training.snapshot import capture, check_resumable, check_text, health_summary, restore, summarise
from tests.checkpoints import make
from tests.training.small_runs import config


def settings(**changes: Any) -> TrainingSettings:
    """A run without warm-up and bounds, but for the changes."""
    bare = {"epochs": None, "max_steps": None, "max_minutes": None, "warmup_steps": 0, "schedule": "linear"}
    return msgspec.structs.replace(config().training, **(bare | changes))


def test_the_nearer_of_two_bounds_counts() -> None:
    assert most_steps(settings(), 10) is None
    assert most_steps(settings(max_steps=7), 10) == 7
    assert most_steps(settings(epochs=1.26), 10) == 13
    assert most_steps(settings(epochs=0.001), 10) == 1
    assert most_steps(settings(epochs=1e300), 10) == 10**18
    assert most_steps(settings(epochs=2, max_steps=7), 10) == 7
    assert most_steps(settings(epochs=2, max_steps=70), 10) == 20


def test_a_run_ends_at_its_bound_and_says_which() -> None:
    t = settings(epochs=2, max_steps=20, max_minutes=0.5, patience=3)
    assert reason_to_end(t, Counters(step=19, seconds=29.9, evals_since_best=2), 20) is None
    assert reason_to_end(t, Counters(step=20), 20) == "max_steps"
    assert reason_to_end(t, Counters(step=21), 20) == "max_steps"  # lowered when the run was resumed
    assert reason_to_end(settings(epochs=2, max_steps=30), Counters(step=21), 20) == "epochs"
    assert reason_to_end(settings(epochs=2), Counters(step=21), 20) == "epochs"
    assert reason_to_end(t, Counters(step=1, seconds=30.0), 20) == "max_minutes"
    assert reason_to_end(t, Counters(evals_since_best=3), 20) == "patience"
    assert reason_to_end(settings(), Counters(step=9, seconds=1e9, evals_since_best=9), None) is None


def test_the_rate_falls_with_the_steps_or_the_time_whichever_is_further() -> None:
    t = settings(learning_rate=0.5, min_lr_ratio=0.0, warmup_steps=2)
    assert learning_rate(t, Counters(step=4), 10) == pytest.approx(0.5 * (1 - 2 / 8))
    assert learning_rate(t, Counters(step=4, lr_scale=0.1), 10) == pytest.approx(0.05 * (1 - 2 / 8))
    assert learning_rate(t, Counters(step=9), None) == 0.5
    assert learning_rate(t, Counters(step=0), 10) == pytest.approx(0.25)
    assert learning_rate(t, Counters(step=2), 2) == 0.5
    timed = msgspec.structs.replace(t, max_minutes=2.0)
    assert learning_rate(timed, Counters(step=4, seconds=90.0), 10) == pytest.approx(0.5 * (1 - 90 / 120))
    assert learning_rate(timed, Counters(step=9, seconds=12.0), 10) == pytest.approx(0.5 * (1 - 7 / 8))
    assert learning_rate(timed, Counters(step=9, seconds=30.0), None) == pytest.approx(0.5 * (1 - 30 / 120))


def test_what_is_due() -> None:
    assert [step for step in range(1, 8) if is_due(step, 3)] == [3, 6]
    assert not is_due(3, None)


def test_replicas_have_eight_columns_or_are_asked_for() -> None:
    found = [choose_replicas("auto", columns, cores=4) for columns in (1, 15, 16, 31, 32, 999)]
    assert found == [1, 1, 2, 3, 4, 4]
    assert (choose_replicas(9, 20, cores=1), choose_replicas(9, 5)) == (9, 5)


def test_counters_come_back_under_their_old_and_new_names() -> None:
    saved = Counters(
        step=3, epoch=1, window=2, chars=9, seconds=1.5, best_val_loss=0.5, evals_since_best=4, train_loss=1.0,
        val_loss=2.0, nats_since_report=5.0, chars_since_report=6, seconds_since_report=7.0, replicas=2, plateaus=1,
        rollbacks=8, lr_scale=0.25, rollback_step=11, optimizer_steps=12, text_sha256="x", started_in="y",
        history_bytes=13, samples_bytes=14,
    )  # fmt: skip
    assert Counters.of(replace(make(), counters=asdict(saved))) == saved
    old = {"bad_evaluations": 4, "pending_nats": 5.0, "pending_chars": 6, "pending_seconds": 7.0, "rate_scale": 0.25}
    found = Counters.of(replace(make(), counters=old))
    new = ("evals_since_best", "nats_since_report", "chars_since_report", "seconds_since_report", "lr_scale")
    assert [getattr(found, name) for name in new] == list(old.values())


@pytest.mark.parametrize(
    ("name", "least", "most", "beyond"),
    [("step", 0, 1 << 53, (1 << 53) + 1), ("seconds", 0.0, 1e50, 2e50), ("replicas", 1, 256, 257)],
)
def test_counters_outside_their_range_are_damaged(name: str, least: Any, most: Any, beyond: Any) -> None:
    for value in (least, most):
        assert getattr(Counters.of(replace(make(), counters={name: value})), name) == value
    for value in (least - 1, beyond, math.nan, "3"):
        of_number = (
            "^counters are damaged: a count is out of range$" if value in (least - 1, beyond) else "are damaged: "
        )
        with pytest.raises(CheckpointError, match=of_number):
            Counters.of(replace(make(), counters={name: value}))


def test_a_checkpoint_takes_nothing_that_is_not_a_number() -> None:
    model = CharRNN(3, cell="gru", hidden_size=2)
    state, n = model.zero_state(2), Counters(step=4, epoch=1, window=2)
    moments = {"mean": np.zeros(model.params.size, np.float32)}
    parts = (config(), Vocabulary.of("abc"), model, moments, state, n)
    made = capture(*parts)
    assert (made.cursor, made.counters["step"], made.moments, made.state) == ((1, 2), 4, moments, state)
    assert made.params.keys() == model.params.keys()
    assert (made.config, made.vocabulary, made.kernel) == (*parts[:2], kernel_name())
    assert (made.version, made.counters) == (__version__, asdict(n))
    for broken in (model.params.flat, moments["mean"], state[0]):
        broken.flat[1] = np.inf
        with pytest.raises(DivergenceError) as caught:
            capture(*parts)
        assert caught.value.message == "step 4: a parameter or moment is no longer a usable number; nothing was saved"
        assert caught.value.hint == "lower training.learning_rate or set training.grad_clip"
        broken.flat[1] = 0.0


def test_a_checkpoint_goes_back_where_it_came_from() -> None:
    saved = make()
    model = CharRNN(len(saved.vocabulary), cell="lstm", hidden_size=4, num_layers=2)
    moments, state = {"mean": np.zeros(model.params.size, np.float32)}, model.zero_state(3)
    restore(saved, model, moments, state)
    assert all((model.params[name] == values).all() for name, values in saved.params.items())
    assert (moments["mean"] == 1.0).all()
    assert all((a == b).all() for a, b in zip(state, saved.state, strict=True))
    with pytest.raises(CheckpointError, match=r"^the checkpoint does not hold the moments of this optimiser$"):
        restore(saved, model, {}, state)
    with pytest.raises(CheckpointError, match=r"^the checkpoint's recurrent state does not match the batch size$"):
        restore(saved, model, moments, model.zero_state(2))


def test_every_setting_that_makes_another_run_is_named() -> None:
    wanted = config("lstm", "model.hidden_size=13", "training.batch_size=5", "training.epochs=9")
    with pytest.raises(SettingsError) as caught:
        check_resumable(config("lstm"), wanted)
    assert (
        caught.value.message == "model.hidden_size: cannot change when a run is resumed (nor can training.batch_size)"
    )
    assert caught.value.hint == "these may change: " + ", ".join(sorted(snapshot.MAY_CHANGE))
    allowed = config("lstm", "training.on_divergence=rollback", "training.patience=3", "training.sample_length=9")
    assert check_resumable(config("lstm"), allowed) == allowed


def test_text_and_symbols_are_those_of_the_run() -> None:
    saved = replace(make(), counters={"text_sha256": "abc"})
    check_text(saved, saved.vocabulary, "abc")
    for vocabulary, digest in ((saved.vocabulary, "abd"), (Vocabulary.of("xy"), "abc")):
        with pytest.raises(DataError) as caught:
            check_text(saved, vocabulary, digest)
        assert caught.value.message == "the text is not the one this run was trained on"
        assert caught.value.hint == (
            "put the old text back, start another run with `run_dir`, or give this run's weights to a new one with "
            "`init_from`"
        )


def test_a_summary_has_the_last_loss_in_bits(tmp_path: Path) -> None:
    stream, model = WindowStream(np.zeros(101, np.uint8), 2, 10), CharRNN(3, cell="rnn", hidden_size=2)
    n = Counters(step=7, epoch=1, window=2, chars=140, seconds=4.0, train_loss=2.0, best_val_loss=0.5)
    found = summarise(n, stream, model, RunDirectory(tmp_path))
    assert found["epochs"] == pytest.approx(1.4)
    assert (found["chars"], found["chars_per_second"], found["seconds"]) == (140, 35.0, 4.0)
    assert found["bits_per_char"] == pytest.approx(2.0 / math.log(2))
    assert found["perplexity"] == pytest.approx(math.exp(2.0))
    assert (found["train_loss"], found["val_loss"], found["best_val_loss"], found["steps"]) == (2.0, None, 0.5, 7)
    assert found["best_checkpoint"] is None
    assert (found["run_dir"], found["checkpoint"]) == (str(tmp_path), str(tmp_path / "last.npz"))
    assert (found["parameters"], found["vocab_size"], found["overlap_chars_per_epoch"]) == (model.params.size, 3, 0)
    (tmp_path / "best.npz").touch()
    found = summarise(replace(n, val_loss=1.0, seconds=0.0), stream, model, RunDirectory(tmp_path))
    assert found["bits_per_char"] == pytest.approx(1.0 / math.log(2))
    assert found["best_checkpoint"] == str(tmp_path / "best.npz")
    assert found["chars_per_second"] == 0.0
    nothing = summarise(Counters(), stream, model, RunDirectory(tmp_path))
    assert nothing["bits_per_char"] is nothing["perplexity"] is None
    assert summarise(Counters(train_loss=1e9), stream, model, RunDirectory(tmp_path))["perplexity"] == math.exp(700.0)


def test_health_is_judged_by_the_last_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[float, int]] = []

    def check(model: object, ids: object, *, loss: float, seed: int) -> Health:
        asked.append((loss, seed))
        return Health(0.0, 0.3, 0.1)

    monkeypatch.setattr(snapshot, "check_health", check)
    nothing: Any = None
    found = health_summary(nothing, nothing, Counters(step=500, train_loss=2.0), 7)
    assert found == asdict(Health(0.0, 0.3, 0.1)) | {"notes": list(Health(0.0, 0.3, 0.1).notes(500))}
    health_summary(nothing, nothing, Counters(train_loss=2.0, val_loss=1.0), 8)
    assert health_summary(nothing, nothing, Counters(), 9) == {}
    assert asked == [(2.0, 7), (1.0, 8)]


def test_a_range_test_ends_where_the_smoothed_loss_has_doubled() -> None:
    losses = [1.0, 0.5, 0.8, 9.0, 9.0, 9.0]
    rates: list[float] = []

    def take_step(rate: float) -> float:
        rates.append(rate)
        return losses[len(rates) - 1]

    trainer: Any = SimpleNamespace(take_step=take_step)
    points = list(_points(trainer, 0.01, 10.0, 4))
    assert [p.rate for p in points] == rates == pytest.approx([0.01, 0.1, 1.0, 10.0])
    expected, mean = [], 0.0
    for k, loss in enumerate(losses[:4]):
        mean = 0.9 * mean + 0.1 * loss
        expected.append(mean / (1 - 0.9 ** (k + 1)))
    assert [p.smoothed for p in points] == pytest.approx(expected)
    rates.clear()
    assert len(list(_points(trainer, 0.01, 10.0, 6))) == 4  # 2.96 is more than twice 0.74
    rates.clear()
    assert [p.rate for p in _points(trainer, 0.01, 10.0, 1)] == [0.01]


def test_a_range_test_trains_and_keeps_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.txt").write_text("the cat sat on the mat. " * 40, encoding="utf-8")
    text = encode_text([tmp_path / "text.txt"], "utf-8", tmp_path / "cache")
    before, closed = sorted(tmp_path.rglob("*")), []
    monkeypatch.setattr(LocalGroup, "close", lambda self: closed.append(self))
    points = range_test(config("gru"), text, low=0.001, high=0.1, steps=3)
    assert [next(points).rate, next(points).rate] == pytest.approx([0.001, 0.01])
    points.close()  # type: ignore[attr-defined]
    assert len(closed) == 1
    assert sorted(tmp_path.rglob("*")) == before
    losses = [point.loss for point in range_test(config("gru"), text, low=0.001, high=0.1, steps=9)]
    assert losses[-1] < losses[0] == pytest.approx(math.log(len(text.vocabulary)), rel=0.05)


def test_the_suggested_rate() -> None:
    def curve(*smoothed: float) -> list[LrPoint]:
        return [LrPoint(10.0**k, 0.0, loss) for k, loss in enumerate(smoothed)]

    # Falls fastest around 10, is lowest at 1000: a tenth of that is more.
    assert suggest(curve(9, 8, 5, 4, 6), complete=True) == LrSuggestion(100.0, 10.0, 1000.0, None)
    assert suggest(curve(9, 8, 4, 8, 99), complete=False) == LrSuggestion(10.0, 10.0, 100.0, 1e4)
    assert suggest(curve(1, 2, 3, 2.9), complete=True) == LrSuggestion(100.0, 100.0, 1.0, None)
    assert suggest(curve(3, 2, 1), complete=True) == LrSuggestion(10.0, 10.0, 100.0, None)
    with pytest.raises(ValueError, match=r"^a curve needs three points$"):
        suggest(curve(1, 2), complete=True)
