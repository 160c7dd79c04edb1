"""From logits to the next symbol, and the stream of symbols that makes.

Here is the short way, for top-k, then top-p, then temperature; `charrnn.sampling.filters` has all other filters.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from charrnn.data.vocabulary import TextDecoder, Vocabulary
from charrnn.nn.ensemble import primed
from charrnn.nn.network import CharRNN, State
from charrnn.nn.params import IdArray
from charrnn.sampling.filters.cuts import keep_top_k, keep_top_p
from charrnn.sampling.filters.filter import LOWEST_TEMPERATURE, FloatArray, softmax
from charrnn.sampling.options import SamplerOptions, SamplingOptions

__all__ = [
    "Chooser", "SamplerOptions", "SamplingOptions", "generate_ids", "generate_text",
    "keep_top_k", "keep_top_p", "softmax",
]  # fmt: skip
_DRAWS = 256  # uniform numbers fetched at once
_FILTERS = 1  # marks the random numbers of filters, which are not those of the draws


class Chooser:
    """Draws one symbol a stream by inverting the cumulative distribution, in buffers made once.

    Args:
        vocab_size: V.
        columns: N streams.
        options: filters and temperature.
    """

    def __init__(self, vocab_size: int, columns: int, options: SamplingOptions) -> None:
        self.options = options
        self._temperature = max(options.temperature, LOWEST_TEMPERATURE)
        self._scores = np.empty((vocab_size, columns))
        self._passed = np.empty((vocab_size, columns), bool)
        self._row, self._below = np.empty(columns), np.empty(columns)
        self._ids = np.empty(columns, np.intp)

    def choose(self, logits: npt.NDArray[np.floating], uniforms: FloatArray) -> npt.NDArray[np.intp]:
        """(V, N) logits and (N,) numbers in [0, 1) -> (N,) ids; overwritten by the next call."""
        options, scores, row = self.options, self._scores, self._row
        if options.temperature == 0.0:
            return np.argmax(logits, axis=0, out=self._ids)
        scores[...] = logits
        if options.top_k:
            scores[...] = keep_top_k(scores, options.top_k)
        if options.top_p < 1.0:
            scores[...] = keep_top_p(scores, options.top_p)
        np.max(scores, axis=0, out=row)
        np.subtract(scores, row, out=scores)
        np.divide(scores, self._temperature, out=scores)
        np.exp(scores, out=scores)
        np.cumsum(scores, axis=0, out=scores)
        # The count of cumulative weights at or below the draw is the index; a draw that rounds up to the whole weight
        # would point past the last symbol with any weight, hence nextafter.
        np.nextafter(scores[-1], 0.0, out=self._below)
        np.multiply(uniforms, scores[-1], out=row)
        np.minimum(row, self._below, out=row)
        np.less_equal(scores, row, out=self._passed)
        return np.sum(self._passed, axis=0, out=self._ids)


class Uniforms:
    """Uniform numbers, one stream of them a sample, so that a sample does not depend on its neighbours."""

    def __init__(self, seed: int, count: int, *purpose: int) -> None:
        self._generators = [np.random.default_rng([seed, index, *purpose]) for index in range(count)]
        self._block = np.empty((0, count))
        self._next = 0

    def draw(self) -> FloatArray:
        if self._next == len(self._block):
            self._block = np.stack([g.random(_DRAWS) for g in self._generators], axis=1)
            self._next = 0
        self._next += 1
        row: FloatArray = self._block[self._next - 1]
        return row


class _FilteredChooser:
    """Draws like `Chooser` after a chain of filters; the chain is told what was drawn.

    Args:
        vocab_size: V.
        columns: N streams.
        options: filters.
        prime: (P,) ids read before.
        seed: of the numbers that filters use; those of the draws themselves are the same with and without filters.
    """

    def __init__(self, vocab_size: int, columns: int, options: SamplerOptions, prime: IdArray, seed: int) -> None:
        from charrnn.sampling.filters.chain import build_chain  # here, because most samples do without and start faster

        self._chain = build_chain(options, vocab_size, columns, prime)
        self._uniforms = Uniforms(seed, columns, _FILTERS) if self._chain.random else None
        self._scores = np.empty((vocab_size, columns))
        self._chooser = Chooser(vocab_size, columns, SamplingOptions())

    def choose(self, logits: npt.NDArray[np.floating], uniforms: FloatArray) -> npt.NDArray[np.intp]:
        """(V, N) logits and (N,) numbers in [0, 1) -> (N,) ids; overwritten by the next call."""
        self._scores[...] = logits
        self._chain.apply(self._scores, self._uniforms.draw() if self._uniforms else None)
        ids = self._chooser.choose(self._scores, uniforms)
        self._chain.accept(ids)
        return ids


def generate_ids(
    model: CharRNN,
    prime: IdArray,
    *,
    length: int,
    seed: int,
    num_samples: int = 1,
    options: SamplingOptions | None = None,
    state: State | None = None,
) -> Iterator[npt.NDArray[np.intp]]:
    """Continue a prime.

    Args:
        model: the network.
        prime: (P,) ids read first; at least one.
        length: symbols to make.
        seed: sample i draws from the generator seeded with [seed, i].
        num_samples: N streams at once.
        options: see `SamplingOptions` and `SamplerOptions`.
        state: (S, H, 1) a layer to start from; zeros when left out.

    Yields:
        (N,) ids of the next symbols, `length` times; each overwrites the one before.

    Raises:
        ValueError: an empty prime.
        SettingsError: options that do not fit the model's symbols.
    """
    if not len(prime):
        raise ValueError("a sample needs at least one symbol to start from")
    options = options or SamplingOptions()
    stepper, logits = primed([model], prime, num_samples, state=state)
    uniforms, chooser = Uniforms(seed, num_samples), make_chooser(model.vocab_size, num_samples, options, prime, seed)
    for made in range(length):
        ids = chooser.choose(logits, uniforms.draw())
        yield ids
        if made + 1 < length:
            logits = stepper.step(ids)


def make_chooser(
    vocab_size: int, columns: int, options: SamplingOptions, prime: IdArray, seed: int
) -> Chooser | _FilteredChooser:
    if isinstance(options, SamplerOptions) and not options.is_short():
        return _FilteredChooser(vocab_size, columns, options, prime, seed)
    return Chooser(vocab_size, columns, options)


def generate_text(
    model: CharRNN,
    vocabulary: Vocabulary,
    prime: IdArray,
    *,
    length: int,
    seed: int,
    options: SamplingOptions | None = None,
) -> Iterator[str]:
    """Continue a prime, yielding text as it is made; see `generate_ids`."""
    decoder = TextDecoder(vocabulary)
    for ids in generate_ids(model, prime, length=length, seed=seed, options=options):
        if piece := decoder.feed(int(ids[0])):
            yield piece
    if rest := decoder.finish():
        yield rest
