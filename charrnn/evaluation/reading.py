"""A text read in parts side by side, to the same result as in one go.

Reading has one order: the state before a part is the one that the text before it leaves. Parts that are read at once
begin with a guess instead, the state in which another place of the text left the network. Then the beginning of each
part is read again, from where its predecessor ended, until both readings predict alike; from there on the first was
right. A part where they never do is right as it was read again, and its successor begins elsewhere than was thought: it
is read again in turn. A network that never forgets where it began is so read in one go, part after part.

The cost for a network in order is that of some hundred characters more for each part.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypedDict

import numpy as np
import numpy.typing as npt

from charrnn.data.windows import cut_window
from charrnn.nn.network import CharRNN, State
from charrnn.nn.params import Array, IdArray

STREAMS = 32  # more are hardly faster, and have more beginnings to be read again
_BLOCK = 64  # symbols between two looks at whether readings agree
_LEAST_PART = 1024
_SECTION = 1 << 20  # symbols whose nats are held at once
# Mean difference over a block, nats. What is left of it dies out; even where it did not, and all had one sign, a text
# would be off by less than the 0.0005 nats that are promised.
_AGREED = 3e-4
_LEAD = 512  # symbols of the text before that are read at first
_LEADS = 8  # readings of them, begun a block apart


class Around(TypedDict):
    """What is known of a text beside its ids; see `charrnn.evaluation.loss.surprisals`."""

    separator: IdArray | None
    before: IdArray | None


class Reader:
    """Reads a text with a network whose parameters do not change meanwhile.

    Args:
        model: the network.
        ids: (N,) of the text.
        separator: ids that end a document; the state is zeroed after it.
    """

    def __init__(self, model: CharRNN, ids: IdArray, *, separator: IdArray | None = None) -> None:
        self.model, self.ids, self.separator = model, ids, separator
        model.refresh(backward=False)

    def nats(self, state: State, *, streams: int = STREAMS) -> Iterator[Array]:
        """Nats of every symbol but the first, in order.

        Args:
            state: (S, H, 1) a layer, before the text; overwritten with the state after it.
            streams: parts read side by side; 1 reads in one go.

        Yields:
            (n,) nats of the next n symbols.
        """
        done, predictions = 0, len(self.ids) - 1
        while done < predictions:
            size = min(predictions - done, _SECTION)
            columns = min(streams, size // _LEAST_PART)
            if columns > 1:
                size -= size % columns
                yield self._side_by_side(done, size // columns, columns, state)
            else:
                yield self._in_one_go(done, size, state)
            done += size

    def _in_one_go(self, first: int, size: int, state: State) -> Array:
        out = np.empty(size, self.model.dtype)
        for begin in range(0, size, _BLOCK):
            length = min(_BLOCK, size - begin)
            out[begin : begin + length] = self.read(np.array([first + begin]), length, state)[:, 0]
        return out

    def _side_by_side(self, first: int, length: int, columns: int, state: State) -> Array:
        """(columns * length,) nats of that many parts; `state` goes on to the end of the last."""
        starts = first + np.arange(columns, dtype=np.int64) * length
        nats = np.empty((length, columns), self.model.dtype)
        now = [np.repeat(layer, columns, axis=2) for layer in self._guess(first, state)]
        for layer, true in zip(now, state, strict=True):
            layer[:, :, :1] = true
        for begin in range(0, length, _BLOCK):
            stop = min(begin + _BLOCK, length)
            nats[begin:stop] = self.read(starts + begin, stop - begin, now)
        self._settle(starts, nats, now)
        for layer, last in zip(state, now, strict=True):
            layer[...] = last[:, :, -1:]
        out: Array = nats.T.reshape(-1)
        return out

    def _guess(self, first: int, state: State) -> State:
        """A state that this text leaves, as a part may begin from; from zeros a network may freeze."""
        copy = [layer.copy() for layer in state]
        self._in_one_go(first, 4 * _BLOCK, copy)
        return copy

    def _settle(self, starts: npt.NDArray[np.int64], nats: Array, ends: State) -> None:
        """Read parts again from where their predecessors end, as long as any began elsewhere."""
        wrong = np.arange(len(starts)) > 0  # began from another state than the predecessor's end
        parts = np.flatnonzero(wrong)
        while parts.size:
            changed = self._again(parts, starts, nats, ends)
            wrong[parts] = False
            wrong[changed[changed < len(starts) - 1] + 1] = True
            # After the first time only behind a part that is right: others would be read in vain.
            parts = np.flatnonzero(wrong & ~np.append(False, wrong[:-1]))

    def _again(
        self, parts: npt.NDArray[np.intp], starts: npt.NDArray[np.int64], nats: Array, ends: State
    ) -> npt.NDArray[np.intp]:
        """Read `parts` from their predecessors' ends until they agree with `nats`; those that did not to their end."""
        state = [layer[:, :, parts - 1] for layer in ends]
        pending = np.ones(len(parts), bool)
        for begin in range(0, len(nats), _BLOCK):
            stop = min(begin + _BLOCK, len(nats))
            found = self.read(starts[parts] + begin, stop - begin, state)
            before = nats[begin:stop, parts]
            nats[begin:stop, parts] = np.where(pending, found, before)
            if stop - begin == _BLOCK:
                pending &= np.abs(found - before).mean(axis=0) > _AGREED
            if not pending.any():
                return parts[:0]
            if 2 * np.count_nonzero(pending) <= len(parts):  # seldom, as every width needs buffers of its own
                state = [np.ascontiguousarray(layer[:, :, pending]) for layer in state]
                parts, pending = parts[pending], pending[pending]
        for layer, end in zip(state, ends, strict=True):
            end[:, :, parts[pending]] = layer[:, :, pending]
        return parts[pending]

    def read(self, begins: npt.NDArray[np.int64], length: int, state: State) -> Array:
        """(length, B) nats after the (B,) positions `begins`; (S, H, B) `state` is overwritten with that after them."""
        window = cut_window(self.ids, begins, length, self.separator)
        return self.model.loss(window.inputs, window.targets, state, resets=window.resets, refresh=False)


def state_after(model: CharRNN, before: IdArray | None, *, separator: IdArray | None = None) -> State:
    """One (S, H, 1) state a layer: what one reading of all of a text leaves; zeros where there is none.

    Its last symbols are read from several places at once. Where most of these readings predict alike in the end, and
    no other predicts better (one that froze does not), where they began no longer matters; otherwise more is read.
    """
    size = 0 if before is None else len(before)
    if before is None or size < 1:
        return model.zero_state(1)
    reach = _LEAD
    while reach + _LEADS * _BLOCK < size:
        found = _agreed_state(model, before, reach, separator)
        if found is not None:
            return found
        reach *= 4
    state = model.zero_state(1)
    reader = Reader(model, before, separator=separator)
    for _ in reader.nats(state, streams=1):
        pass
    return _past_last(reader, state)


def _agreed_state(model: CharRNN, before: IdArray, reach: int, separator: IdArray | None) -> State | None:
    size = reach + _LEADS * _BLOCK
    reader = Reader(model, before, separator=separator)
    first, state = len(before) - 1 - size, model.zero_state(_LEADS)
    places = np.full(_LEADS, first, np.int64)
    for block, begin in enumerate(range(0, size, _BLOCK)):
        if block < _LEADS:  # so far only the readings before this one have begun
            for layer in state:
                layer[:, :, block:] = 0.0
        nats = reader.read(places + begin, _BLOCK, state)
    best = int(nats.mean(axis=0).argmin())
    alike = np.abs(nats - nats[:, best : best + 1]).mean(axis=0) <= _AGREED
    if 2 * np.count_nonzero(alike) <= _LEADS:
        return None
    longest = int(np.flatnonzero(alike)[0])
    return _past_last(reader, [layer[:, :, longest : longest + 1].copy() for layer in state])


def _past_last(reader: Reader, state: State) -> State:
    """The state after the last symbol of the text too, which nothing follows to be predicted."""
    separator = reader.separator
    length = 0 if separator is None else len(separator)
    end = np.append(reader.ids[-length - 1 :], reader.ids[-1:])
    Reader(reader.model, end, separator=separator).read(np.array([len(end) - 2]), 1, state)
    if length and np.array_equal(end[-length - 1 : -1], np.asarray(separator)):
        return reader.model.zero_state(1)
    return state


def document_start_across(before: IdArray | None, ids: IdArray, separator: IdArray | None) -> int:
    """Position in `ids` at which a document begins whose separator begins in `before`; 0 where there is none."""
    if before is None or separator is None:
        return 0
    for place in range(1, min(len(separator), len(ids))):
        tail = before[max(0, len(before) + place - len(separator)) :]
        if np.array_equal(np.append(tail, ids[:place]), separator):
            return place
    return 0
