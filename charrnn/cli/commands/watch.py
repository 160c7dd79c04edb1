"""`charrnn watch`: a run in progress, from another terminal, read from its history alone."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from charrnn.cli.arguments import OneRun, chosen_run
from charrnn.cli.output import on_terminal, tell

if TYPE_CHECKING:
    from charrnn.runs.events import Event
    from charrnn.runs.history import History

EXAMPLE = "Example: charrnn watch checkpoints/quickstart; charrnn watch checkpoints/quickstart --once"


def watch(
    run: OneRun = None,
    interval: Annotated[float, typer.Option(min=0.1, help="Seconds between updates.")] = 1.0,
    once: Annotated[bool, typer.Option("--once", help="Show the current state once and exit.")] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Wait for a run that has not started yet.")] = False,
) -> None:
    """Follow a run from another terminal. Ends with the run, or with Ctrl-C.

    Without a terminal, reports are lines on standard error, and the state at the end goes to standard output.
    """
    from rich.console import Console

    from charrnn.cli.views.training import PlainView, RichView, display_kind
    from charrnn.errors import DataError
    from charrnn.locks import is_locked
    from charrnn.runs.events import StepReport
    from charrnn.runs.history import read_history
    from charrnn.runs.table import read_run

    run = chosen_run(run)
    while wait and not once and not (run / "history.jsonl").exists():
        time.sleep(interval)
    history = read_history(run)
    live = on_terminal() and display_kind("rich") == "rich"
    view, lines = RichView(Console(), live=live and not once), PlainView()

    def show(event: Event) -> None:
        view.show(event)
        if not live and not once and isinstance(event, StepReport):
            lines.show(event)

    try:
        shown = _feed(show, history, 0)
        if once:
            if not is_locked(run / ".lock") and (ended := read_run(run)):
                view.end = ended.status
            view.print_once()
            return
        going = True
        while going:
            going = is_locked(run / ".lock")  # asked before reading, so that what was written last is still shown
            with contextlib.suppress(DataError):  # being replaced
                history = read_history(run)
                if len(history.rows) < shown:  # resumed, rolled back or restarted
                    view.forget()
                    shown = 0
                shown = _feed(show, history, shown)
            time.sleep(interval if going else 0.0)
        ended = read_run(run)
        view.end = ended.status if ended else ""
        view.update() if live else view.print_once()
    except KeyboardInterrupt:
        return
    finally:
        view.close()
    if ended:
        tell(f"{run}: {ended.status} after step {ended.facts['steps']:,}")


def _feed(show: Callable[[Event], None], history: History, shown: int) -> int:
    """Show the rows after the first `shown`; return how many there are now."""
    for event in _events(history, shown):
        show(event)
    return len(history.rows)


def _events(history: History, shown: int) -> Iterator[Event]:
    """What the trainer reported, as far as the files have it."""
    from charrnn.evaluation.diagnosis import diagnose
    from charrnn.runs.events import Advised, Evaluated, RunStarted, SampleMade, StepReport
    from charrnn.runs.history import last_sample

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
    sample = last_sample(history.path)
    if sample is not None:
        yield SampleMade(0, sample)
