"""What a unit may track: properties of a text that are determined at each character by those before it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

Values = npt.NDArray[np.float64]
Text = Sequence[str]  # one item a symbol; longer than a character only for a byte above 0x7f

_OPEN, _CLOSE = "([{", ")]}"


def inside_quotes(text: Text) -> Values:
    """1 between two double quotes (curly ones too) of a paragraph, 0 elsewhere."""
    out, inside = np.zeros(len(text)), False
    for i, c in enumerate(text):
        if c == "\n" and "".join(text[i + 1 : i + 2]) == "\n":
            inside = False  # a missing quote does not flip the rest of the text
        elif c == "\u201c":
            inside = True
        elif c == "\u201d":
            inside = False
        elif c == '"':
            inside = not inside
        out[i] = inside
    return out


def bracket_depth(text: Text) -> Values:
    """How many brackets are open."""
    out, depth = np.zeros(len(text)), 0
    for i, c in enumerate(text):
        depth = max(0, depth + (c in _OPEN) - (c in _CLOSE))
        out[i] = depth
    return out


def position_in_line(text: Text) -> Values:
    """Characters since the last line end."""
    out, position = np.zeros(len(text)), 0
    for i, c in enumerate(text):
        position = 0 if c == "\n" else position + 1
        out[i] = position
    return out


def line_length(text: Text) -> Values:
    """Length of the line before this one, which hints at where this one will end."""
    out, last, position = np.zeros(len(text)), 0, 0
    for i, c in enumerate(text):
        position += 1
        if c == "\n":
            last, position = position - 1, 0
        out[i] = last
    return out


def upper_case(text: Text) -> Values:
    """1 at capital letters."""
    return np.array([c.isupper() for c in text], np.float64)


def indentation(text: Text) -> Values:
    """Leading blanks of the line, as far as it has been read."""
    out, blanks, leading = np.zeros(len(text)), 0, True
    for i, c in enumerate(text):
        if c == "\n":
            blanks, leading = 0, True
        elif c in " \t" and leading:
            blanks += 1
        else:
            leading = False
        out[i] = blanks
    return out


def word_boundary(text: Text) -> Values:
    """1 where no word is being written: at blanks, punctuation and line ends. Bytes above 0x7f count as letters."""
    return np.array([not (c.isalnum() or c in "_'" or len(c) > 1) for c in text], np.float64)


PROPERTIES: dict[str, Callable[[Text], Values]] = {
    "inside-quotes": inside_quotes,
    "bracket-depth": bracket_depth,
    "position-in-line": position_in_line,
    "line-length": line_length,
    "upper-case": upper_case,
    "indentation": indentation,
    "word-boundary": word_boundary,
}
BINARY = frozenset({"inside-quotes", "upper-case", "word-boundary"})
