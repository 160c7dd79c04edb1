"""Parameters into panels and gradients out of them.

`rows` (P, v, W) says which stored row each lane of a panel is, or -1 where there is none: those lanes are zero from the
start and stay so. A `share` (k, of n) is every n-th panel from the k-th, so that threads can share the work.
"""

from __future__ import annotations

from typing import Any

from charrnn.nn.compiled.jit import kernel

_K = 16  # rows are read in pieces of a cache line


@kernel
def pack(weight: Any, rows: Any, out: Any, share: Any) -> None:
    """(M, K) -> (P, K, v, W), to multiply columns of K."""
    for p in range(share[0], rows.shape[0], share[1]):
        for start in range(0, weight.shape[1], _K):
            stop = min(start + _K, weight.shape[1])
            for v in range(rows.shape[1]):
                for lane in range(rows.shape[2]):
                    row = rows[p, v, lane]
                    if row >= 0:
                        for k in range(start, stop):
                            out[p, k, v, lane] = weight[row, k]


@kernel
def unpack(packed: Any, rows: Any, out: Any, share: Any) -> None:
    """The way back."""
    for p in range(share[0], rows.shape[0], share[1]):
        for start in range(0, out.shape[1], _K):
            stop = min(start + _K, out.shape[1])
            for v in range(rows.shape[1]):
                for lane in range(rows.shape[2]):
                    row = rows[p, v, lane]
                    if row >= 0:
                        for k in range(start, stop):
                            out[row, k] = packed[p, k, v, lane]


@kernel
def pack_transposed(weight: Any, rows: Any, out: Any, share: Any) -> None:
    """(M, K) -> (K / 2W, M, 2, W) with M in the order of `rows`, to multiply columns of M."""
    width = out.shape[3]
    for p in range(share[0], rows.shape[0], share[1]):
        for v in range(rows.shape[1]):
            for lane in range(rows.shape[2]):
                row, m = rows[p, v, lane], (p * rows.shape[1] + v) * rows.shape[2] + lane
                if row >= 0:
                    for block in range(2 * out.shape[0]):
                        start = block * width
                        for k in range(min(width, weight.shape[1] - start)):
                            out[block // 2, m, block % 2, k] = weight[row, start + k]


@kernel
def pack_table(weight: Any, bias: Any, rows: Any, bias_rows: Any, out: Any, share: Any) -> None:
    """(M, V) and a bias -> (V, P, n, W): the gates of each symbol, biases included.

    The input meets the first `rows.shape[1]` vectors of a panel, all of them have a bias.
    """
    for p in range(share[0], rows.shape[0], share[1]):
        for symbol in range(weight.shape[1]):  # lanes innermost: panels of two symbols lie a power of two apart
            for n in range(bias_rows.shape[1]):
                for lane in range(rows.shape[2]):
                    if bias_rows[p, n, lane] >= 0:
                        own, row = bias[bias_rows[p, n, lane]], rows[p, n, lane] if n < rows.shape[1] else -1
                        out[symbol, p, n, lane] = own + weight[row, symbol] if row >= 0 else own


@kernel
def unpack_table(packed: Any, rows: Any, out: Any, share: Any) -> None:
    """(V, P, n, W) -> (M, V)."""
    for p in range(share[0], rows.shape[0], share[1]):
        for symbol in range(out.shape[1]):
            for v in range(rows.shape[1]):
                for lane in range(rows.shape[2]):
                    row = rows[p, v, lane]
                    if row >= 0:
                        out[row, symbol] = packed[symbol, p, v, lane]


@kernel
def drop(states: Any, first: int, mask: Any, out: Any) -> None:
    """Out = states[first:] times a mask of the same units.

    Args:
        states: (T, Q, B, W) or with `first` steps more.
        first: see above.
        mask: (H, T, B).
        out: (T, Q, B, W); may be `states`.
    """
    width = out.shape[3]
    for t in range(out.shape[0]):
        for unit in range(mask.shape[0]):
            for b in range(out.shape[2]):
                q, lane = unit // width, unit % width
                out[t, q, b, lane] = states[first + t, q, b, lane] * mask[unit, t, b]
