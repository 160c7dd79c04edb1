"""Preallocated memory: all buffers that a window needs, shaped for its number of steps and columns.

Buffers live in an arena of flat arrays that only grows, so a shorter window (the ragged tail of an epoch) or a
narrower batch works in the memory of the larger one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from charrnn.nn.params import Array, IntArray

_LINE = 64  # bytes of a cache line


class Workspace(dict[str, Array]):
    """The named buffers of one layer for windows of T steps and B columns.

    Attributes:
        time_steps: T.
        columns: B.
        forward_steps, backward_steps: per-step views, made once so that the time loops create no objects.
        products: per step, the output of the recurrent product.
    """

    def __init__(self, arrays: Mapping[str, Array], time_steps: int, columns: int) -> None:
        super().__init__(arrays)
        self.time_steps = time_steps
        self.columns = columns
        self.forward_steps: list[Any] = []
        self.backward_steps: list[Any] = []
        self.products: list[Array] = []


def aligned(shape: tuple[int, ...], dtype: npt.DTypeLike) -> Array:
    """Zeros aligned to a cache line, so that no vector straddles two."""
    size, dtype = math.prod(shape), np.dtype(dtype)
    raw = np.zeros(size * dtype.itemsize + _LINE, np.uint8)
    start = -raw.ctypes.data % _LINE
    out: Array = raw[start : start + size * dtype.itemsize].view(dtype).reshape(shape)
    return out


class Arena:
    """Flat arrays by key, handed out as shaped views; reshaping never allocates unless more room is needed."""

    def __init__(self, dtype: npt.DTypeLike, on_growth: Callable[[], None]) -> None:
        self.dtype = np.dtype(dtype)
        self._on_growth = on_growth
        self._flat: dict[str, Array] = {}

    def view(self, key: str, shape: tuple[int, ...]) -> Array:
        """An array of `shape` over the memory of `key`, not cleared; if it must grow, earlier views become stale."""
        size = math.prod(shape)
        flat = self._flat.get(key)
        if flat is None or flat.size < size:
            if flat is not None:
                self._on_growth()
            flat = self._flat[key] = aligned((size,), self.dtype)
        return flat[:size].reshape(shape)

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return sum(flat.nbytes for flat in self._flat.values())


def flatten_time(window: Array | IntArray) -> Array:
    """(rows, T, B) -> (rows, T*B), always a view: rows may be strided, time and batch are contiguous.

    Raises:
        ValueError: the window cannot be viewed this way.
    """
    rows, time_steps, columns = window.shape
    if time_steps > 1 and window.strides[1] != columns * window.itemsize:
        raise ValueError("time and batch are not contiguous")
    strides = (window.strides[0], window.itemsize)
    flat: Array = np.lib.stride_tricks.as_strided(window, (rows, time_steps * columns), strides)
    return flat


def columns_by_step(resets: IntArray | None) -> dict[int, IntArray]:
    """(R, 2) pairs (t, b), sorted by t, as t -> the columns b."""
    if resets is None or not len(resets):
        return {}
    steps, starts = np.unique(resets[:, 0], return_index=True)
    return {int(t): c for t, c in zip(steps, np.split(resets[:, 1], starts[1:]), strict=True)}


def scatter_columns(da: Array, ids: Array | IntArray, size: int) -> Array:
    """(rows, N) columns summed by symbol into (rows, size+1); the last column is the sum of all (the bias)."""
    order = np.argsort(ids, kind="stable")
    symbols, starts = np.unique(ids[order], return_index=True)
    out = np.zeros((len(da), size + 1), da.dtype)
    out[:, symbols] = np.add.reduceat(da[:, order], starts, axis=1)
    out[:, size] = da.sum(axis=1)
    return out


def set_one_hot(ids: Array | IntArray, rows: Array) -> None:
    """Fill (V, T, B) `rows` with the one-hot columns of (T, B) ids."""
    time_steps, columns = ids.shape
    rows[...] = 0.0
    rows[ids, np.arange(time_steps)[:, None], np.arange(columns)] = 1.0


def places_from_the_end(time_steps: int, *sizes: int) -> list[tuple[int, ...]]:
    """For each step, its position in chunks of each of the `sizes`, which are cut from the end of the window."""
    starts = [[max(0, time_steps - n * (1 + (time_steps - 1 - t) // n)) for n in sizes] for t in range(time_steps)]
    return [tuple(t - start for start in row) for t, row in enumerate(starts)]
