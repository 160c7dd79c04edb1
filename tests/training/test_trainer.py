"""Runs: deterministic, resumable, stopping when told."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from charrnn.config.load import parse_config
from charrnn.config.schema import Config
from charrnn.errors import DataError, DivergenceError, SettingsError, StorageError
from charrnn.nn.cells import CELLS
from charrnn.nn.optimizers import OPTIMIZERS
from charrnn.runs.checkpoint import load_checkpoint
from charrnn.runs.events import Note, RunFinished, RunStarted, SampleMade, StepReport
from charrnn.training import trainer as trainer_module
from charrnn.training.snapshot import check_resumable
from tests.conftest import SENTENCES
from tests.training.runs_as_events import Clock
from tests.training.small_runs import config, finish, history, start


@pytest.mark.parametrize("cell", sorted(CELLS))
def test_the_same_settings_give_the_same_bits(tmp_path: Path, cell: str) -> None:
    first, second = start(tmp_path / "a", config(cell)), start(tmp_path / "b", config(cell))
    finish(first)
    finish(second)
    np.testing.assert_array_equal(first.model.params.flat, second.model.params.flat)
    assert history(tmp_path / "a") == history(tmp_path / "b")
    other = start(tmp_path / "c", config(cell, "training.seed=1"))
    finish(other)
    assert (first.model.params.flat != other.model.params.flat).any()


@pytest.mark.parametrize(
    ("cell", "optimizer"),
    [(c, "adam") for c in sorted(CELLS)] + [("gru", o) for o in sorted(OPTIMIZERS) if o != "adam"],
)
def test_a_resumed_run_equals_an_undisturbed_one(tmp_path: Path, cell: str, optimizer: str) -> None:
    settings = config(cell, f"training.optimizer={optimizer}")
    whole = start(tmp_path / "a", settings)
    finish(whole)
    broken = start(tmp_path / "b", settings)
    for event in broken.run():
        if isinstance(event, StepReport) and event.step >= 13:
            break  # as a kill would: what was done since the last checkpoint is lost
    resumed = start(tmp_path / "b", settings, resume=True)
    assert 0 < resumed.counters.step < whole.counters.step
    finish(resumed)
    np.testing.assert_array_equal(resumed.model.params.flat, whole.model.params.flat)
    assert history(tmp_path / "b") == history(tmp_path / "a")


@pytest.mark.extras
@pytest.mark.parametrize("cell", sorted(CELLS))
@pytest.mark.parametrize("replicas", [1, 2])
def test_a_run_on_compiled_kernels_resumes_to_the_same_bits(tmp_path: Path, cell: str, replicas: int) -> None:
    settings = config(cell, "training.kernels=compiled", f"training.replicas={replicas}")
    whole, broken = start(tmp_path / "a", settings), start(tmp_path / "b", settings)
    finish(whole)
    for event in broken.run():
        if isinstance(event, StepReport) and event.step >= 13:
            break
    resumed = start(tmp_path / "b", config(cell, f"training.replicas={replicas}"), resume=True)
    assert (resumed.kernels.name, resumed.group.count) == ("compiled", replicas)
    events = finish(resumed)
    np.testing.assert_array_equal(resumed.model.params.flat, whole.model.params.flat)
    assert history(tmp_path / "b") == history(tmp_path / "a")
    assert isinstance(events[0], RunStarted)
    assert events[0].notes == ()


@pytest.mark.extras
def test_a_run_that_continues_on_other_kernels_says_so(tmp_path: Path) -> None:
    settings = config("gru", "training.kernels=compiled", "training.epochs=1")
    finish(start(tmp_path / "a", settings))
    saved = load_checkpoint(tmp_path / "a" / "last.npz")
    assert "compiled/" in saved.kernel
    more = config("gru", "training.kernels=numpy", "training.epochs=1.5")
    assert check_resumable(saved.config, more) == more
    events = finish(start(tmp_path / "a", more, resume=True))
    assert isinstance(events[0], RunStarted)
    assert f"the run was on other kernels ({saved.kernel}, now " in events[0].notes[0]
    assert "compiled" not in load_checkpoint(tmp_path / "a" / "last.npz").kernel


@pytest.mark.parametrize("cell", sorted(CELLS))
def test_a_resumed_run_resets_the_states_that_the_undisturbed_one_resets(tmp_path: Path, cell: str) -> None:
    settings = config(cell, "training.state_reset=0.5")
    whole, other = start(tmp_path / "a", settings), start(tmp_path / "c", config(cell, "training.state_reset=0"))
    finish(whole)
    finish(other)
    assert (whole.model.params.flat != other.model.params.flat).any()
    broken = start(tmp_path / "b", settings)
    for event in broken.run():
        if isinstance(event, StepReport) and event.step >= 13:
            break
    resumed = start(tmp_path / "b", settings, resume=True)
    finish(resumed)
    np.testing.assert_array_equal(resumed.model.params.flat, whole.model.params.flat)


def test_a_setting_that_a_run_began_without_stays_as_it_was(tmp_path: Path) -> None:
    finish(start(tmp_path / "a", config("rnn", "training.state_reset=0")))
    saved = load_checkpoint(tmp_path / "a" / "last.npz").config
    for resumed in (check_resumable(saved, config("rnn")), check_resumable(saved, saved)):
        assert resumed == saved
    with pytest.raises(SettingsError, match=r"training\.state_reset: cannot change"):
        check_resumable(saved, config("rnn", "training.state_reset=0.3"))


def test_a_run_learns_and_writes_its_files(tmp_path: Path) -> None:
    trainer = start(tmp_path / "a", config("gru", "training.epochs=6"))
    events = finish(trainer)
    finished = events[-1]
    assert isinstance(finished, RunFinished)
    assert finished.reason == "epochs"
    rows = history(tmp_path / "a")
    assert rows[-1]["train_loss"] < 0.8 * rows[0]["train_loss"]  # type: ignore[operator]
    assert rows[-1]["val_loss"] is not None
    summary = finished.summary
    assert summary["best_val_loss"] == min(r["val_loss"] for r in rows if r["val_loss"])  # type: ignore[type-var]
    assert summary["bits_per_char"] == pytest.approx(summary["val_loss"] / math.log(2))
    assert summary["chars"] == rows[-1]["chars"]
    assert load_checkpoint(tmp_path / "a" / "best.npz").counters["val_loss"] == summary["best_val_loss"]
    samples = [e.text for e in events if isinstance(e, SampleMade)]
    assert len(samples[0]) == 10
    assert (tmp_path / "a" / "samples.txt").read_text().count("--- step") == len(samples)
    shown = (tmp_path / "a" / "config.yaml").read_text()
    assert parse_config(shown, where="test") == trainer.config


@pytest.mark.parametrize(
    ("override", "reason"),
    [
        ("training.max_steps=4", "max_steps"),
        ("training.max_minutes=0.0001", "max_minutes"),
        ("training.epochs=0.5", "epochs"),
    ],
)
def test_runs_end_when_told(tmp_path: Path, override: str, reason: str) -> None:
    finished = finish(start(tmp_path / "a", config("rnn", override)))[-1]
    assert isinstance(finished, RunFinished)
    assert finished.reason == reason
    assert (tmp_path / "a" / "last.npz").exists()


def test_patience_ends_a_run_that_no_longer_improves(tmp_path: Path) -> None:
    settings = config("rnn", "training.patience=2", "training.learning_rate=1e-30", "training.epochs=50")
    trainer = start(tmp_path / "a", settings)
    finished = finish(trainer)[-1]
    assert isinstance(finished, RunFinished)
    assert finished.reason == "patience"
    assert trainer.counters.evals_since_best == 2


def test_a_stop_request_finishes_the_step_and_saves(tmp_path: Path) -> None:
    trainer = start(tmp_path / "a", config())
    for event in trainer.run():
        if isinstance(event, StepReport):
            trainer.stop_requested = True
    assert load_checkpoint(tmp_path / "a" / "last.npz").counters["step"] == trainer.counters.step < 20


def test_divergence_reaches_no_checkpoint(tmp_path: Path) -> None:
    settings = config("rnn", "training.optimizer=sgd", "training.learning_rate=1e38", "training.grad_clip=null")
    trainer = start(tmp_path / "a", settings)
    diverged = r"^step \d+: the loss is \S+ nats and the gradient's norm \S+; nothing of this step was kept$"
    with pytest.raises(DivergenceError, match=diverged) as caught, np.errstate(all="ignore"):
        finish(trainer)
    hint = "lower training.learning_rate, set training.grad_clip, or raise training.warmup_steps"
    assert caught.value.hint == hint
    for path in (tmp_path / "a").glob("*.npz"):
        load_checkpoint(path)  # refuses values that are not finite


def test_only_settings_that_make_no_other_run_may_change() -> None:
    before = config()
    check_resumable(before, config("lstm", "training.epochs=9", "training.learning_rate=0.1", "training.log_every=1"))
    with pytest.raises(SettingsError, match=r"model\.hidden_size: cannot change"):
        check_resumable(before, config("lstm", "model.hidden_size=13"))


def test_another_text_cannot_be_resumed_on(tmp_path: Path) -> None:
    finish(start(tmp_path / "a", config()))
    with pytest.raises(DataError, match="not the one this run was trained on"):
        start(tmp_path / "a", config(), text=SENTENCES * 9, resume=True)


def test_documents_do_not_see_each_other(tmp_path: Path) -> None:
    settings = config("gru", "training.max_steps=6")
    with_resets = replace_separator(settings, ". ")
    a, b = start(tmp_path / "a", settings), start(tmp_path / "b", with_resets)
    finish(a)
    finish(b)
    assert (a.model.params.flat != b.model.params.flat).any()
    assert a.counters.chars == b.counters.chars


def replace_separator(settings: Config, separator: str) -> Config:
    import msgspec

    return msgspec.structs.replace(
        settings, corpus=msgspec.structs.replace(settings.corpus, document_separator=separator)
    )


def test_a_run_without_validation(tmp_path: Path) -> None:
    finished = finish(start(tmp_path / "a", config("rnn", "corpus.val_fraction=0")))[-1]
    assert isinstance(finished, RunFinished)
    assert finished.summary["val_loss"] is None
    assert finished.summary["bits_per_char"] > 0
    assert finished.summary["best_checkpoint"] is None


def test_a_run_begins_with_what_is_known_of_it(tmp_path: Path) -> None:
    trainer = start(tmp_path / "a", config("rnn", "training.max_minutes=2"))
    started = next(iter(trainer.run()))
    chars, symbols = len(SENTENCES) * 8, len(set(SENTENCES))
    train_chars = int(chars * 0.9)
    H = 12
    assert started == RunStarted(
        run_dir=tmp_path / "a", parameters=H * (symbols + H + 1) + H * (H + H + 1) + symbols * (H + 1),
        vocab_size=symbols, train_chars=train_chars, val_chars=chars - train_chars, columns=4,
        total_steps=2 * -(-(train_chars // 4) // 16), max_seconds=120.0, step=0, notes=(),
    )  # fmt: skip
    untimed = next(iter(start(tmp_path / "b", config("rnn")).run()))
    assert isinstance(untimed, RunStarted)
    assert untimed.max_seconds is None


def test_the_group_is_asked_for_each_window_with_what_its_members_agree_on(tmp_path: Path) -> None:
    clock, asked = Clock(), []
    offsets = ("training.random_offsets=true", "training.seed=7", "training.max_steps=25", "training.epochs=null")
    trainer = start(tmp_path / "a", config("rnn", *offsets, "training.sample_every=null"), clock=clock)
    real = trainer.group.run

    def run(index: int, **told: float) -> float:
        asked.append((index, told))
        clock.now += len(asked) / 8  # seconds
        trainer.stop_requested = len(asked) >= 24
        return real(index, **told)  # type: ignore[arg-type]

    trainer.group.run = run  # type: ignore[assignment]
    finish(trainer)
    windows = trainer.stream.windows_per_epoch
    assert windows < 24 == len(asked)
    for step, (index, told) in enumerate(asked):
        offset = trainer.stream.offset(7, step // windows)
        assert index == step % windows
        assert told == {"seed": 7, "step": step, "offset": offset, "stopping": False, "seconds": step / 8}
    assert trainer.take_step() > 0
    assert asked[-1][1]["stopping"] is True


def test_two_symbols_are_enough_to_validate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    examined: list[int] = []

    def look(model: object, ids: np.ndarray, n: object, seed: int) -> dict[str, object]:
        examined.append(len(ids))
        return {}

    monkeypatch.setattr(trainer_module, "health_summary", look)
    text, short = (SENTENCES * 2)[:200], ("training.max_steps=2", "training.batch_size=2")
    losses = []
    for k, fraction in enumerate((0.01, 0.005, 0.0)):
        settings = config("rnn", f"corpus.val_fraction={fraction}", *short)
        if fraction == 0.005:
            with pytest.raises(DataError, match=r"the validation part has 1 symbol$") as caught:
                start(tmp_path / str(k), settings, text=text)
            wanted = "use a longer text or a larger corpus.val_fraction, or set it to 0 for none"
            assert caught.value.hint == wanted
            continue
        finished = finish(start(tmp_path / str(k), settings, text=text))[-1]
        assert isinstance(finished, RunFinished)
        losses.append(finished.summary["val_loss"])
    assert losses[0] > 0
    assert losses[1] is None
    assert examined == [2, 200]


def test_a_history_that_cannot_be_written_is_said_once_and_ends_the_run_in_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = config("rnn", "training.sample_every=null", "training.max_steps=7")

    def full(path: Path, data: bytes) -> None:
        raise OSError(28, "No space left on device")

    def notes(name: str) -> Iterator[str]:
        monkeypatch.setattr("charrnn.runs.directory.append", full)
        yield from (event.text for event in start(tmp_path / name, settings).run() if isinstance(event, Note))

    said: list[str] = []
    with pytest.raises(StorageError) as caught:
        said.extend(notes("a"))
    assert str(tmp_path / "a" / "history.jsonl") in caught.value.message
    assert load_checkpoint(tmp_path / "a" / "last.npz").counters["step"] == 7  # it has come to its end all the same
    for text in notes("b"):
        said.append(text)
        monkeypatch.undo()  # there is room again
    assert [str(tmp_path / name / "history.jsonl") in text for name, text in zip("ab", said, strict=True)] == [True] * 2
    assert said[1].endswith("; new rows are kept in memory and written as soon as they can be")
    assert [row["step"] for row in history(tmp_path / "b")] == [3, 6, 7]


def test_reports_are_frozen() -> None:
    report = StepReport(1, 0.1, 2, 3.0, None, 1.0, 0.1, 5.0, 1.0)
    assert replace(report, step=2).step == 2
    with pytest.raises(AttributeError):
        report.step = 3  # type: ignore[misc]
