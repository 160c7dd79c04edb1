"""The loop of a sweep, a generator of events: start trials while there is room, listen, record the results."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from charrnn.sweep.directory import SweepDirectory
from charrnn.sweep.executors import Ended, Executor, TrialRow
from charrnn.sweep.plan import Trial
from charrnn.sweep.sources import Source

POLL_SECONDS = 0.2
_STOPPED = (130, 143, 129, -15)


@dataclass(frozen=True)
class TrialStarted:
    """A trial begins or continues."""

    trial: Trial
    resumed: bool


@dataclass(frozen=True)
class TrialProgress:
    """A trial reported."""

    trial: Trial
    row: dict[str, Any]


@dataclass(frozen=True)
class TrialEnded:
    """A trial is over.

    Attributes:
        status: "done", "pruned" (by the search), "failed", or "begun" (stopped midway with the sweep).
        loss: best validation loss, nats; the training loss where nothing was validated.
        error: of a failed one.
    """

    trial: Trial
    status: str
    loss: float | None
    error: str


@dataclass(frozen=True)
class Waiting:
    """Nothing has happened for a moment."""


@dataclass(frozen=True)
class Stopping:
    """The trials that still run save and stop.

    Attributes:
        running: how many, at least one.
        asked: for by a signal; otherwise the time is used up.
    """

    running: int
    asked: bool


SweepEvent = TrialStarted | TrialProgress | TrialEnded | Waiting | Stopping


class SweepRunner:
    """Runs the trials of a source on an executor.

    Args:
        directory: of the sweep, open.
        source: of the trials.
        executor: runs them.
        total_seconds: after this time no trial starts, and running ones are saved and stopped; None for no limit.

    Attributes:
        stop_requested: set it (from a signal handler, say) to save and stop all trials.
    """

    def __init__(
        self, directory: SweepDirectory, source: Source, executor: Executor, *, total_seconds: float | None = None
    ) -> None:
        self.directory, self.source, self.executor = directory, source, executor
        self.stop_requested = False
        self.out_of_time = False
        self._deadline = None if total_seconds is None else time.monotonic() + total_seconds
        self._running: dict[str, Trial] = {}
        self._given_up: set[str] = set()
        self._stopping = self._exhausted = False

    def run(self) -> Iterator[SweepEvent]:
        """Run until all trials have ended, or until a stop."""
        try:
            while True:
                yield from self._start()
                events = self.executor.poll()
                for event in events:
                    yield from self._hear(event)
                yield from self._stop_if_asked()
                if not self._running and (self._stopping or self._exhausted):
                    return
                if not events:
                    time.sleep(POLL_SECONDS)
                    yield Waiting()
        finally:
            self.executor.close()

    def _start(self) -> Iterator[SweepEvent]:
        while not self._stopping and not self._exhausted and self.executor.free() > 0:
            item = self.source.next()
            if item is None:
                self._exhausted = True
                return
            trial, resumed = item
            attempts = int(self.directory.recorded(trial).get("attempts", 0))
            self.directory.record(trial, status="running", attempts=attempts + 1, error=None)
            self._running[trial.name] = trial
            self.executor.start(trial, self.directory.folder(trial), resume=resumed)
            yield TrialStarted(trial, resumed)

    def _hear(self, event: TrialRow | Ended) -> Iterator[SweepEvent]:
        trial = event.trial
        if isinstance(event, TrialRow):
            if self.source.report(trial, event.row) and trial.name not in self._given_up:
                self._given_up.add(trial.name)
                self.executor.stop(trial)
            yield TrialProgress(trial, event.row)
            return
        del self._running[trial.name]
        status, loss = self._outcome(event)
        self.directory.record(
            trial,
            status="running" if status == "begun" else status,
            exit_code=event.exit_code,
            error=event.error if status == "failed" else None,
            loss=loss,
        )
        self.source.ended(trial, status, loss)
        yield TrialEnded(trial, status, loss, event.error if status == "failed" else "")

    def _outcome(self, event: Ended) -> tuple[str, float | None]:
        if (loss := self.directory.loss_of(event.trial)) is not None:
            return "done", loss
        if event.exit_code in _STOPPED and event.trial.name in self._given_up:
            return "pruned", best_in_history(self.directory.folder(event.trial))
        if event.exit_code in _STOPPED and self._stopping:
            return "begun", None
        return "failed", None

    def _stop_if_asked(self) -> Iterator[SweepEvent]:
        if self._deadline is not None and time.monotonic() >= self._deadline:
            self.out_of_time = True
        if (self.stop_requested or self.out_of_time) and not self._stopping:
            self._stopping = True
            for trial in self._running.values():
                self.executor.stop(trial)
            if self._running:
                yield Stopping(len(self._running), asked=self.stop_requested)


def best_in_history(folder: Any) -> float | None:
    """The lowest validation loss (nats) of a run that has not ended; None before the first validation."""
    from charrnn.errors import DataError
    from charrnn.runs.history import read_history

    try:
        best = read_history(folder).best
    except DataError:
        return None
    return None if best is None else float(best["val_loss"])
