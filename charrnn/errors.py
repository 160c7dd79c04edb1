"""Every error charrnn raises on purpose, and the exit code each one gives.

    CharRNNError                 1
    ├── StorageError             1   a disk that is full or failing
    ├── SettingsError            2   wrong usage or settings, an unusable run directory
    ├── DataError                3   a text that cannot be read, decoded or learned from
    ├── CheckpointError          4   not a checkpoint, broken, or of another shape
    ├── DivergenceError          5   the loss or a gradient is NaN or infinite
    ├── MissingExtraError        6   an optional package is not installed
    ├── InterruptedRun         130   stopped by Ctrl-C, saved
    ├── HungUpRun              129   stopped by SIGHUP (its terminal was closed), saved
    └── TerminatedRun          143   stopped by SIGTERM, saved

Programmers' mistakes inside `charrnn.nn` are plain ``ValueError``.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_LONGEST = 1500  # characters of a message


class CharRNNError(Exception):
    """One line saying what was wrong and where; `hint` says what to do about it.

    Example:
        >>> try:
        ...     charrnn.load("nowhere.npz")
        ... except charrnn.CharRNNError as error:
        ...     print(error.exit_code)
        4
    """

    exit_code = 1

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        self.message = _brief(printable(message))
        super().__init__(self.message)
        self.hint = None if hint is None else printable(hint)


class StorageError(CharRNNError):
    """The disk is full or failing; no setting is wrong, and what was saved before is intact."""

    exit_code = 1


class SettingsError(CharRNNError):
    """Wrong usage, a setting that is not allowed, or a run directory that cannot be used."""

    exit_code = 2


class DataError(CharRNNError):
    """A text that is missing, empty, too short, or not in the stated encoding."""

    exit_code = 3


class CheckpointError(CharRNNError):
    """A file that is not a checkpoint, is damaged, or does not fit what it is used for."""

    exit_code = 4


class DivergenceError(CharRNNError):
    """Training produced a loss or a gradient that is not a finite number.

    Args:
        message, hint: see `CharRNNError`.
        step: where it happened.
    """

    exit_code = 5

    def __init__(self, message: str, *, step: int, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.step = step


class MissingExtraError(CharRNNError):
    """A command needs an optional package; the hint is the line that installs it."""

    exit_code = 6

    def __init__(self, package: str, extra: str, *, purpose: str, because: str | None = None) -> None:
        super().__init__(
            f"{purpose} needs {package}, which is not installed" if because is None else f"{purpose}: {because}",
            hint=f'pip install "charrnn[{extra}]"',
        )


class InterruptedRun(CharRNNError):  # noqa: N818 - a requested stop is not an error
    """Ctrl-C stopped the run; its state was saved first."""

    exit_code = 130


class HungUpRun(CharRNNError):  # noqa: N818
    """SIGHUP, a closed terminal, stopped the run; its state was saved first."""

    exit_code = 129


class TerminatedRun(CharRNNError):  # noqa: N818
    """SIGTERM stopped the run; its state was saved first."""

    exit_code = 143


@contextlib.contextmanager
def naming(what: object) -> Iterator[None]:
    """Put the name of a file or text before the message of an error in the block, which does not know it."""
    try:
        yield
    except CharRNNError as error:
        error.message = _brief(printable(f"{what}: {error.message}"))
        error.args = (error.message,)
        raise


def printable(text: str) -> str:
    """`text` on one line, with control characters escaped: messages quote names that come from files."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else " " if c == "\n" else ascii(c)[1:-1] for c in text)


def _brief(text: str) -> str:
    """`text`, without its middle if a file had it quote more than anybody reads."""
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 300]} ... {text[-200:]}"


def shown(value: object, limit: int = 60) -> str:
    """A value as a settings file would spell it, on one line and at most `limit` characters."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, int) and value.bit_length() > 8 * limit:
        return "a huge integer"  # Python refuses to spell the largest ones
    text = repr(value)
    return text if len(text) <= limit else text[: limit - 3] + "..."
