"""Dropout masks that depend on seed, step, layer and column alone.

A counter-based generator (Philox: Salmon et al. 2011) is asked for the mask of a block of columns, so a mask is the
same whether one process computes all columns or several share them, and after a resume, with no state to save.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from charrnn.nn.params import Array

_BLOCK = 16  # columns; batches are cut between blocks at best, inside one at worst


@dataclass(frozen=True)
class DropoutKey:
    """What a mask is made from.

    Attributes:
        seed: of the run.
        step: optimiser steps done.
        first_column: index in the whole batch of this window's first column.
    """

    seed: int
    step: int
    first_column: int = 0


def fill_mask(out: Array, rate: float, key: DropoutKey, layer: int) -> None:
    """Fill `out` (H, T, B) with 0 (probability `rate`) or 1/(1-rate), so that the expectation stays.

    Source: Srivastava et al. (2014), in the inverted form. Rates are met to 1/65536.
    """
    rows, time_steps, columns = out.shape
    threshold = round(rate * 65536)
    keep = out.dtype.type(65536 / (65536 - threshold))
    first, last = key.first_column, key.first_column + columns
    for block in range(first // _BLOCK, -(-last // _BLOCK)):
        bits = np.random.Philox(key=[key.seed, layer], counter=[0, 0, block, key.step])
        draws = bits.random_raw(rows * time_steps * _BLOCK // 4).view(np.uint16).reshape(rows, time_steps, _BLOCK)
        start, stop = max(first, block * _BLOCK), min(last, (block + 1) * _BLOCK)
        inside = draws[:, :, start - block * _BLOCK : stop - block * _BLOCK]
        np.multiply(inside >= threshold, keep, out=out[:, :, start - first : stop - first])
