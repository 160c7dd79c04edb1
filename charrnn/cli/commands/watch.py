"""`charrnn watch`: a run in progress, from another terminal, read from its history alone."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from charrnn.cli.views.training import RichView
    from charrnn.runs.events import Event
    from charrnn.runs.history import History

EXAMPLE = "Example: charrnn watch checkpoints/lstm; charrnn watch checkpoints/lstm --once"

_SAMPLE_BYTES = 20_000  # of the end of samples.txt


def watch(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Run directory.")],
    interval: Annotated[float, typer.Option(min=0.1, help="Seconds between updates.")] = 1.0,
    once: Annotated[bool, typer.Option("--once", help="Show the current state once and exit.")] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Wait for a run that has not started yet.")] = False,
) -> None:
    """Follow a run from another terminal; stop with Ctrl-C."""
    from rich.console import Console

    from charrnn.cli.views.training import RichView
    from charrnn.errors import DataError
    from charrnn.runs.history import read_history

    while wait and not once and not (run / "history.jsonl").exists():
        time.sleep(interval)
    history = read_history(run)
    view = RichView(Console(), live=not once)
    try:
        shown = _feed(view, history, 0)
        if once:
            view.print_once()
            return
        while True:
            time.sleep(interval)
            try:
                history = read_history(run)
            except DataError:  # being replaced
                continue
            if len(history.rows) < shown:  # resumed, rolled back or restarted
                view.forget()
                shown = 0
            shown = _feed(view, history, shown)
    except KeyboardInterrupt:
        return
    finally:
        view.close()


def _feed(view: RichView, history: History, shown: int) -> int:
    """Show the rows after the first `shown`; return how many there are now."""
    for event in _events(history, shown):
        view.show(event)
    return len(history.rows)


def _events(history: History, shown: int) -> Iterator[Event]:
    """What the trainer reported, as far as the files have it."""
    from charrnn.evaluation.diagnosis import diagnose
    from charrnn.runs.events import Advised, Evaluated, RunStarted, SampleMade, StepReport

    if shown == 0:
        t = history.config().training
        limit = None if t.max_minutes is None else 60.0 * t.max_minutes
        yield RunStarted(history.path, None, 0, 0, 0, 0, t.max_steps, limit, 0, ())
    best = min((r.val_loss for r in history.rows[:shown] if r.val_loss is not None), default=float("inf"))
    for row in history.rows[shown:]:
        if row.val_loss is not None:
            yield Evaluated(row.step, row.val_loss, row.val_loss < best)
            best = min(best, row.val_loss)
        # Another version may have written fewer numbers; those that are missing are shown as such.
        missing = {k: float("nan") for k in row.keys() if row[k] is None and k not in ("val_loss", "chars")}  # noqa: SIM118
        yield StepReport(**{**row, "chars": row.chars or 0, **missing})
    yield Advised(history.rows[-1].step if history.rows else 0, diagnose(history, look=False).advice)
    sample = _last_sample(history.path / "samples.txt")
    if sample is not None:
        yield SampleMade(0, sample)


def _last_sample(path: Path) -> str | None:
    from charrnn.errors import DataError
    from charrnn.runs.reading import read_text

    try:
        text = read_text(path, limit=_SAMPLE_BYTES, end=True) or ""
    except DataError:
        return None
    return text.rpartition(" ---\n")[2].rstrip("\n") or None
