"""What training drops at random: units, weights and carried states.

All of it depends only on seed, step, layer and column.

A counter-based generator (Philox: Salmon et al. 2011) makes the mask of a block of columns, so a mask is the
same whether one process computes all columns or several share them, and after a resume, with no state to save.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from charrnn.nn.params import Array

_WEIGHTS = 1 << 32  # beyond the number of any layer, so that masks of weights differ from those of states
_RESETS = 1 << 33
_BLOCK = 16  # columns; batches are preferably split between blocks


@dataclass(frozen=True)
class DropoutKey:
    """What determines a mask.

    Attributes:
        seed: of the run.
        step: optimiser steps done.
        first_column: index in the whole batch of this window's first column.
    """

    seed: int
    step: int
    first_column: int = 0


@dataclass(frozen=True)
class Dropping:
    """Dropout of states, for `fill_mask`.

    Attributes:
        rate: share of the states dropped.
        variational: the same ones at all steps.
        key: of the window.
    """

    rate: float
    variational: bool
    key: DropoutKey


def reset_states(state: list[Array], rate: float, key: DropoutKey) -> None:
    """Zero, with probability `rate`, all (S, H, B) states of a column, so that the network learns to start from zero.

    Otherwise only the first window of a pass would start from the zero state, once in thousands of steps, and a
    network that starts from it anywhere else may get stuck, writing noise. Melis, Dyer and Blunsom (2018) do this in
    their code (`drop_state_probability`).
    """
    if not rate or not state:
        return
    columns = state[0].shape[2]
    first, last = key.first_column, key.first_column + columns
    blocks = range(first // _BLOCK, -(-last // _BLOCK))
    draws = np.concatenate(
        [np.random.Philox(key=[key.seed, _RESETS], counter=[0, 0, b, key.step]).random_raw(_BLOCK) for b in blocks]
    )
    chosen = draws[first % _BLOCK :][:columns] < np.uint64(int(rate * 2**64))
    if chosen.any():
        for layer in state:
            layer[:, :, chosen] = 0.0


def fill_mask(out: Array, rate: float, key: DropoutKey, layer: int, *, variational: bool = False) -> None:
    """Fill `out` (H, T, B) with 0 (probability `rate`) or 1/(1-rate), which preserves the expectation.

    Source: Srivastava et al. (2014), in the inverted form. With `variational`, all steps of a window have the same
    mask: Gal and Ghahramani (2016). Rates are accurate to 1/65536.
    """
    if variational:
        fill_mask(out[:, :1], rate, key, layer)
        out[:, 1:] = out[:, :1]
        return
    rows, time_steps, columns = out.shape
    threshold = _threshold(rate)
    keep = out.dtype.type(65536 / (65536 - threshold))
    first, last = key.first_column, key.first_column + columns
    for block in range(first // _BLOCK, -(-last // _BLOCK)):
        bits = np.random.Philox(key=[key.seed, layer], counter=[0, 0, block, key.step])
        draws = bits.random_raw(rows * time_steps * _BLOCK // 4).view(np.uint16).reshape(rows, time_steps, _BLOCK)
        start, stop = max(first, block * _BLOCK), min(last, (block + 1) * _BLOCK)
        inside = draws[:, :, start - block * _BLOCK : stop - block * _BLOCK]
        np.multiply(inside >= threshold, keep, out=out[:, :, start - first : stop - first])


def weight_mask(
    shape: tuple[int, int], dtype: np.dtype[np.floating], rate: float, key: DropoutKey, layer: int
) -> Array:
    """0 (probability `rate`) or 1/(1-rate) for every recurrent weight, the same for all columns and steps of a window.

    Source: DropConnect (Wan et al. 2013) on the recurrent weights alone, as in Merity, Keskar and Socher (2018).
    """
    threshold = _threshold(rate)
    count = shape[0] * shape[1]
    bits = np.random.Philox(key=[key.seed, _WEIGHTS + layer], counter=[0, 0, 0, key.step])
    draws = bits.random_raw(-(-count // 4)).view(np.uint16)[:count].reshape(shape)
    mask: Array = np.multiply(draws >= threshold, 65536 / (65536 - threshold), dtype=dtype)
    return mask


def _threshold(rate: float) -> int:
    """16-bit draws below this are dropped; at least one value is kept, as kept units are divided by their share."""
    return min(round(rate * 65536), 65535)
