"""`charrnn report`."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from charrnn.cli.arguments import RunDirectories
from charrnn.cli.output import tell
from charrnn.cli.text_options import Corpus

if TYPE_CHECKING:
    from charrnn.cli.commands.inspected import ModelAndText
    from charrnn.runs.history import History
    from charrnn.runs.reading import Row

EXAMPLE = "Example: charrnn report checkpoints/quickstart -o report.html"

_COLUMNS = ("step", "chars", "seconds", "train_loss", "val_loss", "learning_rate", "grad_norm")
_SAMPLES = 12  # of a run; more are thinned out evenly
_SAMPLE_BYTES = 1 << 24  # of the end of samples.txt
_POINTS = 2000  # of a curve; more than a page is wide


def report(
    runs: RunDirectories,
    output: Annotated[Path, typer.Option("--output", "-o", help="HTML page to write.")] = Path("report.html"),
    length: Annotated[int, typer.Option(min=2, help="Number of characters of coloured text.")] = 1200,
    activations: Annotated[
        bool,
        typer.Option(
            "--activations/--no-activations",
            "--inside/--no-inside",
            help="Include coloured text, memory curves and error tables.",
        ),
    ] = True,
    corpus: Corpus = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Also write the page's data to standard output as JSON.")
    ] = False,
) -> None:
    """Write an HTML page about one or more runs.

    It has settings, curves, samples, a comparison, coloured text, memory curves and error tables.
    """
    from charrnn.cli.output import write_json
    from charrnn.files import write_output, writing
    from charrnn.inspection.report import finite, render
    from charrnn.runs.history import read_history

    histories = [read_history(path) for path in runs]
    data: dict[str, Any] = {
        "title": f"charrnn: {', '.join(h.name for h in histories)}",
        "runs": [_run(history) for history in histories],
        "texts": [],
        "memory": [],
        "errors": [],
    }
    if activations:
        for history in histories:
            _look_inside(history, data, length, corpus)
    with writing(output):
        write_output(output, render(data).encode("utf-8"))
    if as_json:
        write_json(finite(data))
    tell(f"wrote {output}")


def _run(history: History) -> dict[str, Any]:
    """What the page shows of one run without its weights."""
    from charrnn.config.load import config_to_dict
    from charrnn.runs.reading import Row

    config = history.config()
    last = history.rows[-1] if history.rows else Row(0)
    best = history.best
    parameters = None
    if os.path.lexists(history.path / "last.npz"):
        from charrnn.runs.checkpoint import load_checkpoint

        parameters = sum(v.size for v in load_checkpoint(history.path / "last.npz").params.values())
    seconds = last.seconds or 0.0
    return {
        "name": history.name,
        "cell": config.model.cell,
        "parameters": parameters,
        "steps": last.step,
        "chars": last.chars,
        "seconds": round(seconds, 1),
        "speed": round((last.chars or 0) / max(seconds, 1e-9)) if seconds else None,
        "train_loss": last.train_loss,
        "best": None if best is None else best.val_loss,
        "history": {name: [row[name] for row in _thinned(history.rows)] for name in _COLUMNS},
        "samples": _samples(history.path / "samples.txt"),
        "advice": _advice(history),
        "settings": {f"{s}.{k}": v for s, values in config_to_dict(config).items() for k, v in values.items()},
    }


def _advice(history: History) -> list[str]:
    """What can be said of a run without its text, as lines."""
    from charrnn.cli.views.advice import facts_lines, with_options
    from charrnn.evaluation.diagnosis import diagnose

    found = diagnose(history, look=False)
    return facts_lines(found) + [with_options(piece) for piece in found.advice]


def _thinned(rows: Sequence[Row]) -> list[Row]:
    """At most twice `_POINTS` rows: some with a validation and some without, evenly, and the last of each."""
    kept = []
    for measured in (True, False):
        places = [k for k, row in enumerate(rows) if (row.val_loss is not None) == measured]
        kept += places[::-1][:: max(1, -(-len(places) // _POINTS))]
    return [rows[k] for k in sorted(kept)]


def _samples(path: Path) -> list[dict[str, Any]]:
    from charrnn.runs.reading import read_text

    text = read_text(path, limit=_SAMPLE_BYTES, end=True) or ""
    parts = re.split(r"^--- step ([0-9]{1,18}) ---\n", text, flags=re.MULTILINE)
    found = [
        {"step": int(step), "text": body.rstrip("\n")} for step, body in zip(parts[1::2], parts[2::2], strict=True)
    ]
    every = max(1, -(-len(found) // _SAMPLES))
    return found[::-1][::every][::-1]


def _look_inside(history: History, data: dict[str, Any], length: int, corpus: list[str] | None) -> None:
    from charrnn.cli.commands.inspected import inspected
    from charrnn.cli.views.inspection import error_breakdown
    from charrnn.inspection.memory import gradient_memory, loss_by_context
    from charrnn.inspection.report import units_data
    from charrnn.inspection.trace import trace_text

    piece = inspected(history.path, None, 0, length, corpus)
    data["texts"].append(units_data(history.name, piece.text, trace_text(piece.model, piece.ids, **piece.around)))
    whole: ModelAndText = inspected(history.path, None, 0, 200_000, corpus)
    try:
        separator = whole.around["separator"]
        gradient = gradient_memory(whole.model, whole.ids, places=16, separator=separator).tolist()
        loss = [round(x, 4) for x in loss_by_context(whole.model, whole.ids, places=256, separator=separator)]
        data["memory"].append({"name": history.name, "gradient": gradient, "loss": loss})
    except ValueError as error:
        tell(f"note: {history.name}: no memory curves: {error}")
    tables = {title: [asdict(share) for share in shares] for title, shares in error_breakdown(whole, corpus).items()}
    data["errors"].append({"name": history.name, "tables": tables})
