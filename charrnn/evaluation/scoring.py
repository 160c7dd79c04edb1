"""How likely a model finds single characters, lines and candidates."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from charrnn.evaluation.loss import mixed_surprisals
from charrnn.nn.network import CharRNN
from charrnn.nn.params import IdArray

_CELLS = 1 << 16  # symbols of a batch of candidates, padding included
_WINDOW = 128


@dataclass(frozen=True)
class Line:
    """A line of a text.

    Attributes:
        number: from 1.
        characters: that were scored; the line's end counts, the text's first character does not.
        nats: their sum.
    """

    number: int
    characters: int
    nats: float

    @property
    def bits_per_char(self) -> float:
        """Bits; NaN where nothing was scored."""
        return self.nats / self.characters / math.log(2) if self.characters else math.nan


@dataclass(frozen=True)
class Spot:
    """A surprising position.

    Attributes:
        position: of the character, from 0.
        bits: of its surprise.
    """

    position: int
    bits: float


def character_nats(
    models: Sequence[CharRNN], ids: IdArray, *, separator: IdArray | None = None, before: IdArray | None = None
) -> npt.NDArray[np.float64]:
    """(N,) nats of every symbol, NaN for the first, which has no context."""
    return np.concatenate(([math.nan][: len(ids)], mixed_surprisals(models, ids, separator=separator, before=before)))


def by_line(ids: IdArray, nats: npt.NDArray[np.float64], newline: int | None) -> list[Line]:
    """Sums for each line, its end included.

    Args:
        ids: (N,) of the text.
        nats: (N,) of `character_nats`.
        newline: id of the line end; None if the model has none; then all is one line.
    """
    ends = np.flatnonzero(ids == newline) + 1 if newline is not None else np.empty(0, np.intp)
    bounds = [0, *ends.tolist(), *([len(ids)] if not len(ends) or ends[-1] < len(ids) else [])]
    lines = []
    for number, (start, stop) in enumerate(itertools.pairwise(bounds), 1):
        scored = nats[start:stop][~np.isnan(nats[start:stop])]
        lines.append(Line(number, scored.size, float(scored.sum())))
    return lines


def most_surprising(nats: npt.NDArray[np.float64], count: int, *, apart: int = 20) -> list[Spot]:
    """The `count` most surprising characters, no two within `apart` of each other, the most surprising first."""
    found: list[Spot] = []
    taken = np.isnan(nats)
    for position in np.argsort(-np.where(taken, -math.inf, nats), kind="stable"):
        if len(found) == count or np.isnan(nats[position]):
            break
        if not taken[position]:
            found.append(Spot(int(position), float(nats[position]) / math.log(2)))
            taken[max(0, position - apart + 1) : position + apart] = True
    return found


def candidate_nats(models: Sequence[CharRNN], prime: IdArray, candidates: Sequence[IdArray]) -> list[float]:
    """Nats of each candidate after the prime, each on its own; many are read in parallel.

    Args:
        models: one, or several whose probabilities are averaged.
        prime: (P,) ids before each candidate, at least one, not scored.
        candidates: (N_i,) ids each; an empty one has 0 nats.
    """
    out = [0.0] * len(candidates)
    order = sorted((k for k in range(len(candidates)) if len(candidates[k])), key=lambda k: len(candidates[k]))
    while order:
        longest = len(prime) + len(candidates[order[0]])
        batch: list[int] = []
        while order:
            longest = len(prime) + len(candidates[order[0]])
            if batch and longest * (len(batch) + 1) > _CELLS:
                break
            batch.append(order.pop(0))
        longest = len(prime) + len(candidates[batch[-1]])
        rows = np.zeros((longest, len(batch)), np.intp)
        for column, k in enumerate(batch):
            rows[: len(prime), column] = prime
            rows[len(prime) : len(prime) + len(candidates[k]), column] = candidates[k]
        nats = _window_nats(models, rows)
        for column, k in enumerate(batch):
            out[k] = float(nats[len(prime) - 1 : len(prime) - 1 + len(candidates[k]), column].sum())
    return out


def _window_nats(models: Sequence[CharRNN], rows: npt.NDArray[np.intp]) -> npt.NDArray[np.float64]:
    """(N, B) ids from zero states -> (N - 1, B) nats of all but the first."""
    likelihood = np.zeros((len(rows) - 1, rows.shape[1]))
    for model in models:
        state = model.zero_state(rows.shape[1])
        model.refresh(backward=False)
        for start in range(0, len(rows) - 1, _WINDOW):
            stop = min(start + _WINDOW, len(rows) - 1)
            found = model.loss(rows[start:stop], rows[start + 1 : stop + 1], state, refresh=False)
            likelihood[start:stop] += np.exp(-found.astype(np.float64))
    out: npt.NDArray[np.float64] = -np.log(np.maximum(likelihood / len(models), np.finfo(np.float64).tiny))
    return out
