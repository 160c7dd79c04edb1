"""`charrnn inspect`: what a network remembers, expects and gets wrong."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from charrnn.cli.arguments import OneCheckpoint, chosen, only_one, output_file
from charrnn.cli.commands.inspected import (
    AsJson,
    Checkpoints,
    Length,
    ModelAndText,
    Start,
    TextFile,
    inspected,
)
from charrnn.cli.help import CommandGroup
from charrnn.cli.text_options import Corpus, Unknown, UnknownInText

if TYPE_CHECKING:
    from charrnn.inspection.predictions import Prediction
    from charrnn.inspection.trace import Trace

app = CommandGroup(
    help="Look inside a trained network.",
    epilog="Example: charrnn inspect units --find inside-quotes; charrnn inspect memory",
)

Output = Annotated[Path | None, output_file("Write a plot (.png, .svg, .pdf).")]


class Property(str, Enum):
    """Names of `charrnn.inspection.properties.PROPERTIES`."""

    inside_quotes = "inside-quotes"
    bracket_depth = "bracket-depth"
    position_in_line = "position-in-line"
    line_length = "line-length"
    upper_case = "upper-case"
    indentation = "indentation"
    word_boundary = "word-boundary"


@app.command(epilog="Example: charrnn inspect units --find inside-quotes; charrnn inspect units --unit 17 --signal c")
def units(
    checkpoint: OneCheckpoint = None,
    unit: Annotated[int | None, typer.Option(min=0, help="Unit whose activation colours the text. Default: 0.")] = None,
    layer: Annotated[
        int | None, typer.Option(help="Layer of the unit, from 0; -1 is the top one. Default: -1.")
    ] = None,
    of: Annotated[
        str | None,
        typer.Option(
            "--signal",
            "--of",
            help="State or gate to show: h, c, i, f, o, g, r, z or n, depending on the cell. Default: h.",
        ),
    ] = None,
    find: Annotated[Property | None, typer.Option(help="Rank units by how well they track this property.")] = None,
    saturation: Annotated[
        bool, typer.Option("--saturation", help="Show the share of time each gate is shut or open.")
    ] = False,
    text: TextFile = None,
    unknown: UnknownInText = Unknown.error,
    start: Start = 0,
    length: Annotated[
        int | None, typer.Option(min=2, help="Number of characters to read. Default: 2000; 20000 with --find.")
    ] = None,
    output: Annotated[Path | None, output_file("Write a page (.html) with a slider over all units.")] = None,
    corpus: Corpus = None,
    as_json: AsJson = False,
) -> None:
    """Colour a text by one unit's activation, or find the units that track a property."""
    from charrnn.cli.views import inspection as views
    from charrnn.inspection.trace import trace_text

    _check_view(find, output, saturation=saturation, as_json=as_json, unit=unit, layer=layer, signal=of)
    of, layer, unit = of or "h", -1 if layer is None else layer, unit or 0
    seen = inspected(checkpoint, text, start, length or (20_000 if find else 2000), corpus, unknown)
    trace = trace_text(seen.model, seen.ids, **seen.around)
    _check_unit(trace, of, layer, unit, seen.model.hidden_size)
    if find is not None:
        views.show_ranking(seen, trace, find.value, of, as_json=as_json)
        return
    if saturation:
        views.show_saturation(trace, as_json=as_json)
        return
    if output is not None:
        views.write_page(seen, trace, output)
    if as_json or output is None:
        views.show_unit(seen, trace, of, layer, unit, as_json=as_json)


def _check_view(find: Property | None, output: Path | None, *, saturation: bool, as_json: bool, **one: object) -> None:
    """Refuse two views at once, and what chooses `one` unit for a view of all."""
    from charrnn.errors import SettingsError

    only_one(find=find, saturation=saturation, output=output)
    view = "--find" if find else "--saturation" if saturation else "--output" if output and not as_json else None
    for name, value in one.items():
        if view and value is not None and (view, name) != ("--find", "signal"):
            raise SettingsError(
                f"{view} and --{name} cannot both be given", hint=f"leave out --{name}: {view} is about all units"
            )
    if output is not None:
        from charrnn.inspection.report import check_page

        check_page(output)


def _check_unit(trace: Trace, of: str, layer: int, unit: int, hidden_size: int) -> None:
    from charrnn.errors import SettingsError

    if of not in trace.layers[0]:
        raise SettingsError(f"--signal: found {of!r}, allowed for this cell: {', '.join(trace.layers[0])}")
    if not -len(trace.layers) <= layer < len(trace.layers) or unit >= hidden_size:
        size = f"{len(trace.layers)} layers of {hidden_size} units"
        raise SettingsError(f"--layer {layer} --unit {unit}: the network has {size}")


@app.command(epilog="Example: charrnn inspect predictions --length 200")
def predictions(
    checkpoint: OneCheckpoint = None,
    text: TextFile = None,
    unknown: UnknownInText = Unknown.error,
    start: Start = 0,
    length: Length = 80,
    extremes: Annotated[
        int, typer.Option("--extremes", "--worst", min=0, help="Number of best and worst predicted positions to list.")
    ] = 5,
    corpus: Corpus = None,
    as_json: AsJson = False,
) -> None:
    """Show the five best guesses for each character, and the best and worst predicted positions."""
    from charrnn.cli.output import write_json
    from charrnn.cli.views import inspection as views
    from charrnn.inspection.predictions import best_and_worst
    from charrnn.inspection.predictions import predictions as predict
    from charrnn.inspection.trace import trace_text

    seen = inspected(checkpoint, text, start, length, corpus, unknown)
    found = predict(trace_text(seen.model, seen.ids, **seen.around))
    best, bad = best_and_worst(found, extremes)
    if as_json:
        groups: dict[str, list[Prediction]] = {"predictions": found, "best": best, "worst": bad}
        write_json({name: [views.prediction_json(seen, p) for p in group] for name, group in groups.items()})
        return
    views.show_predictions(seen, found)
    views.show_extremes(seen, best, bad)


@app.command(epilog="Example: charrnn inspect memory checkpoints/quickstart -o memory.png")
def memory(
    checkpoints: Checkpoints = None,
    text: TextFile = None,
    unknown: UnknownInText = Unknown.error,
    steps: Annotated[int, typer.Option(min=2, help="Number of steps to look back.")] = 200,
    positions: Annotated[
        int | None,
        typer.Option(
            "--positions",
            "--places",
            min=1,
            help="Number of positions in the text to average over. Default: 32 for the gradient, 512 for the loss.",
        ),
    ] = None,
    output: Output = None,
    corpus: Corpus = None,
    as_json: AsJson = False,
) -> None:
    """Measure how far back a network remembers: its gradient through time, and the loss by length of context."""
    from charrnn.cli.output import write_json
    from charrnn.cli.views import inspection as views
    from charrnn.inspection.memory import GRADIENT_PLACES, LOSS_PLACES, gradient_memory, loss_by_context

    if output is not None:
        from charrnn.inspection.plots.figures import check_output

        check_output(output)
    curves: list[dict[str, Any]] = []
    paths: list[Path | None] = [*checkpoints] if checkpoints else [None]
    for path in paths:
        seen = inspected(path, text, 0, 10**9, corpus, unknown)
        separator = seen.around["separator"]
        try:
            gradient = gradient_memory(
                seen.model, seen.ids, steps=steps, places=positions or GRADIENT_PLACES, separator=separator
            )
            context = loss_by_context(
                seen.model, seen.ids, steps=steps, places=positions or LOSS_PLACES, separator=separator
            )
        except ValueError as error:
            raise views.too_short(error, seen.where) from None
        cell = seen.checkpoint.config.model.cell
        curves.append({"name": seen.name, "cell": cell, "gradient": gradient.tolist(), "loss": context.tolist()})
    if output is not None:
        from charrnn.inspection.plots.views import draw_memory

        draw_memory(curves, output)
    if as_json:
        write_json({"runs": curves})
    elif output is None:
        views.show_memory(curves)


@app.command(epilog="Example: charrnn inspect embeddings -o embeddings.png")
def embeddings(checkpoint: OneCheckpoint = None, output: Output = None, as_json: AsJson = False) -> None:
    """Show the input vectors of the characters in two dimensions (principal components)."""
    from charrnn.cli.output import write_json
    from charrnn.cli.views import inspection as views
    from charrnn.inspection.errors import character_class
    from charrnn.inspection.weights import embed_symbols
    from charrnn.runs.checkpoint import load_checkpoint

    loaded = load_checkpoint(*chosen([checkpoint]))
    coordinates, shares = embed_symbols(loaded.build_model().input_weights())
    symbols = loaded.vocabulary.symbols(range(len(loaded.vocabulary)))
    points = [
        {"symbol": c, "class": character_class(c), "x": float(x), "y": float(y)}
        for c, (x, y) in zip(symbols, coordinates, strict=True)
    ]
    if output is not None:
        from charrnn.inspection.plots.views import draw_embeddings

        draw_embeddings(points, shares.tolist(), output)
    if as_json:
        write_json({"explained_variance": shares.tolist(), "symbols": points})
    elif output is None:
        views.show_embeddings(points, shares.tolist())


@app.command(epilog="Example: charrnn inspect weights --json")
def weights(checkpoint: OneCheckpoint = None, as_json: AsJson = False) -> None:
    """Show spectra of the recurrent matrices and norms of all parameters."""
    from charrnn.cli.output import write_json
    from charrnn.cli.views import inspection as views
    from charrnn.inspection.weights import norms, spectra
    from charrnn.runs.checkpoint import load_checkpoint

    loaded = load_checkpoint(*chosen([checkpoint]))
    m = loaded.config.model
    found, sizes = spectra(loaded.params, m.cell, m.num_layers), norms(loaded.params)
    if as_json:
        matrices = [
            {"layer": s.layer, "gate": s.gate, "spectral_radius": s.spectral_radius,
             "singular_values": s.singular_values.tolist()}
            for s in found
        ]  # fmt: skip
        write_json({"recurrent": matrices, "parameters": sizes})
    else:
        views.show_weights(found, sizes)


@app.command(epilog="Example: charrnn inspect errors")
def errors(
    checkpoint: OneCheckpoint = None,
    text: TextFile = None,
    unknown: UnknownInText = Unknown.error,
    start: Start = 0,
    length: Length = 100_000,
    corpus: Corpus = None,
    as_json: AsJson = False,
) -> None:
    """Break the loss down by kind of character, position in the word and how common the last five characters are."""
    from dataclasses import asdict

    from charrnn.cli.output import write_json
    from charrnn.cli.views import inspection as views

    seen: ModelAndText = inspected(checkpoint, text, start, length, corpus, unknown)
    breakdown = views.error_breakdown(seen, corpus)
    if as_json:
        write_json({name: [asdict(share) for share in shares] for name, shares in breakdown.items()})
    else:
        views.show_errors(breakdown)
