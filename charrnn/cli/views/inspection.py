"""How the views of `charrnn inspect` are shown in a terminal."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from charrnn.cli.output import tell, visible, write, write_json, writing_output
from charrnn.cli.views.progress import sparkline
from charrnn.cli.views.table import print_table

if TYPE_CHECKING:
    from rich.text import Text

    from charrnn.cli.commands.inspected import ModelAndText
    from charrnn.errors import DataError
    from charrnn.inspection.errors import Share
    from charrnn.inspection.predictions import Prediction
    from charrnn.inspection.trace import Trace
    from charrnn.inspection.weights import RecurrentSpectrum

_SHOWN_UNITS = 10
_BLANKS = {" ": "␣", "\n": "⏎", "\t": "⇥", "\r": "␍"}


def too_short(error: ValueError, where: str) -> DataError:
    """The text is too short for the request."""
    from charrnn.errors import DataError

    return DataError(f"{where}: {error}", hint="give a longer text with --text, or look less far back with --steps")


def glyph(symbol: str) -> str:
    """A symbol as shown in a table."""
    return _BLANKS.get(symbol) or visible(symbol)


def diverging(value: float) -> tuple[int, int, int]:
    """-1 blue, 0 white, 1 orange; distinguishable with red-green colour blindness."""
    share = min(1.0, abs(value))
    end = (230, 126, 34) if value > 0 else (41, 128, 185)
    red, green, blue = (round(255 + (e - 255) * share) for e in end)
    return red, green, blue


def coloured(text: Sequence[str], values: Sequence[float]) -> Text:
    """`text` with each character on the colour of its value."""
    from rich.text import Text

    out = Text()
    for c, value in zip(text, values, strict=True):
        r, g, b = diverging(value)
        shown = visible(c) if c != "\n" else "⏎\n"
        out.append(shown, style=f"rgb(20,20,20) on rgb({r},{g},{b})")
    return out


def _write_coloured(text: Text) -> None:
    from rich.console import Console

    with writing_output():
        Console(highlight=False, soft_wrap=True).print(text)


def show_unit(seen: ModelAndText, trace: Trace, of: str, layer: int, unit: int, *, as_json: bool) -> None:
    """The text on the colours of one unit."""
    values = trace.activation(of, layer)[:, unit]
    if as_json:
        found = {"layer": layer % len(trace.layers), "unit": unit, "of": of, "values": values.tolist()}
        write_json({"text": "".join(seen.text), "symbols": list(seen.text), **found})
        return
    _write_coloured(coloured(seen.text, trace.signed(of, layer)[:, unit].tolist()))
    ends = "blue 0, orange 1" if of in trace.sigmoid_gates else "blue -1, orange 1"
    ends += " (of its tanh)" if of in trace.unbounded else ""
    write(f"layer {layer % len(trace.layers)}, unit {unit}, {of}: {ends}\n")


def show_ranking(seen: ModelAndText, trace: Trace, name: str, of: str, *, as_json: bool) -> None:
    """The units that track a property, best first."""
    from charrnn.errors import DataError
    from charrnn.inspection.properties import BINARY
    from charrnn.inspection.units import rank_units

    try:
        ranking = rank_units(trace, seen.text, name, of=of)
    except ValueError as error:
        raise DataError(
            f"{seen.where}: {error}", hint="choose another --text, --start or --length, or another property"
        ) from None
    score = "Youden's J" if name in BINARY else "R²"
    if as_json:
        units = [{"layer": s.layer, "unit": s.unit, "train": s.train, "held_out": s.held_out} for s in ranking]
        write_json({"property": name, "of": of, "score": score, "characters": len(seen.ids), "units": units})
        return
    rows = [(str(s.layer), str(s.unit), f"{s.train:.3f}", f"{s.held_out:.3f}") for s in ranking[:_SHOWN_UNITS]]
    title = f"{name}, {of}: {score} of {len(seen.ids):,} characters (1 is perfect)"
    print_table(title, ("layer", "unit", "fitted half", "held-out half"), rows)


def show_saturation(trace: Trace, *, as_json: bool) -> None:
    """How often gates are shut (below 0.1) and open (above 0.9)."""
    from charrnn.inspection.units import saturation

    found = saturation(trace)
    if as_json:
        shares = [{"layer": s.layer, "gate": s.gate, "left": s.left.tolist(), "right": s.right.tolist()} for s in found]
        write_json({"saturation": shares})
        return
    table = [
        (f"{s.layer} {s.gate}", f"{s.left.mean():.1%}", f"{s.right.mean():.1%}",
         f"{(s.left > 0.9).sum()}", f"{(s.right > 0.9).sum()}")
        for s in found
    ]  # fmt: skip
    columns = ("layer, gate", "shut", "open", "units nearly always shut", "units nearly always open")
    print_table("saturation: share of time below 0.1 and above 0.9", columns, table)


def write_page(seen: ModelAndText, trace: Trace, output: Path) -> None:
    """The coloured text with a slider over all units, as a page."""
    from charrnn.files import write_output, writing
    from charrnn.inspection.report import render, units_data

    page = render({"title": f"units of {seen.name}", "runs": [], "texts": [units_data(seen.name, seen.text, trace)]})
    with writing(output):
        write_output(output, page.encode("utf-8"))
    tell(f"{output}")


def prediction_json(seen: ModelAndText, p: Prediction) -> dict[str, Any]:
    """For `--json`."""
    guesses = [[seen.symbol(k), probability] for k, probability in p.guesses]
    return {"position": p.position, "symbol": seen.symbol(p.symbol), "nats": p.nats, "guesses": guesses}


def show_predictions(seen: ModelAndText, found: list[Prediction]) -> None:
    """One row per character: what it was, how surprising it was, the guesses."""
    rows = [
        (glyph(seen.symbol(p.symbol)), f"{p.nats / math.log(2):.2f}",
         *(f"{glyph(seen.symbol(k))} {probability:.2f}" for k, probability in p.guesses))
        for p in found
    ]  # fmt: skip
    guesses = ("first", "second", "third", "fourth", "fifth")[: max((len(p.guesses) for p in found), default=0)]
    print_table(f"guesses of {seen.name}", ("character", "bits", *guesses), rows, among=True)


def show_extremes(seen: ModelAndText, best: list[Prediction], worst: list[Prediction]) -> None:
    """The best and worst predicted positions, with what came before them."""
    for title, group in (("best predicted", best), ("worst predicted", worst)):
        rows = [
            (glyph(seen.symbol(p.symbol)), f"{p.nats / math.log(2):.2f}",
             "".join(glyph(c) for c in seen.text[max(0, p.position - 30) : p.position]))
            for p in group
        ]  # fmt: skip
        print_table(title, ("character", "bits", "after"), rows, text="after", among=True)


def show_memory(curves: list[dict[str, Any]]) -> None:
    """Gradient and loss at some distances, one row per checkpoint."""
    import numpy as np

    from charrnn.inspection.memory import grouped_by_length

    steps = len(curves[0]["gradient"])
    marks = [k for k in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000) if k <= steps]
    columns = ("run", *(f"{k} back" for k in marks), "")
    rows = []
    for curve in curves:
        gradient, width = curve["gradient"], 20
        logs = [math.log(max(1e-30, g)) for g in gradient]
        rows.append((curve["name"], *(f"{gradient[k - 1]:.1e}" for k in marks), sparkline(logs, width)))
    print_table("gradient of the loss with respect to the state, by steps back", columns, rows, among=True)
    rows = []
    for curve in curves:
        lengths, loss = grouped_by_length(np.array(curve["loss"]))
        about = [loss[np.abs(lengths - k).argmin()] for k in marks]
        rows.append((curve["name"], *(f"{nats:.3f}" for nats in about), sparkline(loss.tolist(), 20)))
    print_table("nats per character, by number of characters of context", columns, rows, among=True)


def show_embeddings(points: list[dict[str, Any]], shares: list[float]) -> None:
    """A grid of characters where their vectors lie."""
    width, height = 76, 24
    xs, ys = [p["x"] for p in points], [p["y"] for p in points]
    grid = [[" "] * width for _ in range(height)]
    crowded = False
    for p in sorted(points, key=lambda p: len(glyph(p["symbol"]))):
        column = round((p["x"] - min(xs)) / (max(xs) - min(xs) or 1.0) * (width - 1))
        row = round((max(ys) - p["y"]) / (max(ys) - min(ys) or 1.0) * (height - 1))
        name = glyph(p["symbol"])
        cells = slice(start := min(column, width - len(name)), start + len(name))
        if len(name) > 1 and any(cell != " " for cell in grid[row][cells]):
            name, cells, crowded = "·", slice(column, column + 1), True
        grid[row][cells] = name
    write("\n".join("".join(row).rstrip() for row in grid) + "\n")
    more = "; · is a byte or control character that has no room" if crowded else ""
    write(f"shows {sum(shares):.0%} of the variance of {len(points)} input vectors{more}\n")


def show_weights(found: list[RecurrentSpectrum], sizes: list[dict[str, Any]]) -> None:
    """Two tables: spectra and norms."""
    rows = [
        (f"{s.layer} {s.gate}", f"{s.spectral_radius:.3f}", f"{s.singular_values[0]:.3f}",
         f"{s.singular_values[len(s.singular_values) // 2]:.3f}", f"{s.singular_values[-1]:.3f}",
         sparkline(s.singular_values.tolist(), 24))
        for s in found
    ]  # fmt: skip
    columns = ("layer, gate", "spectral radius", "largest", "median", "smallest", "singular values")
    print_table("recurrent matrices", columns, rows, among=True)
    table = [(s["name"], "x".join(map(str, s["shape"])), f"{s['rms']:.4f}", f"{s['largest']:.3f}") for s in sizes]
    print_table("parameters", ("name", "shape", "root mean square", "largest"), table, among=True)


def error_breakdown(seen: ModelAndText, corpus: Sequence[str] | None = None) -> dict[str, list[Share]]:
    """The tables of `charrnn inspect errors`: three, or two where the training text is unknown."""
    import numpy as np

    from charrnn.cli.text_options import parts_of
    from charrnn.evaluation.loss import surprisals
    from charrnn.inspection.errors import by_character, by_frequency, by_place_in_word
    from charrnn.runs.text import UnknownTextError

    nats = np.empty(len(seen.ids))
    for positions, values in surprisals(seen.model, seen.ids, **seen.around):
        nats[positions] = values
    nats = nats[1:]
    found = {
        "kind of character": by_character(seen.text, nats),
        "place in the word": by_place_in_word(seen.text, nats),
    }
    try:
        train = parts_of(seen.checkpoint, corpus)["train"]
    except UnknownTextError as error:
        tell(f"note: no table of what was seen in training: {error.message}")
        return found
    size = len(seen.checkpoint.vocabulary)
    return found | {"five characters seen in training": by_frequency(seen.ids, train, nats, size)}


def show_errors(breakdown: dict[str, list[Share]]) -> None:
    """One table for each way of breaking down the loss."""
    for title, shares in breakdown.items():
        total = sum(s.count for s in shares)
        rows = [(s.name, f"{s.count / total:.1%}", f"{s.nats / math.log(2):.3f}", f"{s.of_loss:.1%}") for s in shares]
        print_table(title, ("group", "of the text", "bits per character", "of the loss"), rows, among=True)
