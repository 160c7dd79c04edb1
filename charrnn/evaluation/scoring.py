"""How likely a model finds single characters, lines and candidates."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from charrnn.evaluation.loss import mixed_surprisals
from charrnn.nn.head import log_softmax
from charrnn.nn.network import CharRNN
from charrnn.nn.params import IdArray, IntArray
from charrnn.runs.start import TextModel

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


def candidate_nats(
    model: TextModel,
    prime: IdArray | Sequence[int],
    candidates: Sequence[IdArray],
    *,
    end: IdArray | None = None,
) -> list[float]:
    """Nats of each candidate after the prime, each on its own; many are read in parallel.

    Args:
        model: what judges.
        prime: (P,) ids before each candidate, not scored; empty for candidates that begin a text.
        candidates: (N_i,) ids each; an empty one without an end has 0 nats.
        end: ids that are scored after each candidate: the model's separator, say.
    """
    if end is not None:
        candidates = [np.concatenate((ids, end)) for ids in candidates]
    out = [0.0] * len(candidates)
    order = sorted((k for k in range(len(candidates)) if len(candidates[k])), key=lambda k: len(candidates[k]))
    while order:
        batch: list[int] = []
        while order and (not batch or len(candidates[order[0]]) * (len(batch) + 1) <= _CELLS):
            batch.append(order.pop(0))
        rows = np.zeros((len(candidates[batch[-1]]), len(batch)), np.intp)
        for column, k in enumerate(batch):
            rows[: len(candidates[k]), column] = candidates[k]
        nats = text_nats(model, rows, prime)
        for column, k in enumerate(batch):
            out[k] = float(nats[: len(candidates[k]), column].sum())
    return out


def text_nats(model: TextModel, rows: IntArray, prime: IdArray | Sequence[int] = ()) -> npt.NDArray[np.float64]:
    """(N, B) ids of B texts that each follow the prime -> (N, B) nats of all of them, in one go.

    Args:
        model: what judges.
        rows: (N, B) ids, N at least 1; see `charrnn.runs.start` for how a text begins.
        prime: (P,) ids that are read before, not scored.
    """
    rows = rows.astype(np.intp)
    if model.companion is not None:
        return _nats_step_by_step(model, rows, prime)
    likelihood = np.zeros(rows.shape)
    for network, start in zip(model.models, model.starts, strict=True):
        stepper, logits = TextModel([network], model.vocabulary, [start]).begin(prime)
        likelihood[0] += np.exp(log_softmax(logits))[rows[0], 0]
        state = [np.repeat(layer, rows.shape[1], axis=2) for layer in stepper.state]
        resets = _resets(rows, stepper.recent, model.separator)
        network.refresh(backward=False)
        for first in range(0, len(rows) - 1, _WINDOW):
            stop = min(first + _WINDOW, len(rows) - 1)
            mine = resets[(resets[:, 0] >= first) & (resets[:, 0] < stop)]
            mine[:, 0] -= first
            found = network.loss(
                rows[first:stop], rows[first + 1 : stop + 1], state, resets=mine if len(mine) else None, refresh=False
            )
            likelihood[first + 1 : stop + 1] += np.exp(-found.astype(np.float64))
    out: npt.NDArray[np.float64] = -np.log(np.maximum(likelihood / len(model.models), np.finfo(np.float64).tiny))
    return out


def _nats_step_by_step(model: TextModel, rows: IntArray, prime: IdArray | Sequence[int]) -> npt.NDArray[np.float64]:
    out, columns = np.empty(rows.shape), np.arange(rows.shape[1])
    stepper, logits = model.begin(prime, batch_size=rows.shape[1])
    for step, ids in enumerate(rows):
        out[step] = -log_softmax(logits)[ids, columns]
        if step + 1 < len(rows):
            logits = stepper.step(ids)
    return out


def _resets(rows: IntArray, recent: IntArray, separator: IdArray | None) -> IntArray:
    """(R, 2) of the (t, b) before which a document ended, in the rows or with the (L, 1) ids read before them."""
    if separator is None:
        return np.zeros((0, 2), np.intp)
    before = np.repeat(recent, rows.shape[1], axis=1)
    padded = np.concatenate((before, rows))
    found = np.all([padded[k : k + len(rows)] == symbol for k, symbol in enumerate(separator)], axis=0)
    return np.argwhere(found)
