"""The first look at a run: seconds after its start whatever the settings, and without any trace in what is kept."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from charrnn.cli.views.training import PlainView, RichView
from charrnn.evaluation.loss import evaluate
from charrnn.nn.network import CharRNN
from charrnn.nn.stepper import Stepper
from charrnn.runs.checkpoint import load_checkpoint
from charrnn.runs.events import Evaluated, Event, FirstLook, RunStarted, StepReport
from charrnn.training import look
from charrnn.training.look import first_look
from charrnn.training.trainer import Trainer
from tests.training.runs_as_events import Clock
from tests.training.small_runs import config, finish, history, start

LATE = ("training.eval_every=1000", "training.sample_every=1000", "training.max_steps=12", "training.epochs=null")


def slowly(folder: Path, *overrides: str, seconds: float, resume: bool = False) -> list[Event]:
    """The events of a run whose steps take so long."""
    clock = Clock()
    trainer = start(folder, config("gru", *LATE, *overrides), clock=clock, resume=resume)
    run, take = trainer.group.run, trainer.group

    def slow(*arguments: object, **options: object) -> float:
        clock.now += seconds
        return run(*arguments, **options)  # type: ignore[arg-type]

    take.run = slow  # type: ignore[method-assign]
    return finish(trainer)


def looks(events: list[Event]) -> list[FirstLook]:
    return [event for event in events if isinstance(event, FirstLook)]


@pytest.mark.parametrize("seconds", [0.4, 0.9, 1.9, 4.0])
def test_there_is_one_within_five_seconds_or_after_the_first_step(tmp_path: Path, seconds: float) -> None:
    (look,) = looks(slowly(tmp_path / "run", seconds=seconds))
    assert look.step == 1 or look.step * seconds <= 4.0
    assert look.step * seconds > 1.5
    assert 0 < look.val_loss < 10
    assert look.characters > 1
    assert len(look.text) == 10


def test_there_is_none_where_the_settings_come_first_nor_in_a_short_run(tmp_path: Path) -> None:
    often = ("training.eval_every=2", "training.sample_every=2")
    assert not looks(slowly(tmp_path / "often", *often, seconds=1.0))
    assert not looks(slowly(tmp_path / "short", seconds=0.2))
    (look,) = looks(slowly(tmp_path / "validated", "training.eval_every=2", seconds=1.0))
    assert look.text


@pytest.mark.parametrize(("sample_every", "count"), [(3, 0), (4, 1)])
def test_the_sample_of_the_same_step_is_look_enough(tmp_path: Path, sample_every: int, count: int) -> None:
    """With a second for each step, the first look is due after the third."""
    both = ("training.eval_every=2", f"training.sample_every={sample_every}")
    assert [look.step for look in looks(slowly(tmp_path / "run", *both, seconds=1.0))] == [3] * count


def test_a_run_without_validation_or_samples_is_looked_at_as_far_as_it_wants(tmp_path: Path) -> None:
    (look,) = looks(slowly(tmp_path / "a", "corpus.val_fraction=0", seconds=1.0))
    assert look.val_loss != look.val_loss
    assert look.text
    (look,) = looks(slowly(tmp_path / "b", "training.sample_every=null", seconds=1.0))
    assert look.val_loss > 0
    assert look.text == ""


def test_a_run_that_stopped_before_its_first_sample_is_looked_at_again(tmp_path: Path) -> None:
    slowly(tmp_path / "run", "training.max_steps=2", "training.eval_every=2", seconds=2.0)
    (tmp_path / "run" / "samples.txt").unlink()
    events = slowly(tmp_path / "run", "training.max_steps=9", seconds=1.0, resume=True)
    assert isinstance(events[0], RunStarted)
    assert events[0].seconds == 4.0
    (look,) = looks(events)
    assert (look.step, len(look.text)) == (2, 10)


def test_a_network_whose_first_step_takes_too_long_is_looked_at_before_and_after_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(look, "_OPERATIONS", 1.0)
    seen = looks(slowly(tmp_path / "run", seconds=9.0))
    assert [(look.step, len(look.text)) for look in seen] == [(0, 10), (1, 10)]
    assert seen[0].val_loss > seen[1].val_loss > 0


@pytest.mark.parametrize(("seconds", "characters", "length"), [(1e-2, 26, 5), (2e-3, 130, 26), (1e-6, 130, 100)])
def test_a_network_that_reads_slowly_is_looked_at_for_no_longer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seconds: float, characters: int, length: int
) -> None:
    """What a look takes if each character it reads or writes takes so long."""
    trainer = start(tmp_path / "run", config("gru", *LATE, "training.sample_length=100"), clock=(clock := Clock()))
    trainer.group.start()
    stepper, loss = Stepper.step, CharRNN.loss

    def step(*arguments: Any) -> Any:
        clock.now += seconds
        return stepper(*arguments)

    def read(self: CharRNN, inputs: Any, *others: Any, **options: Any) -> Any:
        clock.now += seconds * len(inputs)
        return loss(self, inputs, *others, **options)

    monkeypatch.setattr(Stepper, "step", step)
    monkeypatch.setattr(CharRNN, "loss", read)
    begun = clock.now
    found = first_look(trainer)
    trainer.group.close()
    assert clock.now - begun < 2.0 + 20 * seconds
    assert found.val_loss > 0
    assert (found.characters, len(found.text)) == (characters, length)


def test_nothing_of_it_is_kept(tmp_path: Path) -> None:
    slowly(tmp_path / "looked", seconds=1.0)
    slowly(tmp_path / "not", seconds=0.01)
    assert history(tmp_path / "looked") == history(tmp_path / "not")
    assert (tmp_path / "looked/samples.txt").read_text() == (tmp_path / "not/samples.txt").read_text()
    one, two = (load_checkpoint(tmp_path / name / "last.npz") for name in ("looked", "not"))
    assert all((one.params[name] == two.params[name]).all() for name in one.params)
    assert one.counters["best_val_loss"] == two.counters["best_val_loss"]


def test_both_displays_show_it(capsys: pytest.CaptureFixture[str]) -> None:
    PlainView().show(FirstLook(7, 2.5, 900, "abc"))
    PlainView().show(FirstLook(7, float("nan"), 0, "abc"))
    assert capsys.readouterr().err == "step      7  val 2.5000 on the first 900 characters\n"
    plain = PlainView()
    plain.show(StepReport(5, 0.1, 100, 2.0, 2.6, 1.0, 0.01, 1e4, 6.0))
    plain.show(FirstLook(7, 2.5, 900, "abc"))  # for its sample: the whole validation part was read before
    assert "on the first" not in capsys.readouterr().err
    view = RichView(live=False)
    for event in (FirstLook(0, 4.5, 500, "xyz"), FirstLook(7, 2.5, 900, "abc")):
        view.show(event)
        assert (view._val, view._sample) == (event.val_loss, event.text)
    view.show(Evaluated(8, 2.4, True))
    view.show(FirstLook(9, 2.3, 900, ""))  # for its sample: the whole validation part was read before
    assert (view._val, view._sample) == (2.4, "abc")


def test_the_display_of_a_resumed_run_begins_where_it_stopped(tmp_path: Path) -> None:
    settings = config("gru", "training.max_steps=20", "training.epochs=null")
    trainer = start(tmp_path / "run", settings)
    for _ in trainer.run():
        trainer.stop_requested = trainer.counters.step >= 12
    again: Trainer = start(tmp_path / "run", settings, resume=True)
    events = again.run()
    first = next(events)
    events.close()  # type: ignore[attr-defined]
    assert isinstance(first, RunStarted)
    view = RichView(live=False)
    view.show(first)
    rows = history(tmp_path / "run")
    assert list(view._losses) == [row["train_loss"] for row in rows]
    assert len(rows) >= 4
    assert view._best == view._val == trainer.counters.best_val_loss
    assert view._sample in (tmp_path / "run" / "samples.txt").read_text()
    assert view._sample
    console = Console(width=44, record=True, file=io.StringIO())
    view = RichView(console, live=False)
    view.show(replace(first, seconds=20.0, max_seconds=60.0, total_steps=None))
    view.print_once()
    assert "20 s trained, 40 s left" in (shown := console.export_text())
    assert "parameter" not in shown.splitlines()[0]  # there is no room for all of it


def test_steps_that_the_time_will_not_allow_are_no_goal(tmp_path: Path) -> None:
    with (tmp_path / "out").open("w") as file:
        console = Console(width=80, record=True, file=file)
        view = RichView(console, live=False)
        row = StepReport(10, 0.1, 100, 2.0, None, 1.0, 0.01, 1e4, 6.0)
        for minutes, shown in ((0.2, "step 10 "), (2.0, "step 10 of 100 ")):
            view.show(RunStarted(tmp_path, 1, 9, 90, 9, 1, 100, 60 * minutes, 0, ()))
            view.show(row)
            view.print_once()
            assert shown + "  " in (text := console.export_text())
            assert max(map(len, text.splitlines())) == 76  # a ^C that the terminal shows stays in its line


def test_the_time_left_is_never_zero(tmp_path: Path) -> None:
    console = Console(width=80, record=True, file=(tmp_path / "out").open("w"))
    view = RichView(console, live=False)
    trainer = start(tmp_path / "run", config("gru", "training.max_steps=12"))
    events = finish(trainer)
    for event in events[:-1]:
        view.show(event)
    view.print_once()
    assert "trained, finishing" in console.export_text()
    view.show(events[-1])
    view.print_once()
    assert "trained, finished" in console.export_text()
    console.file.close()


@pytest.mark.parametrize("most", [7, 10**6])
def test_a_validation_reads_so_much_of_the_text_before_and_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    trainer = start(tmp_path / "run", config("gru", *LATE))
    monkeypatch.setattr(look, "MOST_BEFORE", most)
    loss = look.validation_loss(trainer)
    train, val = trainer.stream.ids, trainer.val_ids
    expected = {size: evaluate(trainer.model, val, before=train[-size:]).loss for size in (6, 7, len(train))}
    assert loss == expected[min(most, len(train))]
    assert len(set(expected.values())) == 3
    trainer.group.close()
