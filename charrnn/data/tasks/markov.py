"""Markov: a random chain of order k over a few letters; each context's row is drawn from a Dirichlet distribution.

Its entropy rate is the rows' entropy weighted with how often, in the long run, each context occurs, found by power
iteration (Cover and Thomas 2006, theorem 4.2.4). The first k letters are drawn from that distribution too, so the text
is stationary from its first letter. A network needs a memory of k letters and a table of V^k rows.
"""

from __future__ import annotations

import string
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from charrnn.data.tasks.base import FloatArray, between
from charrnn.nn.params import IntArray

_LARGEST_TABLE = 1 << 22
_CONCENTRATION = 0.5
_PURPOSE = 1  # marks the random numbers of the table, which are not those of the text


@dataclass(frozen=True)
class Markov:
    """The task.

    Args:
        order: k, letters that matter for the next.
        symbols: V, 2 to 26; small letters.
        seed: of the rows.

    Raises:
        ValueError: out of range, or a table of more than 4 million numbers.
    """

    order: int = 3
    symbols: int = 4
    seed: int = 1

    def __post_init__(self) -> None:
        between("order", self.order, 1, 21)
        between("symbols", self.symbols, 2, 26)
        if self.symbols ** (self.order + 1) > _LARGEST_TABLE:
            raise ValueError(f"order: {self.order} with {self.symbols} symbols needs too large a table")

    @property
    def alphabet(self) -> str:
        """The letters."""
        return string.ascii_lowercase[: self.symbols]

    @cached_property
    def rows(self) -> FloatArray:
        """(V^k, V) p(letter | context); a context's number has its oldest letter as its highest digit."""
        rng = np.random.default_rng([self.seed, _PURPOSE])
        return rng.dirichlet(np.full(self.symbols, _CONCENTRATION), self.symbols**self.order)

    @cached_property
    def stationary(self) -> FloatArray:
        """(V^k,) how often each context occurs in the long run."""
        V, contexts = self.symbols, len(self.rows)  # noqa: N806
        rows = self.rows.reshape(V, contexts // V, V)
        pi = np.full(contexts, 1.0 / contexts)
        for _ in range(100_000):
            after = np.einsum("oc,ocs->cs", pi.reshape(V, contexts // V), rows).reshape(-1)
            after /= after.sum()
            moved, pi = float(np.abs(after - pi).sum()), after
            if moved < 1e-14:
                break
        return pi

    def draw(self, chars: int, rng: np.random.Generator) -> IntArray:
        """(chars,) ids; see `Task`."""
        V, contexts = self.symbols, len(self.rows)  # noqa: N806
        cumulative = np.cumsum(self.rows, axis=1)
        cumulative[:, -1] = 1.0
        context = int(np.searchsorted(np.cumsum(self.stationary), rng.random()))
        context = min(context, contexts - 1)
        out = [context // V**back % V for back in reversed(range(self.order))]
        table = cumulative.tolist()
        for uniform in rng.random(max(0, chars - self.order)).tolist():
            row = table[context]
            letter = 0
            while row[letter] <= uniform:
                letter += 1
            out.append(letter)
            context = context * V % contexts + letter
        return np.array(out[:chars], np.intp)

    def nats(self, ids: IntArray) -> FloatArray:
        """(N,) -ln p; see `Task`."""
        V, k = self.symbols, self.order  # noqa: N806
        nats = np.empty(len(ids))
        seen, code = 1.0, 0
        for place in range(min(k, len(ids))):  # the first letters, from the distribution of contexts
            code = code * V + int(ids[place])
            now = float(self.stationary.reshape(V ** (place + 1), -1).sum(axis=1)[code])
            nats[place], seen = np.log(seen) - np.log(now), now
        if len(ids) > k:
            contexts = sum(ids[j : len(ids) - k + j] * V ** (k - 1 - j) for j in range(k))
            with np.errstate(divide="ignore"):
                nats[k:] = -np.log(self.rows[contexts, ids[k:]])
        return nats

    def entropy_rate(self) -> float:
        """Nats a character: each row's entropy, weighted with `stationary`."""
        logs = np.log(self.rows, where=self.rows > 0, out=np.zeros_like(self.rows))
        return -float(self.stationary @ (self.rows * logs).sum(axis=1))

    def answers(self, ids: IntArray) -> IntArray:
        """No position: no letter is certain."""
        return np.empty(0, np.intp)
