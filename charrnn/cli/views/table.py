"""Tables on a terminal of any width: numbers are never cut, names are shortened in the middle.

A table that is too wide first shortens its prose and words, then is transposed if it has few
rows, then leaves columns out.
"""

from __future__ import annotations

import os
import re
import shutil
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

from charrnn.cli.output import on_terminal, visible, write, write_raw
from charrnn.cli.views.colour import colours_wanted

_NUMBER = re.compile(r"[-+±]?[\d.,]*\d[\d.,]*(e[-+]?\d+)?%?|-|nan|inf|\?", re.IGNORECASE)
_GAP = 2
_LEAST, _LEAST_NAME = 8, 18  # columns of a shortened word, and of a row's name
_PROSE = 20
_FEW = 3  # rows of a table that may stand on its side
_CUT = "…"

Rows = Sequence[Sequence[str]]


@dataclass(frozen=True)
class Layout:
    """A table as lines.

    Attributes:
        heads: lines of the column headings.
        rows: one line for each row; more where prose is continued.
        left_out: headings of the columns for which there was no room.
    """

    heads: list[str]
    rows: list[str]
    left_out: list[str]


def print_table(
    title: str,
    columns: Sequence[str],
    rows: Rows,
    *,
    text: str | None = None,
    whole: bool = False,
    spare: str | None = None,
    among: bool = False,
) -> None:
    """A table on standard output: laid out on a terminal, tab-separated elsewhere.

    Args:
        title: above it, on a terminal.
        columns: headings; the first column has the names of the rows.
        rows: cells.
        text: heading of a column of prose, whose end may be cut off.
        whole: the prose is continued on further lines instead.
        spare: heading of the column that is left out first.
        among: it is one of several tables, whose titles a pipe gets too, behind a #.
    """
    if not on_terminal():
        if among:
            write(f"# {_cell(title)}\n")
        lines = (columns, *rows) if any(columns) else rows
        write("".join("\t".join(map(_cell, row)) + "\n" for row in lines))
        return
    width = shutil.get_terminal_size((80, 24)).columns
    laid = layout(columns, rows, width, text=text, whole=whole, spare=spare)
    bold, plain = ("\x1b[1m", "\x1b[0m") if colours_wanted() and os.environ.get("TERM") != "dumb" else ("", "")
    rule = "─" * max(_length(line) for line in [*laid.heads, *laid.rows])
    heads = [*laid.heads, rule] if any(columns) else []
    above = textwrap.fill(visible(title), width, break_on_hyphens=False)
    write_raw("\n".join([f"{bold}{above}{plain}", *heads, *laid.rows, *_left_out(laid, width)]) + "\n")


def _cell(cell: str) -> str:
    """A cell on one line: a name from somebody's file may hold tabs, line ends and escape sequences."""
    return visible(cell).replace("\t", "\\t").replace("\n", "\\n")


def _left_out(laid: Layout, width: int) -> list[str]:
    count = len(laid.left_out)
    names = ", ".join(name for name in laid.left_out if name)
    columns = "1 column" if count == 1 else f"{count} columns"
    said = f"{columns} left out{f' ({names})' if names else ''}: use a wider terminal or --json"
    return textwrap.wrap(said, width, break_on_hyphens=False) if count else []


def layout(
    columns: Sequence[str],
    rows: Rows,
    width: int,
    *,
    text: str | None = None,
    whole: bool = False,
    spare: str | None = None,
) -> Layout:
    """Lay a table out in lines of at most `width` columns; see `print_table` for the rest."""
    names, cells = [_cell(c) for c in columns], [[_cell(cell) for cell in row] for row in rows]
    turned = _turned(names, cells)
    shown, widths = _fitting(names, cells, width, text, prose=_PROSE if whole else _LEAST, spare=spare)
    if len(shown) < len(names) and len(cells) <= _FEW and not text and _widths(*turned, width):
        return layout(*turned, width)
    if text is not None and whole and (k := names.index(text)) in shown:
        cells = _continued(cells, k, widths[shown.index(k)])
    heads = [_head(names[k], wide) for k, wide in zip(shown, widths, strict=True)]
    deepest = max(map(len, heads))
    lines = []
    for k, head, wide in zip(shown, heads, widths, strict=True):
        column = [row[k] for row in cells]
        cut = [_end_cut(c, wide) for c in column] if names[k] == text else shortened(column, wide)
        right = k > 0 and bool(column) and all(map(_NUMBER.fullmatch, column))
        lines.append([_padded(c, wide, right=right) for c in [*[""] * (deepest - len(head)), *head, *cut]])
    joined = [(" " * _GAP).join(row).rstrip() for row in zip(*lines, strict=True)]
    return Layout(joined[:deepest], joined[deepest:], [names[k] for k in range(len(names)) if k not in shown])


def _continued(rows: list[list[str]], column: int, width: int) -> list[list[str]]:
    """The rows with the prose of a column on as many lines as it needs."""
    out = []
    for row in rows:
        for number, line in enumerate(textwrap.wrap(row[column], width, break_on_hyphens=False) or [""]):
            out.append([line if k == column else "" if number else cell for k, cell in enumerate(row)])
    return out


def _fitting(
    names: list[str], rows: list[list[str]], width: int, text: str | None, *, prose: int, spare: str | None
) -> tuple[list[int], list[int]]:
    """Indices and widths of the columns that fit: the first, the prose, then from the left, `spare` last.

    The prose has at least `prose` columns where others are shown; before it is left out, it has fewer.
    """

    def widths_of(columns: list[int], narrow: int) -> list[int] | None:
        return _widths([names[j] for j in columns], _of(rows, columns), width, text=text, prose=narrow)

    shown, widths = [0], [_narrowest(names[0], [row[0] for row in rows], width)]
    if text is not None:
        both = sorted({0, names.index(text)})
        found = next((w for narrow in range(prose, 0, -1) if (w := widths_of(both, narrow))), None)
        shown, widths = (both, found) if found else (shown, widths)
    for k in sorted(range(len(names)), key=lambda k: names[k] == spare):
        tried = sorted({*shown, k})
        if found := widths_of(tried, prose):
            shown, widths = tried, found
    return shown, widths


def _narrowest(name: str, cells: list[str], width: int) -> int:
    """The width of a column that is shown even if `width` is not enough for its numbers or heading."""
    longest = max(map(_length, (name, *cells)))
    numbers = [_length(cell) for cell in cells if _NUMBER.fullmatch(cell)]
    return max([min(longest, width), *numbers, *map(_length, name.split(" "))])


def _of(rows: list[list[str]], columns: list[int]) -> list[list[str]]:
    return [[row[k] for k in columns] for row in rows]


def _turned(columns: list[str], rows: list[list[str]]) -> tuple[list[str], list[list[str]]]:
    """The table on its side: a row for each column."""
    if not rows:
        return columns, rows
    names = [row[0] for row in rows]
    return [columns[0], *shortened(names, max(12, _distinct(names)))], [
        [name, *(row[k] for row in rows)] for k, name in enumerate(columns) if k and name
    ]


def _widths(
    columns: list[str], rows: list[list[str]], width: int, *, text: str | None = None, prose: int = _PROSE
) -> list[int] | None:
    """The width of each column, words shortened as far as necessary, `text` to `prose`; None if that is not enough."""
    widths, least, longest = [], [], []
    for k, name in enumerate(columns):
        cells = [row[k] for row in rows]
        longest.append(max(map(_length, cells), default=0))
        numbers = [_length(cell) for cell in cells if name != text and _NUMBER.fullmatch(cell)]
        enough = prose if name == text else _distinct(cells, 0 if k else _LEAST_NAME)
        words = min(longest[k], enough) if len(numbers) < len(cells) else 0
        least.append(max([words, *numbers, *map(_length, name.split(" "))]))
        widths.append(max(longest[k], _length(name)))
    room = width - _GAP * (len(columns) - 1)
    while sum(widths) > room:
        shrinkable = [k for k in range(len(widths)) if widths[k] > least[k]]
        if not shrinkable:
            return None
        # Headings become two lines before names are shortened.
        widths[max(shrinkable, key=lambda k: (widths[k] > longest[k], widths[k]))] -= 1
    return widths


def shortened(names: Sequence[str], width: int) -> list[str]:
    """Names of at most `width` columns, cut in the middle, where different ones stay different if possible."""
    if all(_length(name) <= width for name in names):
        return list(names)
    room = max(2, width - 1)
    best: list[str] = []
    # Halfway first; the end often says more than the beginning, so places before it are tried before those behind it.
    for head in sorted(range(room), key=lambda head: (abs(head - room // 2), head)):
        cut = [
            name if _length(name) <= width else _start(name, head) + _CUT + _end(name, room - head) for name in names
        ]
        best = best or cut
        if len(set(cut)) == len(set(names)):
            return cut
    return best


def _distinct(names: Sequence[str], least: int = 0) -> int:
    """The least width, from `least` on, at which different names stay different."""
    longest = max((_length(name) for name in names), default=0)
    for width in range(min(max(_LEAST, least), longest), longest):
        if len(set(shortened(names, width))) == len(set(names)):
            return width
    return longest


def _end_cut(text: str, width: int) -> str:
    return text if _length(text) <= width else _start(text, width - 1) + _CUT


def _head(name: str, width: int) -> list[str]:
    """A heading in as many lines as it needs."""
    lines: list[str] = []
    for word in name.split(" "):
        if lines and _length(f"{lines[-1]} {word}") <= width:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return lines


def _padded(cell: str, width: int, *, right: bool) -> str:
    space = " " * (width - _length(cell))
    return space + cell if right else cell + space


def _length(text: str) -> int:
    """Columns on a terminal."""
    if text.isascii():
        return len(text)
    from rich.cells import cell_len

    return cell_len(text)


def _start(text: str, width: int) -> str:
    while _length(text) > width:
        text = text[:-1]
    return text


def _end(text: str, width: int) -> str:
    while _length(text) > width:
        text = text[1:]
    return text
