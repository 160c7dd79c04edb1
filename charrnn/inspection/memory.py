"""How far back a network remembers: by its gradient, and by its loss at each length of context.

Sources: Bengio, Simard and Frasconi (1994); Pascanu, Mikolov and Bengio (2013).
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import numpy.typing as npt

from charrnn.amounts import counted
from charrnn.data.windows import cut_window
from charrnn.nn.network import CharRNN
from charrnn.nn.params import IdArray

Floats = npt.NDArray[np.float64]
GRADIENT_PLACES, LOSS_PLACES = 32, 512  # in a text; a loss scatters more, and takes less time to measure
_WARM_UP = 128  # symbols read before the window, so that its initial state is one from the middle of a text


def _starts(ids: IdArray, length: int, places: int, seed: int) -> npt.NDArray[np.int64]:
    if len(ids) < length + 2:
        raise ValueError(f"{counted(len(ids), 'symbol')}, but {length + 2} are needed")
    return np.random.default_rng(seed).integers(0, len(ids) - length - 1, places)


def gradient_memory(
    model: CharRNN,
    ids: IdArray,
    *,
    steps: int = 200,
    places: int = GRADIENT_PLACES,
    seed: int = 0,
    separator: IdArray | None = None,
) -> Floats:
    """Norm of the gradient of the loss at time t with respect to the state k steps back, k = 1..steps.

    Args:
        model: the network.
        ids: (N,) a text.
        steps: the largest k.
        places: times t, drawn at random, over whose norms the geometric mean is taken.
        seed: of those times.
        separator: ids that end a document, after which the state is zeroed in the symbols read before.

    Returns:
        (steps,) norms; the first is that of the state right before the last symbol.

    Raises:
        ValueError: the text is too short.
    """
    starts = _starts(ids, steps + _WARM_UP, places, seed)
    state = model.zero_state(places)
    warm = cut_window(ids, starts, _WARM_UP, separator)
    model.loss(warm.inputs, warm.targets, state, resets=warm.resets)
    window = cut_window(ids, starts + _WARM_UP, steps, None)
    norms = model.state_gradient_norms(window.inputs, window.targets[-1], state).astype(np.float64)
    out: Floats = np.exp(np.log(np.maximum(norms, 1e-45)).mean(axis=1))[::-1]
    return out


def loss_by_context(
    model: CharRNN,
    ids: IdArray,
    *,
    steps: int = 200,
    places: int = LOSS_PLACES,
    seed: int = 0,
    separator: IdArray | None = None,
) -> Floats:
    """(steps,) mean nats of a symbol that is predicted from the k symbols before it alone, k = 1..steps.

    Raises:
        ValueError: the text is too short.
    """
    window = cut_window(ids, _starts(ids, steps, places, seed), steps, separator)
    nats = model.loss(window.inputs, window.targets, model.zero_state(places), resets=window.resets)
    out: Floats = nats.astype(np.float64).mean(axis=1)
    return out


def grouped_by_length(loss: Floats) -> tuple[Floats, Floats]:
    """Lengths of context and the loss at each, for a plot with a logarithmic axis.

    Lengths within a tenth of each other are averaged: the model hardly tells them apart, but each was measured on other
    symbols, so that single ones scatter.

    Args:
        loss: (steps,) from `loss_by_context`.
    """
    starts = [1]
    while starts[-1] <= len(loss):
        starts.append(max(starts[-1] + 1, round(1.1 * starts[-1])))
    groups = [(k, min(end, len(loss) + 1)) for k, end in pairwise(starts)]
    lengths = np.array([(k + end - 1) / 2 for k, end in groups])
    return lengths, np.array([loss[k - 1 : end - 1].mean() for k, end in groups])
