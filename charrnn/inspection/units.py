"""Which unit tracks what, and how often gates are shut or wide open.

Source: Karpathy, Johnson and Fei-Fei (2015), "Visualizing and understanding recurrent networks", section 4.2.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from charrnn.inspection.properties import BINARY, PROPERTIES
from charrnn.inspection.trace import Trace
from charrnn.nn.params import Array

SATURATED = (0.1, 0.9)  # the paper's bounds: below, a gate is left-saturated (shut); above, right-saturated (open)


@dataclass(frozen=True)
class UnitScore:
    """How well one unit's value predicts a property.

    Attributes:
        layer, unit: which, from 0.
        train, held_out: on the first half of the text, where threshold or line was fitted, and on the second.
            For binary properties: Youden's J, sensitivity + specificity - 1; for amounts: the share of the
            variance explained (R²). 1 is perfect; 0 is as good as knowing nothing.
    """

    layer: int
    unit: int
    train: float
    held_out: float


def rank_units(trace: Trace, text: Sequence[str], name: str, *, of: str = "h") -> list[UnitScore]:
    """All units of all layers by their score on the half they were not fitted on, best first.

    Args:
        trace: of the text.
        text: what was read, symbol by symbol.
        name: a key of `PROPERTIES`.
        of: the state or gate looked at.

    Raises:
        ValueError: the property is the same everywhere in one of the halves.
    """
    values = PROPERTIES[name](text)
    half = len(values) // 2
    if np.ptp(values[:half]) == 0 or np.ptp(values[half:]) == 0:
        raise ValueError(f"{name} is the same everywhere in one half of this text")
    fit = _fit_threshold if name in BINARY else _fit_line
    scores = []
    for layer in range(len(trace.layers)):
        activations = trace.activation(of, layer).astype(np.float64)
        train, held_out = fit(activations[:half], values[:half], activations[half:], values[half:])
        scores += [
            UnitScore(layer, unit, float(a), float(b)) for unit, (a, b) in enumerate(zip(train, held_out, strict=True))
        ]
    return sorted(scores, key=lambda s: -s.held_out)


Floats = npt.NDArray[np.float64]


def _fit_line(x: Floats, y: Floats, x2: Floats, y2: Floats) -> tuple[Floats, Floats]:
    """Least squares with one unit each: R² on both halves."""
    mean, spread = x.mean(axis=0), x.var(axis=0)
    slope = ((x - mean) * (y - y.mean())[:, None]).mean(axis=0) / np.where(spread > 0, spread, 1.0)

    def explained(a: Floats, b: Floats) -> Floats:
        error = ((b[:, None] - (y.mean() + slope * (a - mean))) ** 2).mean(axis=0)
        out: Floats = 1.0 - error / b.var()
        return out

    return explained(x, y), explained(x2, y2)


def _fit_threshold(x: Floats, y: Floats, x2: Floats, y2: Floats) -> tuple[Floats, Floats]:
    """The threshold and direction with the largest Youden's J on the first half, then J on both halves."""
    order = np.argsort(x, axis=0, kind="stable")
    positive = (y > 0)[order]
    hits = np.cumsum(positive, axis=0) / positive.sum(axis=0)
    falses = np.cumsum(~positive, axis=0) / (~positive).sum(axis=0)
    ranked = np.take_along_axis(x, order, axis=0)
    same = np.vstack([ranked[1:] == ranked[:-1], np.zeros((1, x.shape[1]), bool)])
    below = np.where(same, 0.0, hits - falses)  # J of "below the threshold"; ties cannot be separated
    best = np.abs(below).argmax(axis=0)
    columns = np.arange(x.shape[1])
    threshold, sign = ranked[best, columns], np.sign(below[best, columns])
    unseen = (x2 <= threshold)[y2 > 0].mean(axis=0) - (x2 <= threshold)[y2 == 0].mean(axis=0)
    return np.abs(below[best, columns]), sign * unseen


@dataclass(frozen=True)
class Saturation:
    """Shares of the time that each unit's gate is shut and open.

    Attributes:
        layer: from 0.
        gate: letter.
        left, right: (H,) below 0.1 and above 0.9.
    """

    layer: int
    gate: str
    left: Array
    right: Array


def saturation(trace: Trace) -> list[Saturation]:
    """Of all sigmoid gates (i f o of an LSTM, r z of a GRU); empty for a vanilla RNN."""
    low, high = SATURATED
    return [
        Saturation(index, gate, (layer[gate] < low).mean(axis=0), (layer[gate] > high).mean(axis=0))
        for index, layer in enumerate(trace.layers)
        for gate in trace.sigmoid_gates
    ]
