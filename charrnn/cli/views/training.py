"""What a person sees while something runs; the only place that knows rich and tqdm. All of it goes to stderr.

Texts come from corpora and models, so nothing is ever read as markup, and control characters are shown as escapes.
"""

from __future__ import annotations

import math
import os
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from shlex import quote
from typing import TYPE_CHECKING, Any, Protocol

from charrnn.amounts import counted, duration
from charrnn.cli.output import tell, visible, wrapped
from charrnn.cli.views.advice import NewAdvice, closing_advice, fitting
from charrnn.cli.views.progress import done_and_left, sparkline
from charrnn.errors import printable

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import Console, RenderableType

    from charrnn.runs.events import (
        Advice,
        Event,
        FirstLook,
        Note,
        RolledBack,
        RunFinished,
        RunStarted,
        StepReport,
    )


class View(Protocol):
    """Shows events until it is closed."""

    def show(self, event: Any) -> None:
        """Show an event."""

    def close(self) -> None:
        """Restore the terminal."""


Show = Callable[["Event"], None]

_WIDE = 76  # columns of a panel with two values in a row
_ECHO = 4  # columns beside it for the ^C that a terminal shows: in the next line it would shift the picture


def display_kind(kind: str) -> str:
    """The display for `kind`: auto is rich on a terminal; plain is in place of rich where nothing can be redrawn."""
    if kind == "auto":
        kind = "rich" if sys.stderr.isatty() else "plain"
    # A cell's `!charrnn train` has a terminal whose cursor cannot move; IPython names it so for all its processes.
    notebook = "JPY_PARENT_PID" in os.environ or os.environ.get("GIT_PAGER") == os.environ.get("PAGER") == "cat"
    term = os.environ.get("TERM")
    stuck = term in ("dumb", "unknown") or (term == "xterm-color" and notebook)
    return "plain" if kind == "rich" and stuck else kind


@contextmanager
def train_view(kind: str) -> Iterator[Show]:
    """How the events of a training run are shown.

    Args:
        kind: "auto" (rich on a terminal, plain lines elsewhere), "rich", "tqdm", "plain" or "none".
    """
    kind = display_kind(kind)
    if kind == "none":
        yield lambda event: None
        return
    views: dict[str, type[PlainView] | type[RichView]] = {"rich": RichView, "tqdm": TqdmView, "plain": PlainView}
    with guarded(views[kind]) as show:
        yield show


@contextmanager
def guarded(make: Callable[[], View]) -> Iterator[Callable[[Any], None]]:
    """A display that is let go when it fails, with a line that says so: no work ends for its display."""
    view: View | None = None
    streams = sys.stdout, sys.stderr

    def attempt(call: Callable[[], Any]) -> Any:
        nonlocal view
        try:
            return call()
        except Exception as error:
            view = None
            sys.stdout, sys.stderr = streams  # rich has others in their place while it draws
            tell(f"note: the display failed and is off: {type(error).__name__}: {error}")

    def show(event: Any) -> None:
        if view is not None:
            method = view.show
            attempt(lambda: method(event))

    view = attempt(make)
    try:
        yield show
    finally:
        if view is not None:
            attempt(view.close)


class PlainView:
    """A line per report, fewer and fewer as the run gets longer, so that its log stays readable.

    The first three reports come at once, those of the first half minute at most once per second, later ones when the
    time since the start has grown by a thirtieth: some 170 lines for an hour, 270 for a day. Validations always come.
    """

    interval_seconds = 1.0
    growth = 1 / 30

    def __init__(self) -> None:
        self._begun, self._last, self._shown, self._validated = time.monotonic(), -math.inf, 0, False
        self._advice = NewAdvice()

    def show(self, event: Event) -> None:
        """Write the event's line, if it has one."""
        from charrnn.runs import events

        if isinstance(event, events.RunStarted):
            self._say(*_headline(event))
        elif isinstance(event, events.StepReport):
            now = time.monotonic()
            wait = max(self.interval_seconds, self.growth * (now - self._begun))
            self._validated = self._validated or event.val_loss is not None
            if event.val_loss is not None or self._shown < 3 or now - self._last >= wait:
                self._last, self._shown = now, self._shown + 1
                self._say(_report_line(event))
        elif isinstance(event, events.FirstLook) and not (self._validated or math.isnan(event.val_loss)):
            self._say(_first_look(event))
        elif isinstance(event, events.RolledBack):
            self._say(_rolled_back(event))
        elif isinstance(event, events.Note):
            self._say(_note(event))
        elif isinstance(event, events.Advised):
            self._say(*self._advice.lines(event))
        elif isinstance(event, events.RunFinished):
            self._say(*_closing(event))

    def _say(self, *lines: str) -> None:
        tell(*lines)

    def close(self) -> None:
        """Nothing to restore."""


class TqdmView(PlainView):
    """A tqdm bar over steps with the losses beside it."""

    def __init__(self) -> None:
        super().__init__()
        self._bar: Any = None

    def show(self, event: Event) -> None:
        """Advance the bar."""
        from tqdm import tqdm

        from charrnn.runs import events

        if isinstance(event, events.RunStarted):
            self._say(*_headline(event))
            self._bar = tqdm(total=event.total_steps, initial=event.step, unit="step", file=sys.stderr)
        elif isinstance(event, events.StepReport):
            self._bar.update(event.step - self._bar.n)
            shown = {"train": f"{event.train_loss:.3f}"}
            if event.val_loss is not None:
                shown["val"] = f"{event.val_loss:.3f}"
            self._bar.set_postfix(shown)
        elif isinstance(event, events.RolledBack):
            self._bar.write(printable(_rolled_back(event)), file=sys.stderr)
        elif isinstance(event, events.Note):
            self._bar.write(printable(_note(event)), file=sys.stderr)
        elif isinstance(event, events.Advised):
            for line in self._advice.lines(event):
                self._bar.write(printable(line), file=sys.stderr)
        elif isinstance(event, events.RunFinished):
            self._bar.close()
            self._say(*_closing(event))

    def close(self) -> None:
        """End the bar's line."""
        if self._bar is not None:
            self._bar.close()


class RichView:
    """A panel that stays in place: progress, losses, a sparkline, and what the model writes now."""

    interval_seconds = 1.0

    def __init__(self, console: Console | None = None, *, live: bool = True) -> None:
        from rich.console import Console
        from rich.live import Live

        self._console = console or Console(stderr=True)
        self.forget()
        # Drawn between two steps, not by a thread: a thread would make the trainer wait for the interpreter's lock.
        self._live = Live(get_renderable=self._render, console=self._console, auto_refresh=False)
        self._drawn = -math.inf
        if live:
            self._live.start(refresh=True)

    def forget(self) -> None:
        """Begin again, as before the first event."""
        self._started: RunStarted | None = None
        self._report: StepReport | None = None
        self._finished: RunFinished | None = None
        self.end = ""  # how the run ended, in a word
        self._val = self._best = math.nan
        self._sample = ""
        self._advice: tuple[Advice, ...] = ()
        self._losses: deque[float] = deque(maxlen=2000)

    def update(self) -> None:
        """Draw the panel in its present state."""
        if self._live.is_started:
            self._live.refresh()

    def print_once(self) -> None:
        """The panel in its present state, without a live display."""
        self._console.print(self._render())

    def show(self, event: Event) -> None:
        """Remember what the panel shows, and draw it anew once a second."""
        self._remember(event)
        now = time.monotonic()
        if self._live.is_started and now - self._drawn >= self.interval_seconds:
            self._drawn = now
            self._live.refresh()

    def _remember(self, event: Event) -> None:
        from charrnn.runs import events

        if isinstance(event, events.RunStarted):
            self._started = event
            if event.step:
                self._recall(event.run_dir)
            for note in event.notes:
                self._print(f"note: {note}")
        elif isinstance(event, events.StepReport):
            self._report = event
            self._losses.append(event.train_loss)
        elif isinstance(event, events.Evaluated):
            self._val = event.val_loss
            self._best = event.val_loss if event.best else self._best
        elif isinstance(event, events.SampleMade):
            self._sample = event.text
        elif isinstance(event, events.FirstLook):
            self._val = event.val_loss if math.isnan(self._best) else self._val
            self._sample = event.text or self._sample
        elif isinstance(event, events.RolledBack):
            self._print(_rolled_back(event))
        elif isinstance(event, events.Note):
            self._print(_note(event))
        elif isinstance(event, events.Advised):
            self._advice = event.advice
        elif isinstance(event, events.RunFinished):
            self._finished, self.end = event, "stopped" if event.reason == "stopped" else "finished"

    def _recall(self, run: Path) -> None:
        """Show what a resumed run had when it stopped."""
        from charrnn.runs.history import last_sample, read_history

        if not (run / "history.jsonl").exists():  # of another version, and stopped before its first report
            return
        history = read_history(run)
        self._losses.extend(history.column("train_loss"))
        self._sample = last_sample(run) or ""
        if history.best:
            self._best = history.best["val_loss"]
            self._val = next(v for v in reversed(history.column("val_loss")) if not math.isnan(v))

    def close(self) -> None:
        """Leave the last state on the screen, then say where the files are."""
        self._live.stop()
        if self._finished:
            for line in _closing(self._finished):
                self._print(line)

    def _print(self, line: str) -> None:
        lines = wrapped(printable(line), self._console.width)
        self._console.print(lines, markup=False, highlight=False, soft_wrap=True)

    def _numbers(self, row: StepReport) -> list[str]:
        """Names and values of what is measured, in turn."""
        train = ("train loss", f"{row.train_loss:.4f} nats", "bits/char", f"{row.train_loss / math.log(2):.4f} train")
        speed = ("speed", f"{row.chars_per_second:,.0f} chars/s", "learning rate", f"{row.learning_rate:.2e}")
        return [
            *train[:2], "validation", _nats_bits(self._val), *train[2:], "best", _nats_bits(self._best),
            *speed, "epoch", f"{row.epoch:.2f}", "gradient norm", f"{row.grad_norm:.3f}",
        ]  # fmt: skip

    def _render(self) -> RenderableType:
        from rich.console import Group
        from rich.panel import Panel
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        start, row = self._started, self._report
        if start is None:
            return Text("preparing ...")
        done = row.step if row else start.step
        width = max(20, min(self._console.width - _ECHO, 100))
        grid = Table.grid(padding=(0, 2))
        cells = self._numbers(row) if row else []
        beside = 4 if width >= _WIDE else 2  # a value is never divided
        for k in range(0, len(cells), beside):
            grid.add_row(*cells[k : k + beside])
        title = f"charrnn  {visible(str(start.run_dir))}"
        if start.parameters is not None:
            size = f"  {start.parameters:,} parameters"
            title += size if len(title + size) <= width - 6 else ""
        share, left = done_and_left(start, row)
        # The steps that a run could take are of interest where they, not minutes, end it.
        of = f" of {start.total_steps:,}" if start.total_steps and share <= done / start.total_steps else ""
        ahead = self.end or ("" if math.isnan(left) else "finishing" if left < 1 else f"{duration(left)} left")
        spent = f"{duration(row.seconds if row else start.seconds)} trained"
        steps = Text(f"step {done:,}{of}   {spent}{', ' if ahead else ''}{ahead}")
        bar = Table.grid()  # a bar by itself does not end its line
        bar.add_row(ProgressBar(total=1.0, completed=share, width=width - 4))
        advice = fitting(self._advice, width - 4, self._console.height - 15)
        room = max(3, min(10, self._console.height - 12 - len(advice)))
        shown = Text(visible(self._sample)[-width * room :], overflow="fold")
        parts: list[RenderableType] = [
            steps,
            bar,
            grid,
            Text(sparkline(list(self._losses), width - 4), style="cyan"),
            *(Text(line, style="yellow") for line in advice),
            Panel(shown, title="the model writes", title_align="left", height=room + 2),
        ]
        shortened = Text(title)
        shortened.truncate(width - 6, overflow="ellipsis")  # a longer one would widen the panel
        return Panel(Group(*parts), title=shortened, title_align="left", width=width)


def _nats_bits(nats: float) -> str:
    return "-" if math.isnan(nats) else f"{nats:.4f} nats, {nats / math.log(2):.4f} bits"


def _headline(event: RunStarted) -> list[str]:
    lines = [
        f"{event.run_dir}: {event.parameters:,} parameters, {counted(event.vocab_size, 'symbol')}, "
        f"{event.train_chars:,} training characters, {event.val_chars:,} for validation"
    ]
    lines += [f"note: {note}" for note in event.notes]
    return lines


def _report_line(row: StepReport) -> str:
    val = "" if row.val_loss is None else f"  val {row.val_loss:.4f} ({row.val_loss / math.log(2):.4f} bits/char)"
    return (
        f"step {row.step:>6}  epoch {row.epoch:.2f}  train {row.train_loss:.4f}{val}  |g| {row.grad_norm:.3f}  "
        f"lr {row.learning_rate:.2e}  {row.chars_per_second:,.0f} chars/s  {duration(row.seconds)}"
    )


def _first_look(event: FirstLook) -> str:
    return f"step {event.step:>6}  val {event.val_loss:.4f} on the first {event.characters:,} characters"


def _rolled_back(event: RolledBack) -> str:
    rate = f"learning rate {event.lr_scale:g} times its setting"
    return f"{event.reason}; back to step {event.to_step}, {rate} from here (rollback)"


def _note(event: Note) -> str:
    return f"note: {event.text}"


def _closing(event: RunFinished) -> list[str]:
    s = event.summary
    best = "" if s.get("best_step") is None else f" at step {s['best_step']:,}"
    loss = "" if s["best_val_loss"] is None else f", best validation loss {_nats_bits(s['best_val_loss'])}{best}"
    lines = [f"{counted(s['steps'], 'step')} in {duration(s['seconds'])} ({s['chars_per_second']:,.0f} chars/s){loss}"]
    if event.reason != "stopped":
        lines += closing_advice(s)
        lines.append(f"saved in {s['run_dir']}; now: charrnn sample {quote(s['run_dir'])} --temperature 0.7")
    return lines
