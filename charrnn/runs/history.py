"""A run's history as stored in its directory: rows of reports, and events between them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from charrnn.config.schema import Config
from charrnn.errors import DataError
from charrnn.runs.reading import Note, Row, read_rows, read_run_config, read_text

_SAMPLE_BYTES = 20_000  # of the end of samples.txt


@dataclass(frozen=True)
class History:
    """A run's history so far.

    Attributes:
        name: of its directory; with folders above it where other runs have the same.
        path: its directory.
        rows: reports in order: step, epoch, chars, train_loss and val_loss (nats; None if not measured),
            grad_norm, learning_rate, chars_per_second, seconds.
        events: rows of another kind, such as rollbacks.
    """

    name: str
    path: Path
    rows: list[Row] = field(default_factory=list)
    events: list[Note] = field(default_factory=list)

    def column(self, name: str) -> list[float]:
        """One column of the reports; NaN if a report does not have it."""
        return [float("nan") if row[name] is None else float(row[name]) for row in self.rows]

    @property
    def best(self) -> Row | None:
        """The report with the lowest validation loss; None before the first validation."""
        measured = [(row.val_loss, k) for k, row in enumerate(self.rows) if row.val_loss is not None]
        return self.rows[min(measured)[1]] if measured else None

    @property
    def rollbacks(self) -> int:
        """Returns to an older checkpoint after a divergence."""
        return sum(note.event == "rollback" for note in self.events)

    def config(self) -> Config:
        """The run's resolved settings.

        Raises:
            DataError: damaged, or not there.
        """
        return read_run_config(self.path)


def read_history(path: Path) -> History:
    """The history of a run directory (or of the `history.jsonl` in it); a row truncated by a crash is left out.

    Raises:
        DataError: no history there, or not one.
    """
    file = path if path.suffix == ".jsonl" else path / "history.jsonl"
    history = History(directory_name(file.parent), file.parent)
    for row in read_rows(file):
        if isinstance(row, Note):
            history.events.append(row)
        else:
            history.rows.append(row)
    return history


def read_histories(paths: Sequence[Path]) -> list[History]:
    """The histories of some runs, with names that differ.

    Raises:
        DataError: as `read_history`.
    """
    found = [read_history(path) for path in paths]
    parts = [Path(os.path.abspath(history.path)).parts for history in found]
    names = [history.name for history in found]
    for depth in range(2, max(map(len, parts), default=0) + 1):
        if len(set(names)) == len(names):
            break
        names = [
            os.sep.join(p[-depth:]) if names.count(name) > 1 else name for p, name in zip(parts, names, strict=True)
        ]
    return [replace(history, name=name) for history, name in zip(found, names, strict=True)]


def directory_name(path: Path) -> str:
    """The name of a directory, also where the path to it is . or .. alone."""
    return os.path.basename(os.path.abspath(path))


def last_sample(path: Path) -> str | None:
    """The newest sample of a run directory; None where it has none that can be read."""
    try:
        text = read_text(path / "samples.txt", limit=_SAMPLE_BYTES, end=True) or ""
    except DataError:
        return None
    return text.rpartition(" ---\n")[2].rstrip("\n") or None
