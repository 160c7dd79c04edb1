"""A run's history as it stands in its directory: rows of reports, and what happened between them."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from charrnn.config.load import load_config
from charrnn.config.schema import Config
from charrnn.errors import DataError


@dataclass(frozen=True)
class History:
    """A run's history so far.

    Attributes:
        name: of its directory.
        path: its directory.
        rows: reports in order: step, epoch, chars, train_loss and val_loss (nats; None where not measured),
            grad_norm, learning_rate, chars_per_second, seconds.
        events: rows of another kind, such as rollbacks.
    """

    name: str
    path: Path
    rows: list[dict[str, Any]] = field(default_factory=list)
    events: list[dict[str, Any]] = field(default_factory=list)

    def column(self, name: str) -> list[float]:
        """One column of the reports; NaN where a report does not have it."""
        return [float("nan") if row.get(name) is None else float(row[name]) for row in self.rows]

    @property
    def best(self) -> dict[str, Any] | None:
        """The report with the lowest validation loss; None before the first validation."""
        measured = [row for row in self.rows if row.get("val_loss") is not None]
        return min(measured, key=lambda row: float(row["val_loss"]), default=None)

    def config(self) -> Config:
        """The run's resolved settings."""
        return load_config(self.path / "config.yaml")


def read_history(path: Path) -> History:
    """The history of a run directory (or of the `history.jsonl` in it); a row cut short by a crash is left out.

    Raises:
        DataError: no history there, or not one.
    """
    file = path if path.suffix == ".jsonl" else path / "history.jsonl"
    try:
        lines = file.read_text(encoding="utf-8").splitlines(keepends=True)
    except FileNotFoundError:
        raise DataError(f"{path}: no history.jsonl there", hint="give the directory of a run") from None
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{file}: cannot be read: {error}") from None
    history = History(file.parent.name, file.parent)
    for number, line in enumerate(lines, 1):
        try:
            row = json.loads(line)
            known = isinstance(row, dict) and isinstance(row["step"], int)
        except (ValueError, KeyError, RecursionError):
            known = False
        if not known and number == len(lines) and not line.endswith("\n"):
            break  # being written now
        if not known:
            raise DataError(f"{file}: line {number} is not a row of a history")
        (history.events if "event" in row else history.rows).append(row)
    return history
