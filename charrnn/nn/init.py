"""Initial weights."""

from __future__ import annotations

import numpy as np

from charrnn.nn.params import Array


def uniform_(weight: Array, rng: np.random.Generator, *, fan: int) -> None:
    """Fill `weight` in place from U(-1/sqrt(fan), 1/sqrt(fan)), the customary start of recurrent layers."""
    bound = 1.0 / np.sqrt(fan)
    weight[...] = rng.uniform(-bound, bound, weight.shape)


def orthogonal_(weight: Array, rng: np.random.Generator) -> None:
    """Fill each square block of `weight` (G*H, H) in place with a random orthogonal matrix.

    An orthogonal recurrent matrix keeps the norm of what it carries, so gradients neither vanish nor explode through
    it at the start. Source: Saxe, McClelland and Ganguli (2014), section 3.
    """
    rows, columns = weight.shape
    for start in range(0, rows, columns):
        block = weight[start : start + columns]
        q, r = np.linalg.qr(rng.standard_normal((columns, columns)))
        block[...] = (q * np.sign(np.diagonal(r)))[: len(block)]
