"""Whether a network has gone wrong in a way that its loss may not show: samples that derail, units that stand still.

A network may have states that training never reached, from which it predicts nonsense and does not recover. A sample
that starts from the zero state shows it: from some place on, each of its characters is a surprise to the network
itself, or at least to the same network in a state that the text has left. And learning too fast drives units to the
ends of their range, where no gradient brings them back.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from charrnn.nn.head import log_softmax
from charrnn.nn.network import CharRNN, State
from charrnn.nn.params import Array, IdArray
from charrnn.nn.stepper import Stepper

SAMPLES = 64  # fewer where the vocabulary is so large that they would take more than a few seconds
_MOST_LOGITS, _FEWEST_SAMPLES = 50_000_000, 4
FEW_STEPS = 200  # of a network that is hardly trained
_LENGTH = 200
_SPAN = 50  # characters whose mean surprise tells a derailed sample from a surprising word
_READ, _READERS, _SETTLED = 256, 8, 64
_AT_ONCE = 25  # characters
_STILL = 0.01  # standard deviation of a unit that hardly moves; its range is 2
_SATURATED = 0.99
_COUNTED = 1 << 16  # symbols of a text, to see how many different ones it has
_MOST_OF_TWO = 0.99  # of a text that is more than two symbols in turn, on which units may rest


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
            steps: that it was trained for; of a network that has hardly begun, samples are noise and units are still
                without its being sick.
        """
        found, begun = {}, steps is None or steps >= FEW_STEPS
        if begun and self.derailed_samples * SAMPLES > 1:  # one may have found a rare place of the text
            found["derailing"] = (
                f"{self.derailed_samples:.0%} of samples that start from the zero state derail into noise"
            )
        if begun and self.still_units > 0.2:
            found["still-units"] = f"{self.still_units:.0%} of the units never move while the network reads"
        if self.saturated_units > 0.5:
            found["saturated-units"] = f"{self.saturated_units:.0%} of the units are saturated most of the time"
        return found

    def notes(self, steps: int | None = None) -> tuple[str, ...]:
        """The findings with what to do about them."""
        slower = "lower training.learning_rate or set training.grad_clip"
        # Measured: some ten steps more suffice (docs/results.md).
        further = {
            "derailing": "train it a little further from these weights, with training.state_reset at 0.05 or more"
        }
        return tuple(f"{text}; {further.get(key, slower)}" for key, text in self.findings(steps).items())


def check_health(model: CharRNN, ids: IdArray, *, loss: float, seed: int = 0) -> Health | None:
    """Draw samples and watch units; None where the text is too short, or too monotonous, to show anything.

    Args:
        model: the network.
        ids: (N,) of a text, to begin from and to read.
        loss: nats per character that the model has on such a text.
        seed: of the samples and the places.
    """
    if len(ids) < _SPAN or _monotonous(ids, model.vocab_size):
        return None
    rng = np.random.default_rng(seed)
    written, own = _samples(model, ids, rng)
    still, saturated, reader, nats = _read(model, ids, rng)
    lost = derailed(own, loss, model.vocab_size)
    if nats <= _limit(loss, model.vocab_size):  # a frozen network may be sure of its noise, which another finds odd
        lost |= derailed(_again(model, written, reader), loss, model.vocab_size)
    # One of a few says as little as one of many, but would look like a large share.
    share = float(lost.mean()) if lost.sum() > 1 or lost.size == SAMPLES else 0.0
    return Health(share, still, saturated)


def _monotonous(ids: IdArray, vocab_size: int) -> bool:
    """Whether hardly more than two symbols (one, if there are only two) make up a text."""
    counts = np.unique(ids[:: 1 + len(ids) // _COUNTED], return_counts=True)[1]
    few = max(1, min(2, vocab_size - 1))
    return bool(np.sort(counts)[-few:].sum() > _MOST_OF_TWO * counts.sum())


def derailed(nats: npt.NDArray[np.floating], loss: float, vocab_size: int) -> npt.NDArray[np.bool_]:
    """Which samples derail, by their (T, B) surprise under the network that wrote them, in any state: (B,).

    Over some 50 characters the mean is above twice the loss plus 1 nat, or half way from the loss to guessing blindly
    (but not next to the loss): the surprise of text that the network writes in order is close to its loss.
    """
    limit = _limit(loss, vocab_size)
    span = min(_SPAN, len(nats))
    sums = np.cumsum(np.concatenate((np.zeros((1, nats.shape[1])), nats)), axis=0, dtype=np.float64)
    out: npt.NDArray[np.bool_] = np.any((sums[span:] - sums[:-span]) / span > limit, axis=0)
    return out


def _limit(loss: float, vocab_size: int) -> float:
    return min(2.0 * loss + 1.0, loss + max(0.8, 0.5 * (math.log(vocab_size) - loss)))


def _samples(
    model: CharRNN, ids: IdArray, rng: np.random.Generator
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.float64]]:
    """Samples at temperature 1, each started from the zero state and a character of the text.

    Returns:
        (T + 1, B) ids, that character included, and their (T, B) surprise to the network as it writes.
    """
    count = min(SAMPLES, max(_FEWEST_SAMPLES, _MOST_LOGITS // (_LENGTH * model.vocab_size)))
    stepper, columns = Stepper(model, count), np.arange(count)
    written, nats = np.empty((_LENGTH + 1, count), np.intp), np.empty((_LENGTH, count))
    written[0] = ids[rng.integers(len(ids), size=count)]
    for step, row in enumerate(nats):
        log_p = log_softmax(stepper.step(written[step]).astype(np.float64))
        drawn = (log_p + rng.gumbel(size=log_p.shape)).argmax(axis=0)  # Gumbel's trick: a draw from the softmax
        row[...], written[step + 1] = -log_p[drawn, columns], drawn
    return written, nats


def _read(model: CharRNN, ids: IdArray, rng: np.random.Generator) -> tuple[float, float, State, float]:
    """Read some pieces of the text.

    Returns:
        Shares of units that stand still and that are saturated; an (S, H, 1) state per layer after a piece, the one
        that was predicted best at its end; and how well that was, in nats per character.
    """
    length = min(_READ, len(ids))
    starts = rng.integers(len(ids) - length + 1, size=_READERS)
    pieces = ids[starts[None, :] + np.arange(length)[:, None]].astype(np.intp)
    state = model.zero_state(_READERS)
    layers, log_p = model.trace(pieces, state)
    settled = _SETTLED if length > 2 * _SETTLED else 0
    h: Array = np.concatenate([layer["h"][settled:] for layer in layers], axis=1)  # (T, L*H, B)
    still = h.std(axis=(0, 2)) < _STILL
    saturated = (np.abs(h) > _SATURATED).mean(axis=(0, 2)) > 0.5
    nats = -np.take_along_axis(log_p[:-1], pieces[1:, None], axis=1)[-_SETTLED:, 0].sum(axis=0) / _SETTLED
    best = nats.argmin(keepdims=True)
    return float(still.mean()), float(saturated.mean()), [layer[:, :, best] for layer in state], float(nats[best[0]])


def _again(model: CharRNN, written: npt.NDArray[np.intp], state: State) -> npt.NDArray[np.float64]:
    """(T, B) surprise of (T + 1, B) samples to the network that reads them from another (S, H, 1) state per layer."""
    state = [np.repeat(layer, written.shape[1], axis=2) for layer in state]
    blocks = [slice(k, k + _AT_ONCE) for k in range(0, len(written) - 1, _AT_ONCE)]
    nats = [model.loss(written[:-1][block], written[1:][block], state).astype(np.float64) for block in blocks]
    return np.concatenate(nats)
