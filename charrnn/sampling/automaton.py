"""A regular expression as a deterministic automaton over a vocabulary.

Python's own parser says what an expression means; its tree becomes a nondeterministic automaton (Thompson 1968), whose
sets of states are the states of the deterministic one (Rabin and Scott 1959). Anchors at the ends add nothing, as a
text is to match as a whole; look-around and back references are no automata and are refused.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

if sys.version_info >= (3, 11):
    from re import _parser as sre_parse  # type: ignore[attr-defined]
else:
    import sre_parse

MOST_STATES = 5_000  # of either automaton
_MOST_WORK = 400_000  # steps of the construction: within a second
_ENDLESS = 1_000_000  # at least this often is for ever
_KINDS = re.ASCII | re.UNICODE  # of characters

Mask = npt.NDArray[np.bool_]


class UnusableError(ValueError):
    """An expression that is correct and cannot be used; says why."""


class Automaton:
    """States and what leads from one to another.

    Args:
        expression: as in Python's `re`, without look-around and back references.
        characters: (V,) the vocabulary.

    Attributes:
        follow: (S, C) the state after a symbol of each class; -1 where there is no way on. State 0 is the first.
        classes: (V,) the class of each symbol: those that the expression does not tell apart.
        accepting: (S,) whether a text may end there.

    Raises:
        re.error: not an expression.
        UnusableError: one that is no automaton, or one of more than `MOST_STATES` states.
    """

    def __init__(self, expression: str, characters: Sequence[str]) -> None:
        tree: Any = sre_parse.parse(expression)
        builder = _Builder(characters)
        end = builder.sequence(_without_anchors(list(tree)), builder.start, tree.state.flags)
        masks = np.array(builder.masks).reshape(len(builder.masks), len(characters))
        # Symbols with the same column are in the same sets; each distinct column is a class.
        columns, self.classes = np.unique(masks, axis=1, return_inverse=True)
        self.classes = self.classes.reshape(-1)
        self.follow, self.accepting = _determine(builder, end, columns)


class _Builder:
    """Numbered states, with arrows that take a symbol of a set, or nothing."""

    def __init__(self, characters: Sequence[str]) -> None:
        self.characters = characters
        self.masks: list[Mask] = []
        self.arrows: list[list[tuple[int, int]]] = []  # (set, target)
        self.free: list[list[int]] = []
        self._known: dict[bytes, int] = {}
        self._work = 0
        self.start = self.state()

    def state(self) -> int:
        if len(self.free) >= MOST_STATES:
            raise UnusableError(_too_large())
        self.arrows.append([])
        self.free.append([])
        return len(self.free) - 1

    def sequence(self, items: Any, at: int, flags: int) -> int:
        """Add the items one after the other from a state; the state after them."""
        self._work += 1
        if self._work > _MOST_WORK:
            raise UnusableError(_too_large())
        for op, argument in items:
            at = self._item(str(op), argument, at, flags)
        return at

    def _item(self, op: str, argument: Any, at: int, flags: int) -> int:
        if op == "SUBPATTERN":
            _, added, removed, inner = argument
            kept = flags & ~_KINDS if added & _KINDS else flags  # one of them takes the other's place
            return self.sequence(inner, at, (kept | added) & ~removed)
        if op == "BRANCH":
            end = self.state()
            for branch in argument[1]:
                self.free[self.sequence(branch, at, flags)].append(end)
            return end
        if op in ("MAX_REPEAT", "MIN_REPEAT"):
            least, most, inner = argument
            return self._repeat(least, most, inner, at, flags)
        if op in ("LITERAL", "NOT_LITERAL", "IN", "ANY"):
            after = self.state()
            self.arrows[at].append((self._set(op, argument, flags), after))
            return after
        raise UnusableError(_UNUSABLE.get(op, f"{op.lower().replace('_', ' ')} cannot be used"))

    def _repeat(self, least: int, most: int, inner: Any, at: int, flags: int) -> int:
        for _ in range(least):
            at = self.sequence(inner, at, flags)
        if most >= _ENDLESS:
            loop = self.state()
            self.free[at].append(loop)
            self.free[self.sequence(inner, loop, flags)].append(loop)
            return loop
        end = self.state()
        self.free[at].append(end)
        for _ in range(most - least):
            at = self.sequence(inner, at, flags)
            self.free[at].append(end)
        return end

    def _set(self, op: str, argument: Any, flags: int) -> int:
        items = argument if op == "IN" else [(op.removeprefix("NOT_"), argument)]
        negated = op == "NOT_LITERAL" or str(items[0][0]) == "NEGATE"
        holds = [_PARTS[str(kind)](value, flags) for kind, value in items if str(kind) != "NEGATE"]
        fold = bool(flags & re.IGNORECASE)
        mask = np.array([
            any(test(form) for form in ((c, *c.lower(), *c.upper()) if fold else c) for test in holds) is not negated
            for c in self.characters
        ], bool)  # fmt: skip
        key = mask.tobytes()
        if key not in self._known:
            self._known[key] = len(self.masks)
            self.masks.append(mask)
        return self._known[key]


_CATEGORIES = {"DIGIT": r"\d", "SPACE": r"\s", "WORD": r"\w", "NOT_DIGIT": r"\D", "NOT_SPACE": r"\S", "NOT_WORD": r"\W"}
_UNUSABLE = {
    "AT": "^ and $ are possible at its ends only, and \\b is not supported",
    "ASSERT": "look-around is not supported", "ASSERT_NOT": "look-around is not supported",
    "GROUPREF": "back-references are not supported", "GROUPREF_EXISTS": "back-references are not supported",
}  # fmt: skip


def _category(argument: Any, flags: int) -> Callable[[str], bool]:
    pattern = re.compile(_CATEGORIES[str(argument).removeprefix("CATEGORY_")], flags & _KINDS)
    return lambda c: pattern.match(c) is not None


_PARTS: dict[str, Callable[[Any, int], Callable[[str], bool]]] = {
    "LITERAL": lambda code, flags: lambda c: c == chr(code),
    "RANGE": lambda bounds, flags: lambda c: chr(bounds[0]) <= c <= chr(bounds[1]),
    "CATEGORY": _category,
    "ANY": lambda nothing, flags: lambda c: bool(flags & re.DOTALL) or c != "\n",
}


def _without_anchors(items: list[Any]) -> list[Any]:
    """The items of an expression without ^ at its beginning and $ at its end."""
    while items and str(items[0][0]) == "AT" and str(items[0][1]) in ("AT_BEGINNING", "AT_BEGINNING_STRING"):
        items = items[1:]
    while items and str(items[-1][0]) == "AT" and str(items[-1][1]) in ("AT_END", "AT_END_STRING"):
        items = items[:-1]
    if len(items) == 1 and str(items[0][0]) == "BRANCH":
        nothing, branches = items[0][1]
        return [(items[0][0], (nothing, [_without_anchors(list(branch)) for branch in branches]))]
    if len(items) == 1 and str(items[0][0]) == "SUBPATTERN":
        *group, inner = items[0][1]
        return [(items[0][0], (*group, _without_anchors(list(inner))))]
    return items


def _determine(builder: _Builder, end: int, columns: Mask) -> tuple[npt.NDArray[np.int32], Mask]:
    """The subset construction; sets of states are the bits of an integer."""
    closures = _closures(builder.free)
    members = [np.flatnonzero(column).tolist() for column in columns]
    # For each state, set by set, the classes of the set and where they lead: closures already.
    leads = [[(members[k], closures[target]) for k, target in arrows] for arrows in builder.arrows]
    number, found = {closures[builder.start]: 0}, [closures[builder.start]]
    rows: list[list[int]] = []
    work = 0
    for bits in found:  # grows
        row = [0] * columns.shape[1]
        rest = bits
        while rest:
            low = rest & -rest
            for classes, target in leads[low.bit_length() - 1]:
                work += len(classes)
                for c in classes:
                    row[c] |= target
            rest ^= low
            work += 1
        for c, target in enumerate(row):
            if target and target not in number:
                number[target] = len(found)
                found.append(target)
            row[c] = number[target] if target else -1
        if len(found) > MOST_STATES or work > _MOST_WORK:
            raise UnusableError(_too_large())
        rows.append(row)
    accepting = np.array([bool(bits >> end & 1) for bits in found])
    return np.array(rows, np.int32).reshape(len(found), columns.shape[1]), accepting


def _closures(free: list[list[int]]) -> list[int]:
    """For each state the set of those that it reaches for nothing, itself among them."""
    out = [1 << state for state in range(len(free))]
    changed = True
    while changed:
        changed = False
        for state in range(len(free) - 1, -1, -1):  # most arrows point to later states: few rounds
            bits = out[state]
            for target in free[state]:
                bits |= out[target]
            changed |= bits != out[state]
            out[state] = bits
    return out


def _too_large() -> str:
    return f"its automaton would have more than {MOST_STATES:,} states"
