"""Which settings mattered: the mean result at each of a setting's values, next to the spread between seeds."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, variance
from typing import Any

from charrnn.runs.table import Run, Value, varied_settings

_SEED = "training.seed"
_MANY = 5  # number of values above which neighbours are grouped


@dataclass(frozen=True)
class Level:
    """One value of a setting, or a range of them.

    Attributes:
        label: as text.
        mean: of the results (nats), each combination of the others counted once, whatever its number of seeds.
        runs: their number.
    """

    label: str
    mean: float
    runs: int


@dataclass(frozen=True)
class Effect:
    """What a setting changed.

    Attributes:
        setting: its path.
        levels: best first.
        size: the worst level's mean minus the best's, nats.
        seed_spread: standard deviation between runs that differ by their seed alone, pooled, nats; None without any.
    """

    setting: str
    levels: tuple[Level, ...]
    size: float
    seed_spread: float | None


def effects(runs: Sequence[Run]) -> list[Effect]:
    """The effect of every setting, except the seed, in which runs with a result differ; largest first.

    It is the difference of marginal means, which is fair if the other settings are balanced (a grid) or drawn
    independently (random); in a search they are neither, and it is only a hint.
    """
    measured = [(run, float(loss)) for run in runs if isinstance(loss := run.facts["loss"], int | float)]
    settings = [path for path in varied_settings([run for run, _ in measured]) if path != _SEED]
    groups: dict[str, list[tuple[Run, float]]] = {}
    for run, loss in measured:
        groups.setdefault(json.dumps([run.settings.get(path) for path in settings]), []).append((run, loss))
    spread = _pooled([[loss for _, loss in members] for members in groups.values()])
    points = [(members[0][0], fmean(loss for _, loss in members), len(members)) for members in groups.values()]
    found = []
    for path in settings:
        levels = _levels([(run.settings.get(path), mean, count) for run, mean, count in points])
        size = levels[-1].mean - levels[0].mean
        found.append(Effect(path, tuple(levels), size, spread))
    return sorted(found, key=lambda effect: -effect.size)


def _pooled(groups: Sequence[Sequence[float]]) -> float | None:
    """Square root of the mean variance within groups, weighted by degrees of freedom."""
    several = [group for group in groups if len(group) > 1]
    if not several:
        return None
    freedom = sum(len(group) - 1 for group in several)
    return math.sqrt(sum(variance(group) * (len(group) - 1) for group in several) / freedom)


def _levels(points: Sequence[tuple[Value, float, int]]) -> list[Level]:
    values = {json.dumps(value) for value, _, _ in points}
    numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value, _, _ in points)
    members: dict[str, list[tuple[float, int]]] = {}
    if numbers and len(values) > _MANY:
        third = math.ceil(len(points) / 3)
        ordered: list[Any] = sorted(points, key=lambda point: float(point[0] or 0))
        for start in range(0, len(ordered), third):
            part = ordered[start : start + third]
            members[f"{part[0][0]:g} to {part[-1][0]:g}"] = [(mean, count) for _, mean, count in part]
    else:
        for value, mean, count in points:
            label = value if isinstance(value, str) else json.dumps(value)
            members.setdefault(label, []).append((mean, count))
    levels = [Level(k, fmean(m for m, _ in v), sum(n for _, n in v)) for k, v in members.items()]
    return sorted(levels, key=lambda level: level.mean)
