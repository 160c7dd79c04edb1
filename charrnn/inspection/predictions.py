"""What the network expected at each position, and where it was most right and most wrong."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from charrnn.inspection.trace import Trace


@dataclass(frozen=True)
class Prediction:
    """The guesses for one symbol of a text.

    Attributes:
        position: of the symbol.
        symbol: its id.
        nats: how surprising it was.
        guesses: ids and probabilities of the most likely symbols, best first.
    """

    position: int
    symbol: int
    nats: float
    guesses: tuple[tuple[int, float], ...]


def predictions(trace: Trace, *, count: int = 5) -> list[Prediction]:
    """The `count` best guesses for every symbol but the first."""
    p = np.exp(trace.log_p[:-1].astype(np.float64))
    count = min(count, p.shape[1])
    order = np.argsort(-p, axis=1, kind="stable")[:, :count]
    nats = trace.nats
    return [
        Prediction(i + 1, int(trace.ids[i + 1]), float(nats[i]), tuple((int(k), float(p[i, k])) for k in order[i]))
        for i in range(len(p))
    ]


def best_and_worst(found: list[Prediction], count: int) -> tuple[list[Prediction], list[Prediction]]:
    """The `count` best and worst predicted positions, best and worst first."""
    ranked = sorted(found, key=lambda p: (p.nats, p.position))
    return ranked[:count], ranked[::-1][:count]
