"""Products by matrices that are packed once and used many times.

States and gates of one step are stored in blocks, `(F / n, B, n)` for F features and B columns: n features of one
column side by side, then those of the next column. A matrix (M, K) is packed in panels of as many rows as a tile has,
`(M / (v W), K, v, W)`, so that a product reads it from the first number to the last. The tile of v vectors by c columns
stays in registers while it runs over k, and adds for each k one vector of the panel times one number of each column:
99% of what a Zen 4 core can do, at any length K. Columns that are left over take narrower tiles, so any number will do.

The gradient of a matrix is a product of the same kind in which k runs over the steps and columns of a window, and its
panels have the very shape that the matrix is packed in.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

from charrnn.nn.compiled.jit import inline, part
from charrnn.nn.compiled.tiles import add_products, load_tile, store_tile
from charrnn.nn.compiled.vector import REGISTERS, at, behind

# Steps of a window whose gates and states meet at once: both are still in cache when they are needed again.
_STEPS = 8


def tile_columns(vectors: int) -> int:
    """Columns of a tile: at most three quarters of the registers are accumulators."""
    return {1: 16, 2: 8, 3: 4, 4: 4}[vectors] // (1 if REGISTERS >= 32 else 2)


def _tile(vectors: int, columns: int) -> Callable[..., None]:
    @inline
    def tile(
        out: Any, out_vector: int, out_column: int,
        a: Any, a_step: int, a_block: int,
        x: Any, x_column: int, x_step: int, x_block: int,
        blocks: int, inner: int,
    ) -> None:  # fmt: skip
        """out[v, c] += sum over blocks and inner steps of a[v] x[c].

        Vectors of `a` are neighbours; the numbers say how far apart all else is.
        """
        sums = load_tile(out, out_vector, out_column, vectors, columns)
        for block in range(blocks):
            a_k, x_k = behind(a, block * a_block), behind(x, block * x_block)
            for _ in range(inner):
                sums = add_products(sums, a_k, x_k, x_column)
                a_k, x_k = behind(a_k, a_step), behind(x_k, x_step)
        store_tile(out, out_vector, out_column, sums)

    return tile


@cache
def tiles(vectors: int) -> Callable[..., None]:
    """Tiles of `vectors` vectors over any number of columns, which is one more argument than `_tile` takes."""
    wide, narrow = tile_columns(vectors), max(1, tile_columns(vectors) // 4)
    wide_tile, thin_tile = _tile(vectors, wide), _tile(vectors, 1)
    narrow_tile = _tile(vectors, narrow) if narrow > 1 else thin_tile

    @part
    def over_columns(
        out: Any, out_vector: int, out_column: int,
        a: Any, a_step: int, a_block: int,
        x: Any, x_column: int, x_step: int, x_block: int,
        blocks: int, inner: int, columns: int,
    ) -> None:  # fmt: skip
        c = 0
        while c + wide <= columns:
            wide_tile(behind(out, c * out_column), out_vector, out_column, a, a_step, a_block,
                      behind(x, c * x_column), x_column, x_step, x_block, blocks, inner)  # fmt: skip
            c += wide
        while c + narrow <= columns:
            narrow_tile(behind(out, c * out_column), out_vector, out_column, a, a_step, a_block,
                        behind(x, c * x_column), x_column, x_step, x_block, blocks, inner)  # fmt: skip
            c += narrow
        while c < columns:
            thin_tile(behind(out, c * out_column), out_vector, out_column, a, a_step, a_block,
                      behind(x, c * x_column), x_column, x_step, x_block, blocks, inner)  # fmt: skip
            c += 1

    return over_columns


def gates_product(vectors: int) -> Callable[..., None]:
    """Gates from states."""
    over_columns = tiles(vectors)

    @inline
    def add(gates: Any, t: int, p: int, first: int, w: Any, x: Any, s: int) -> None:
        """gates[t, p, :, first : first + v] += w[p] x[s].

        Args:
            gates: (T, P, B, n, W).
            t: step.
            p: panel.
            first: block of the panel.
            w: (P, K, v, W) panels.
            x: (S, K / W, B, W).
            s: step of x.
        """
        columns, row, width = gates.shape[2], gates.shape[3] * gates.shape[4], gates.shape[4]
        over_columns(at(gates, (t, p, 0, first)), width, row,
                     at(w, (p,)), vectors * width, width * vectors * width,
                     at(x, (s,)), width, 1, columns * width, x.shape[1], width, columns)  # fmt: skip

    return add


def states_product(used: int) -> Callable[..., None]:
    """Gradients of states from those of `used` gates."""
    over_columns = tiles(2)

    @inline
    def add(states: Any, t: int, q: int, w: Any, gates: Any, s: int, first: int) -> None:
        """states[t, 2q : 2q + 2] += w[q] gates[s, :, :, first : first + used].

        Args:
            states: (T, H / W, B, W).
            t: step.
            q: pair of blocks of states.
            w: (H / 2W, P used W, 2, W) panels.
            gates: (S, P or more, B, n, W).
            s: step of the gates.
            first: block of their panels.
        """
        columns, row, width = gates.shape[2], gates.shape[3] * gates.shape[4], gates.shape[4]
        over_columns(at(states, (t, 2 * q)), columns * width, width,
                     at(w, (q,)), 2 * width, used * width * 2 * width,
                     at(gates, (s, 0, 0, first)), row, 1, columns * row, w.shape[1] // (used * width), used * width,
                     columns)  # fmt: skip

    return add


def weight_gradient(vectors: int) -> Callable[..., None]:
    """The gradient of what `gates_product` multiplies by."""
    over_rows = tiles(vectors)

    @inline
    def add(gradient: Any, gates: Any, first: int, x: Any) -> None:
        """gradient[p] += sum over steps and columns of gates[t, p, b, first : first + v] x[t, b]ᵀ.

        Args:
            gradient: (P, K, v, W) panels.
            gates: (T, P or more, B, n, W).
            first: see above.
            x: (T, K / W, B, W).
        """
        columns, row, width = gates.shape[2], gates.shape[3] * gates.shape[4], gates.shape[4]
        for start in range(0, gates.shape[0], _STEPS):
            count = min(_STEPS, gates.shape[0] - start)
            for p in range(gradient.shape[0]):
                for block in range(x.shape[1]):
                    over_rows(at(gradient, (p, block * width)), width, vectors * width,
                              at(gates, (start, p, 0, first)), row, gates.shape[1] * columns * row,
                              at(x, (start, block)), 1, width, x.shape[1] * columns * width,
                              count, columns, width)  # fmt: skip

    return add
