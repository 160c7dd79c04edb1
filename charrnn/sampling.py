"""From logits to the next symbol, and the stream of symbols that makes.

Filters cut the distribution in a stated order: top-k, then top-p, then temperature.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from charrnn.model import CharRNN, State
from charrnn.stepper import Stepper
from charrnn.vocabulary import IdArray, Vocabulary

FloatArray = npt.NDArray[np.float64]
_DRAWS = 256  # uniform numbers fetched at once


@dataclass(frozen=True)
class SamplingOptions:
    """How a symbol is chosen.

    Attributes:
        temperature: divides the logits; 0 takes the most likely symbol.
        top_k: keep the k most likely symbols; 0 keeps all.
        top_p: keep the most likely symbols that together reach this probability; 1 keeps all.
            Source: Holtzman et al. (2020).
    """

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0


def keep_top_k(logits: FloatArray, k: int) -> FloatArray:
    """(V, N) logits with all but the k largest of each column at -inf; ties at the border go by the lower id."""
    if not 0 < k < len(logits):
        return logits
    order = np.argsort(-logits, axis=0, kind="stable")
    out: FloatArray = logits.copy()
    np.put_along_axis(out, order[k:], -np.inf, axis=0)
    return out


def keep_top_p(logits: FloatArray, p: float) -> FloatArray:
    """(V, N) logits with all outside the nucleus at -inf: the fewest likely symbols that reach probability p."""
    if p >= 1.0:
        return logits
    order = np.argsort(-logits, axis=0, kind="stable")
    ranked = np.take_along_axis(softmax(logits), order, axis=0)
    before = np.cumsum(ranked, axis=0) - ranked
    out: FloatArray = logits.copy()
    drop = before >= p
    drop[0] = False  # the most likely symbol always stays
    np.put_along_axis(out, order, np.where(drop, -np.inf, np.take_along_axis(logits, order, axis=0)), axis=0)
    return out


def softmax(logits: FloatArray) -> FloatArray:
    """Probabilities over axis 0."""
    weights: FloatArray = np.exp(logits - logits.max(axis=0))
    weights /= weights.sum(axis=0)
    return weights


class Chooser:
    """Draws one symbol a stream by inverting the cumulative distribution, in buffers made once.

    Args:
        vocab_size: V.
        columns: N streams.
        options: filters and temperature.
    """

    def __init__(self, vocab_size: int, columns: int, options: SamplingOptions) -> None:
        self.options = options
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
        np.divide(scores, options.temperature, out=scores)
        np.exp(scores, out=scores)
        np.cumsum(scores, axis=0, out=scores)
        # The count of cumulative weights at or below the draw is the index; a draw that rounds up to the whole weight
        # would point past the last symbol with any weight, hence nextafter.
        np.nextafter(scores[-1], 0.0, out=self._below)
        np.multiply(uniforms, scores[-1], out=row)
        np.minimum(row, self._below, out=row)
        np.less_equal(scores, row, out=self._passed)
        return np.sum(self._passed, axis=0, out=self._ids)


class _Uniforms:
    """Uniform numbers, one stream of them a sample, so that a sample does not depend on its neighbours."""

    def __init__(self, seed: int, count: int) -> None:
        self._generators = [np.random.default_rng([seed, index]) for index in range(count)]
        self._block = np.empty((0, count))
        self._next = 0

    def draw(self) -> FloatArray:
        if self._next == len(self._block):
            self._block = np.stack([g.random(_DRAWS) for g in self._generators], axis=1)
            self._next = 0
        self._next += 1
        row: FloatArray = self._block[self._next - 1]
        return row


def default_prime(vocabulary: Vocabulary) -> IdArray:
    """What stands before a sample without a prime: a line end or, where there is none, the first symbol."""
    newline = int(vocabulary.lookup(np.array([ord("\n")], np.uint32))[0])
    return np.array([0 if newline == vocabulary.unknown_id else newline], vocabulary.dtype)


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
        options: see `SamplingOptions`.
        state: (S, H, 1) a layer to start from; zeros when left out.

    Yields:
        (N,) ids of the next symbols, `length` times; each overwrites the one before.

    Raises:
        ValueError: an empty prime.
    """
    if not len(prime):
        raise ValueError("a sample needs at least one symbol to start from")
    options = options or SamplingOptions()
    reader = Stepper(model)
    if state is not None:
        reader.state = state
    for symbol in prime:
        logits = reader.step(int(symbol))
    stepper = reader
    if num_samples > 1:
        stepper = Stepper(model, num_samples)
        stepper.state = [np.repeat(layer, num_samples, axis=2) for layer in reader.state]
        logits = np.repeat(logits, num_samples, axis=1)
    uniforms, chooser = _Uniforms(seed, num_samples), Chooser(model.vocab_size, num_samples, options)
    for made in range(length):
        ids = chooser.choose(logits, uniforms.draw())
        yield ids
        if made + 1 < length:
            logits = stepper.step(ids)


class TextDecoder:
    """Turns ids into text as they come; bytes of a split character wait for the rest of it."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._symbols: Sequence[str | bytes] = [vocabulary.decode([k]) for k in range(len(vocabulary))]
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace") if vocabulary.encoding == "bytes" else None

    def feed(self, symbol: int) -> str:
        """The text that one more symbol completes; may be empty in a byte vocabulary."""
        piece = self._symbols[symbol]
        if isinstance(piece, str):
            return piece
        return self._decoder.decode(piece) if self._decoder else ""

    def finish(self) -> str:
        """What is left of an unfinished character."""
        return self._decoder.decode(b"", final=True) if self._decoder else ""


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
