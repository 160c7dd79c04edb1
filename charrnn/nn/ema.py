"""A running mean of the weights, which predicts better than the weights of any one step.

Source: Polyak and Juditsky (1992) for the mean; exponentially weighted as by Kingma and Ba (2015), section 7.2.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import numpy as np

from charrnn.nn.optim import BLOCK, blocks
from charrnn.nn.params import Array


class WeightEMA:
    """mean = d mean + (1 - d) weights after each step, with d = min(decay, (1 + n) / (10 + n)) after n steps.

    The smaller d at first forgets the random initial weights.

    Args:
        weights: (N,) current values.
        decay: of the mean, per step.

    Attributes:
        mean: (N,).
    """

    def __init__(self, weights: Array, decay: float) -> None:
        self.mean = weights.copy()
        self._decay = decay
        self._scratch = np.empty_like(weights[:BLOCK])

    def update(self, weights: Array, steps: int) -> None:
        """Add the (N,) weights after optimiser step number `steps` to the mean."""
        keep = min(self._decay, (1 + steps) / (10 + steps))
        for scratch, w, mean in self._blocks(weights):
            np.subtract(w, mean, out=scratch)
            scratch *= 1.0 - keep
            mean += scratch

    def swap(self, weights: Array) -> None:
        """Swap the mean and the (N,) weights in place; a second call swaps them back."""
        for scratch, w, mean in self._blocks(weights):
            scratch[...] = w
            w[...] = mean
            mean[...] = scratch

    def _blocks(self, weights: Array) -> Iterator[tuple[Array, Array, Array]]:
        """Scratch, weights and mean, a block at a time, which stays in cache."""
        for block in blocks(weights.size):
            w = weights[block]
            yield self._scratch[: w.size], w, self.mean[block]

    @contextlib.contextmanager
    def applied(self, weights: Array) -> Iterator[None]:
        """Use the mean as the weights while the block runs."""
        self.swap(weights)
        try:
            yield
        finally:
            self.swap(weights)
