"""How a text is read to be compressed or brought back: in segments, side by side, each as a text of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt

from charrnn.data.vocabulary import Vocabulary, default_prime
from charrnn.evaluation.compression.arithmetic import LARGEST_TOTAL
from charrnn.evaluation.loss import surprisals
from charrnn.evaluation.reading import Reader
from charrnn.nn.head import log_softmax
from charrnn.nn.network import CharRNN
from charrnn.nn.params import IdArray
from charrnn.nn.stepper import Stepper

# A segment without context costs some 200 bits more than one with it; this many symbols make that negligible.
_SEGMENT = 20_000
MOST_STREAMS = 64
_BLOCK = 64
_MOST_LOST = 5e-4  # share of the bits that segments may cost, where their number is ours to choose

Tick = Callable[[int, int], None]


def segments(count: int, streams: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Where segments begin, and how long they are."""
    starts = np.arange(streams, dtype=np.int64) * count // streams
    return starts, np.diff(np.append(starts, count))


class Walker:
    """Reads texts in segments, each as a text of its own.

    Args:
        model: makes the predictions.
        vocabulary: of the model.
        separator: ids that end a document.
    """

    def __init__(self, model: CharRNN, vocabulary: Vocabulary, separator: IdArray | None) -> None:
        self._model, self._vocabulary, self._separator = model, vocabulary, separator
        self._prime = default_prime(vocabulary) if separator is None else separator

    def ids_of(self, values: npt.NDArray[np.uint32]) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.bool_]]:
        """The (N,) ids that the model is fed for these symbols, and which of them it knows."""
        # Bytes that are no text have, to a model of characters, the ids of the ASCII characters that it knows.
        ids = self._vocabulary.lookup(values)
        known = ids != self._vocabulary.unknown_id
        return np.where(known, ids, 0).astype(np.intp), known

    def streams_for(self, values: npt.NDArray[np.uint32]) -> int:
        """How many segments these symbols are best read in."""
        streams = min(MOST_STREAMS, len(values) // _SEGMENT)
        if streams < 2:
            return 1
        ids = self.ids_of(values)[0].astype(self._vocabulary.dtype)
        nats = np.concatenate([found for _, found in surprisals(self._model, ids, separator=self._separator)])
        while streams > 1 and self._lost(ids, nats, streams) > _MOST_LOST * float(nats.sum(dtype=np.float64)):
            streams //= 2
        return streams

    def _lost(self, ids: IdArray, nats: npt.NDArray[np.floating], streams: int) -> float:
        """Nats that segments cost more than one reading, whose (N - 1,) nats are given; a network may freeze in one."""
        starts, lengths = segments(len(ids), streams)
        stepper = self._begun(streams)[0]
        state, reader, lost = stepper.state, Reader(self._model, ids, separator=self._separator), 0.0
        for begin in range(0, int(lengths.min()) - 1, _BLOCK):
            length = min(_BLOCK, int(lengths.min()) - 1 - begin)
            places = starts + begin + np.arange(length)[:, None]
            lost += float((reader.read(starts + begin, length, state) - nats[places]).sum(dtype=np.float64))
        return lost

    def _begun(self, streams: int) -> tuple[Stepper, npt.NDArray[np.floating]]:
        """A stepper that has read what comes before each segment, and its logits."""
        stepper = Stepper(self._model, streams)
        for symbol in self._prime.tolist():
            logits = stepper.step(np.full(streams, symbol) if streams > 1 else symbol)
        if self._separator is not None:
            stepper.state = self._model.zero_state(streams)
        return stepper, logits

    def walk(
        self, count: int, streams: int, tick: Tick
    ) -> Iterator[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], Callable[[npt.NDArray[np.intp]], None]]]:
        """Step by step: (V + 1, n) frequencies, the (n,) places they are for, and what to call with the ids there."""
        starts, lengths = segments(count, streams)
        stepper, logits = self._begun(streams)
        ends = None if self._separator is None else DocumentEnds(self._separator, streams)
        for step in range(int(lengths.max(initial=0))):
            active = np.flatnonzero(lengths > step)

            def feed(ids: npt.NDArray[np.intp], active: npt.NDArray[np.intp] = active) -> None:
                nonlocal logits
                whole = np.zeros(streams, np.intp)
                whole[active] = ids
                logits = stepper.step(whole if streams > 1 else int(whole[0]))
                if ends is not None and (ended := ends.after(whole)).any():
                    stepper.state = [np.where(ended, layer.dtype.type(0), layer) for layer in stepper.state]

            yield frequencies_of(logits)[:, active], starts[active] + step, feed
            if step % 64 == 0:
                tick(min(count, step * streams), count)


class DocumentEnds:
    """Notices in which of several streams a separator has just been read.

    Args:
        separator: ids that end a document.
        streams: their number.
    """

    def __init__(self, separator: IdArray, streams: int) -> None:
        self._separator = separator.astype(np.intp)[:, None]
        self._last = np.full((len(separator), streams), -1, np.intp)

    def after(self, ids: npt.NDArray[np.intp]) -> npt.NDArray[np.bool_]:
        """(B,) whether the separator ends with these (B,) ids."""
        self._last[:-1] = self._last[1:]
        self._last[-1] = ids
        out: npt.NDArray[np.bool_] = (self._last == self._separator).all(axis=0)
        return out


def frequencies_of(logits: npt.NDArray[np.floating]) -> npt.NDArray[np.int64]:
    """(V, B) logits -> (V + 1, B) frequencies that add up to the coder's total, each at least 1.

    The last is the escape's; the rounding remainder goes to the most likely symbol.
    """
    with np.errstate(
        over="ignore", invalid="ignore"
    ):  # weights without measure: any frequencies do, if always the same
        p = np.nan_to_num(np.exp(log_softmax(logits)))
    room = LARGEST_TOTAL - len(p) - 1
    out = np.ones((len(p) + 1, p.shape[1]), np.int64)
    out[:-1] += np.floor(p * room).astype(np.int64)
    best, columns = p.argmax(axis=0), np.arange(p.shape[1])
    out[best, columns] += LARGEST_TOTAL - out.sum(axis=0)
    return out
