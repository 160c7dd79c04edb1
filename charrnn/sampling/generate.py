"""The one generator of text: ids as they are drawn, and samples with an end.

`_steps` is the only loop that feeds a network its own output (apart from beam search). Its ids become text, which is
released as soon as it cannot be the beginning of a stop string.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from charrnn.data.vocabulary import TextDecoder, Vocabulary
from charrnn.errors import SettingsError, shown
from charrnn.nn.head import log_softmax
from charrnn.nn.network import CharRNN, State
from charrnn.nn.params import IdArray
from charrnn.runs.start import TextModel, TextStart
from charrnn.sampling.constraint import Constraint, Matcher
from charrnn.sampling.draw import Sampler
from charrnn.sampling.options import SamplingOptions, check_whole


@dataclass(frozen=True)
class StopConditions:
    """When a sample ends.

    Attributes:
        length: symbols at most.
        stop: texts at which it ends; they are not part of it.
        until_words: words (between white space) after which it ends; None for no limit.
        constraint: that it must match.
    """

    length: int = 500
    stop: tuple[str, ...] = ()
    until_words: int | None = None
    constraint: Constraint | None = None

    def __post_init__(self) -> None:
        check_whole("length", self.length, low=0)
        if isinstance(self.stop, str) or not all(isinstance(text, str) and text for text in self.stop):
            raise SettingsError(f"stop: must be a tuple of texts, none of them empty, not {shown(self.stop)}")

    @property
    def is_plain(self) -> bool:
        """Whether nothing but the length ends a sample."""
        return not (self.stop or self.until_words or self.constraint)


class GeneratedChar(NamedTuple):
    """One symbol of a sample.

    Attributes:
        text: what it adds; may be empty in a byte vocabulary.
        nats: its surprise under the model itself, before any filter; NaN where not measured.
        entropy: nats expected there.
    """

    text: str
    nats: float = math.nan
    entropy: float = math.nan


@dataclass
class Sample:
    """What one stream wrote.

    Attributes:
        characters: released so far.
        finish_reason: "length", "stop", "words" or "match" when it is over.

    Example:
        >>> sample = charrnn.load("tiny").generate_many(1, "the ", length=20, stop=["."])[0]
        >>> sample.nats == sum(character.nats for character in sample.characters)
        True
    """

    characters: list[GeneratedChar] = field(default_factory=list)
    finish_reason: str | None = None

    @property
    def text(self) -> str:
        """The whole text."""
        return "".join(c.text for c in self.characters)

    @property
    def nats(self) -> float:
        """Sum of all characters' surprise."""
        return sum(c.nats for c in self.characters)

    @property
    def nats_per_char(self) -> float:
        """Mean surprise; NaN for an empty text."""
        return self.nats / len(self.characters) if self.characters else math.nan


@dataclass(frozen=True)
class Request:
    """What is to be generated.

    Attributes:
        prime: (P,) ids to continue; empty to begin a text.
        seed: sample i depends on (seed, first + i) alone, whatever is made beside it.
        stop: when samples end.
        options: filters and temperature.
        num_samples: N streams at once.
        first: number of the first sample.
        measure: also nats and entropy of every symbol.
    """

    prime: IdArray | Sequence[int] = ()
    seed: int = 0
    stop: StopConditions = StopConditions()
    options: SamplingOptions = field(default_factory=SamplingOptions)
    num_samples: int = 1
    first: int = 0
    measure: bool = False

    def __post_init__(self) -> None:
        check_whole("seed", self.seed, low=0)
        check_whole("num_samples", self.num_samples, low=1)


def generate(
    model: TextModel, request: Request, *, samples: list[Sample] | None = None
) -> Iterator[tuple[int, GeneratedChar]]:
    """Continue a prime until every stream has ended.

    Args:
        model: what writes.
        request: see `Request`.
        samples: a list to which the N samples are appended; they grow as the iterator runs. None: nothing is kept.

    Yields:
        (stream, character), each as soon as it is certain to be part of the sample.

    Raises:
        SettingsError: a constraint that cannot be met in the length, or options that do not fit the model.
    """
    made = [Sample() for _ in range(request.num_samples)]
    if samples is not None:
        samples += made
        yield from _generate(model, request, made)
        return
    for k, character in _generate(model, request, made):
        made[k].characters.clear()  # nobody sees them, and a text may have no end
        yield k, character


def _generate(model: TextModel, request: Request, made: list[Sample]) -> Iterator[tuple[int, GeneratedChar]]:
    if request.stop.is_plain and not request.measure and request.num_samples == 1:
        yield from _plain_stream(model, request, made[0])
        return
    endings = [_Ending(model.vocabulary, request.stop, sample) for sample in made]
    matcher = _matcher(request)
    if matcher and matcher.over.all():  # only the empty text matches
        for ending in endings:
            ending.finish("match")
    elif request.stop.length == 0:
        for ending in endings:
            ending.finish("length")
    else:
        yield from _until_all_end(model, request, matcher, endings)


def _until_all_end(
    model: TextModel, request: Request, matcher: Matcher | None, endings: list[_Ending]
) -> Iterator[tuple[int, GeneratedChar]]:
    never = np.zeros(len(endings), bool)
    for left, ids, nats, entropy in _steps(model, request, matcher):
        before, after = matcher.advance(ids) if matcher else (never, never)
        for k, ending in enumerate(endings):
            if ending.is_over:
                continue
            out = ending.finish("match") if before[k] else ending.feed(int(ids[k]), float(nats[k]), float(entropy[k]))
            if not ending.is_over and (after[k] or left == 1):
                out = [*out, *ending.finish("match" if after[k] else "length")]
            yield from ((k, character) for character in out)
        if all(ending.is_over for ending in endings):
            return


def generate_samples(model: TextModel, request: Request) -> list[Sample]:
    """All samples of a request, whole; see `generate`."""
    samples: list[Sample] = []
    for _ in generate(model, request, samples=samples):
        pass
    return samples


def generate_texts(model: TextModel, request: Request) -> list[str]:
    """The texts of all samples of a request; nothing is measured."""
    if not request.stop.is_plain:
        return [sample.text for sample in generate_samples(model, replace(request, measure=False))]
    # Nothing ends a sample early or looks at it: decoding can wait until all ids are there.
    rows = [ids.copy() for ids in draw_ids(model, request)]
    columns = np.stack(rows, axis=1).tolist() if rows else [[]] * request.num_samples
    decoder = TextDecoder(model.vocabulary)  # one for all: `finish` leaves nothing behind
    return ["".join(map(decoder.feed, column)) + decoder.finish() for column in columns]


def draw_ids(model: TextModel, request: Request) -> Iterator[npt.NDArray[np.intp]]:
    """(N,) ids, one per stream, as often as the request's length says; each overwrites the one before."""
    return (ids for _, ids, _, _ in _steps(model, request, None))


def _plain_stream(model: TextModel, request: Request, sample: Sample) -> Iterator[tuple[int, GeneratedChar]]:
    """One stream that only its length ends, with as little as possible to do for each symbol."""
    decoder, keep = TextDecoder(model.vocabulary), sample.characters.append
    for _, ids, _, _ in _steps(model, request, None):
        character = GeneratedChar(decoder.feed(int(ids[0])))
        keep(character)
        yield 0, character
    if rest := decoder.finish():
        keep(GeneratedChar(rest))
        yield 0, GeneratedChar(rest)
    sample.finish_reason = "length"


def _matcher(request: Request) -> Matcher | None:
    stop = request.stop
    return Matcher(stop.constraint, request.num_samples, stop.length) if stop.constraint else None


def _steps(
    model: TextModel, request: Request, matcher: Matcher | None
) -> Iterator[tuple[int, npt.NDArray[np.intp], npt.NDArray[np.float64], npt.NDArray[np.float64]]]:
    """Symbols left with this one, (N,) ids, and their nats and entropies (NaN where not measured)."""
    r, count = request, request.num_samples
    stepper, logits = model.begin(r.prime, batch_size=count)
    sampler = Sampler(len(logits), count, r.options, seed=r.seed, first=r.first, prime=r.prime)
    nothing, streams = np.full(count, math.nan), np.arange(count)
    for left in range(r.stop.length, 0, -1):
        ids = sampler.sample(logits if matcher is None else matcher.limited(logits, left))
        nats = entropy = nothing
        if r.measure:
            log_p = log_softmax(logits)
            nats, entropy = -log_p[ids, streams], -(np.exp(log_p) * log_p).sum(axis=0)
        yield left, ids, nats, entropy
        if left > 1:
            logits = stepper.step(ids)


# --- the same for a bare network ------------------------------------------------------------------------------------


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
    """Continue a prime with a network that knows nothing of texts; `charrnn.load` begins texts better.

    Args:
        model: the network.
        prime: (P,) ids read first; at least one.
        length: symbols to make.
        seed: sample i draws from the generator seeded with [seed, i].
        num_samples: N streams at once.
        options: see `SamplingOptions`.
        state: (S, H, 1) per layer to start from; zeros when left out.

    Yields:
        (N,) ids of the next symbols, `length` times; each overwrites the one before.

    Raises:
        ValueError: an empty prime.
        SettingsError: options that do not fit the model's symbols.

    Example:
        >>> model = charrnn.load("tiny")
        >>> prime = model.vocabulary.encode("the ")
        >>> [len(ids) for ids in charrnn.generate_ids(model.models[0], prime, length=3, seed=1, num_samples=2)]
        [2, 2, 2]
    """
    if not len(prime):
        raise ValueError("a sample needs at least one symbol to start from")
    start = TextStart(model.zero_state(1) if state is None else state, None, prime[:0])
    bare = TextModel([model], Vocabulary([], "bytes"), [start])  # ids remain ids: no symbol has a name
    request = Request(prime, seed, StopConditions(length), options or SamplingOptions(), num_samples)
    return draw_ids(bare, request)


def generate_text(
    model: CharRNN,
    vocabulary: Vocabulary,
    prime: IdArray,
    *,
    length: int,
    seed: int,
    options: SamplingOptions | None = None,
) -> Iterator[str]:
    """Continue a prime, yielding text as it is made; see `generate_ids`.

    Example:
        >>> model = charrnn.load("tiny")
        >>> prime = model.vocabulary.encode("the ")
        >>> len("".join(charrnn.generate_text(model.models[0], model.vocabulary, prime, length=9, seed=1)))
        9
    """
    decoder = TextDecoder(vocabulary)
    for ids in generate_ids(model, prime, length=length, seed=seed, options=options):
        if piece := decoder.feed(int(ids[0])):
            yield piece
    if rest := decoder.finish():
        yield rest


# --- ends -----------------------------------------------------------------------------------------------------------


class _Ending:
    """Watches one stream for its end and holds back what may be the beginning of a stop string."""

    def __init__(self, vocabulary: Vocabulary, stop: StopConditions, sample: Sample) -> None:
        self._decoder, self._stop, self.sample = TextDecoder(vocabulary), stop, sample
        self._held: list[GeneratedChar] = []
        self._words, self._in_word = 0, False

    @property
    def is_over(self) -> bool:
        """Whether the sample has ended."""
        return self.sample.finish_reason is not None

    def feed(self, symbol: int, nats: float, entropy: float) -> list[GeneratedChar]:
        """Take in a symbol; what can be released."""
        character = GeneratedChar(self._decoder.feed(symbol), nats, entropy)
        if self._stop.until_words is not None and self._word_ends(character.text):
            return self.finish("words")
        self._held.append(character)
        text = "".join(c.text for c in self._held)
        places = [text.find(stop) for stop in self._stop.stop if stop in text]
        if places:
            self._held = _first(self._held, min(places))
            return self.finish("stop")
        return self._release(len(text) - _overlap(text, self._stop.stop))

    def finish(self, why: str) -> list[GeneratedChar]:
        """The end; what was held back is released."""
        self.sample.finish_reason = why
        rest = self._decoder.finish() if why == "length" else ""
        if rest:
            self._held.append(GeneratedChar(rest))
        return self._release(math.inf)

    def _word_ends(self, text: str) -> bool:
        for letter in text:
            if not letter.isspace():
                self._in_word = True
            elif self._in_word:
                self._in_word, self._words = False, self._words + 1
        return self._words == self._stop.until_words

    def _release(self, limit: float) -> list[GeneratedChar]:
        count, room = 0, limit
        while count < len(self._held) and len(self._held[count].text) <= room:
            room -= len(self._held[count].text)
            count += 1
        out, self._held = self._held[:count], self._held[count:]
        self.sample.characters += out
        return out


def _first(characters: list[GeneratedChar], length: int) -> list[GeneratedChar]:
    """The characters of the first `length` of their text; one that reaches beyond is cut."""
    out = []
    for character in characters:
        if length <= 0:
            break
        out.append(GeneratedChar(character.text[:length], character.nats, character.entropy))
        length -= len(character.text)
    return out


def _overlap(text: str, stops: Sequence[str]) -> int:
    """Length of the longest end of `text` that is a beginning of one of `stops`."""
    longest = max((len(stop) for stop in stops), default=1) - 1
    for length in range(min(longest, len(text)), 0, -1):
        if any(stop.startswith(text[-length:]) for stop in stops):
            return length
    return 0
