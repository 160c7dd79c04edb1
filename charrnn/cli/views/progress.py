"""Small signs of progress: a row of blocks, a bar."""

from __future__ import annotations

import itertools
import math
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from charrnn.errors import printable

if TYPE_CHECKING:
    from charrnn.runs.events import RunStarted, StepReport

Progress = Callable[[int, "int | None"], None]

_BLOCKS = "▁▂▃▄▅▆▇█"


def sparkline(values: Sequence[float], width: int) -> str:
    """`values` as a row of at most `width` block characters, lowest to highest; means where there are more values.

    What is not finite leaves a gap.
    """
    if not values or width < 1:
        return ""
    count = min(width, len(values))
    edges = [round(k * len(values) / count) for k in range(count + 1)]
    means = [sum(values[a:b]) / (b - a) for a, b in itertools.pairwise(edges)]
    finite = [mean for mean in means if math.isfinite(mean)]
    low, high = min(finite, default=0.0), max(finite, default=0.0)
    scale = (len(_BLOCKS) - 1) / (high - low) if high > low else 0.0
    return "".join(_BLOCKS[round((mean - low) * scale)] if math.isfinite(mean) else " " for mean in means)


def done_and_left(start: RunStarted, row: StepReport | None) -> tuple[float, float]:
    """Share of the run that is done, by whichever bound is nearer, and seconds of training left (NaN: not known)."""
    seconds = row.seconds if row else start.seconds
    step = row.step if row else start.step
    shares = [step / start.total_steps] if start.total_steps else []
    left = [(start.total_steps - step) * seconds / step] if start.total_steps and step and seconds else []
    if start.max_seconds:
        shares.append(seconds / start.max_seconds)
        left.append(start.max_seconds - seconds)
    return min(1.0, max(shares, default=0.0)), max(0.0, min(left)) if left else math.nan


@contextmanager
def byte_progress(label: str, unit: str = "B", *, quiet: bool = False) -> Iterator[Progress]:
    """A callback `(done, total)` that draws a bar, on a terminal and once it takes long enough to wonder."""
    if quiet or not sys.stderr.isatty():
        yield lambda done, total: None
        return
    from tqdm import tqdm

    bar = tqdm(desc=printable(label), unit=unit, unit_scale=unit == "B", leave=False, delay=0.5, file=sys.stderr)

    def tick(done: int, total: int | None) -> None:
        bar.total = total
        bar.update(done - bar.n)

    try:
        yield tick
    finally:
        bar.close()
