"""How well a model predicts a text: nats, bits per character, perplexity.

The result is that of reading the text in one go, from the state in which the text before it leaves the model;
`charrnn.evaluation.reading` explains how to get it faster.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from charrnn.evaluation.reading import STREAMS, Reader, document_start_across, state_before
from charrnn.nn.network import CharRNN
from charrnn.nn.params import IdArray


@dataclass(frozen=True)
class Score:
    """A loss over a text.

    Attributes:
        nats: sum over all scored symbols.
        characters: number of symbols scored; the first of a text has no context and is not.

    Example:
        >>> score = charrnn.Score(nats=34.6, characters=25)
        >>> round(score.loss, 3), round(score.bits_per_char, 3), round(score.perplexity, 2)
        (1.384, 1.997, 3.99)
    """

    nats: float
    characters: int

    @property
    def loss(self) -> float:
        """Nats per character; nan where nothing was scored."""
        return self.nats / self.characters if self.characters else math.nan

    @property
    def bits_per_char(self) -> float:
        """Bits per character."""
        return self.loss / math.log(2)

    @property
    def perplexity(self) -> float:
        """exp(loss): the number of equally likely symbols that would be as hard to guess."""
        return math.inf if self.loss >= 700 else math.exp(self.loss)


def surprisals(
    model: CharRNN,
    ids: IdArray,
    *,
    streams: int = STREAMS,
    separator: IdArray | None = None,
    before: IdArray | None = None,
) -> Iterator[tuple[npt.NDArray[np.int64], npt.NDArray[np.floating]]]:
    """Nats of every symbol but the first.

    Args:
        model: the network.
        ids: (N,) of the text.
        streams: parts that are read in parallel, if that gives the same result; 1 reads the text in one go.
        separator: ids that end a document; the state is zeroed after it.
        before: (M,) ids that come before the text; the state they leave is the initial one. None: zeros.

    Yields:
        (n,) positions in `ids` and the (n,) nats of the symbols there, in order, each position once.

    Example:
        >>> model = charrnn.load("tiny")
        >>> for positions, nats in charrnn.surprisals(model.models[0], model.vocabulary.encode("the cat")):
        ...     print(positions.tolist(), nats.shape)
        [1, 2, 3, 4, 5, 6] (6,)
    """
    state, done = state_before(model, ids, before, separator=separator), 0
    split = document_start_across(before, ids, separator)
    for part in (ids[: split + 1], ids[split:]) if split else (ids,):
        for nats in Reader(model, part, separator=separator).nats(state, streams=streams):
            yield np.arange(done + 1, done + 1 + len(nats)), nats
            done += len(nats)
        state = model.zero_state(1)  # a document begins


def evaluate(
    model: CharRNN,
    ids: IdArray,
    *,
    streams: int = STREAMS,
    separator: IdArray | None = None,
    before: IdArray | None = None,
) -> Score:
    """Loss over a whole text, state carried; see `surprisals`.

    Example:
        >>> model = charrnn.load("tiny")
        >>> charrnn.evaluate(model.models[0], model.vocabulary.encode("the cat")).characters
        6
    """
    nats, characters = 0.0, 0
    for places, values in surprisals(model, ids, streams=streams, separator=separator, before=before):
        nats += float(values.sum(dtype=np.float64))
        characters += places.size
    return Score(nats, characters)


def mixed_surprisals(
    models: Sequence[CharRNN],
    ids: IdArray,
    *,
    streams: int = STREAMS,
    separator: IdArray | None = None,
    before: IdArray | None = None,
) -> npt.NDArray[np.float64]:
    """(N - 1,) nats of every symbol but the first, under the mean of the models' probabilities; see `surprisals`."""
    likelihood = np.zeros(max(0, len(ids) - 1))
    for model in models:
        for places, values in surprisals(model, ids, streams=streams, separator=separator, before=before):
            likelihood[places - 1] += np.exp(-values.astype(np.float64))
    out: npt.NDArray[np.float64] = -np.log(np.maximum(likelihood / len(models), np.finfo(np.float64).tiny))
    return out
