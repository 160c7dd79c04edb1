"""Standard output: one JSON object, or text that is safe to show."""

from __future__ import annotations

import json
import math
import sys
import unicodedata
from typing import Any


class ReaderGoneError(Exception):
    """The reader closed the pipe (`| head`): stop quietly."""


def write(text: str) -> None:
    """Write to standard output at once.

    Raises:
        ReaderGoneError: the pipe is closed.
    """
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        raise ReaderGoneError from None


def tell_left_out(reason: str) -> None:
    """Report on standard error that a run is left out, and why."""
    sys.stderr.write(f"note: left out: {reason}\n")


def write_json(value: dict[str, Any]) -> None:
    """One JSON object on a line; numbers that JSON does not have become null."""
    write(json.dumps(_finite(value), ensure_ascii=False) + "\n")


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(v) for key, v in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def visible(text: str) -> str:
    """`text` with control characters other than line ends and tabs shown as escapes.

    A model trained on a text with terminal escape sequences writes them; a terminal must not execute them.
    """
    if text.isprintable():
        return text
    return "".join(c if c in "\n\t" or not unicodedata.category(c).startswith("C") else _escape(c) for c in text)


def _escape(character: str) -> str:
    # Joiners and direction marks (Cf) are part of many scripts and emoji, and move no cursor.
    if unicodedata.category(character) == "Cf":
        return character
    return character.encode("unicode_escape").decode()
