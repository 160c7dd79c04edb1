"""How a text begins; the only place that decides it.

Training hardly ever sees the zero state in the middle of a text, and some networks never recover from it. So a text
begins from a state that training has seen:

- after the opening, a few hundred characters from the end of the training part that a checkpoint carries, read from one
  of the states that training left behind (or from zero, if that serves better);
- for a checkpoint without an opening (format 1 before it had one): after a line end, from one of the states that
  training left behind;
- for an imported network, which has neither: after a line end that follows some text of its own making.

A model of documents begins a document as training did: the separator is read, its logits choose the first symbol, and
the state is zeroed before that symbol is read. The same happens after every separator within a text.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from charrnn.data.vocabulary import Vocabulary, default_prime, has_lines
from charrnn.nn.ensemble import Companion, make_stepper
from charrnn.nn.head import log_softmax
from charrnn.nn.network import CharRNN, State
from charrnn.nn.params import Array, IdArray
from charrnn.runs.checkpoint import Checkpoint
from charrnn.runs.text import separator_ids

OPENING = 256  # symbols; more than recurrent networks of our size remember
_CANDIDATES = 64  # carried states that are looked at
_TRIAL, _OWN_TEXT = 40, 100  # symbols that are written to compare states, and to have one at all


@dataclass(frozen=True)
class TextStart:
    """Where one model's texts begin.

    Attributes:
        state: one (S, H, 1) array per layer.
        logits: (V, 1) of the first symbol; None where something must be read first.
        lead: ids read first where there are no logits and no prime.
        separator: ids that end a document; None for one endless text.
    """

    state: State
    logits: Array | None
    lead: IdArray
    separator: IdArray | None = None


@dataclass(frozen=True)
class TextModel:
    """What writes and reads text: networks whose probabilities are averaged, and how their texts begin.

    Attributes:
        models: at least one.
        vocabulary: of all of them.
        starts: one for each model.
        companion: a predictor mixed with the networks: n-gram counts, say.
    """

    models: Sequence[CharRNN]
    vocabulary: Vocabulary
    starts: Sequence[TextStart]
    companion: Companion | None = None

    @property
    def separator(self) -> IdArray | None:
        """Ids that end a document; None for one endless text."""
        return self.starts[0].separator

    def begin(self, prime: IdArray | Sequence[int] = (), *, batch_size: int = 1) -> tuple[TextStepper, Array]:
        """A stepper of B streams that have all read the prime, and the (V, B) logits of what follows.

        Args:
            prime: (P,) ids to continue; empty to begin a text.
            batch_size: B.
        """
        reader = TextStepper(self.models, 1, self.separator, self.companion)
        blank = [] if self.companion is None else [self.companion.memory(1)]
        reader.state = [*(layer for start in self.starts for layer in start.state), *blank]
        known = [start.logits for start in self.starts if start.logits is not None]
        warm = len(known) == len(self.models)
        if warm:
            reader.has_ended()
            logits = known[0] if len(known) == 1 and not blank else self._mixed(known)
        for symbol in prime if warm or len(prime) else self.starts[0].lead:
            logits = reader.feed(int(symbol))
        if batch_size == 1:
            return reader, logits
        return reader.taken(np.zeros(batch_size, np.intp)), np.repeat(logits, batch_size, axis=1)

    def _mixed(self, logits: Sequence[Array]) -> Array:
        p = np.mean([np.exp(log_softmax(x)) for x in logits], axis=0)
        if self.companion is not None:
            p = self.companion.mix(p, self.companion.memory(1))
        out: Array = np.log(np.maximum(p, np.finfo(np.float64).tiny))
        return out


class TextStepper:
    """Feeds symbols one by one to B streams and zeroes the state where training did: after a separator.

    Args:
        models: one, or several whose probabilities are averaged.
        batch_size: B.
        separator: ids that end a document; None for one endless text.
        companion: a predictor mixed with the models; it is not reset after a separator.

    Attributes:
        step: (B,) ids, or one int where B is 1 -> (V, B) logits of the next symbol; overwritten by the next call.
    """

    def __init__(
        self,
        models: Sequence[CharRNN],
        batch_size: int = 1,
        separator: npt.NDArray[Any] | None = None,
        companion: Companion | None = None,
    ) -> None:
        self._models, self._companion, self.batch_size = models, companion, batch_size
        self._stepper = make_stepper(models, batch_size, companion)
        self._separator = None if separator is None else np.asarray(separator, np.int64)[:, None]
        self._recent = np.full((0 if separator is None else len(separator), batch_size), -1)
        self.step: Callable[[Any], Array] = self._stepper.step if separator is None else self._step_in_document

    @property
    def state(self) -> State:
        """One (S, H, B) array per layer, copied; those of several models one after the other."""
        return self._stepper.state

    @state.setter
    def state(self, state: State) -> None:
        self._stepper.state = state

    @property
    def recent(self) -> npt.NDArray[np.int64]:
        """(L, B) the last ids read, as many as a separator has; -1 before the first."""
        return self._recent

    def has_ended(self) -> None:
        """A separator was read last, in every stream."""
        if self._separator is not None:
            self._recent[...] = self._separator

    def feed(self, symbol: int) -> Array:
        """Feed one symbol to all streams."""
        return self.step(symbol if self.batch_size == 1 else np.full(self.batch_size, symbol))

    def taken(self, streams: npt.NDArray[np.intp]) -> TextStepper:
        """A stepper whose (B',) streams continue these of ours; ours is used up where it has as many."""
        state, recent = [layer[:, :, streams] for layer in self.state], self._recent[:, streams]
        out = self
        if len(streams) != self.batch_size:
            separator = None if self._separator is None else self._separator[:, 0]
            out = TextStepper(self._models, len(streams), separator, self._companion)
        out.state, out._recent = state, recent
        return out

    def _step_in_document(self, ids: Any) -> Array:
        ended = (self._recent == self._separator).all(axis=0)
        if ended.any():
            state = self._stepper.state
            for layer in state if self._companion is None else state[:-1]:
                layer[:, :, ended] = 0.0
            self._stepper.state = state
        self._recent[:-1] = self._recent[1:]
        self._recent[-1] = ids
        return self._stepper.step(ids)


# --- making one ----------------------------------------------------------------------------------------------------


def text_model(checkpoints: Sequence[Checkpoint], models: Sequence[CharRNN], *, cold: bool = False) -> TextModel:
    """Checkpoints of one vocabulary, with their networks, as one writer of text.

    Args:
        checkpoints: at least one.
        models: built from them.
        cold: begin from the zero state, which training hardly saw.
    """
    vocabulary = checkpoints[0].vocabulary
    starts = []
    for saved, model in zip(checkpoints, models, strict=True):
        separator = separator_ids(saved.config.corpus, vocabulary)
        starts.append(
            cold_start(model, vocabulary, separator)
            if cold
            else make_start(model, vocabulary, opening=saved.opening, carried=saved.state, separator=separator)
        )
    return TextModel(models, vocabulary, starts)


def opening_of(train: IdArray, vocabulary: Vocabulary, separator: IdArray | None) -> tuple[int, ...]:
    """The end of a training part, from a line's (or document's) beginning to a line's (or document's) end.

    Where there is no such end near, a model of documents gets one, and any other the last symbols.
    """
    tail = np.asarray(train[-4 * OPENING :])
    mark = default_prime(vocabulary) if separator is None else separator
    # Positions after which a line or document begins.
    ends = np.flatnonzero(np.all([tail[k : len(tail) - len(mark) + 1 + k] == m for k, m in enumerate(mark)], axis=0))
    ends = ends + len(mark)
    stop = int(ends[-1]) if ends.size else len(tail)
    begins = ends[(ends >= stop - OPENING) & (ends < stop)]
    start = int(begins[0]) - len(mark) if begins.size else max(0, stop - OPENING)
    piece = tail[start:stop]
    return (*piece.tolist(), *(() if separator is None or ends.size else separator.tolist()))


def cold_start(model: CharRNN, vocabulary: Vocabulary, separator: IdArray | None = None) -> TextStart:
    """The bare zero state; a text without a prime follows a line end, or a separator."""
    lead = default_prime(vocabulary) if separator is None else separator
    return TextStart(model.zero_state(1), None, lead, separator)


def make_start(
    model: CharRNN,
    vocabulary: Vocabulary,
    opening: IdArray | Sequence[int] = (),
    carried: State | None = None,
    separator: IdArray | None = None,
) -> TextStart:
    """The best start there is for a model.

    Args:
        model: the network.
        vocabulary: its symbols.
        opening: ids of `opening_of`, or none.
        carried: one (S, H, B) array per layer, as training left them, or none.
        separator: ids that end a document; None for one endless text.
    """
    lead = default_prime(vocabulary) if separator is None else separator
    if separator is None and not has_lines(vocabulary) and carried:
        lead = lead[:0]  # nothing is like a line end; the carried states are in the middle of the text
    states = [] if carried is None else _some(carried, 7 if len(opening) else _CANDIDATES)
    zero = model.zero_state(1)
    if len(opening):
        candidates = [np.concatenate(pair, axis=2) for pair in zip(zero, states or zero, strict=True)]
        return _after(model, candidates, np.asarray(opening, np.intp), lead, separator)
    if states:
        return _ordinary(model, states, lead, separator)
    several = [np.repeat(layer, 16, axis=2) for layer in zero]
    stepper = TextStepper([model], 16, separator)
    stepper.state = several
    for symbol in lead:
        logits = stepper.feed(int(symbol))
    _write(stepper, logits, _OWN_TEXT)
    return _ordinary(model, stepper.state, lead, separator)


def _some(carried: State, most: int) -> State:
    """Up to `most` of the carried states; those that are still zero are no states of a text."""
    live = np.flatnonzero(np.any([np.abs(layer).max(axis=(0, 1)) > 0 for layer in carried], axis=0))
    chosen = live[np.unique(np.linspace(0, live.size - 1, min(most, live.size)).astype(np.intp))]
    return [layer[:, :, chosen] for layer in carried] if chosen.size else []


def _after(
    model: CharRNN, states: State, opening: npt.NDArray[np.intp], lead: IdArray, separator: IdArray | None
) -> TextStart:
    """The state after the opening, of those the one that found the opening's second half least surprising."""
    count = states[0].shape[2]
    stepper, nats = TextStepper([model], count, separator), np.zeros(count)
    stepper.state = states
    logits = stepper.feed(int(opening[0]))
    for k, symbol in enumerate(opening[1:], 1):
        if k >= len(opening) // 2:
            nats -= log_softmax(logits)[symbol]
        logits = stepper.feed(int(symbol))
    best = [int(np.argmin(nats))]
    return TextStart([layer[:, :, best] for layer in stepper.state], logits[:, best].copy(), lead, separator)


def _ordinary(model: CharRNN, states: State, lead: IdArray, separator: IdArray | None) -> TextStart:
    """The state after the lead from which what the network writes surprises itself as much as from half of the others.

    A network that is stuck in a state writes what surprises it more than any other text.
    """
    stepper = TextStepper([model], states[0].shape[2], separator)
    stepper.state = states
    logits = _next_logits(model, states)
    for symbol in lead:
        logits = stepper.feed(int(symbol))
    after, first = stepper.state, logits.copy()
    nats = _write(stepper, logits, _TRIAL)
    middle = [int(np.argsort(nats, kind="stable")[(len(nats) - 1) // 2])]
    return TextStart([layer[:, :, middle] for layer in after], first[:, middle], lead, separator)


def _next_logits(model: CharRNN, states: State) -> Array:
    """(V, K) logits of what follows (S, H, K) states."""
    head = model.head.params
    out: Array = head["weight"] @ states[-1][0] + head["bias"][:, None]
    return out


def _write(stepper: TextStepper, logits: Array, length: int) -> npt.NDArray[np.float64]:
    """Let every stream write some text; (B,) its mean nats to the network itself."""
    rng, columns = np.random.default_rng(0), np.arange(stepper.batch_size)
    nats = np.zeros(stepper.batch_size)
    for _ in range(length):
        log_p = log_softmax(logits)
        ids = (np.cumsum(np.exp(log_p), axis=0) < rng.random(stepper.batch_size)).sum(axis=0)
        ids = np.minimum(ids, len(log_p) - 1)
        nats -= log_p[ids, columns]
        logits = stepper.step(ids)
    return nats / length
