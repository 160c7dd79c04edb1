"""How well a model predicts a text: nats, bits per character, perplexity.

A text is read as parallel streams, for speed. So that the cut costs nothing, each stream first reads the
`WARM_UP` symbols before its part without being scored; the first stream starts from a zero state, as a single reader
of the whole text would.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from charrnn.data.windows import cut_window
from charrnn.nn.network import CharRNN
from charrnn.nn.params import IdArray

STREAMS = 64
_WINDOW = 64
WARM_UP = 4 * _WINDOW


@dataclass(frozen=True)
class Score:
    """A loss over a text.

    Attributes:
        nats: sum over all scored symbols.
        characters: number of symbols scored; the first of a text has no context and is not.
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
        return math.exp(self.loss) if self.loss < 700 else math.inf


def surprisals(
    model: CharRNN, ids: IdArray, *, streams: int = STREAMS, separator: IdArray | None = None
) -> Iterator[tuple[npt.NDArray[np.int64], npt.NDArray[np.floating]]]:
    """Nats of every symbol but the first.

    Args:
        model: the network.
        ids: (N,) of the text.
        streams: parallel readers; 1 reads the text in one go.
        separator: ids that end a document; the state is zeroed after it.

    Yields:
        (n,) positions in `ids` and the (n,) nats of the symbols there, in no particular order, each position once.
    """
    predictions = len(ids) - 1
    if predictions < 1:
        return
    columns = max(1, min(streams, predictions // (2 * WARM_UP)))
    warm_up = WARM_UP if columns > 1 else 0
    bounds = np.arange(columns + 1, dtype=np.int64) * predictions // columns
    starts = bounds[:-1] - warm_up
    steps = int(np.diff(bounds).max()) + warm_up
    state = model.zero_state(columns)
    model.refresh(backward=False)
    for first in range(0, steps, _WINDOW):
        if first == warm_up:  # a whole number of windows; the first stream begins the text here
            for layer in state:
                layer[:, :, 0] = 0.0
        begin, length = starts + first, min(_WINDOW, steps - first)
        window = cut_window(ids, begin, length, separator)
        nats = model.loss(window.inputs, window.targets, state, resets=window.resets, refresh=False)
        if first >= warm_up:
            places = begin[None, :] + np.arange(length)[:, None]
            mine = places < bounds[1:]  # streams differ in length by one
            yield places[mine] + 1, nats[mine]


def evaluate(model: CharRNN, ids: IdArray, *, streams: int = STREAMS, separator: IdArray | None = None) -> Score:
    """Loss over a whole text, state carried; see `surprisals`."""
    nats, characters = 0.0, 0
    for places, values in surprisals(model, ids, streams=streams, separator=separator):
        nats += float(values.sum(dtype=np.float64))
        characters += places.size
    return Score(nats, characters)


def mixed_surprisals(
    models: Sequence[CharRNN], ids: IdArray, *, streams: int = STREAMS, separator: IdArray | None = None
) -> npt.NDArray[np.float64]:
    """(N - 1,) nats of every symbol but the first, under the mean of the models' probabilities; see `surprisals`."""
    likelihood = np.zeros(max(0, len(ids) - 1))
    for model in models:
        for places, values in surprisals(model, ids, streams=streams, separator=separator):
            likelihood[places - 1] += np.exp(-values.astype(np.float64))
    out: npt.NDArray[np.float64] = -np.log(np.maximum(likelihood / len(models), np.finfo(np.float64).tiny))
    return out
