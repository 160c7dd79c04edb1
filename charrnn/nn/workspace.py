"""Preallocated memory: every buffer a window needs, shaped for its number of steps and columns.

Buffers live in an arena of flat arrays that only grows, so a shorter window (the ragged tail of an epoch) or a
narrower batch works in the memory of the larger one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from charrnn.nn.params import Array


class Workspace(dict[str, Array]):
    """The named buffers of one layer for windows of T steps and B columns.

    Attributes:
        time_steps: T.
        columns: B.
        forward_steps, backward_steps: per-step views, made once so that the time loops create no objects.
        products: per step, where the recurrent product goes.
    """

    def __init__(self, arrays: Mapping[str, Array], time_steps: int, columns: int) -> None:
        super().__init__(arrays)
        self.time_steps = time_steps
        self.columns = columns
        self.forward_steps: list[Any] = []
        self.backward_steps: list[Any] = []
        self.products: list[Array] = []


class Arena:
    """Flat arrays by key, handed out as shaped views; reshaping never allocates unless more room is needed."""

    def __init__(self, dtype: npt.DTypeLike, on_growth: Callable[[], None]) -> None:
        self.dtype = np.dtype(dtype)
        self._on_growth = on_growth
        self._flat: dict[str, Array] = {}

    def view(self, key: str, shape: tuple[int, ...]) -> Array:
        """An uninitialised array of `shape` over the memory of `key`; views made before a growth are stale."""
        size = math.prod(shape)
        flat = self._flat.get(key)
        if flat is None or flat.size < size:
            if flat is not None:
                self._on_growth()
            flat = self._flat[key] = np.empty(size, self.dtype)
        return flat[:size].reshape(shape)

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return sum(flat.nbytes for flat in self._flat.values())
