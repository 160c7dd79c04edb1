"""Sources of trials: the plan, in order, or a search that learns from the results."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from charrnn.sweep.directory import SweepDirectory
from charrnn.sweep.plan import Trial


class Source(Protocol):
    """Hands out trials and receives their results."""

    def total(self) -> int:
        """Number of trials in the whole sweep."""

    def next(self) -> tuple[Trial, bool] | None:
        """The next trial, and whether it has begun before; None when there are no more."""

    def report(self, trial: Trial, row: dict[str, Any]) -> bool:
        """Receive a row of its history; True to prune the trial."""

    def ended(self, trial: Trial, status: str, loss: float | None) -> None:
        """Receive its outcome: done, pruned, failed or begun (stopped midway)."""


class PlannedTrials:
    """The missing trials of a plan, in order.

    Args:
        trials: all of them.
        directory: has the trials done so far.
        retry_failed: also those that failed.
    """

    def __init__(self, trials: Sequence[Trial], directory: SweepDirectory, *, retry_failed: bool) -> None:
        self._total = len(trials)
        wanted = {"missing", "begun", *(["failed"] if retry_failed else [])}
        self._left = [(t, s != "missing") for t in trials if (s := directory.status(t)) in wanted]
        self._left.reverse()

    def total(self) -> int:
        """See `Source`."""
        return self._total

    def next(self) -> tuple[Trial, bool] | None:
        """See `Source`."""
        return self._left.pop() if self._left else None

    def report(self, trial: Trial, row: dict[str, Any]) -> bool:
        """See `Source`; a plan prunes nothing."""
        return False

    def ended(self, trial: Trial, status: str, loss: float | None) -> None:
        """See `Source`."""
