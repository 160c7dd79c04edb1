"""Runs under the same budget, side by side."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from charrnn.amounts import counted, duration
from charrnn.config.load import changed_settings
from charrnn.config.schema import Config
from charrnn.errors import DataError, SettingsError, shown
from charrnn.runs.checkpoint import load_checkpoint
from charrnn.runs.directory import RunDirectory
from charrnn.runs.history import History, read_history
from charrnn.runs.reading import Row, read_run_config
from charrnn.runs.table import read_run

LIMITS = ("training.epochs", "training.max_steps", "training.max_minutes")  # what a budget determines


@dataclass(frozen=True)
class ComparedRun:
    """One run of the comparison.

    Attributes:
        name: of its directory.
        cell: its kind of cell.
        parameters: scalars.
        loss: best validation loss, nats per character.
        bits_per_char: the same in bits.
        steps, epochs, seconds: trained.
        chars_per_second: over the whole run.
        target: loss (nats) to which the next two refer.
        seconds_to_target, steps_to_target: of training until the first validation at or below it; None: never.
    """

    name: str
    cell: str
    parameters: int
    loss: float
    bits_per_char: float
    steps: int
    epochs: float
    seconds: float
    chars_per_second: float
    target: float
    seconds_to_target: float | None
    steps_to_target: int | None


def check_same(run: RunDirectory, wanted: Config) -> None:
    """Check that a run that has begun is the one that is to be compared.

    Args:
        run: its directory, with a checkpoint or a summary.
        wanted: settings of the run to be compared.

    Raises:
        SettingsError: it has another budget, or other settings.
    """
    saved = load_checkpoint(run.last).config if run.last.is_file() else read_run_config(run.path)
    changed = changed_settings(saved, wanted)
    if not run.summary.exists():  # where a run continues, the hash of its text is checked
        changed.pop("corpus.source", None)
    if not changed:
        return
    if changed.keys() & set(LIMITS):
        found = f"its budget was {_budget(saved)}, not {_budget(wanted)}"
    else:
        name, (before, after) = next(iter(changed.items()))
        more = f" ({', '.join([*changed][1:])} as well)" if len(changed) > 1 else ""
        found = f"{name} was {shown(before)} in this run, not {shown(after)}{more}"
    raise SettingsError(
        f"{run.path}: {found}",
        hint="give the same `budget` and settings, replace the runs with `overwrite`, or choose another `directory`",
    )


def _budget(config: Config) -> str:
    t = config.training
    limits = (
        None if t.max_steps is None else counted(t.max_steps, "step"),
        None if t.max_minutes is None else duration(60.0 * t.max_minutes),
        None if t.epochs is None else counted(t.epochs, "epoch"),
    )
    return " or ".join(limit for limit in limits if limit)


def compare_runs(folders: Sequence[Path], target: float | None) -> list[ComparedRun]:
    """The table's rows, in the order of `folders`.

    Args:
        folders: run directories of trainings that have ended.
        target: see `ComparedRun`; None: the worst of the best losses, which all runs reach.

    Raises:
        DataError: a run without validation.
    """
    histories = [read_history(folder) for folder in folders]
    for history in histories:
        if history.best is None:
            raise DataError(f"{history.path}: nothing was validated", hint="set corpus.val_fraction and eval_every")
    target = max(_loss(history) for history in histories) if target is None else target
    found = []
    for folder, history in zip(folders, histories, strict=True):
        run = read_run(folder)
        assert run is not None  # it has a history
        last, reached = history.rows[-1], _reached(history, target)
        found.append(
            ComparedRun(
                name=folder.name,
                cell=str(run.settings["model.cell"]),
                parameters=int(run.facts["parameters"] or 0),
                loss=_loss(history),
                bits_per_char=_loss(history) / math.log(2),
                steps=last.step,
                epochs=last.epoch or 0.0,
                seconds=last.seconds or 0.0,
                chars_per_second=(last.chars or 0) / max(last.seconds or 0.0, 1e-9),
                target=target,
                seconds_to_target=None if reached is None else reached.seconds,
                steps_to_target=None if reached is None else reached.step,
            )
        )
    return found


def _loss(history: History) -> float:
    best = history.best
    assert best is not None
    assert best.val_loss is not None
    return best.val_loss


def _reached(history: History, target: float) -> Row | None:
    rows = (row for row in history.rows if row.val_loss is not None and row.val_loss <= target)
    return next(rows, None)
