"""Read the files of a run directory from anybody: regular files of bounded size whose content has the right type.

Only this module reads history, summary, settings and samples of a run, and a sweep's records of its trials. Files of
other versions are read: unknown fields are skipped, missing fields are None.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

import msgspec

from charrnn.config.load import parse_config
from charrnn.config.messages import nearest
from charrnn.config.schema import Config
from charrnn.config.typed_json import Count, Label, Number, Record, Scalar, decode
from charrnn.data.detect import kind_of
from charrnn.errors import CharRNNError, DataError
from charrnn.files import open_regular, read_regular, unreadable

T = TypeVar("T")

LONGEST_ROW = 1 << 16  # bytes
_SMALL = 1 << 20  # limit in bytes for files that hold one object
_SETTINGS = 1 << 20
_NOT_JSON = re.compile(rb"(?<=[:\s\[,])-?(?:NaN|Infinity)(?=[\s,}\]])")  # as Python's json writes what JSON lacks


def run_meant(path: Path, otherwise: str | None, *, runs_dir: Path = Path("checkpoints")) -> str | None:
    """The hint for a path without a run: the run that goes by this name, or a text's, if there is one."""
    try:
        names = [entry.name for entry in runs_dir.iterdir() if (entry / "last.npz").is_file()]
    except OSError:
        names = []
    exact = next((name for name in (path.name, path.stem) if name in names), None)
    close = exact or (None if path.exists() else nearest(path.name, names))  # what exists is no slip of the pen
    return f"did you mean {runs_dir / close}?" if close and runs_dir / close != path else otherwise


def is_text(path: Path) -> bool:
    """Whether a file looks like text, by how it begins."""
    try:
        with open_regular(path) as file:
            start = file.read(1 << 12)
    except OSError:
        return False
    return len(start) > 0 and b"\0" not in start and not start.startswith(b"\x1f\x8b") and not kind_of(start)


class Row(Record, gc=False):
    """A report of a history; see `charrnn.runs.events.Report`."""

    step: Count
    epoch: Number | None = None
    chars: Count | None = None
    train_loss: Number | None = None
    val_loss: Number | None = None
    grad_norm: Number | None = None
    learning_rate: Number | None = None
    chars_per_second: Number | None = None
    seconds: Number | None = None


class Note(Record, gc=False):
    """A row of a history that is not a report, such as a rollback."""

    event: Label
    step: Count
    to_step: Count | None = None
    lr_scale: Number | None = None
    reason: str | None = None


class Summary(Record):
    """What a run wrote at its end."""

    reason: Label | None = None
    steps: Count | None = None
    text_sha256: Label | None = None
    train_loss: Number | None = None
    val_loss: Number | None = None
    best_val_loss: Number | None = None
    parameters: Count | None = None
    derailed_samples: Number | None = None
    still_units: Number | None = None
    saturated_units: Number | None = None
    train_chars: Count | None = None
    val_chars: Count | None = None
    repeated_share: Number | None = None
    val_pair_nats: Number | None = None
    train_pair_nats: Number | None = None
    train_pair_spread: Number | None = None
    space_share: Number | None = None
    sorted_lines: bool | None = None

    @property
    def loss(self) -> float | None:
        """The best validation loss (nats), or the training loss of a run without validation."""
        return self.train_loss if self.best_val_loss is None else self.best_val_loss


class TrialRecord(Record):
    """What a sweep records of a trial besides what its run writes itself."""

    overrides: dict[Label, Scalar] = msgspec.field(default_factory=dict)
    status: Label | None = None
    attempts: Count = 0
    exit_code: int | None = None
    error: str | None = None
    loss: Number | None = None


class _Kind(msgspec.Struct):
    event: msgspec.Raw = msgspec.Raw()


def parse_row(line: bytes) -> Row | Note:
    """A line of a history.

    Raises:
        ValueError: it is not one; the message is one printable line.
    """
    if b"N" in line or b"I" in line:
        line = _NOT_JSON.sub(b"null", line)
    is_note = b'"event"' in line and bytes(decode(line, _Kind).event) != b""
    return decode(line, Note) if is_note else decode(line, Row)


def read_rows(file: Path) -> Iterator[Row | Note]:
    """The rows of a `history.jsonl`; a last one that is incomplete, or being written now, is left out.

    Raises:
        DataError: no such file, not a regular one, or an invalid row.
    """
    try:
        with open_regular(file) as lines:
            number = 0
            while line := lines.readline(LONGEST_ROW):
                number += 1
                try:
                    yield parse_row(line)
                except ValueError as error:
                    if not line.endswith(b"\n") and len(line) < LONGEST_ROW:
                        return
                    raise DataError(f"{file}: line {number} is not a row of a history: {error}") from None
    except FileNotFoundError:
        hint = run_meant(file.parent, "give the directory of a run")
        raise DataError(f"{file.parent}: no history.jsonl found", hint=hint) from None
    except NotADirectoryError:
        hint = run_meant(file.parent, "give the directory of a run")
        raise DataError(f"{file.parent}: not a run directory", hint=hint) from None
    except OSError as error:
        raise unreadable(file, error) from None


def read_object(file: Path, kind: type[T], *, limit: int = _SMALL) -> T | None:
    """The JSON object in a file, checked; None where there is no file.

    Raises:
        DataError: not a regular file, too large, or not such an object.
    """
    try:
        return decode(read_regular(file, limit=limit), kind)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise unreadable(file, error) from None
    except ValueError as error:
        raise DataError(f"{file}: damaged: {error}") from None


def read_summary(folder: Path) -> Summary | None:
    """What the run in `folder` wrote at its end; None if it has not ended.

    Raises:
        DataError: see `read_object`.
    """
    return read_object(folder / "summary.json", Summary)


def read_trial(folder: Path) -> TrialRecord | None:
    """What a sweep recorded of the trial in `folder`; None if it is not one.

    Raises:
        DataError: see `read_object`.
    """
    return read_object(folder / "trial.json", TrialRecord)


def read_text(file: Path, *, limit: int, end: bool = False) -> str | None:
    """The text in a file of a run, or its last `limit` bytes (`end`); invalid UTF-8 is replaced. None: no file.

    Raises:
        DataError: not a regular file, or too large.
    """
    try:
        with open_regular(file) as opened:
            size = opened.seek(0, 2)
            if size > limit and not end:
                raise DataError(f"{file}: larger than {limit:,} bytes")
            opened.seek(max(0, size - limit))
            return opened.read(limit).decode("utf-8", "replace")
    except FileNotFoundError:
        return None
    except OSError as error:
        raise unreadable(file, error) from None


def read_run_config(folder: Path) -> Config:
    """The resolved settings of the run in `folder`.

    Raises:
        DataError: missing, not a regular file, or not settings of this version.
    """
    text = read_run_settings(folder)
    try:
        return parse_config(text, where=str(folder / "config.yaml"))
    except CharRNNError as error:
        raise DataError(error.message, hint=error.hint) from None


def read_run_settings(folder: Path) -> str:
    """The settings file of the run in `folder`, unchecked.

    Raises:
        DataError: missing, not a regular file, or no text.
    """
    file = folder / "config.yaml"
    try:
        return read_regular(file, limit=_SETTINGS).decode("utf-8")
    except FileNotFoundError:
        raise DataError(f"{folder}: no config.yaml found", hint="give the directory of a run") from None
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{file}: cannot be read: {getattr(error, 'strerror', None) or error}") from None
