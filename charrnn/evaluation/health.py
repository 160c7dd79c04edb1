"""Whether a network has gone wrong in a way that its loss need not show: samples that derail, units that stand still.

A network may have states that training never brought it to, from which it predicts nonsense and does not come back. A
sample that is begun without a past shows it: from some place on, each of its characters is a surprise to the network
itself. And learning too fast drives units to the ends of their range, where no gradient brings them back.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from charrnn.nn.head import log_softmax
from charrnn.nn.network import CharRNN
from charrnn.nn.params import Array, IdArray
from charrnn.nn.stepper import Stepper

SAMPLES = 64  # fewer where the vocabulary is so large that they would take more than a few seconds
_MOST_LOGITS, _FEWEST_SAMPLES = 50_000_000, 4
FEW_STEPS = 200  # of a network that is hardly trained
_LENGTH = 200
_SPAN = 50  # characters whose mean surprise tells a derailed sample from a surprising word
_READ, _READERS, _SETTLED = 256, 8, 64
_STILL = 0.01  # standard deviation of a unit that hardly moves; its range is 2
_SATURATED = 0.99


@dataclass(frozen=True)
class Health:
    """What was found.

    Attributes:
        derailed_samples: share of samples, begun from a zero state and one character, that derail.
        still_units: share of units that hardly move while the network reads.
        saturated_units: share of units that are at an end of their range most of the time.
    """

    derailed_samples: float
    still_units: float
    saturated_units: float

    def findings(self, steps: int | None = None) -> dict[str, str]:
        """What is wrong, by a name for it; nothing where the network is in order.

        Args:
            steps: that it was trained for; units of a network that has hardly begun are still without being sick.
        """
        found = {}
        if self.derailed_samples * SAMPLES > 1:  # one may have found a rare place of the text
            found["derailing"] = (
                f"{self.derailed_samples:.0%} of samples that start from the zero state derail into noise"
            )
        if self.still_units > 0.2 and (steps is None or steps >= FEW_STEPS):
            found["still-units"] = f"{self.still_units:.0%} of the units never move while the network reads"
        if self.saturated_units > 0.5:
            found["saturated-units"] = f"{self.saturated_units:.0%} of the units are saturated most of the time"
        return found

    def notes(self, steps: int | None = None) -> tuple[str, ...]:
        """The findings with what to do about them."""
        slower = "lower training.learning_rate or set training.grad_clip"
        more = {"derailing": ", or raise training.state_reset"}
        return tuple(f"{text}; {slower}{more.get(key, '')}" for key, text in self.findings(steps).items())


def check_health(model: CharRNN, ids: IdArray, *, loss: float, seed: int = 0) -> Health:
    """Draw samples and watch units.

    Args:
        model: the network.
        ids: (N,) of a text, to begin from and to read.
        loss: nats per character that the model has on such a text.
        seed: of the samples and the places.
    """
    rng = np.random.default_rng(seed)
    own = _own_nats(model, ids, rng)
    still, saturated = _units(model, ids, rng)
    lost = derailed(own, loss, model.vocab_size)
    # One of a few says as little as one of many, but would look like a large share.
    share = float(lost.mean()) if lost.sum() > 1 or lost.size == SAMPLES else 0.0
    return Health(share, still, saturated)


def derailed(nats: npt.NDArray[np.floating], loss: float, vocab_size: int) -> npt.NDArray[np.bool_]:
    """Which samples derail, by their (T, B) surprise under the network that wrote them: (B,).

    Over some 50 characters the mean is above twice the loss plus 1 nat, or half way from the loss to guessing blindly
    (but not next to the loss): the surprise of text that the network writes in order is close to its loss.
    """
    limit = min(2.0 * loss + 1.0, loss + max(0.8, 0.5 * (math.log(vocab_size) - loss)))
    span = min(_SPAN, len(nats))
    sums = np.cumsum(np.concatenate((np.zeros((1, nats.shape[1])), nats)), axis=0, dtype=np.float64)
    out: npt.NDArray[np.bool_] = np.any((sums[span:] - sums[:-span]) / span > limit, axis=0)
    return out


def _own_nats(model: CharRNN, ids: IdArray, rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """(T, B) surprise of samples at temperature 1, each started from the zero state and a character of the text."""
    count = min(SAMPLES, max(_FEWEST_SAMPLES, _MOST_LOGITS // (_LENGTH * model.vocab_size)))
    stepper, columns = Stepper(model, count), np.arange(count)
    logits = stepper.step(ids[rng.integers(len(ids), size=count)].astype(np.intp))
    out = np.empty((_LENGTH, count))
    for row in out:
        log_p = log_softmax(logits.astype(np.float64))
        drawn = (log_p + rng.gumbel(size=log_p.shape)).argmax(axis=0)  # Gumbel's trick: a draw from the softmax
        row[...] = -log_p[drawn, columns]
        logits = stepper.step(drawn)
    return out


def _units(model: CharRNN, ids: IdArray, rng: np.random.Generator) -> tuple[float, float]:
    """Shares of units that stand still and that are saturated, over some pieces of the text."""
    length = min(_READ, len(ids))
    starts = rng.integers(len(ids) - length + 1, size=_READERS)
    pieces = ids[starts[None, :] + np.arange(length)[:, None]].astype(np.intp)
    layers, _ = model.trace(pieces, model.zero_state(_READERS))
    settled = _SETTLED if length > 2 * _SETTLED else 0
    h: Array = np.concatenate([layer["h"][settled:] for layer in layers], axis=1)  # (T, L*H, B)
    still = h.std(axis=(0, 2)) < _STILL
    saturated = (np.abs(h) > _SATURATED).mean(axis=(0, 2)) > 0.5
    return float(still.mean()), float(saturated.mean())
