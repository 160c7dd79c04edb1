"""A learning-rate range test: the rate rises at every step, and the loss shows which ones can be used.

Source: Smith (2017), section 3.3, with the rate rising exponentially.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from charrnn.config.schema import Config
from charrnn.data.encode import EncodedText
from charrnn.errors import DivergenceError
from charrnn.runs.directory import RunDirectory
from charrnn.training.trainer import Trainer

_KEEP = 0.9  # of the running mean of losses, which forgets its beginning after ten steps
_STOP_RATIO = 2.0  # times the lowest loss: where the test ends
_MARGIN = 10.0  # the usual order of magnitude between the rate of the lowest loss and the one that is advised


@dataclass(frozen=True)
class LrPoint:
    """One step of the test.

    Attributes:
        rate: learning rate.
        loss: nats per character of the window, before the step.
        smoothed: running mean of the losses, corrected for its start.
    """

    rate: float
    loss: float
    smoothed: float


@dataclass(frozen=True)
class LrSuggestion:
    """What the curve says.

    Attributes:
        rate: to use as the peak rate.
        steepest: where the loss fell fastest with the rate's logarithm.
        lowest: where it was lowest; beyond, steps undo each other.
        diverged: where the test ended because the loss rose or was NaN; None if it did not.
    """

    rate: float
    steepest: float
    lowest: float
    diverged: float | None


def range_test(config: Config, text: EncodedText, *, low: float, high: float, steps: int) -> Iterator[LrPoint]:
    """Train from the settings' initial weights with a rate that rises from `low` to `high`; nothing is kept.

    Args:
        config: settings of the run the rate is for.
        text: its corpus.
        low: first rate.
        high: last rate.
        steps: between them; fewer if the loss rises to a multiple of its lowest, or is NaN.
    """
    trainer = Trainer(config, text, RunDirectory(Path()))  # writes nothing: it is not run
    try:
        trainer.group.start()
        yield from _points(trainer, low, high, steps)
    finally:
        trainer.group.close()


def _points(trainer: Trainer, low: float, high: float, steps: int) -> Iterator[LrPoint]:
    mean, lowest = 0.0, math.inf
    for k in range(steps):
        rate = low * (high / low) ** (k / max(1, steps - 1))
        try:
            loss = trainer.take_step(rate)
        except DivergenceError:
            return
        mean = _KEEP * mean + (1 - _KEEP) * loss
        point = LrPoint(rate, loss, mean / (1 - _KEEP ** (k + 1)))
        lowest = min(lowest, point.smoothed)
        yield point
        if point.smoothed > _STOP_RATIO * lowest:
            return


def suggest(points: Sequence[LrPoint], *, complete: bool) -> LrSuggestion:
    """Which rate to use.

    Args:
        points: of `range_test`, at least three.
        complete: the test went all the way to its highest rate.

    Raises:
        ValueError: fewer than three points.
    """
    if len(points) < 3:
        raise ValueError("a curve needs three points")
    best = min(range(len(points)), key=lambda k: points[k].smoothed)
    slopes = {
        k: (points[k + 1].smoothed - points[k - 1].smoothed) / math.log(points[k + 1].rate / points[k - 1].rate)
        for k in range(1, len(points) - 1)
        if k <= best or best == 0
    }
    steepest = points[min(slopes, key=slopes.__getitem__)].rate if slopes else points[best].rate
    lowest = points[best].rate
    return LrSuggestion(max(lowest / _MARGIN, steepest), steepest, lowest, None if complete else points[-1].rate)
