"""A run of the package, put in the form in which `reference_loop` says what happened."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from charrnn.config.schema import Config
from charrnn.data.windows import WindowStream
from charrnn.errors import DivergenceError
from charrnn.runs.directory import RunDirectory
from charrnn.runs.events import CheckpointSaved, Evaluated, Event, RolledBack, RunFinished, SampleMade, StepReport
from charrnn.runs.text import encode_corpus
from charrnn.training.group import Group, ReplicaSpec, group_of
from charrnn.training.trainer import Trainer


@dataclass(frozen=True)
class Outcome:
    """What a run came to.

    Attributes:
        first, last: parameters before and after, by name.
        kept: those of the best checkpoint.
        events: as in `reference_loop`.
        replicas: processes or threads that shared a batch.
        kernels: that computed it.
    """

    first: dict[str, np.ndarray]
    last: dict[str, np.ndarray]
    kept: dict[str, np.ndarray]
    events: list[tuple[Any, ...]]
    replicas: int
    kernels: str

    def observed(self) -> dict[str, Any]:
        """All of it under the names that `test_settings_change_the_run` uses."""
        weights = {name: np.concatenate([a.ravel() for a in arrays.values()] or [np.empty(0)]) for name, arrays in (
            ("first", self.first), ("weights", self.last), ("kept", self.kept),
        )}  # fmt: skip
        kinds = ("evaluated", "report", "sample", "saved", "rolled back", "finished")
        events = {kind: [e[1:] for e in self.events if e[0] == kind] for kind in kinds}
        return {**weights, **events, "replicas": self.replicas, "kernels": self.kernels}


class Clock:
    """Stands still but where it is put on."""

    def __init__(self) -> None:
        self.now = 1e6

    def __call__(self) -> float:
        return self.now


def step_seconds(call: int) -> float:
    """What the clock shows for a step; each is another, so that none can be taken for another."""
    return 1.0 + 0.25 * (call % 3)


def run(folder: Path, settings: Config, *, diverging: Collection[int] = (), dtype: str = "float64") -> Outcome:
    """Train to the end.

    Args:
        folder: for the run and its encoded text.
        settings: of the run.
        diverging: calls of a step, from 0, whose loss is made not a number.
        dtype: of the network.
    """
    clock, text = Clock(), encode_corpus(settings.corpus)
    directory = RunDirectory(folder / "run")
    directory.open_new(settings, overwrite=True)

    def make_group(spec: ReplicaSpec, stream: WindowStream) -> Group:
        group = group_of(replace(spec, dtype=dtype), stream)
        group.run = _timed(group.run, clock, diverging)  # type: ignore[method-assign]
        return group

    trainer = Trainer(settings, text, directory, clock=clock, make_group=make_group)
    first = {name: values.copy() for name, values in trainer.model.params.items()}
    events: list[tuple[Any, ...]] = []
    try:
        for event in trainer.run():
            clock.now += 1000.0  # whoever listens takes his time, which is not the run's
            events += plain(event)
    except DivergenceError:
        events.append(("finished", "diverged"))
    last = {name: values.copy() for name, values in trainer.model.params.items()}
    return Outcome(first, last, kept(directory.best), events, trainer.counters.replicas, trainer.kernels.name)


def _timed(step: Callable[..., float], clock: Clock, diverging: Collection[int]) -> Callable[..., float]:
    calls = iter(range(1 << 30))

    def timed(*arguments: Any, **options: Any) -> float:
        call, nats = next(calls), step(*arguments, **options)
        clock.now += step_seconds(call)
        return float("nan") if call in diverging else nats

    return timed


def kept(path: Path) -> dict[str, np.ndarray]:
    """Parameters of a checkpoint, of whatever type; none where there is no file."""
    if not path.exists():
        return {}
    with np.load(path, allow_pickle=False) as file:
        return {name.removeprefix("params/"): file[name] for name in file.files if name.startswith("params/")}


def plain(event: Event) -> list[tuple[Any, ...]]:
    """The event as a tuple; none for those that the reference does not make."""
    if isinstance(event, Evaluated):
        return [("evaluated", event.step, event.val_loss, event.best)]
    if isinstance(event, StepReport):
        e = event
        losses = (e.train_loss, e.val_loss, e.grad_norm, e.learning_rate)
        return [("report", e.step, e.epoch, e.chars, *losses, e.chars_per_second, e.seconds)]
    if isinstance(event, SampleMade):
        return [("sample", event.step, event.text)]
    if isinstance(event, CheckpointSaved):
        return [("saved", event.step, event.path.stem)]
    if isinstance(event, RolledBack):
        return [("rolled back", event.step, event.to_step, event.lr_scale)]
    return [("finished", event.reason)] if isinstance(event, RunFinished) else []
