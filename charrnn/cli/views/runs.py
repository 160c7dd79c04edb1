"""Runs as a table: which columns, how numbers are written, on a terminal, as CSV or for JSON."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from charrnn.cli.output import tell
from charrnn.files import write_atomically
from charrnn.runs.table import Run, Value, texts_of, varied_settings

_USUAL = ("loss", "bits_per_char", "train_loss", "steps", "seconds", "chars_per_second")
_FEWER = ("loss", "bits_per_char", "steps", "seconds")  # on a terminal, where a line is short
_BESIDE = (  # settings that do not change what a run learns
    "training.replicas", "training.kernels", "training.log_every", "training.eval_every", "training.checkpoint_every",
    "training.sample_every", "training.sample_length", "training.tensorboard",
)  # fmt: skip
_DIGITS = {
    "loss": 4,
    "bits_per_char": 4,
    "train_loss": 4,
    "val_loss": 4,
    "seconds": 1,
    "chars_per_second": 0,
    "epochs": 2,
}


def table_columns(runs: Sequence[Run], *, limit: int = 8, fewer: bool = False) -> list[str]:
    """Name, status, results, and the first `limit` settings in which the runs differ; `fewer` for a terminal.

    The text comes first, how it is divided last.
    """
    beside = _BESIDE if fewer else _BESIDE[:1]
    varied = varied_settings(runs)
    if "corpus.documents" in varied:  # which says what ends a document
        beside = (*beside, "corpus.document_separator")
    own = [path for path in varied if path not in beside]
    own.sort(key=lambda path: path.startswith("corpus.") and path != "corpus.source")
    return ["name", "status", *(_FEWER if fewer else _USUAL), *own[:limit]]


def tell_texts(runs: Sequence[Run]) -> None:
    """Say on standard error that losses cannot be compared, if the runs were not all validated on the same text."""
    texts = set(texts_of([run for run in runs if run.facts["loss"] is not None]))
    if len(texts) > 1:
        named = len({str(run.settings.get("corpus.source")) for run in runs}) > 1
        chooses = "; --where corpus.source=TEXT chooses one" if named else ""
        tell(f"note: runs on {len(texts)} different texts or splits, whose losses cannot be compared{chooses}")


def rows_of(runs: Sequence[Run], columns: Sequence[str]) -> list[dict[str, Any]]:
    """One dict per run, for JSON."""
    return [{column: run.value(column) for column in columns} for run in runs]


def as_csv(runs: Sequence[Run], columns: Sequence[str]) -> str:
    """A table with a header; numbers in full."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(columns)
    for run in runs:
        writer.writerow(["" if run.value(c) is None else run.value(c) for c in columns])
    return out.getvalue()


def write_csv(path: Path, runs: Sequence[Run], columns: Sequence[str]) -> None:
    """The same in a file."""
    write_atomically(path, as_csv(runs, columns).encode())


def show_table(title: str, runs: Sequence[Run], columns: Sequence[str], *, name_heading: str = "name") -> None:
    """The table on standard output, with rounded numbers."""
    from charrnn.cli.views.table import print_table

    heads = [name_heading if c == "name" else c.rpartition(".")[2].replace("_per_", "/") for c in columns]
    print_table(title, heads, [[_shown(c, run.value(c)) for c in columns] for run in runs])


def _shown(column: str, value: Value) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value).lower() if isinstance(value, bool) else str(value)
    if column.endswith("seed"):
        return str(value)
    if column in _DIGITS:
        return f"{value:,.{_DIGITS[column]}f}" if abs(value) < 1e9 else f"{value:.4g}"
    return f"{value:,}" if isinstance(value, int) else f"{value:.6g}"
