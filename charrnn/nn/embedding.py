"""Symbols as vectors: the first layer's input weights in two factors.

    W_ih (G*H, V) = W (G*H, E) Eᵀ, with a row of E (V, E) for each symbol

A one-hot input picks a column of W_ih, so multiplying the factors once per window gives the layer the weights that it
would have without an embedding, and everything after it stays unchanged. With many symbols the factors have far fewer
numbers than the product. The table may be the head's weights: Press and Wolf (2017).
"""

from __future__ import annotations

import numpy as np

from charrnn.nn.init import uniform_
from charrnn.nn.params import Array


class Embedding:
    """The product of the factors, and the backward pass to them.

    Args:
        weight: (G*H, E), the first layer's stored input weights.
        table: (V, E).

    Attributes:
        product: (G*H, V), as the layer sees its input weights; brought up to date by `refresh`.
        gradient: (G*H, V), which the layer fills.
    """

    def __init__(self, weight: Array, table: Array) -> None:
        self.weight, self.table = weight, table
        self.product = np.empty((len(weight), len(table)), weight.dtype)
        self.gradient = np.empty_like(self.product)

    def init(self, rng: np.random.Generator, *, fan: int, own_table: bool) -> None:
        """Fill the factors; unless the head's table is used, their product has the variance of uniform weights."""
        uniform_(self.weight, rng, fan=fan)
        if own_table:
            self.table[...] = rng.standard_normal(self.table.shape) / np.sqrt(self.table.shape[1])

    def refresh(self) -> None:
        """Multiply the factors."""
        np.matmul(self.weight, self.table.T, out=self.product)

    def backward(self, d_weight: Array, d_table: Array) -> None:
        """From `gradient` to that of the factors: `d_weight` is overwritten, `d_table` added to."""
        np.matmul(self.gradient, self.table, out=d_weight)
        d_table += self.gradient.T @ self.weight
