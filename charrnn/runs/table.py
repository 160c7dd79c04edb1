"""Many runs as one table: what each reached, with which settings, and which settings mattered."""

from __future__ import annotations

import json
import math
import operator
import os
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from charrnn.config.load import config_to_dict
from charrnn.config.messages import nearest, one_line
from charrnn.errors import CharRNNError, SettingsError
from charrnn.files import walk
from charrnn.locks import is_locked
from charrnn.runs.history import History, directory_name, read_history
from charrnn.runs.reading import Row, TrialRecord, read_run_config, read_summary, read_trial

Value = str | int | float | bool | None

FACTS = (
    "loss", "bits_per_char", "val_loss", "train_loss", "best_step", "steps", "epochs", "chars", "seconds",
    "chars_per_second", "parameters",
)  # fmt: skip
_OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq, "!=": operator.ne, "<=": operator.le, ">=": operator.ge, "<": operator.lt, ">": operator.gt,
}  # fmt: skip


@dataclass(frozen=True)
class Run:
    """One run as a row.

    Attributes:
        path: its directory.
        name: from the directory that was searched.
        status: "done", "running", "stopped" (can be resumed), "pruned" or "failed".
        facts: `loss` is the best validation loss in nats (the training loss where nothing was validated); the others
            are those of the last report. None if unknown.
        settings: by path, as in ``training.seed``.
        text_sha256: of the text's bytes; of a run that has ended, if its version wrote that down.
    """

    path: Path
    name: str
    status: str
    facts: dict[str, Value]
    settings: dict[str, Value]
    text_sha256: str | None = None

    def value(self, column: str) -> Value:
        """The value in a column."""
        if column in ("name", "status", "path"):
            return str(getattr(self, column))
        return self.facts[column] if column in self.facts else self.settings.get(column)


def find_runs(folder: Path, *, left_out: Callable[[str], None] = lambda reason: None) -> list[Run]:
    """Every run directory in `folder` and below, by name; one that cannot be read is left out.

    Args:
        folder: where to look.
        left_out: called with each run that is left out and the reason, as one line.
    """
    runs = []
    # A trial that failed before it had settings is a run as well.
    marks = {"config.yaml", "trial.json"}
    for path in sorted(here for here, folders, others in walk(folder) if not marks.isdisjoint((*folders, *others))):
        try:
            run = read_run(path, folder)
        except CharRNNError as error:
            left_out(error.message)
        else:
            runs += [] if run is None else [run]
    return runs


def read_run(path: Path, folder: Path | None = None) -> Run | None:
    """One run, named relative to `folder`; None if it has not begun.

    Raises:
        DataError: one of its files cannot be read.
    """
    trial = read_trial(path)
    begun = os.path.lexists(path / "history.jsonl")
    if not begun and trial is None:
        return None
    history = read_history(path) if begun else History(directory_name(path), path)
    last = history.rows[-1] if history.rows else Row(0)
    best, summary = history.best, read_summary(path)
    losses = (None if summary is None else summary.best_val_loss, None if best is None else best.val_loss)
    validated = [loss for loss in losses if loss is not None]
    loss = min(validated, default=last.train_loss)
    facts: dict[str, Value] = {
        "loss": loss,
        "bits_per_char": None if loss is None else loss / math.log(2),
        "val_loss": None if summary is None else summary.val_loss,
        "train_loss": last.train_loss,
        "best_step": None if best is None else best.step,
        "steps": last.step,
        "epochs": last.epoch,
        "chars": last.chars,
        "seconds": last.seconds,
        "chars_per_second": last.chars / last.seconds if last.seconds and last.chars is not None else None,
        "parameters": None if summary is None else summary.parameters,
    }
    sha256 = None if summary is None else summary.text_sha256
    settings: dict[str, Value]
    if trial is not None and not os.path.lexists(path / "config.yaml"):  # it failed before it had any
        settings = dict(trial.overrides)
    else:
        sections = config_to_dict(read_run_config(path))
        settings = {f"{section}.{k}": v for section, values in sections.items() for k, v in values.items()}
    name = directory_name(path) if folder in (None, path) else str(path.relative_to(folder))
    return Run(path, name, _status(path, trial, done=summary is not None), facts, settings, sha256)


def texts_of(runs: Sequence[Run]) -> list[tuple[str, str]]:
    """What each run read and how that was split; losses of runs in which this differs cannot be compared.

    A name may stand for one text today and for another tomorrow, and two names for the same: the texts' hashes count.
    """
    divided, sources = [], []
    for run in runs:
        corpus = {path: value for path, value in run.settings.items() if path.startswith("corpus.")}
        sources.append(str(corpus.pop("corpus.source", "")))
        divided.append(json.dumps(corpus, sort_keys=True))
    hashes = {source: run.text_sha256 for source, run in zip(sources, runs, strict=True) if run.text_sha256}
    read = [run.text_sha256 or hashes.get(source, source) for source, run in zip(sources, runs, strict=True)]
    return list(zip(read, divided, strict=True))


def _status(path: Path, trial: TrialRecord | None, *, done: bool) -> str:
    if done:
        return "done"
    if is_locked(path / ".lock"):
        return "running"
    return trial.status if trial is not None and trial.status in ("pruned", "failed") else "stopped"


def column_name(spelled: str, runs: Sequence[Run]) -> str:
    """The column meant by a name: a fact, a setting's path, or its last part if that is unambiguous.

    Raises:
        SettingsError: none, or several.
    """
    known = ["name", "status", "path", *FACTS]
    paths = sorted({path for run in runs for path in run.settings})
    if spelled in known or spelled in paths:
        return spelled
    ends = [path for path in paths if path.rpartition(".")[2] == spelled]
    if len(ends) == 1:
        return ends[0]
    close = nearest(spelled, [*known, *paths, *(p.rpartition(".")[2] for p in paths)])
    raise SettingsError(
        f"{one_line(spelled)}: no such column" + (f" (did you mean {close}?)" if close else ""),
        hint=f"{', '.join(known)}, or a setting as in model.cell",
    )


def selected(runs: Sequence[Run], conditions: Iterable[str]) -> list[Run]:
    """The runs for which all conditions hold, each `COLUMN=VALUE` or with != < <= > >=.

    Raises:
        SettingsError: not a condition, or an unknown column.
    """
    kept = list(runs)
    for condition in conditions:
        match = re.fullmatch(r"\s*([\w.]+)\s*(!=|<=|>=|=|<|>)\s*(.*?)\s*", condition)
        if not match:
            raise SettingsError(f"`where` {one_line(condition)}: not COLUMN=VALUE, or with != < <= > >=")
        column = column_name(match[1], runs)
        kept = [run for run in kept if _holds(run.value(column), match[2], match[3])]
    return kept


def _holds(found: Value, sign: str, text: str) -> bool:
    from charrnn.config.yaml import load_scalar

    wanted = load_scalar(text, where=f"`where` {text}") if text else ""
    if sign in ("=", "!="):
        same = found == wanted or str(found) == text
        return same if sign == "=" else not same
    if isinstance(found, bool) or not isinstance(found, int | float):
        return False
    if isinstance(wanted, bool) or not isinstance(wanted, int | float):
        raise SettingsError(f"`where` ...{sign}{one_line(text)}: only numbers can be compared this way")
    return _OPERATORS[sign](found, wanted)


def ranked(runs: Sequence[Run], column: str, *, reverse: bool = False) -> list[Run]:
    """Sorted by a column, ascending; runs without a value come last."""
    with_value = [run for run in runs if run.value(column) is not None]
    without = [run for run in runs if run.value(column) is None]

    def key(run: Run) -> tuple[int, Any]:
        value = run.value(column)
        return (1, value) if isinstance(value, str) else (0, value)

    return sorted(with_value, key=key, reverse=reverse) + without


def varied_settings(runs: Sequence[Run]) -> list[str]:
    """Paths of the settings in which the runs differ."""
    paths = sorted({path for run in runs for path in run.settings})
    return [path for path in paths if len({json.dumps(run.settings.get(path)) for run in runs}) > 1]
