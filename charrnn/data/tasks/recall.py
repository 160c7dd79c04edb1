"""Recall: a symbol is shown, then come `lag` characters of noise, then a query after which it must be repeated.

A block is `S n n ... n ? S` and a line end: S is one of K symbols, n one of M noise characters, all uniform and
independent. So a block of lag + 4 characters holds ln K + lag ln M nats, and the answer none: whoever remembers S knows
it, whoever does not loses ln K there. It is the task of Hochreiter and Schmidhuber (1997, experiments 2a to 2c) in
text.
"""

from __future__ import annotations

import string
from dataclasses import dataclass

import numpy as np

from charrnn.data.tasks.base import FloatArray, between
from charrnn.nn.params import IntArray


@dataclass(frozen=True)
class Recall:
    """The task.

    Args:
        lag: characters between a symbol and its query.
        symbols: K, 2 to 26; capitals.
        noise: M, 1 to 26; small letters. 1 is a filler without information.

    Raises:
        ValueError: out of range.
    """

    lag: int = 20
    symbols: int = 8
    noise: int = 1

    def __post_init__(self) -> None:
        between("lag", self.lag, 0, 1_000_000)
        between("symbols", self.symbols, 2, 26)
        between("noise", self.noise, 1, 26)

    @property
    def alphabet(self) -> str:
        """Symbols, noise, query, line end."""
        return string.ascii_uppercase[: self.symbols] + string.ascii_lowercase[: self.noise] + "?\n"

    @property
    def block(self) -> int:
        """Characters of a block."""
        return self.lag + 4

    def draw(self, chars: int, rng: np.random.Generator) -> IntArray:
        """(chars,) ids; see `Task`."""
        count = -(-chars // self.block)
        blocks = np.empty((count, self.block), np.intp)
        blocks[:, 0] = blocks[:, -2] = rng.integers(self.symbols, size=count)
        blocks[:, 1:-3] = self.symbols + rng.integers(self.noise, size=(count, self.lag))
        blocks[:, -3], blocks[:, -1] = len(self.alphabet) - 2, len(self.alphabet) - 1
        return blocks.reshape(-1)[:chars]

    def nats(self, ids: IntArray) -> FloatArray:
        """(N,) -ln p; see `Task`."""
        query, line_end = len(self.alphabet) - 2, len(self.alphabet) - 1
        place = np.arange(len(ids)) % self.block
        shown, noisy, answer = place == 0, (place > 0) & (place <= self.lag), place == self.block - 2
        owner = ids[np.arange(len(ids)) - place]  # the symbol each block began with
        possible = np.select(
            [shown, noisy, answer, place == self.block - 3],
            [ids < self.symbols, (ids >= self.symbols) & (ids < query), ids == owner, ids == query],
            ids == line_end,
        )
        nats = np.select([shown, noisy], [np.log(self.symbols), np.log(self.noise)], 0.0)
        return np.where(possible, nats, np.inf)

    def entropy_rate(self) -> float:
        """Nats a character: of a block, shared out."""
        return float((np.log(self.symbols) + self.lag * np.log(self.noise)) / self.block)

    def answers(self, ids: IntArray) -> IntArray:
        """(M,) positions of the repeated symbols."""
        return np.arange(self.block - 2, len(ids), self.block)
