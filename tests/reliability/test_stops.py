"""A run that was stopped and resumed is the run that never stopped: history, samples, rollbacks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from charrnn.config.schema import Config
from charrnn.runs.events import RolledBack
from charrnn.training.trainer import Trainer
from tests.reliability.processes import assert_same_state
from tests.training.small_runs import config, finish, start

DIVERGING = ("training.on_divergence=rollback", "training.grad_clip=null", "training.checkpoint_every=3")


def poison_step(trainer: Trainer, at_step: int, rollbacks: int) -> None:
    """The gradient of a step is not a number until the run has gone back so many times."""
    real = trainer.group.run

    def run(index: int, *, step: int, **others: Any) -> float:
        nats = real(index, step=step, **others)
        if step == at_step and trainer.counters.rollbacks < rollbacks:
            trainer.model.grads.flat[3] = np.nan
        return nats

    trainer.group.run = run  # type: ignore[method-assign]


def run_with_stops(folder: Path, settings: Config, stops: tuple[int, ...], *, at_step: int = 10) -> list[RolledBack]:
    """Train to the end; the steps at which it is stopped are resumed from."""
    back: list[RolledBack] = []
    for number, stop in enumerate((*stops, None)):
        trainer = start(folder, settings, resume=number > 0)
        poison_step(trainer, at_step, rollbacks=2)
        real = trainer.take_step

        def take_step(rate: float | None = None, *, t: Trainer = trainer, real: Any = real, stop: Any = stop) -> float:
            t.stop_requested = stop is not None and t.counters.step + 1 >= stop
            return float(real(rate))

        trainer.take_step = take_step  # type: ignore[method-assign]
        back += [e for e in finish(trainer) if isinstance(e, RolledBack)]
    return back


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[RolledBack]]:
    folder = tmp_path_factory.mktemp("whole")
    return folder / "whole", run_with_stops(folder / "whole", config("gru", *DIVERGING), ())


@pytest.mark.parametrize("stops", [(1,), (7, 8), (9,), (10,), (2, 7, 9, 10, 13)])
def test_stops_change_nothing(
    tmp_path: Path, undisturbed: tuple[Path, list[RolledBack]], stops: tuple[int, ...]
) -> None:
    """What a divergence goes back to is a checkpoint that an undisturbed run has too."""
    settings, (run, whole) = config("gru", *DIVERGING), undisturbed
    stopped = run_with_stops(tmp_path / "stopped", settings, stops)
    assert [(b.step, b.to_step, b.lr_scale) for b in stopped] == [(b.step, b.to_step, b.lr_scale) for b in whole]
    assert [b.to_step for b in whole] == [9, 9]
    assert_same_state(tmp_path / "stopped", run)
    assert not (tmp_path / "stopped" / "rollback.npz").exists()


def test_what_a_divergence_goes_back_to_is_used_only_if_it_is_the_right_one(tmp_path: Path) -> None:
    settings = config("gru", *DIVERGING)
    run_with_stops(tmp_path / "a", settings, (8,))
    start(tmp_path / "b", settings)
    trainer = start(tmp_path / "b", settings)
    trainer.stop_requested = True
    finish(trainer)  # stopped after step 1; goes back to step 0
    (tmp_path / "b" / "rollback.npz").write_bytes((tmp_path / "a" / "last.npz").read_bytes())
    resumed = start(tmp_path / "b", settings, resume=True)
    poison_step(resumed, 2, rollbacks=1)
    assert [b.to_step for b in finish(resumed) if isinstance(b, RolledBack)] == [1]
