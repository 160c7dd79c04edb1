"""From logits to the next symbol."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from charrnn.sampling.filters.chain import build_chain
from charrnn.sampling.filters.cuts import keep_top_k, keep_top_p
from charrnn.sampling.filters.filter import LOWEST_TEMPERATURE, FloatArray
from charrnn.sampling.options import SamplingOptions

_DRAWS = 256  # uniform numbers fetched at once
_FILTERS = 1  # marks the random numbers of filters, which are not those of the draws


class Uniforms:
    """Uniform numbers, one stream of them per sample, so that a sample does not depend on its neighbours.

    Args:
        seed: of all.
        batch_size: N streams.
        purpose: sets these numbers apart from others of the same seed.
        first: number of the first sample; sample i has the numbers of (seed, first + i).
    """

    def __init__(self, seed: int, batch_size: int, *purpose: int, first: int = 0) -> None:
        self._generators = [np.random.default_rng([seed, first + k, *purpose]) for k in range(batch_size)]
        self._block = np.empty((0, batch_size))
        self._next = 0

    def draw(self) -> FloatArray:
        """(N,) numbers in [0, 1)."""
        if self._next == len(self._block):
            self._block = np.stack([g.random(_DRAWS) for g in self._generators], axis=1)
            self._next = 0
        self._next += 1
        row: FloatArray = self._block[self._next - 1]
        return row


class Sampler:
    """Draws the next symbol of N streams: filters, then the inverse of the cumulative distribution.

    Top-k, top-p and one temperature are done here, in buffers made once; every other filter runs in a `FilterChain`.

    Args:
        vocab_size: V.
        batch_size: N.
        options: filters and temperature.
        seed: sample i draws from the generator seeded with (seed, first + i), whatever the filters.
        first: number of the first sample.
        prime: (P,) ids read before, for filters that look back.

    Raises:
        SettingsError: options that do not fit the model's symbols.
    """

    def __init__(
        self,
        vocab_size: int,
        batch_size: int = 1,
        options: SamplingOptions | None = None,
        *,
        seed: int = 0,
        first: int = 0,
        prime: npt.ArrayLike = (),
    ) -> None:
        self.options = plain = options or SamplingOptions()
        self._uniforms = Uniforms(seed, batch_size, first=first)
        self._chain = None
        if not plain.is_plain():
            self._chain = build_chain(plain, vocab_size, batch_size, prime)
            self._filtered = np.empty((vocab_size, batch_size))
            self._filter_uniforms = Uniforms(seed, batch_size, _FILTERS, first=first) if self._chain.random else None
            plain = SamplingOptions()  # all else is in the chain
        self._plain, self._temperature = plain, max(plain.temperature, LOWEST_TEMPERATURE)
        self._scores = np.empty((vocab_size, batch_size))
        self._whole = self._scores[-1]  # of cumulative weights, the last
        self._passed = np.empty((vocab_size, batch_size), bool)
        self._row, self._below = np.empty(batch_size), np.empty(batch_size)
        self._ids = np.empty(batch_size, np.intp)

    def sample(self, logits: npt.NDArray[np.floating]) -> npt.NDArray[np.intp]:
        """(V, N) logits -> (N,) ids; overwritten by the next call."""
        uniforms = self._uniforms.draw()
        if self._chain is None:
            return self.draw(logits, uniforms)
        self._filtered[...] = logits
        self._chain.apply(self._filtered, None if self._filter_uniforms is None else self._filter_uniforms.draw())
        ids = self.draw(self._filtered, uniforms)
        self._chain.accept(ids)
        return ids

    def draw(self, logits: npt.NDArray[np.floating], uniforms: FloatArray) -> npt.NDArray[np.intp]:
        """(V, N) logits, through the chain already, and (N,) numbers in [0, 1) -> (N,) ids; overwritten."""
        options, scores, row = self._plain, self._scores, self._row
        if options.temperature == 0.0:
            return np.argmax(logits, axis=0, out=self._ids)
        scores[...] = logits
        if options.top_k:
            scores[...] = keep_top_k(scores, options.top_k)
        if options.top_p < 1.0:
            scores[...] = keep_top_p(scores, options.top_p)
        # The ufuncs' own methods: for one stream, `np.max` and its like cost more than what they compute.
        np.maximum.reduce(scores, axis=0, out=row)
        np.subtract(scores, row, out=scores)
        np.divide(scores, self._temperature, out=scores)
        np.exp(scores, out=scores)
        np.add.accumulate(scores, axis=0, out=scores)
        # The count of cumulative weights at or below the draw is the index; a draw that rounds up to the whole weight
        # would point past the last symbol with any weight, hence nextafter.
        np.nextafter(self._whole, 0.0, out=self._below)
        np.multiply(uniforms, self._whole, out=row)
        np.minimum(row, self._below, out=row)
        np.less_equal(scores, row, out=self._passed)
        return np.add.reduce(self._passed, axis=0, dtype=np.intp, out=self._ids)
