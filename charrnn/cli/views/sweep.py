"""What is shown while a sweep runs, on stderr: a live table, or one line per trial."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from charrnn.amounts import counted, duration
from charrnn.cli.output import tell, visible
from charrnn.cli.views.table import layout
from charrnn.cli.views.training import display_kind, guarded

if TYPE_CHECKING:
    from charrnn.sweep.plan import Plan
    from charrnn.sweep.runner import Stopping, SweepEvent, SweepRunner


class SweepView:
    """Counts how trials end; the base class of the views, and itself the silent one.

    Args:
        plan: of the sweep.
        runner: knows which trials were done before.
    """

    def __init__(self, plan: Plan, runner: SweepRunner) -> None:
        self.total = runner.source.total()
        statuses = [runner.directory.status(trial) for trial in runner.directory.trials()]
        self.counts: Counter[str] = Counter(s for s in statuses if s in ("done", "pruned"))

    def show(self, event: SweepEvent) -> None:
        """Receive an event."""
        from charrnn.sweep.runner import TrialEnded

        if isinstance(event, TrialEnded):
            self.counts[event.status] += 1

    def close(self) -> None:
        """Nothing to restore."""

    def headline(self) -> str:
        """How far the sweep has come."""
        finished = {status: count for status, count in sorted(self.counts.items()) if status != "begun"}
        parts = ", ".join(f"{count} {status}" for status, count in finished.items())
        saved = f", {self.counts['begun']} saved" if self.counts["begun"] else ""
        return f"{sum(finished.values())} of {self.total} trials finished ({parts or 'none yet'}){saved}"


class LineView(SweepView):
    """A line when a trial starts and when it ends."""

    def show(self, event: SweepEvent) -> None:
        """Write the event's line, if it has one."""
        from charrnn.sweep.runner import Stopping, TrialEnded, TrialStarted

        super().show(event)
        if isinstance(event, TrialStarted):
            self._say(f"{'resumes' if event.resumed else 'starts '}  {event.trial.name}")
        elif isinstance(event, TrialEnded):
            loss = "" if event.loss is None else f"  loss {event.loss:.4f}"
            error = f"  {event.error}" if event.error else ""
            status = "stopped" if event.status == "begun" else event.status
            self._say(f"{status:<7}  {event.trial.name}{loss}{error}   {self.headline()}")
        elif isinstance(event, Stopping):
            self._say(_stopping(event))

    def _say(self, line: str) -> None:
        tell(line)


def _stopping(event: Stopping) -> str:
    trials = counted(event.running, "running trial")
    again = "; Ctrl-C again stops at once" if event.asked else ""
    return f"stopping, once {trials} {'is' if event.running == 1 else 'are'} saved{again}"


def short_names(names: Sequence[str]) -> tuple[str, dict[str, str]]:
    """What distinguishes trials, for a narrow column.

    Args:
        names: as in ``cell=gru,hidden_size=8,seed=1``.

    Returns:
        A heading and the entry below it for each name: the settings that differ, and their values alone. If the
        names do not all name the same settings, they are left unchanged.
    """
    parts = [[part.rpartition("=") for part in name.split(",")] for name in names]
    keys = [[key for key, _, _ in row] for row in parts]
    if not keys or any(row != keys[0] for row in keys):
        return "trial", {name: name for name in names}
    kept = [k for k, column in enumerate(zip(*parts, strict=True)) if len(set(column)) > 1] or range(len(keys[0]))
    short = [" ".join(row[k][2] for k in kept) for row in parts]
    return " ".join(keys[0][k] or "trial" for k in kept), dict(zip(names, short, strict=True))


class TableView(SweepView):
    """Running trials and the best so far, redrawn twice per second."""

    interval_seconds = 0.5
    best_shown = 8

    def __init__(self, plan: Plan, runner: SweepRunner) -> None:
        super().__init__(plan, runner)
        from rich.console import Console
        from rich.live import Live

        self._console = Console(stderr=True)
        self._planned = [trial.name for trial in plan.trials]
        self._begun = time.monotonic()
        self._running: dict[str, dict[str, Any]] = {}
        self._ended: list[tuple[float, str, str]] = []
        self._failed: list[tuple[str, str]] = []
        self._drawn = 0.0
        self._stopping = ""
        for trial in runner.directory.trials():
            loss = runner.directory.recorded(trial).get("loss")
            if isinstance(loss, int | float):
                self._ended.append((float(loss), trial.name, runner.directory.status(trial)))
        self._live = Live(get_renderable=self._render, console=self._console, auto_refresh=False)
        self._live.start(refresh=True)

    def show(self, event: SweepEvent) -> None:
        """Remember what the table shows, and draw it."""
        from charrnn.sweep.runner import Stopping, TrialEnded, TrialProgress, TrialStarted

        super().show(event)
        if isinstance(event, TrialStarted):
            self._running[event.trial.name] = {}
        elif isinstance(event, TrialProgress):
            known = self._running.setdefault(event.trial.name, {})
            known.update({k: v for k, v in event.row.items() if v is not None})
        elif isinstance(event, TrialEnded):
            self._running.pop(event.trial.name, None)
            if event.loss is not None:
                self._ended.append((event.loss, event.trial.name, event.status))
            if event.status == "failed":
                self._failed.append((event.trial.name, event.error))
        elif isinstance(event, Stopping):
            self._stopping = _stopping(event)
            self._drawn = 0.0
        now = time.monotonic()
        if now - self._drawn >= self.interval_seconds:
            self._drawn = now
            self._live.refresh()

    def close(self) -> None:
        """Remove the table; the results follow."""
        self._live.update(self._render(), refresh=True)
        self._live.stop()

    def _render(self) -> Any:
        from rich.text import Text

        best = sorted(self._ended)
        names = [*self._running, *(name for _, name, _ in best), *(name for name, _ in self._failed)]
        heading, short = short_names(list(dict.fromkeys([*self._planned, *names])))
        rows: list[tuple[str, ...]] = []
        for name, row in self._running.items():
            losses = [f"{row[k]:.4f}" if k in row else "-" for k in ("train_loss", "val_loss")]
            rows.append((short[name], "running", f"{row.get('step', 0):,}", *losses))
        room = max(1, min(self.best_shown, self._console.height - len(self._running) - 8))
        rows += [(short[name], status, "-", "-", f"{loss:.4f}") for loss, name, status in best[:room]]
        laid = layout((heading, "state", "step", "train", "val"), rows, self._console.width)
        text = Text(f"{self.headline()}   {duration(time.monotonic() - self._begun)}\n", no_wrap=True)
        text.append("".join(f"{line}\n" for line in laid.heads), style="bold")
        for k, line in enumerate(laid.rows):
            text.append(f"{line}\n", style="cyan" if k < len(self._running) else "")
        for name, error in self._failed[-2:]:
            text.append(f"failed: {visible(short[name])}: {visible(error)}\n", style="red")
        if self._stopping and self._running:
            text.append(f"{self._stopping}\n", style="yellow")
        return text


@contextmanager
def sweep_view(kind: str, plan: Plan, runner: SweepRunner) -> Iterator[Callable[[SweepEvent], None]]:
    """The view for `kind`, one of those of `charrnn train --progress`."""
    kinds = {"none": SweepView, "rich": TableView}
    with guarded(partial(kinds.get(display_kind(kind), LineView), plan, runner)) as show:
        yield show
