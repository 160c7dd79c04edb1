"""What all plots share: matplotlib without a display, styles that survive greyscale printing, saving."""

from __future__ import annotations

import io
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from charrnn.errors import MissingExtraError, SettingsError
from charrnn.files import write_output, writing

SUFFIXES = (".png", ".svg", ".pdf")
# Line styles and markers distinguish runs first, colours second.
STYLES: tuple[Any, ...] = ("-", "--", ":", "-.", (0, (5, 1, 1, 1, 1, 1)))
MARKS = ("o", "s", "^", "D", "v")
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#555555")


def style(index: int) -> dict[str, Any]:
    """Line style and colour of the run of that number; colours come again with other styles."""
    turn = index + index // len(COLOURS)
    return {"linestyle": STYLES[turn % len(STYLES)], "color": COLOURS[index % len(COLOURS)], "linewidth": 1.8}


def plain(text: str) -> str:
    """A name without control characters that matplotlib does not parse as a formula."""
    return "".join(c if c.isprintable() else "?" for c in text).replace("$", r"\$")


def new_figure(width: float, height: float) -> Any:
    """A figure without a window.

    Raises:
        MissingExtraError: no matplotlib.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise MissingExtraError("matplotlib", "plots", purpose="a plot") from None
    return Figure(figsize=(width, height), layout="constrained")


def check_output(output: Path, *, other: tuple[str, ...] = ()) -> None:
    """Check, before the work that is to be drawn, that it can be drawn in a file of that name.

    Args:
        output: the file.
        other: suffixes, besides those of pictures, of what is written without matplotlib.

    Raises:
        MissingExtraError: no matplotlib.
        SettingsError: another suffix.
    """
    _check_suffix(output, (*other, *SUFFIXES))
    if output.suffix.lower() in SUFFIXES and find_spec("matplotlib") is None:
        raise MissingExtraError("matplotlib", "plots", purpose="a plot")


def save(figure: Any, output: Path) -> None:
    """Write a figure in the format of its file suffix.

    Raises:
        SettingsError: another suffix, or the file cannot be written.
    """
    _check_suffix(output)
    picture = io.BytesIO()
    try:
        figure.savefig(picture, dpi=150, format=output.suffix.lower()[1:])
    except (ValueError, OverflowError) as error:
        raise SettingsError(f"{output}: these numbers cannot be drawn: {error}") from None
    with writing(output):
        write_output(output, picture.getvalue())


def _check_suffix(output: Path, allowed: tuple[str, ...] = SUFFIXES) -> None:
    if output.suffix.lower() not in allowed:
        raise SettingsError(f"{output}: the name must end in {', '.join(allowed[:-1])} or {allowed[-1]}")
