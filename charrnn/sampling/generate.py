"""Samples with an end: stop strings, words, expressions; each character with how likely the model found it.

`charrnn.sampling.draw` makes ids; here they become text that is let out as soon as it cannot be the beginning of a stop
string.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from charrnn.data.vocabulary import TextDecoder, Vocabulary
from charrnn.errors import SettingsError
from charrnn.nn.ensemble import primed
from charrnn.nn.head import log_softmax
from charrnn.nn.network import CharRNN
from charrnn.nn.params import IdArray
from charrnn.sampling.constraint import Constraint
from charrnn.sampling.draw import Uniforms, make_chooser
from charrnn.sampling.options import SamplingOptions


@dataclass(frozen=True)
class Control:
    """When a sample ends, and what is measured.

    Attributes:
        length: symbols at most.
        stop: texts at which it ends; they are not part of it.
        until_words: words (between white space) after which it ends; None for no limit.
        constraint: that it must match.
        measure: also nats and entropy of every symbol.
    """

    length: int = 500
    stop: tuple[str, ...] = ()
    until_words: int | None = None
    constraint: Constraint | None = None
    measure: bool = False


@dataclass(frozen=True)
class Character:
    """One symbol of a sample.

    Attributes:
        text: what it adds; may be empty in a byte vocabulary.
        nats: its surprise under the model as it is, before any filter; NaN where not measured.
        entropy: nats expected there.
    """

    text: str
    nats: float = math.nan
    entropy: float = math.nan


@dataclass
class Sample:
    """What one stream made.

    Attributes:
        characters: let out so far.
        finish: "length", "stop", "words" or "match" when it is over.
    """

    characters: list[Character] = field(default_factory=list)
    finish: str | None = None

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


class _Ending:
    """Watches one stream for its end and holds back what may be the beginning of a stop string."""

    def __init__(self, vocabulary: Vocabulary, control: Control, sample: Sample) -> None:
        self._decoder, self._control, self.sample = TextDecoder(vocabulary), control, sample
        self._held: list[Character] = []
        self._words, self._in_word = 0, False

    def feed(self, symbol: int, nats: float, entropy: float) -> list[Character]:
        """Take in a symbol; what can be let out."""
        character = Character(self._decoder.feed(symbol), nats, entropy)
        if self._control.until_words is not None and self._word_ends(character.text):
            return self.finish("words")
        self._held.append(character)
        text = "".join(c.text for c in self._held)
        places = [text.find(stop) for stop in self._control.stop if stop in text]
        if places:
            self._held = _first(self._held, min(places))
            return self.finish("stop")
        return self._release(len(text) - _overlap(text, self._control.stop))

    def finish(self, why: str) -> list[Character]:
        """The end; what was held back is let out."""
        self.sample.finish = why
        rest = self._decoder.finish() if why == "length" else ""
        if rest:
            self._held.append(Character(rest))
        return self._release(math.inf)

    def _word_ends(self, text: str) -> bool:
        for letter in text:
            if not letter.isspace():
                self._in_word = True
            elif self._in_word:
                self._in_word, self._words = False, self._words + 1
        return self._words == self._control.until_words

    def _release(self, limit: float) -> list[Character]:
        count, room = 0, limit
        while count < len(self._held) and len(self._held[count].text) <= room:
            room -= len(self._held[count].text)
            count += 1
        out, self._held = self._held[:count], self._held[count:]
        self.sample.characters += out
        return out


def generate(
    models: Sequence[CharRNN],
    vocabulary: Vocabulary,
    prime: IdArray,
    *,
    seed: int,
    control: Control,
    options: SamplingOptions | None = None,
    num_samples: int = 1,
    samples: list[Sample] | None = None,
) -> Iterator[tuple[int, Character]]:
    """Continue a prime until every stream has ended.

    Args:
        models: one, or several whose probabilities are averaged.
        vocabulary: of all of them.
        prime: (P,) ids read first; at least one.
        seed: sample i depends on (seed, i) alone, whatever is made beside it.
        control: when they end.
        options: filters and temperature.
        num_samples: N streams at once.
        samples: a list to which the N samples are appended; they grow as the iterator runs.

    Yields:
        (stream, character), each as soon as it is certain to be part of the sample.

    Raises:
        SettingsError: a constraint that cannot be met in the length, or options that do not fit the model.
    """
    made = [Sample() for _ in range(num_samples)]
    if samples is not None:
        samples += made
    endings = [_Ending(vocabulary, control, sample) for sample in made]
    matcher = _Matcher(control.constraint, num_samples, control.length) if control.constraint else None
    for left, ids, nats, entropy in _steps(models, prime, seed, control, options, num_samples, matcher):
        complete = matcher.advance(ids) if matcher else ()
        for k, ending in enumerate(endings):
            if ending.sample.finish is None:
                out = ending.feed(int(ids[k]), float(nats[k]), float(entropy[k]))
                if ending.sample.finish is None and matcher and complete[k]:
                    out = [*out, *ending.finish("match")]
                elif ending.sample.finish is None and left == 1:
                    out = [*out, *ending.finish("length")]
                yield from ((k, character) for character in out)
        if all(sample.finish for sample in made):
            return
    for sample in made:
        sample.finish = sample.finish or "length"


def _steps(
    models: Sequence[CharRNN],
    prime: IdArray,
    seed: int,
    control: Control,
    options: SamplingOptions | None,
    count: int,
    matcher: _Matcher | None,
) -> Iterator[tuple[int, npt.NDArray[np.intp], npt.NDArray[np.float64], npt.NDArray[np.float64]]]:
    """Symbols left with this one, (N,) ids, and their nats and entropies (NaN where not measured)."""
    stepper, logits = primed(models, prime, count)
    chooser = make_chooser(models[0].vocab_size, count, options or SamplingOptions(), prime, seed)
    uniforms, nothing, lanes = Uniforms(seed, count), np.full(count, math.nan), np.arange(count)
    for left in range(control.length, 0, -1):
        limited = logits if matcher is None else np.where(matcher.allowed(left), logits, -np.inf)
        ids = chooser.choose(limited, uniforms.draw())
        nats = entropy = nothing
        if control.measure:
            log_p = log_softmax(logits)
            nats, entropy = -log_p[ids, lanes], -(np.exp(log_p) * log_p).sum(axis=0)
        yield left, ids, nats, entropy
        if left > 1:
            logits = stepper.step(ids)


class _Matcher:
    """Where N streams are in the automaton; those that have ended may take anything."""

    def __init__(self, constraint: Constraint, count: int, length: int) -> None:
        if constraint.shortest > length:
            raise SettingsError(
                f"`constrain`: the shortest match has {constraint.shortest} characters, but `length` is {length}"
            )
        self._constraint = constraint
        self._states = np.full(count, constraint.initial, np.int32)
        self._over = constraint.complete(self._states)

    def allowed(self, left: int) -> npt.NDArray[np.bool_]:
        return self._constraint.allowed(self._states, left) | self._over

    def advance(self, ids: npt.NDArray[np.intp]) -> npt.NDArray[np.bool_]:
        self._states = np.where(self._over, self._states, self._constraint.advance(self._states, ids))
        self._over = self._over | self._constraint.complete(self._states)
        return self._over


def _first(characters: list[Character], length: int) -> list[Character]:
    """The characters of the first `length` of their text; one that reaches beyond is cut."""
    out = []
    for character in characters:
        if length <= 0:
            break
        out.append(Character(character.text[:length], character.nats, character.entropy))
        length -= len(character.text)
    return out


def _overlap(text: str, stops: Sequence[str]) -> int:
    """Length of the longest end of `text` that is a beginning of one of `stops`."""
    longest = max((len(stop) for stop in stops), default=1) - 1
    for length in range(min(longest, len(text)), 0, -1):
        if any(stop.startswith(text[-length:]) for stop in stops):
            return length
    return 0
