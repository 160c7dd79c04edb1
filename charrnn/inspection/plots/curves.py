"""Learning curves of one or more runs: losses in nats and bits, learning rate and gradient norm."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

from charrnn.errors import MissingExtraError, printable
from charrnn.inspection.plots.figures import MARKS, new_figure, plain, save, style
from charrnn.runs.history import History

_LETTERS = "o+x*#%"  # what a line is made of where it has no colour
_SHADES = ("blue", "red", "green", "magenta", "cyan", "orange")  # of a terminal; validation is the brighter one
AXES = {"steps": "step", "chars": "chars", "seconds": "seconds"}
_COLUMNS = ("step", "chars", "seconds", "train_loss", "val_loss", "learning_rate", "grad_norm")


def curve_data(histories: Sequence[History]) -> list[dict[str, Any]]:
    """The numbers behind the plot, one dict per run.

    Returns:
        `name`; the history's columns (losses in nats, None where not measured); `train_bits` and `val_bits` per
        character; `rollbacks` (steps); `best` (the report with the lowest validation loss, or None).
    """
    out = []
    for history in histories:
        columns: dict[str, Any] = {name: [row[name] for row in history.rows] for name in _COLUMNS}
        for name in ("train", "val"):
            nats = columns[f"{name}_loss"]
            columns[f"{name}_bits"] = [None if x is None else x / math.log(2) for x in nats]
        rollbacks = [note.step for note in history.events if note.event == "rollback"]
        best = None if history.best is None else dict(history.best)
        out.append({"name": history.name, **columns, "rollbacks": rollbacks, "best": best})
    return out


def smoothed(values: Sequence[float | None], width: int) -> list[float | None]:
    """Means over the last `width` values; gaps stay gaps."""
    sums = list(accumulate((v or 0.0 for v in values), initial=0.0))
    counts = list(accumulate((v is not None for v in values), initial=0))
    starts = (max(0, k + 1 - width) for k in range(len(values)))
    return [
        None if value is None else (sums[k + 1] - sums[start]) / (counts[k + 1] - counts[start])
        for k, (value, start) in enumerate(zip(values, starts, strict=True))
    ]


def round_numbers(low: float, high: float, count: float) -> list[float]:
    """Multiples of 1, 2 or 5 times a power of ten from `low` to `high`, at most about `count`; none if not finite."""
    if not math.isfinite(high - low) or high <= low:
        return []
    power: float = 10.0 ** math.floor(math.log10((high - low) / count))
    step = next(m * power for m in (1, 2, 5, 10, 20) if m * power * count >= high - low)
    return [k * step for k in range(math.ceil(low / step), math.floor(high / step) + 1)]


def _pairs(run: dict[str, Any], x: str, y: str) -> tuple[list[float], list[float]]:
    both = [(a, b) for a, b in zip(run[x], run[y], strict=True) if a is not None and b is not None]
    return [a for a, _ in both], [b for _, b in both]


def draw_curves(histories: Sequence[History], output: Path, *, x: str = "steps") -> None:
    """Losses above; learning rate and gradient norm below.

    Args:
        histories: the runs.
        output: PNG, SVG or PDF.
        x: "steps", "chars" or "seconds" (of training).

    Raises:
        MissingExtraError: no matplotlib.
        SettingsError: the file cannot be written, or is of another kind.
    """
    figure = new_figure(9, 7)
    from matplotlib.ticker import LogLocator, NullFormatter

    loss, rate, norm = figure.subplots(3, 1, sharex=True, height_ratios=(4, 1, 1))
    for k, run in enumerate(curve_data(histories)):
        name, look = plain(run["name"]), style(k)
        places, train = _pairs(run, AXES[x], "train_loss")
        values = [v for v in smoothed(train, max(1, len(train) // 40)) if v is not None]
        loss.plot(places, values, **{**look, "linewidth": 1.0}, alpha=0.7, label=f"{name}, train")
        places, val = _pairs(run, AXES[x], "val_loss")
        every = max(1, len(val) // 12)
        loss.plot(places, val, **look, marker=MARKS[k % len(MARKS)], markevery=every, label=f"{name}, validation")
        rate.plot(*_pairs(run, AXES[x], "learning_rate"), **look)
        norm.plot(*_pairs(run, AXES[x], "grad_norm"), **{**look, "linewidth": 0.9})
        for step in run["rollbacks"] if x == "steps" else []:
            loss.axvline(step, color="#999999", linewidth=0.8)
    loss.set_ylabel("loss, nats per character")
    bits = loss.secondary_yaxis("right", functions=(lambda v: v / math.log(2), lambda v: v * math.log(2)))
    bits.set_ylabel("bits per character")
    rate.set_ylabel("learning rate")
    norm.set(ylabel="gradient norm", yscale="log", xlabel="characters" if x == "chars" else x)
    norm.yaxis.set_major_locator(LogLocator(subs=(1.0, 3.0)))  # the panel has no room for a label at every digit
    norm.yaxis.set_major_formatter("{x:g}")
    norm.yaxis.set_minor_formatter(NullFormatter())
    for axes in (loss, rate, norm):
        axes.grid(True, color="#e4e4e4")
    if loss.lines:
        loss.legend(fontsize=9)
    save(figure, output)


def draw_in_terminal(histories: Sequence[History], *, x: str, width: int, height: int, colour: bool) -> str:
    """The losses as text: lines of braille dots in colours, or, without colours, each of a letter of its own.

    Raises:
        MissingExtraError: no plotext.
    """
    try:
        import plotext
    except ImportError:
        raise MissingExtraError("plotext", "plots", purpose="a plot in the terminal") from None
    plotext.clear_figure()
    plotext.plotsize(width, height)
    plotext.theme("clear")
    lines = [
        (printable(f"{run['name']}, {kind}"), _SHADES[number % len(_SHADES)] + bright, *_pairs(run, AXES[x], key))
        for number, run in enumerate(curve_data(histories))
        for kind, key, bright in (("train", "train_loss", ""), ("validation", "val_loss", "+"))
    ]
    lines = [line for line in lines if line[2]]
    for k, (label, shade, places, values) in enumerate(lines):
        marker = "braille" if colour else _LETTERS[k % len(_LETTERS)]
        plotext.plot(places, values, label=label, marker=marker, color=shade)
    if lines:
        across, up = [v for line in lines for v in line[2]], [v for line in lines for v in line[3]]
        low, high = min(up), max(up)
        rows = max(1, height - 5)  # of which some are for the names, which would hide where the lines begin
        plotext.ylim(low, high + (high - low) * len(lines) / max(rows - len(lines), rows / 2))
        for axis, numbers, count in ((plotext.xticks, across, width / 10), (plotext.yticks, up, height / 4)):
            marks = round_numbers(min(numbers), max(numbers), count)
            if len(marks) > 1:
                axis(marks, [f"{mark:,.10g}" for mark in marks])
    plotext.title("loss, nats per character")
    plotext.xlabel("characters" if x == "chars" else x)
    text = str(plotext.build())
    return text if colour else str(plotext.uncolorize(text))


def draw_range_test(rates: Sequence[float], losses: Sequence[float], advised: float, output: Path) -> None:
    """Smoothed loss (nats) against the learning rate, with the suggested rate marked.

    Raises:
        MissingExtraError: no matplotlib.
        SettingsError: the file cannot be written, or is of another kind.
    """
    figure = new_figure(7, 4)
    axes = figure.subplots()
    axes.plot(rates, losses, **style(0))
    axes.axvline(advised, color="#999999", label=f"suggested: {advised:.2g}")
    axes.set(xscale="log", xlabel="learning rate", ylabel="loss, nats per character")
    axes.grid(True, color="#e4e4e4")
    axes.legend(fontsize=9)
    save(figure, output)
