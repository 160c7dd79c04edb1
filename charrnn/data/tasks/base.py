"""What every task can do."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import numpy.typing as npt

IntArray = npt.NDArray[np.intp]
FloatArray = npt.NDArray[np.float64]


class Task(Protocol):
    """A frozen dataclass whose fields are the parameters; a wrong one raises `ValueError` when it is made."""

    @property
    def alphabet(self) -> str:
        """The V symbols, of which ids are indices."""
        ...

    def draw(self, chars: int, rng: np.random.Generator) -> IntArray:
        """(chars,) ids of a text."""
        ...

    def nats(self, ids: IntArray) -> FloatArray:
        """(N,) -ln p of each symbol of a text given all before it; infinite where the generator would not write it."""
        ...

    def entropy_rate(self) -> float:
        """Nats a character of an endless text."""
        ...

    def answers(self, ids: IntArray) -> IntArray:
        """(M,) positions that test the memory alone: certain to a perfect reader; none where there are no such."""
        ...


def between(name: str, value: int, low: int, high: int) -> None:
    """Check a parameter.

    Raises:
        ValueError: out of range.
    """
    if not low <= value <= high:
        raise ValueError(f"{name}: found {value}, allowed: {low} to {high}")
