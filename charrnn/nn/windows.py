"""Windows of time and batch: (rows, T, B) arrays and what is done with them as matrices."""

from __future__ import annotations

from typing import Any

import numpy as np

from charrnn.nn.params import Array

Shapes = dict[str, tuple[int, ...]]
IntArray = np.ndarray[Any, np.dtype[np.integer]]


def flatten_time(window: Array | IntArray) -> Array:
    """(rows, T, B) -> (rows, T*B), always a view: rows may be apart, time and batch are together.

    Raises:
        ValueError: the window cannot be viewed so.
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
    """For each step its place in chunks of each of the `sizes`, which are cut from the end of the window."""
    starts = [[max(0, time_steps - n * (1 + (time_steps - 1 - t) // n)) for n in sizes] for t in range(time_steps)]
    return [tuple(t - start for start in row) for t, row in enumerate(starts)]
