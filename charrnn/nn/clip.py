"""Gradient clipping: keep one bad window from ruining the parameters.

Source: Pascanu, Mikolov and Bengio (2013), "On the difficulty of training recurrent neural networks", algorithm 1.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from charrnn.nn.params import Array

# One block of the flat vector at a time: rounding errors stay those of a short sum, and conversions stay in cache.
_BLOCK = 1 << 14


def global_norm(grad: Array) -> float:
    """Euclidean norm of a flat gradient, (N,) any float dtype; no square overflows or vanishes."""
    blocks = [grad[start : start + _BLOCK] for start in range(0, grad.size, _BLOCK)]
    with np.errstate(over="ignore"):
        total = sum(float(block @ block) for block in blocks)
    if not 1e-30 < total < 1e38:  # outside the range of float32 squares: compute it again, more slowly
        doubles = (block.astype(np.float64) for block in blocks)
        total = sum(float(block @ block) for block in doubles)
    return math.sqrt(total)


def clip_by_norm(grad: Array, limit: float, norm: float) -> float:
    """The factor that makes the norm of `grad`, now `norm`, at most `limit`; the optimiser multiplies by it."""
    return limit / norm if norm > limit else 1.0


def clip_by_value(grad: Array, limit: float, norm: float) -> float:
    """Clip each component of `grad` in place to [-limit, limit], which leaves a factor of 1; `norm` is not used."""
    np.clip(grad, -limit, limit, out=grad)
    return 1.0


CLIPPERS: dict[str, Callable[[Array, float, float], float]] = {"norm": clip_by_norm, "value": clip_by_value}
