"""Brackets: lines of one properly nested group each, of several kinds of brackets, up to a depth.

The generator is a Markov process over the stack of open brackets. On an empty stack it opens one; at the full depth it
closes one; between, it opens one with `p_open` and closes one else. A kind is drawn uniformly on opening, and what
closes is what was opened last. After the group comes a line end. A symbol's distribution depends on the stack's depth
and, for the kind that closes, on its top; so the entropy rate is that of the depth's chain, whose stationary
distribution is computed exactly (Cover and Thomas 2006, theorem 4.2.4). Bounded depth makes the language regular (the
Dyck language of Hewitt et al. 2020, "RNNs can generate bounded hierarchical languages with optimal memory").
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from charrnn.data.tasks.base import FloatArray, between
from charrnn.nn.params import IntArray

PAIRS = "()[]{}<>"


@dataclass(frozen=True)
class Brackets:
    """The task.

    Args:
        depth: D, brackets open at once at most.
        symbols: K, kinds of brackets, 1 to 4.
        p_open: probability of opening where both are possible.

    Raises:
        ValueError: out of range.
    """

    depth: int = 8
    symbols: int = 4
    p_open: float = 0.5

    def __post_init__(self) -> None:
        between("depth", self.depth, 1, 1000)
        between("symbols", self.symbols, 1, len(PAIRS) // 2)
        if not 0.0 < self.p_open < 1.0:
            raise ValueError(f"p_open: found {self.p_open}, allowed: above 0 and below 1")

    @property
    def alphabet(self) -> str:
        """Opening kinds, closing kinds in the same order, line end."""
        return PAIRS[: 2 * self.symbols : 2] + PAIRS[1 : 2 * self.symbols : 2] + "\n"

    def draw(self, chars: int, rng: np.random.Generator) -> IntArray:
        """(chars,) ids; see `Task`."""
        opening = (rng.random(chars) < self.p_open).tolist()
        kinds = rng.integers(self.symbols, size=chars).tolist()
        stack: list[int] = []
        out: list[int] = []
        done = False
        for opens, kind in zip(opening, kinds, strict=True):
            if done:
                out.append(2 * self.symbols)
                done = False
            elif not stack or (opens and len(stack) < self.depth):
                stack.append(kind)
                out.append(kind)
            else:
                out.append(self.symbols + stack.pop())
                done = not stack
        return np.array(out, np.intp)

    def nats(self, ids: IntArray) -> FloatArray:
        """(N,) -ln p; see `Task`. After an impossible symbol the rest is of no meaning."""
        opens, line_end = ids < self.symbols, ids == 2 * self.symbols
        closes = ~opens & ~line_end
        after = np.cumsum(opens.astype(np.intp) - closes)
        before = np.append(0, after[:-1])[: len(ids)]
        fresh = np.append(True, line_end[:-1])[: len(ids)]  # at the start of a line
        inside = (before > 0) & (before < self.depth)
        kind = np.log(self.symbols)
        nats = np.where(opens, kind - np.where(inside, np.log(self.p_open), 0.0), 0.0)
        nats = np.where(closes & inside, -np.log1p(-self.p_open), nats)
        possible = np.where(opens, (before < self.depth) & (fresh | (before > 0)), before > 0)
        possible = np.where(line_end, (before == 0) & ~fresh, possible)
        possible[closes] &= self._matches(ids, np.where(opens, after, before), ~line_end)[closes]
        return np.where(possible, nats, np.inf)

    def _matches(self, ids: IntArray, level: IntArray, bracket: np.ndarray) -> np.ndarray:
        """(N,) whether a closing bracket is of the kind opened last: on each level, brackets open and close in turn."""
        places = np.flatnonzero(bracket)
        order = places[np.argsort(level[places], kind="stable")]
        ok = np.zeros(len(ids), bool)
        ok[order[1:]] = ids[order[1:]] == ids[order[:-1]] + self.symbols
        return ok

    def stationary(self) -> FloatArray:
        """(D + 2,) how often, in the long run, each state comes before a character: depth 0 to D, and a line's end."""
        D, p = self.depth, self.p_open  # noqa: N806 - as in the text above
        end = D + 1
        P = np.zeros((D + 2, D + 2))  # noqa: N806
        P[0, 1] = P[end, 0] = 1.0
        for d in range(1, D + 1):
            opens = p if d < D else 0.0
            P[d, min(d + 1, D)] += opens
            P[d, d - 1 if d > 1 else end] += 1.0 - opens
        # pi P = pi and sum(pi) = 1: one of the first equations follows from the others, and gives way to the last.
        A = P.T - np.eye(D + 2)  # noqa: N806
        A[-1] = 1.0
        return np.linalg.solve(A, np.eye(D + 2)[-1])

    def entropy_rate(self) -> float:
        """Nats a character: the entropy of each state's next character, weighted with `stationary`."""
        p, kind = self.p_open, float(np.log(self.symbols))
        entropy = np.full(self.depth + 2, -p * np.log(p) - (1 - p) * np.log1p(-p) + p * kind)
        entropy[0], entropy[self.depth :] = kind, 0.0
        return float(self.stationary() @ entropy)

    def answers(self, ids: IntArray) -> IntArray:
        """No position: that a bracket closes is itself uncertain."""
        return np.empty(0, np.intp)
