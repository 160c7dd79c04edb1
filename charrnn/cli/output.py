"""What commands write: one JSON object, or text that is safe to show; and lines for people on standard error.

Names, texts and messages may come from anybody's files. A terminal must not execute what is in them, so nothing else
writes to the standard streams but for what is coloured here and for displays, which are given `visible` texts.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import re
import shutil
import sys
import textwrap
import unicodedata
from collections.abc import Iterator
from typing import Any

from charrnn.errors import StorageError, printable

_LONE = re.compile("[\udc80-\udcff]")
_COMMAND = re.compile(r"\b(?:charrnn (?:'[^']*'|[^;,'])+|pip install \S+)|--[a-z]\S* \S+")
_GLUE = "\0"  # a space where no line ends; in no line that is printable
_RAW_IN_JSON = re.compile("[\x7f-\x9f]")  # control characters that JSON may hold unescaped


class ReaderGoneError(Exception):
    """The reader closed the pipe (`| head`): stop quietly."""


def write(text: str) -> None:
    """Write to standard output at once; on a terminal control characters are shown as escapes.

    Raises:
        ReaderGoneError: see `write_raw`.
        StorageError: likewise.
    """
    write_raw(visible(text) if on_terminal() else text)


def on_terminal() -> bool:
    """Whether standard output is a terminal."""
    try:
        return sys.stdout.isatty()
    except ValueError:  # closed
        return False


def write_raw(text: str) -> None:
    """Write text that is `visible` and coloured, or that the user wants unchanged.

    Raises:
        ReaderGoneError: the pipe is closed.
        StorageError: it is closed, or a file on a disk that is full.
    """
    with writing_output():
        try:
            if text:  # a full device refuses even nothing
                sys.stdout.write(text)
        except UnicodeEncodeError:
            sys.stdout.write(shown(text).encode(_encoding(), "backslashreplace").decode(_encoding()))
        sys.stdout.flush()


@contextlib.contextmanager
def writing_output() -> Iterator[None]:
    """Turn what the system says against writing to standard output in the block into errors of this program.

    Raises:
        ReaderGoneError: the pipe is closed.
        StorageError: it is closed, or a file on a disk that is full.
    """
    try:
        yield
    except BrokenPipeError:
        raise ReaderGoneError from None
    except (OSError, ValueError) as error:  # ValueError: closed
        reason = getattr(error, "strerror", None) or error
        raise StorageError(f"standard output cannot be written: {reason}") from None


def _encoding() -> str:
    return sys.stdout.encoding or "utf-8"


def write_bytes(data: bytes) -> None:
    """Write bytes to standard output at once; where it takes text alone, what they are in UTF-8.

    Raises:
        ReaderGoneError, StorageError: see `write_raw`.
    """
    stream = getattr(sys.stdout, "buffer", None)
    if stream is None:
        write(data.decode("utf-8", "replace"))
        return
    with writing_output():
        sys.stdout.flush()
        stream.write(data)
        stream.flush()


def shown(text: str) -> str:
    """A text with U+FFFD for bytes that are not UTF-8, which no text stream can take."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace") if _LONE.search(text) else text


def tell(*lines: str) -> None:
    """Write lines to standard error, control characters in them as escapes; on a terminal in lines that fit."""
    width = terminal_width() if sys.stderr.isatty() else None
    shown_lines = [printable(line) if width is None else wrapped(printable(line), width) for line in lines]
    sys.stderr.write("".join(f"{line}\n" for line in shown_lines))
    sys.stderr.flush()


def terminal_width() -> int:
    """Columns of the terminal that standard error is."""
    with contextlib.suppress(OSError, ValueError):
        if not os.environ.get("COLUMNS"):
            return os.get_terminal_size(sys.stderr.fileno()).columns or 80
    return shutil.get_terminal_size((80, 24)).columns


def wrapped(line: str, width: int) -> str:
    """A line divided between words; a command in it stays in one piece, to be copied."""
    if len(line) <= width:
        return line
    whole = _COMMAND.sub(lambda found: found[0].replace(" ", _GLUE), line)
    indent = line[: len(line) - len(line.lstrip())] + "  "
    parts = textwrap.wrap(
        whole, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False, drop_whitespace=True
    )
    return "\n".join(parts).replace(_GLUE, " ")


def tell_left_out(reason: str) -> None:
    """Report on standard error that a run is left out, and why."""
    tell(f"note: left out: {reason}")


def write_json(value: dict[str, Any]) -> None:
    """One JSON object on a line; numbers that JSON does not have become null."""
    text = json.dumps(_finite(value), ensure_ascii=False)
    write_raw(_RAW_IN_JSON.sub(lambda found: f"\\u{ord(found[0]):04x}", text) + "\n")


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(v) for key, v in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(v) for v in value]
    if isinstance(value, str):
        return shown(value)
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
