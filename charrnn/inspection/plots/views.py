"""Plots for `charrnn inspect`: memory curves and the map of symbols."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from charrnn.inspection.memory import grouped_by_length
from charrnn.inspection.plots.figures import COLOURS, new_figure, plain, save, style

_MARKS = {
    "letter": "o", "capital letter": "^", "digit": "s", "punctuation": "x", "blank": "D", "line end": "v", "other": ".",
    "byte above 0x7f": "*",
}  # fmt: skip
_BLANKS = {" ": "␣", "\n": "⏎", "\t": "⇥"}


def draw_memory(curves: list[dict[str, Any]], output: Path) -> None:
    """Gradient against steps back (logarithmic), and loss against length of context, one line per run.

    Args:
        curves: `name`, `gradient` (steps,) and `loss` (steps,) in nats each.
        output: PNG, SVG or PDF.

    Raises:
        MissingExtraError: no matplotlib.
        SettingsError: the file cannot be written, or is of another kind.
    """
    figure = new_figure(10, 4.2)
    left, right = figure.subplots(1, 2)
    for k, curve in enumerate(curves):
        steps = range(1, len(curve["gradient"]) + 1)
        left.plot(steps, curve["gradient"], label=plain(curve["name"]), **style(k))
        right.plot(*grouped_by_length(np.array(curve["loss"])), label=plain(curve["name"]), **style(k))
    left.set(yscale="log", xlabel="steps back, k", ylabel="norm of the loss's gradient", title="Gradient through time")
    right.set(
        xscale="log", xlabel="characters of context, k", ylabel="nats per character", title="Loss by length of context"
    )
    for axes in (left, right):
        axes.grid(True, color="#dddddd")
        axes.legend()
    save(figure, output)


def draw_embeddings(points: list[dict[str, Any]], shares: list[float], output: Path) -> None:
    """The symbols at their input vectors' positions, with one marker per kind.

    Args:
        points: `symbol`, `class`, `x`, `y` each.
        shares: of the variance along x and y.
        output: PNG, SVG or PDF.

    Raises:
        MissingExtraError, SettingsError: as `draw_memory`.
    """
    figure = new_figure(8, 7)
    axes = figure.subplots()
    for k, (kind, mark) in enumerate(_MARKS.items()):
        group = [p for p in points if p["class"] == kind]
        if not group:
            continue
        colour = COLOURS[k % len(COLOURS)]
        axes.scatter([p["x"] for p in group], [p["y"] for p in group], marker=mark, s=22, color=colour, label=kind)
        for p in group:
            symbol = _BLANKS.get(p["symbol"], p["symbol"] if p["symbol"].isprintable() else f"{ord(p['symbol']):X}")
            axes.annotate(plain(symbol), (p["x"], p["y"]), xytext=(4, 4), textcoords="offset points", fontsize=9)
    axes.set(xlabel=f"first component ({shares[0]:.0%})", ylabel=f"second component ({shares[1]:.0%})")
    axes.set_title("Input vectors of the characters")
    axes.grid(True, color="#eeeeee")
    axes.set_axisbelow(True)
    axes.legend(loc="best")
    save(figure, output)
