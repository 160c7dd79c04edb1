"""All parameters as one flat vector with named, shaped views.

Clipping, optimisers, saving and summing over processes need one vector; cells, tests and exports need names. Gradients
and optimiser moments have the same layout.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.floating]
IntArray = np.ndarray[Any, np.dtype[np.integer]]
IdArray = npt.NDArray[np.unsignedinteger[Any]]  # symbols, as numbered by a vocabulary
Shapes = dict[str, tuple[int, ...]]


class FlatParams(Mapping[str, Array]):
    """A flat vector whose slices carry names and shapes; writing to a view writes to the vector.

    Args:
        shapes: name -> shape, in storage order.
        dtype: float32 to train, float64 to check gradients.
        buffer: a vector of the right size to use as storage (shared memory, say); zeros if omitted.

    Attributes:
        places: name -> slice of the vector.

    Raises:
        ValueError: the buffer's size or dtype differs from what the shapes need.
    """

    def __init__(
        self, shapes: Mapping[str, tuple[int, ...]], dtype: npt.DTypeLike = np.float32, *, buffer: Array | None = None
    ) -> None:
        self.shapes = dict(shapes)
        size = sum(math.prod(shape) for shape in self.shapes.values())
        if buffer is not None and (buffer.shape != (size,) or buffer.dtype != np.dtype(dtype)):
            raise ValueError(
                f"buffer is {buffer.shape} {buffer.dtype}, the parameters need ({size},) {np.dtype(dtype)}"
            )
        self.flat: Array = np.zeros(size, dtype) if buffer is None else buffer
        self._views: dict[str, Array] = {}
        self.places: dict[str, slice] = {}
        start = 0
        for name, shape in self.shapes.items():
            stop = start + math.prod(shape)
            self.places[name] = slice(start, stop)
            self._views[name] = self.flat[start:stop].reshape(shape)
            start = stop

    @property
    def dtype(self) -> np.dtype[np.floating]:
        """float32 or float64."""
        return self.flat.dtype

    @property
    def size(self) -> int:
        """Number of scalars."""
        return self.flat.size

    def like(self) -> FlatParams:
        """Zeros of the same names, shapes and dtype: a gradient or an optimiser moment."""
        return FlatParams(self.shapes, self.dtype)

    def under(self, prefix: str) -> dict[str, Array]:
        """The views whose name starts with `prefix` and a dot, keyed by the rest of the name."""
        return {name[len(prefix) + 1 :]: view for name, view in self._views.items() if name.startswith(prefix + ".")}

    def __getitem__(self, name: str) -> Array:
        return self._views[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._views)

    def __len__(self) -> int:
        return len(self._views)
