"""How a cell's parameters lie in panels: what a file in `cells/` says of its cell."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from charrnn.nn.compiled.vector import lanes
from charrnn.nn.params import Array, IntArray


@dataclass(frozen=True)
class CompiledCell:
    """A cell's kernels and the blocks of its panels.

    Attributes:
        forward, backward: kernels; see `Window`.
        gates: letters in the order in which they are stored.
        blocks: the letters of the gates whose vectors make a panel, which may be in another order.
        inputs: how many of them, from the first, the input meets.
        states: how many the cell has.
        recurrent: index of the first that the recurrent weights meet.
        other_bias: block -> the parameter that is its bias, where that is not a part of `bias`; such a block has the
            recurrent weights of `stored_as`.
        unbiased: blocks without a bias.
        stored_as: block -> gate.
        pairs: a panel has one gate of two blocks of units, rather than all gates of one.
    """

    forward: Callable[..., None]
    backward: Callable[..., None]
    gates: str
    blocks: str
    inputs: int
    states: int = 1
    recurrent: int = 0
    other_bias: tuple[tuple[str, str], ...] = ()
    unbiased: str = ""
    stored_as: tuple[tuple[str, str], ...] = ()
    pairs: bool = False


class Rows:
    """Where each lane of a panel is stored: (P, v, W) row numbers, -1 for none.

    Args:
        cell: its blocks.
        size: H.
        dtype: of the parameters.

    Attributes:
        input, recurrent: rows of `weight_ih` and `weight_hh`.
        bias: places in all biases, one after the other.
        units: H, filled up to a whole number of panels.
    """

    def __init__(self, cell: CompiledCell, size: int, dtype: np.dtype[np.floating]) -> None:
        width = lanes(dtype.itemsize)
        self.units = -(-size // (2 * width)) * 2 * width
        units: IntArray = np.arange(self.units)
        units[size:] = -1
        if cell.pairs:
            self.input = self.recurrent = self.bias = units.reshape(-1, 2, width)
            return
        panels = units.reshape(-1, 1, width)
        stored = [dict(cell.stored_as).get(block, block) for block in cell.blocks]
        starts = np.array([cell.gates.index(gate) * size for gate in stored])[:, None]
        rows = np.where(panels >= 0, panels + starts, -1)
        others = dict(cell.other_bias)
        own = np.array([len(cell.gates) * size if block in others else 0 for block in cell.blocks])[:, None]
        none = np.array([block in cell.unbiased for block in cell.blocks])[:, None]
        self.bias = np.where((panels < 0) | none, -1, np.where(own > 0, panels + own, rows))
        self.input = np.ascontiguousarray(rows[:, : cell.inputs])
        self.recurrent = np.ascontiguousarray(rows[:, cell.recurrent :])


def to_blocks(features: Array, out: Array) -> None:
    """(F, B) -> (Q, B, W), the features that are too many zero."""
    blocks, columns, width = out.shape
    flat = features
    if len(features) < blocks * width:
        flat = np.zeros((blocks * width, columns), features.dtype)
        flat[: len(features)] = features
    out[...] = flat.reshape(blocks, width, columns).transpose(0, 2, 1)


def from_blocks(blocks: Array, out: Array) -> None:
    """(Q, B, W) -> (F, B)."""
    out[...] = blocks.transpose(0, 2, 1).reshape(-1, blocks.shape[1])[: len(out)]
