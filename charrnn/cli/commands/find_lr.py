"""`charrnn find-lr`."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from charrnn.cli.arguments import CONFIG, Overrides, output_file

if TYPE_CHECKING:
    from charrnn.training.lr_finder import LrPoint, LrSuggestion

EXAMPLE = "Example: charrnn find-lr --config gru --output curve.csv"
_CSV = ".csv"


def find_lr(
    config: Annotated[Path, CONFIG],
    overrides: Overrides = None,
    low: Annotated[float, typer.Option("--from", help="Lowest learning rate to try.")] = 1e-5,
    high: Annotated[float, typer.Option("--to", help="Highest learning rate to try.")] = 1.0,
    steps: Annotated[int, typer.Option(min=10, help="Number of training steps between the two rates.")] = 300,
    output: Annotated[
        Path | None, output_file("Write the curve: .csv, or .png, .svg, .pdf (needs charrnn[plots]).")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Write the suggestion and the curve as one JSON object.")
    ] = False,
) -> None:
    """Suggest a learning rate.

    Trains briefly while raising the rate, and finds where the loss falls fastest.
    """
    from dataclasses import asdict

    from charrnn.cli.output import write_json
    from charrnn.cli.views.progress import byte_progress
    from charrnn.config.builtin import settings_path
    from charrnn.config.load import load_config
    from charrnn.errors import SettingsError
    from charrnn.inspection.plots.figures import check_output
    from charrnn.training.lr_finder import range_test, suggest
    from charrnn.training.session import read_corpus

    if not 0 < low < high < math.inf:
        raise SettingsError(f"--from {low:g} --to {high:g}: allowed: 0 < from < to, both finite")
    if output is not None:
        check_output(output, other=(_CSV,))
    settings = load_config(settings_path(str(config)), overrides or [])
    text = read_corpus(settings, bar=byte_progress)
    points = list(range_test(settings, text, low=low, high=high, steps=steps))
    if len(points) < 3:
        raise SettingsError(
            f"--from {low:g}: the loss is NaN even at the lowest learning rates", hint="use a smaller --from"
        )
    advice = suggest(points, complete=len(points) == steps)
    if as_json:
        write_json({**asdict(advice), "curve": [asdict(point) for point in points]})
    else:
        _advise(advice)
    if output is not None:
        _save(points, advice, output)


def _advise(advice: LrSuggestion) -> None:
    from charrnn.cli.output import write

    write(
        f"loss falls fastest at {advice.steepest:.2g}, is lowest at {advice.lowest:.2g}"
        + (f", diverges from {advice.diverged:.2g}\n" if advice.diverged else "\n")
        + f"suggestion: --set training.learning_rate={advice.rate:.2g}\n"
    )


def _save(points: list[LrPoint], advice: LrSuggestion, output: Path) -> None:
    from charrnn.files import write_output, writing

    if output.suffix.lower() != _CSV:
        from charrnn.inspection.plots.curves import draw_range_test

        draw_range_test([p.rate for p in points], [p.smoothed for p in points], advice.rate, output)
        return
    rows = ["rate,loss,smoothed", *(f"{p.rate!r},{p.loss!r},{p.smoothed!r}" for p in points)]
    with writing(output):
        write_output(output, ("\n".join(rows) + "\n").encode())
