"""Read a text in parallel parts, with the same result as in one go.

Reading is sequential: the state before a part is the one that the text before it leaves. Parts that are read in
parallel start from a guess instead, the state in which another piece of the text left the network. Then the beginning
of each part is read again, from where its predecessor ended, until both readings predict the same; from there on the
first was right. If they never do, the second reading counts, and the next part started from a wrong state: it is read
again in turn. A network that never forgets where it started is thus read in one go, part after part.

For a well-behaved network this costs some hundred extra characters per part.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypedDict

import numpy as np
import numpy.typing as npt

from charrnn.data.windows import cut_window
from charrnn.nn.network import CharRNN, State
from charrnn.nn.params import Array, IdArray

STREAMS = 32  # more are hardly faster, and have more beginnings to read again
_BLOCK = 64  # symbols between two checks of whether the readings agree
_LEAST_PART = 1024
_SECTION = 1 << 20  # symbols whose nats are held at once
# Mean difference over a block, nats. The rest dies out; even if it did not, and all had the same sign, a text would
# be off by less than the promised 0.0005 nats.
_AGREED = 3e-4
_LEADS = 8  # readings of the text before
_LEAST_REACH, _LARGEST_REACH = 512, 1 << 15  # symbols that they read, at first and at most
_JUDGED = 4  # their last blocks, by which they are compared
_SOON = 4096  # symbols within which they must converge
_SHORT = 1 << 14  # an earlier text up to this length is always read from its beginning
_MOST = 1 << 23  # of a longer one, no more is read: some minutes, if the network is large


class Around(TypedDict):
    """What is known of a text besides its ids; see `charrnn.evaluation.loss.surprisals`."""

    separator: IdArray | None
    before: IdArray | None


class Reader:
    """Reads a text with a network whose parameters stay fixed.

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
            state: one (S, H, 1) array per layer, before the text; overwritten with the state after it.
            streams: parts read in parallel; 1 reads in one go.

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
        """(columns * length,) nats of that many parts; `state` is advanced to the end of the last."""
        starts = first + np.arange(columns, dtype=np.int64) * length
        nats = np.empty((length, columns), self.model.dtype)
        now = [np.repeat(layer, columns, axis=2) for layer in self._guess(first, state)]
        for layer, true in zip(now, state, strict=True):
            layer[:, :, :1] = true
        for begin in range(0, length, _BLOCK):
            stop = min(begin + _BLOCK, length)
            nats[begin:stop] = self.read(starts + begin, stop - begin, now)
        if not self._settle(starts, nats, now):
            return self._in_one_go(first, length * columns, state)
        for layer, last in zip(state, now, strict=True):
            layer[...] = last[:, :, -1:]
        out: Array = nats.T.reshape(-1)
        return out

    def _guess(self, first: int, state: State) -> State:
        """A state that this text leaves, for a part to start from; from zeros a network may freeze."""
        copy = [layer.copy() for layer in state]
        self._in_one_go(first, 4 * _BLOCK, copy)
        return copy

    def _settle(self, starts: npt.NDArray[np.int64], nats: Array, ends: State) -> bool:
        """Read parts again from where their predecessors end, as long as any started from another state.

        Returns:
            False if too many never agree: such a network hardly forgets, or is chaotic, and its predictions depend on
            how sums are rounded. Then only reading in one go counts.
        """
        wrong = np.arange(len(starts)) > 0  # began from another state than the predecessor's end
        parts = np.flatnonzero(wrong)
        while parts.size:
            changed = self._again(parts, starts, nats, ends)
            if 4 * len(changed) > len(starts):
                return False
            wrong[parts] = False
            wrong[changed[changed < len(starts) - 1] + 1] = True
            # After the first time, only after a part that is right: reading others would be wasted.
            parts = np.flatnonzero(wrong & ~np.append(False, wrong[:-1]))
        return True

    def _again(
        self, parts: npt.NDArray[np.intp], starts: npt.NDArray[np.int64], nats: Array, ends: State
    ) -> npt.NDArray[np.intp]:
        """Read `parts` from their predecessors' ends until they agree with `nats`, or to their end if they never do."""
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
            if 2 * np.count_nonzero(pending) <= len(parts):  # rarely, as every width needs its own buffers
                state = [np.ascontiguousarray(layer[:, :, pending]) for layer in state]
                parts, pending = parts[pending], pending[pending]
        for layer, end in zip(state, ends, strict=True):
            end[:, :, parts[pending]] = layer[:, :, pending]
        return parts[pending]

    def read(self, begins: npt.NDArray[np.int64], length: int, state: State) -> Array:
        """(length, B) nats after the (B,) positions `begins`; (S, H, B) `state` is overwritten with that after them."""
        window = cut_window(self.ids, begins, length, self.separator)
        return self.model.loss(window.inputs, window.targets, state, resets=window.resets, refresh=False)

    def skip(self, begins: npt.NDArray[np.int64], length: int, state: State) -> None:
        """The same for the state alone."""
        window = cut_window(self.ids, begins, length, self.separator)
        self.model.advance(window.inputs, state, resets=window.resets)


def state_before(model: CharRNN, ids: IdArray, before: IdArray | None, *, separator: IdArray | None = None) -> State:
    """One (S, H, 1) state per layer to read `ids` from: what reading all of `before` leaves; without it, zeros.

    The last symbols of `before` are read from several states at once. If all readings predict the same in the end, it
    does not matter which of them continues, nor what came earlier. Otherwise more is read, and in the end all: a unit
    that something has driven to an end of its range may stay there for the rest of a text.
    """
    size = 0 if before is None else len(before)
    if before is None or size < 1:
        return model.zero_state(1)
    leads, reach = _Leads(model, ids, before, separator), _LEAST_REACH
    while size > max(_SHORT, 2 * reach) and reach <= _LARGEST_REACH:
        state = leads.read(reach)
        if state is not None:
            return state
        reach *= 4
    state = model.zero_state(1)
    reader = Reader(model, before[-_MOST:], separator=separator)
    for _ in reader.nats(state):
        pass
    return _past_last(reader, state)


class _Leads:
    """Readings of a text's last symbols from several states.

    Args:
        model: the network.
        ids: of the text that comes next.
        before: the text.
        separator: ids that end a document.
    """

    def __init__(self, model: CharRNN, ids: IdArray, before: IdArray, separator: IdArray | None) -> None:
        self.model = model
        self._before = Reader(model, before, separator=separator)
        self._ids = Reader(model, ids, separator=separator)

    def read(self, reach: int) -> State | None:
        """Read `reach` symbols or more; (S, H, 1) states after the text, None if they depend on the starting point."""
        state, nats = self.model.zero_state(_LEADS), []
        judged = reach + (_LEADS - _JUDGED) * _BLOCK  # what comes before is read for the state alone
        size = reach + _LEADS * _BLOCK
        first = np.full(_LEADS, len(self._before.ids) - 1 - size, np.int64)
        for begin in range(0, size, _BLOCK):
            self._begin(begin // _BLOCK, state)
            if begin < judged:
                self._before.skip(first + begin, _BLOCK, state)
            else:
                nats.append(self._before.read(first + begin, _BLOCK, state))
        # Some networks freeze in a negated state, which no text leaves, and predict nonsense: that says nothing. But if
        # they freeze, or read worse, after a start from zeros, then the text's first symbols may have done it too.
        last = np.mean(nats, axis=(0, 1))
        in_order = last < last.min() + 1.0
        if not in_order[: _LEADS // 2].all():
            return None
        state = _past_last(self._before, [np.ascontiguousarray(layer[:, :, in_order]) for layer in state])
        longest = [layer[:, :, :1].copy() for layer in state]
        return longest if _alike(nats[-1][:, in_order]) or self._come_together(state) else None

    @staticmethod
    def _begin(block: int, state: State) -> None:
        """Half of the readings start from zeros, one per block; the others from the negated state of the first."""
        half = _LEADS // 2
        for layer in state:
            if block < half:
                layer[:, :, block] = 0.0
            if 0 < block <= half:
                layer[:, :, half + block - 1] = -layer[:, :, 0]

    def _come_together(self, state: State) -> bool:
        """Whether readings of the next text from these states soon predict the same, and hardly differ until then."""
        predictions, apart = len(self._ids.ids) - 1, 0.0
        begins = np.zeros(state[0].shape[2], np.int64)
        for begin in range(0, min(predictions, _SOON), _BLOCK):
            nats = self._ids.read(begins + begin, min(_BLOCK, predictions - begin), state)
            if _alike(nats):
                return True
            apart += float(np.ptp(nats, axis=1).sum())
            if apart > _AGREED * predictions:
                return False
        return predictions <= _SOON


def _alike(nats: Array) -> bool:
    """Whether the (T, B) nats are the same in all columns."""
    return bool(np.ptp(nats, axis=1).mean() <= _AGREED)


def _past_last(reader: Reader, state: State) -> State:
    """Also the state after the text's last symbol, which has no successor to predict."""
    separator, columns = reader.separator, state[0].shape[2]
    length = 0 if separator is None else len(separator)
    end = np.append(reader.ids[-length - 1 :], reader.ids[-1:])
    Reader(reader.model, end, separator=separator).read(np.full(columns, len(end) - 2), 1, state)
    if length and np.array_equal(end[-length - 1 : -1], np.asarray(separator)):
        return reader.model.zero_state(columns)
    return state


def document_start_across(before: IdArray | None, ids: IdArray, separator: IdArray | None) -> int:
    """Position in `ids` where a document begins whose separator begins in `before`; 0 if there is none."""
    if before is None or separator is None:
        return 0
    for place in range(1, min(len(separator), len(ids))):
        tail = before[max(0, len(before) + place - len(separator)) :]
        if np.array_equal(np.append(tail, ids[:place]), separator):
            return place
    return 0
