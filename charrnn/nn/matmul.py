"""Matrix products of a recurrent step: a large matrix times few columns.

OpenBLAS copies the matrix into another order before it multiplies, which for 32 columns takes a third of the time.
Below a million multiplications it has kernels that do not copy, so a product is computed in blocks of rows small
enough for those; NumPy loops over the blocks in C. Measured on one core (GFLOP/s, whole -> in blocks): (512, 129) with
32 columns 75 -> 108, (384, 194) with 64 columns 92 -> 113, (1024, 257) with 32 columns 79 -> 87, (2048, 578) with 32
columns 72 -> 76; for a large matrix and 64 columns the copy pays off.
"""

from __future__ import annotations

import numpy as np

from charrnn.nn.params import Array

_SMALL = 1_000_000  # rows * inner * columns up to which OpenBLAS does not copy (SkylakeX and later)
_FEW_COLUMNS = 32  # for which blocks were faster at every size
_PAYS = 11_000_000  # multiplications of the whole product up to which they were faster with more columns


def block_rows(rows: int, inner: int, columns: int) -> int:
    """Rows to multiply at a time in (rows, inner) @ (inner, columns); `rows` itself if blocks do not pay off."""
    if 1 < columns <= _FEW_COLUMNS or (columns > 1 and rows * inner * columns <= _PAYS):
        for block in (32, 16):
            if rows % block == 0 and block * inner * columns <= _SMALL:
                return block
    return rows


def blocked(matrix: Array, rows: int) -> Array:
    """(R, N) as a (R/rows, rows, N) view for `numpy.matmul`, which multiplies the blocks one by one."""
    view: Array = np.reshape(matrix, (-1, rows, matrix.shape[-1]))
    return view
