"""Follows a run and gives advice as soon as there is reason to."""

from __future__ import annotations

from dataclasses import asdict, replace

from charrnn.config.schema import Config
from charrnn.evaluation.advice import Case, advise, why_ended
from charrnn.evaluation.curve import Curve
from charrnn.evaluation.diagnosis import health_of
from charrnn.evaluation.expectation import expectation
from charrnn.evaluation.text_facts import TextFacts
from charrnn.runs.directory import RunDirectory
from charrnn.runs.events import Advice, Advised, Event, RolledBack, RunFinished, RunStarted, StepReport
from charrnn.runs.history import read_history


class Adviser:
    """Turns the events of a run into advice.

    Args:
        config: the run's settings.
        run_dir: where the history of a resumed run is read from.
        text: what is known of the run's text.
    """

    def __init__(self, config: Config, run_dir: RunDirectory, text: TextFacts) -> None:
        self._run_dir = run_dir
        self._case = Case(config, text=text)
        self._news: list[Advised] = []
        self._said: tuple[Advice, ...] = ()

    def hear(self, event: Event) -> Event:
        """Take in an event; returns the event to show: the end of a run gets the advice in its summary."""
        if isinstance(event, RunStarted):
            self._case = replace(
                self._case, parameters=event.parameters, curve=self._curve() if event.step else Curve()
            )
            self._think(event.step)
        elif isinstance(event, StepReport):
            self._case.curve.add(event)
            if event.val_loss is not None:
                self._think(event.step)
        elif isinstance(event, RolledBack):
            self._case = replace(self._case, curve=self._curve())
            self._think(event.to_step)
        elif isinstance(event, RunFinished):
            return self._finished(event)
        return event

    def news(self) -> list[Advised]:
        """What has changed since the last call."""
        found, self._news = self._news, []
        return found

    def _curve(self) -> Curve:
        """The curve of the history on disk, which has been cut to where the run resumes."""
        if not self._run_dir.history.exists():
            return Curve()
        history = read_history(self._run_dir.path)
        return Curve.of(history.rows, rollbacks=history.rollbacks)

    def _think(self, step: int) -> None:
        advice = advise(self._case)
        if advice != self._said:  # the same advice may have new numbers
            self._news.append(Advised(step, advice))
        self._said = advice

    def _finished(self, event: RunFinished) -> RunFinished:
        text, best = self._case.text, self._case.curve.best
        case = replace(self._case, reason=event.reason, health=health_of(event.summary))
        loss = event.summary["best_val_loss"]
        added = {
            "reason": event.reason,
            "ended": why_ended(event.reason, case.config),
            "best_step": None if best is None else best.step,
            "advice": [asdict(piece) for piece in advise(case)],
            "expectation": expectation(loss, case.text),
            **({} if text is None else asdict(text)),
        }
        return replace(event, summary={**event.summary, **added})
