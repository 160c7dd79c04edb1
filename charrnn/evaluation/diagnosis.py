"""What is wrong with a run, judged from its files alone."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from charrnn.errors import DataError
from charrnn.evaluation.advice import Case, advise, why_ended
from charrnn.evaluation.curve import Curve, Point
from charrnn.evaluation.expectation import expectation
from charrnn.evaluation.health import Health
from charrnn.evaluation.text_facts import TextFacts, look_at_text
from charrnn.locks import is_locked
from charrnn.runs.checkpoint import load_checkpoint
from charrnn.runs.events import Advice
from charrnn.runs.history import History
from charrnn.runs.reading import Summary, read_summary
from charrnn.runs.text import corpus_parts


@dataclass(frozen=True)
class Diagnosis:
    """A run and what to change in it.

    Attributes:
        name: of the run.
        ended: why it ended, as a sentence without its subject; None while it has not.
        best, last: where its validation loss was lowest, and its last report; None before the first.
        advice: what to change, most important first.
        expectation: what the network can be expected to write; None if that is not known.
        notes: what could not be looked at.
        running: a process is training it now.
    """

    name: str
    ended: str | None
    best: Point | None
    last: Point | None
    advice: tuple[Advice, ...]
    expectation: str | None
    notes: tuple[str, ...] = ()
    running: bool = False


def diagnose(history: History, *, corpus: Sequence[str] = (), look: bool = True) -> Diagnosis:
    """The diagnosis of a run.

    Args:
        history: of the run.
        corpus: where its text is now.
        look: open the text of a run that has not ended, and so has not written down what advice needs of it.

    Raises:
        DataError, CheckpointError: the run's files cannot be read.
    """
    summary = read_summary(history.path) or Summary()
    notes: list[str] = []
    text, parameters = facts_of(summary), summary.parameters
    if look and text is None and os.path.lexists(history.path / "last.npz"):
        loaded = load_checkpoint(history.path / "last.npz")
        parameters = sum(values.size for values in loaded.params.values())
        try:
            parts = corpus_parts(loaded, corpus)
            text = look_at_text(parts["train"], parts["val"], loaded.vocabulary)
        except DataError as error:
            notes.append(f"the text was not checked: {error.message}")
    curve = Curve.of(history.rows, rollbacks=history.rollbacks)
    config = history.config()
    case = Case(config, curve, parameters, text, health_of(summary), summary.reason)
    loss = None if curve.best is None else curve.best.val_loss
    return Diagnosis(
        name=history.name,
        ended=why_ended(summary.reason, config),
        best=curve.best,
        last=curve.points[-1] if curve.points else None,
        advice=advise(case),
        expectation=expectation(loss, text),
        notes=tuple(notes),
        running=is_locked(history.path / ".lock"),
    )


def health_of(summary: Mapping[str, Any] | Summary) -> Health | None:
    """The health in a run's summary; None where it has none."""
    found: dict[str, Any] = {field.name: summary.get(field.name) for field in fields(Health)}
    return None if None in found.values() else Health(**found)


def facts_of(summary: Mapping[str, Any] | Summary) -> TextFacts | None:
    """The facts about the text in a run's summary; None where it has none."""
    found: dict[str, Any] = {field.name: summary.get(field.name) for field in fields(TextFacts)}
    return None if found["train_chars"] is None or found["val_chars"] is None else TextFacts(**found)
