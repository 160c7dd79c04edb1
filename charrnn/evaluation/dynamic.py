"""Dynamic evaluation: a model that keeps learning from what it has just read.

The text is read in one go, in segments. After each segment, whose loss is counted first, the parameters take a step
along its gradient, scaled by the gradients' size in training, and are pulled back a little towards where they were:

    θ -= rate · g / (sqrt(v) + mean sqrt(v))        θ += decay · (θ₀ - θ)

with v the running mean of squared gradients that Adam has left in the checkpoint. It shows how much of a text's
surprise comes from its own names and habits. Source: Krause, Kahembwe, Murray and Renals (2018), equations 5 and 6.
"""

from __future__ import annotations

import numpy as np

from charrnn.data.windows import cut_window
from charrnn.evaluation.loss import Score
from charrnn.evaluation.reading import state_before
from charrnn.nn.network import CharRNN
from charrnn.nn.params import Array, IdArray

RATE = 0.0003
DECAY = 0.002
SEGMENT = 20


def dynamic_evaluate(
    model: CharRNN,
    ids: IdArray,
    *,
    square_mean: Array | None,
    rate: float = RATE,
    decay: float = DECAY,
    segment: int = SEGMENT,
    separator: IdArray | None = None,
    before: IdArray | None = None,
) -> Score:
    """Loss over a text read once from the start, learning along the way.

    Args:
        model: its parameters are changed, and put back at the end.
        ids: (N,) of the text.
        square_mean: (P,) mean squared gradients of training; None: plain gradient steps.
        rate: learning rate.
        decay: fraction of the way back to the trained parameters, after each segment.
        segment: characters between two steps.
        separator: ids that end a document; the state is zeroed after it.
        before: (M,) ids that come before the text and are not learned from; the state they leave is the first.

    Raises:
        ValueError: `square_mean` is not of the parameters' size.
    """
    params = model.params.flat
    if square_mean is not None and square_mean.shape != params.shape:
        raise ValueError(f"square_mean is {square_mean.shape}, the parameters {params.shape}")
    start = params.copy()
    scale = _step_sizes(params, square_mean, rate)
    state, nats, scratch = state_before(model, ids, before, separator=separator), 0.0, np.empty_like(params)
    try:
        for first in range(0, len(ids) - 1, segment):
            length = min(segment, len(ids) - 1 - first)
            window = cut_window(ids, np.array([first]), length, separator)
            nats += model.loss_and_grad(window.inputs, window.targets, state, resets=window.resets)
            np.multiply(model.grads.flat, scale, out=scratch)
            params -= scratch
            np.subtract(start, params, out=scratch)
            scratch *= decay
            params += scratch
    finally:
        params[...] = start
    return Score(nats, max(0, len(ids) - 1))


def _step_sizes(params: Array, square_mean: Array | None, rate: float) -> Array:
    """(P,) factors of the gradient."""
    if square_mean is None:
        return np.full_like(params, rate)
    root = np.sqrt(square_mean)
    # Rarely used weights have tiny gradients in training; without a floor, one segment would throw them far off.
    sizes: Array = rate / (root + root.mean())
    return sizes.astype(params.dtype)
