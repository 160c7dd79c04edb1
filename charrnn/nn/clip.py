"""Gradient clipping: keep one bad window from throwing the parameters away.

Source: Pascanu, Mikolov and Bengio (2013), "On the difficulty of training recurrent neural networks", algorithm 1.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from charrnn.nn.params import Array

# One block of the flat vector at a time keeps the float64 conversion in cache and the memory bounded.
_BLOCK = 1 << 16


def global_norm(grad: Array) -> float:
    """Euclidean norm of a flat gradient, (N,) any float dtype, summed in float64 so that no square overflows."""
    total = 0.0
    for start in range(0, grad.size, _BLOCK):
        block = grad[start : start + _BLOCK].astype(np.float64)
        total += float(block @ block)
    return math.sqrt(total)


def clip_by_norm(grad: Array, limit: float, norm: float) -> None:
    """Scale `grad` in place so that its norm, now `norm`, is at most `limit`."""
    if norm > limit:
        grad *= grad.dtype.type(limit / norm)


def clip_by_value(grad: Array, limit: float, norm: float) -> None:
    """Clip each component of `grad` in place to [-limit, limit]; `norm` is not used."""
    np.clip(grad, -limit, limit, out=grad)


CLIPPERS: dict[str, Callable[[Array, float, float], None]] = {"norm": clip_by_norm, "value": clip_by_value}
