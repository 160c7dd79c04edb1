"""Text that matches a regular expression: which symbols may come next, and when the text is over.

A symbol is allowed if the text can still be completed to a match in the characters that are left, so that what comes
out always matches. Where the text matches already, it ends with the probability that the model gives to what the
expression does not allow.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from charrnn.data.vocabulary import Vocabulary
from charrnn.errors import SettingsError, shown
from charrnn.sampling.automaton import Automaton, UnusableError

_FAR = np.iinfo(np.int32).max


class Constraint:
    """The automaton of an expression, for a vocabulary.

    Args:
        expression: as in Python's `re`, without look-around and back references.
        vocabulary: of characters.
        banned: ids that never come, so that no way may depend on them.

    Raises:
        SettingsError: not an expression, one that no text of the vocabulary matches, or a vocabulary of bytes.
    """

    def __init__(self, expression: str, vocabulary: Vocabulary, *, banned: Sequence[int] = ()) -> None:
        if vocabulary.encoding == "bytes":
            raise SettingsError("`constrain`: needs a model of characters, this one is of bytes")
        self.expression = expression
        machine = _compile(expression, [chr(value) for value in vocabulary.values])
        # (S + 1, C + 1): the state after each class of symbols; the last row, index -1, is the state without a way on,
        # and the last column the class of those banned.
        self._follow = np.pad(machine.follow, ((0, 1), (0, 1)), constant_values=-1)
        self._class_of = machine.classes.copy()
        self._class_of[np.array(banned, np.intp)] = machine.follow.shape[1]
        self._banned = np.zeros(len(vocabulary), bool)
        self._banned[np.array(banned, np.intp)] = True
        self._accepting = np.append(machine.accepting, False)
        self._distance = self._distances(np.unique(self._class_of))
        if self._distance[0] == _FAR:
            what = "the model's characters without those banned" if banned else "the model's characters"
            raise SettingsError(f"`constrain`: no text of {what} matches {shown(expression)}")

    def _distances(self, classes: npt.NDArray[np.intp]) -> npt.NDArray[np.int32]:
        """(S + 1,) characters from each state to the nearest accepting one, breadth first and backwards."""
        before: list[set[int]] = [set() for _ in self._follow]
        for state, row in enumerate(self._follow[:, classes].tolist()):
            for target in row:
                before[target].add(state)
        distance = np.where(self._accepting, 0, _FAR).astype(np.int32)
        nearest = np.flatnonzero(self._accepting).tolist()
        for state in nearest:  # grows
            for earlier in before[state]:
                if distance[earlier] == _FAR:
                    distance[earlier] = distance[state] + 1
                    nearest.append(earlier)
        return distance

    @property
    def shortest(self) -> int:
        """Characters of the shortest match."""
        return int(self._distance[0])

    def advance(self, states: npt.NDArray[np.int32], ids: npt.NDArray[np.intp]) -> npt.NDArray[np.int32]:
        """The (N,) states after one symbol each."""
        out: npt.NDArray[np.int32] = self._follow[states, self._class_of[ids]]
        return out

    def allowed(self, states: npt.NDArray[np.int32], left: int) -> npt.NDArray[np.bool_]:
        """(V, N) the symbols that N streams in these states may take with `left` characters to go."""
        out: npt.NDArray[np.bool_] = (self._distance[self._follow[states]] < left)[:, self._class_of].T
        return out

    def ending(self, states: npt.NDArray[np.int32]) -> npt.NDArray[np.bool_]:
        """(V, N) the symbols whose draw ends a stream, because it matches and they are no part of any match."""
        outside = (self._distance[self._follow[states]] == _FAR)[:, self._class_of].T
        out: npt.NDArray[np.bool_] = outside & self._accepting[states] & ~self._banned[:, None]
        return out

    def complete(self, states: npt.NDArray[np.int32]) -> npt.NDArray[np.bool_]:
        """(N,) whether the text matches and nothing can follow."""
        on = (self._distance[self._follow[states]][:, np.unique(self._class_of)] < _FAR).any(axis=1)
        out: npt.NDArray[np.bool_] = self._accepting[states] & ~on
        return out


class Matcher:
    """Where N streams are in the automaton; those that are over may take anything.

    Args:
        constraint: that they are to match.
        count: N.
        length: characters at most.

    Attributes:
        over: (N,) which streams have ended.

    Raises:
        SettingsError: the shortest match is longer.
    """

    def __init__(self, constraint: Constraint, count: int, length: int) -> None:
        if constraint.shortest > length:
            raise SettingsError(
                f"`constrain`: the shortest match has {constraint.shortest} characters, but `length` is {length}"
            )
        self._constraint = constraint
        self._states = np.zeros(count, np.int32)
        self.over = constraint.complete(self._states)
        self._ends = np.zeros((0, 0), bool)

    def limited(self, logits: npt.NDArray[np.floating], left: int) -> npt.NDArray[np.floating]:
        """(V, N) logits with what may not come at -inf; a stream that has no way to go on in `left` may take all."""
        ends = self._constraint.ending(self._states)
        possible = self._constraint.allowed(self._states, left) | ends
        stuck = ~possible.any(axis=0)  # it matches, and every longer match is too long
        self._ends = ends | stuck
        out: npt.NDArray[np.floating] = np.where(possible | stuck | self.over, logits, -np.inf)
        return out

    def advance(self, ids: npt.NDArray[np.intp]) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
        """Take in the (N,) symbols drawn; which streams ended before theirs, and which are over with it."""
        before = self._ends[ids, np.arange(len(ids))] & ~self.over
        moving = ~(self.over | before)
        self._states = np.where(moving, self._constraint.advance(self._states, ids), self._states)
        after = moving & self._constraint.complete(self._states)
        self.over = self.over | before | after
        return before, after


def _compile(expression: str, characters: Sequence[str]) -> Automaton:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of Python's parser, about what it may mean in the future
            return Automaton(expression, characters)
    except (re.error, OverflowError, RecursionError) as error:
        raise SettingsError(f"`constrain`: {shown(expression)} is not a valid regular expression: {error}") from None
    except UnusableError as error:
        raise SettingsError(f"`constrain`: {shown(expression)} cannot be used: {error}") from None
