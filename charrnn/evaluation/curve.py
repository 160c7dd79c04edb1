"""A run's losses as advice sees them: few points, however long the run."""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Protocol

_MOST = 512  # points kept of a run
_PIECES = 24  # points of a run that validates nothing


class Report(Protocol):
    """What is read of a row of a history."""

    @property
    def step(self) -> int: ...  # noqa: D102
    @property
    def epoch(self) -> float | None: ...  # noqa: D102
    @property
    def chars(self) -> int | None: ...  # noqa: D102
    @property
    def seconds(self) -> float | None: ...  # noqa: D102
    @property
    def train_loss(self) -> float | None: ...  # noqa: D102
    @property
    def val_loss(self) -> float | None: ...  # noqa: D102


@dataclass(frozen=True)
class Point:
    """Where a run was.

    Attributes:
        step, epoch, chars, seconds: done by then; see `charrnn.runs.events.StepReport`.
        train_loss: nats, mean since the point before.
        val_loss: nats; None if it was not measured.
        reports: that it is the mean of.
    """

    step: int
    epoch: float
    chars: int
    seconds: float
    train_loss: float
    val_loss: float | None
    reports: int = 1

    @classmethod
    def of(cls, row: Report) -> Point | None:
        """The point of a report; None where another version left out what advice needs."""
        if row.train_loss is None or row.epoch is None or row.chars is None:
            return None
        return cls(row.step, row.epoch, row.chars, row.seconds or 0.0, row.train_loss, row.val_loss)


@dataclass
class Curve:
    """The reports of a run, thinned to some hundreds.

    Attributes:
        points: in order.
        best: the point with the lowest validation loss, whether it is still among them or not.
        rollbacks: returns to an older checkpoint after a divergence.
    """

    points: list[Point] = field(default_factory=list)
    best: Point | None = None
    rollbacks: int = 0
    _each: int = 1  # reports in a point

    @classmethod
    def of(cls, rows: Iterable[Report], rollbacks: int = 0) -> Curve:
        """The curve of a whole history."""
        curve = cls(rollbacks=rollbacks)
        for row in rows:
            curve.add(row)
        return curve

    def add(self, row: Report) -> None:
        """The next report."""
        if (point := Point.of(row)) is None:
            return
        if self.points and self.points[-1].reports < self._each:
            self.points[-1] = _joined([self.points[-1], point])
        else:
            self.points.append(point)
        best = None if self.best is None else self.best.val_loss
        if point.val_loss is not None and (best is None or point.val_loss < best):
            self.best = point
        if len(self.points) == _MOST and self.points[-1].reports >= self._each:
            self.points = [_joined(self.points[k : k + 2]) for k in range(0, _MOST, 2)]
            self._each *= 2

    def pieces(self, least: int = 1) -> list[Point]:
        """The run from validation to validation; with fewer than `least` of them, in equal pieces."""
        ends = [k + 1 for k, point in enumerate(self.points) if point.val_loss is not None]
        if len(ends) < least:
            count = min(_PIECES, len(self.points))
            ends = [round((k + 1) * len(self.points) / count) for k in range(count)]
        return [_joined(self.points[a:b]) for a, b in pairwise([0, *ends])]


def _joined(points: list[Point]) -> Point:
    """Neighbouring points as one, with the last validation among them."""
    last, reports = points[-1], sum(point.reports for point in points)
    loss = sum(point.reports * point.train_loss for point in points) / reports
    val = next((point.val_loss for point in reversed(points) if point.val_loss is not None), None)
    return Point(last.step, last.epoch, last.chars, last.seconds, loss, val, reports)


def noise(values: list[float]) -> float:
    """The typical distance of a value from the line between its neighbours, about the standard deviation."""
    if len(values) < 5:
        return 0.0
    off = [abs(b - (a + c) / 2) for a, b, c in zip(values, values[1:], values[2:], strict=False)]
    return 1.2 * statistics.median(off)  # 1.48 for the median of absolute values, 0.82 for that of a - (b + c) / 2
