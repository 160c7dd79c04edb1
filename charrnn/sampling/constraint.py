"""Text that matches a regular expression: an automaton over the vocabulary that says which symbols may come next.

A symbol is allowed if the text can still be completed to a match in the characters that are left, so that what comes
out always matches. The expression is compiled by interegular (extra `[constrain]`).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from charrnn.data.vocabulary import Vocabulary
from charrnn.errors import MissingExtraError, SettingsError, shown

_FAR = np.iinfo(np.int32).max
_DEAD = -1


class Constraint:
    """The automaton of an expression.

    Args:
        expression: as in Python's `re` (without look-behind and back references).
        vocabulary: of characters.
        banned: ids that never come, so that no way may depend on them.

    Raises:
        MissingExtraError: no interegular.
        SettingsError: not an expression, one that no text of the vocabulary matches, or a vocabulary of bytes.
    """

    def __init__(self, expression: str, vocabulary: Vocabulary, *, banned: Sequence[int] = ()) -> None:
        if vocabulary.encoding == "bytes":
            raise SettingsError("`constrain`: needs a model of characters, this one is of bytes")
        self.expression = expression
        machine = _compile(expression)
        states = {state: k for k, state in enumerate(sorted(machine.states))}
        self.initial = states[machine.initial]
        # (S + 1, V): the state after each symbol; the last row, index -1, is the state without a way on.
        self._next = np.full((len(states) + 1, len(vocabulary)), _DEAD, np.int32)
        keys = [machine.alphabet[chr(value)] for value in vocabulary.values]
        for state, ways in machine.map.items():
            row = {key: states[target] for key, target in ways.items()}
            self._next[states[state]] = [row.get(key, _DEAD) for key in keys]
        self._next[:, np.array(banned, np.intp)] = _DEAD
        self._accepting = np.array([state in machine.finals for state in sorted(machine.states)] + [False])
        self._distance = self._distances()
        if self._distance[self.initial] == _FAR:
            what = "the model's characters without those banned" if banned else "the model's characters"
            raise SettingsError(f"`constrain`: no text of {what} matches {shown(expression)}")

    def _distances(self) -> npt.NDArray[np.int32]:
        """(S + 1,) characters from each state to the nearest accepting one."""
        distance = np.where(self._accepting, 0, _FAR).astype(np.int32)
        while True:
            nearest = distance[self._next].min(axis=1)
            longer = np.minimum(distance, np.where(nearest == _FAR, _FAR, nearest + (nearest != _FAR)))
            if (longer == distance).all():
                return distance
            distance = longer

    @property
    def shortest(self) -> int:
        """Characters of the shortest match."""
        return int(self._distance[self.initial])

    def allowed(self, states: npt.NDArray[np.int32], left: int) -> npt.NDArray[np.bool_]:
        """(V, N) the symbols that N streams in these states may take with `left` characters to go."""
        out: npt.NDArray[np.bool_] = (self._distance[self._next[states]] < left).T
        return out

    def advance(self, states: npt.NDArray[np.int32], ids: npt.NDArray[np.intp]) -> npt.NDArray[np.int32]:
        """The (N,) states after one symbol each."""
        out: npt.NDArray[np.int32] = self._next[states, ids]
        return out

    def complete(self, states: npt.NDArray[np.int32]) -> npt.NDArray[np.bool_]:
        """(N,) whether the text matches and nothing can follow."""
        on = (self._distance[self._next[states]] < _FAR).any(axis=1)
        out: npt.NDArray[np.bool_] = self._accepting[states] & ~on
        return out


def _compile(expression: str) -> Any:
    try:
        import interegular
    except ImportError:
        raise MissingExtraError("interegular", "constrain", purpose="text that matches an expression") from None
    try:
        re.compile(expression)  # says what is wrong with it, and where
    except (re.error, OverflowError, RecursionError) as error:
        raise SettingsError(f"`constrain`: {shown(expression)} is no regular expression: {error}") from None
    try:
        return interegular.parse_pattern(expression).to_fsm()
    except Exception as error:  # its parser raises several kinds
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        raise SettingsError(f"`constrain`: {shown(expression)} cannot be used: {reason}") from None
