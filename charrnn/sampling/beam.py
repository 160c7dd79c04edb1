"""Beam search: the likeliest continuation among those that follow from the N likeliest beginnings.

    score = log p(text) / length^penalty

Source: Graves (2012), section 2.5; the length in the score as by Wu et al. (2016), section 7, in its simplest form.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from charrnn.nn.head import log_softmax
from charrnn.nn.params import IdArray
from charrnn.runs.start import TextModel


@dataclass(frozen=True)
class Hypothesis:
    """A continuation.

    Attributes:
        ids: its symbols.
        nats: the surprise of each.
        score: mean log-probability, by the penalty.
    """

    ids: tuple[int, ...]
    nats: tuple[float, ...]
    score: float


def beam_search(
    model: TextModel,
    prime: IdArray | Sequence[int] = (),
    *,
    length: int,
    width: int,
    length_penalty: float = 1.0,
    ends: Sequence[int] = (),
    banned: Sequence[int] = (),
) -> list[Hypothesis]:
    """Search deterministically.

    Args:
        model: what writes.
        prime: (P,) ids to continue; empty to begin a text.
        length: symbols at most.
        width: beginnings kept at each step.
        length_penalty: 0 prefers short texts, 1 compares means.
        ends: ids after which a continuation is over; the id is not part of it.
        banned: ids that are never chosen.

    Returns:
        Up to `width` continuations, best first; equal scores in the order of their ids.
    """
    stepper, logits = model.begin(prime)
    texts: list[tuple[int, ...]] = [()]
    surprises: list[tuple[float, ...]] = [()]
    finished: list[Hypothesis] = []
    totals = np.zeros(1)
    for step in range(length):
        log_p = log_softmax(logits)
        log_p[list(banned)] = -np.inf
        candidates = (totals + log_p).T  # (beams, V)
        order = np.argsort(-candidates, axis=None, kind="stable")[: width + len(ends) * len(texts)]
        picked: list[tuple[int, int, float]] = []
        for place in order:
            beam, symbol = divmod(int(place), candidates.shape[1])
            if len(picked) == width or not np.isfinite(candidates[beam, symbol]):
                break
            nats = -float(log_p[symbol, beam])
            if symbol in ends:
                finished.append(_scored(texts[beam], (*surprises[beam], nats), length_penalty))
            else:
                picked.append((beam, symbol, nats))
        if not picked:
            return _best(finished, width)
        texts = [(*texts[beam], symbol) for beam, symbol, _ in picked]
        surprises = [(*surprises[beam], nats) for beam, _, nats in picked]
        totals = np.array([-sum(values) for values in surprises])
        if step + 1 < length:
            stepper = stepper.taken(np.array([beam for beam, _, _ in picked]))
            logits = stepper.step(np.array([symbol for _, symbol, _ in picked]))
    finished += [_scored(text, nats, length_penalty) for text, nats in zip(texts, surprises, strict=True)]
    return _best(finished, width)


def _scored(ids: tuple[int, ...], nats: tuple[float, ...], penalty: float) -> Hypothesis:
    exponent = penalty * math.log(max(1, len(nats)))
    divisor = max(1, len(nats)) ** penalty if exponent < 700.0 else math.inf  # beyond what a float can be
    return Hypothesis(ids, nats[: len(ids)], -sum(nats) / divisor)


def _best(found: list[Hypothesis], width: int) -> list[Hypothesis]:
    return sorted(found, key=lambda hypothesis: (-hypothesis.score, hypothesis.ids))[:width]
