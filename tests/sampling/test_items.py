"""Whole documents and lines, and texts that end by probability."""

from __future__ import annotations

import itertools
import re

import numpy as np
import pytest

from charrnn.data.vocabulary import Vocabulary
from charrnn.errors import SettingsError
from charrnn.nn.network import CharRNN
from charrnn.runs.start import TextModel, make_start
from charrnn.sampling.automaton import MOST_STATES, Automaton
from charrnn.sampling.constraint import Constraint
from charrnn.sampling.generate import Request, StopConditions, generate_samples
from charrnn.sampling.items import generate_items
from charrnn.sampling.options import SamplingOptions

VOCABULARY = Vocabulary.of("abcd.\n")


def unigram(probabilities: dict[str, float], separator: str | None = None) -> TextModel:
    """A network that draws every symbol from one distribution, whatever came before."""
    model = CharRNN(len(VOCABULARY), cell="rnn", hidden_size=4)
    symbols = VOCABULARY.decode(np.arange(len(VOCABULARY)))
    model.params["head.bias"][...] = np.log([probabilities.get(str(c), 1e-9) for c in symbols])
    end = None if separator is None else VOCABULARY.encode(separator)
    return TextModel([model], VOCABULARY, [make_start(model, VOCABULARY, separator=end)])


HALF = {"a": 0.25, "b": 0.25, "\n": 0.5}


@pytest.mark.parametrize("separator", [None, "\n", ".\n"])
def test_items_are_whole(separator: str | None) -> None:
    model = unigram(HALF | ({".": 0.3} if separator == ".\n" else {}), separator)
    end = separator or "\n"
    items = [s.text for s in generate_items(model, Request(seed=1, stop=StopConditions(60)), 200)]
    assert len(items) == 200
    assert all(item and end not in item for item in items)
    if end == "\n":
        lengths = np.bincount([len(item) for item in items], minlength=8)[1:4] / 200
        np.testing.assert_allclose(lengths, [0.5, 0.25, 0.125], atol=0.1)
    again = [s.text for s in generate_items(model, Request(seed=1, stop=StopConditions(60)), 50)]
    assert again == items[:50]
    assert items != [s.text for s in generate_items(model, Request(seed=2, stop=StopConditions(60)), 200)]


def test_unique_and_unknown_items() -> None:
    model = unigram(HALF)
    items = [
        s.text for s in generate_items(model, Request(stop=StopConditions(20)), 40, unique=True, known={"a", "bb"})
    ]
    assert len(set(items)) == 40
    assert not {"a", "bb"} & set(items)
    few = generate_items(unigram({"a": 0.5, "\n": 0.5}), Request(stop=StopConditions(3)), 9, unique=True)
    assert sorted(s.text for s in few) == ["a", "aa"]  # "aaa" reaches the length without an end
    begun = Request(VOCABULARY.encode("ab"), stop=StopConditions(20))
    texts = ["ab" + s.text for s in generate_items(model, begun, 30, unique=True, known={"aba"})]
    assert len(set(texts)) == 30
    assert "aba" not in texts
    with pytest.raises(SettingsError, match="at least 1"):
        list(generate_items(model, Request(stop=StopConditions(0)), 1))
    with pytest.raises(SettingsError, match=r"items end with '\\n', which is banned"):
        list(generate_items(model, Request(options=SamplingOptions(ban=tuple(model.vocabulary.encode("\n")))), 1))


def test_items_match_their_expression_as_a_whole() -> None:
    model = unigram({"a": 0.5, "b": 0.2, "\n": 0.3})
    expression = Constraint("a+\nb", model.vocabulary)
    found = list(generate_items(model, Request(stop=StopConditions(9, constraint=expression)), 3))
    assert [s.text for s in found if s.finish_reason != "match"] == []


def constrained(expression: str, count: int = 600, length: int = 30, **probabilities: float) -> list[str]:
    given = {"\n" if name == "end" else name: p for name, p in probabilities.items()}
    stop = StopConditions(length, constraint=Constraint(expression, VOCABULARY))
    samples = generate_samples(unigram(given), Request(seed=2, stop=stop, num_samples=count))
    for sample in samples:
        assert re.fullmatch(expression, sample.text), sample.text
        assert sample.finish_reason in ("match", "length")
    return [sample.text for sample in samples]


def test_a_match_ends_with_the_probability_of_what_the_expression_does_not_allow() -> None:
    texts = constrained("[ab]{1,10}", a=0.3, b=0.3, end=0.4)
    lengths = np.bincount([len(text) for text in texts], minlength=12)[1:5] / len(texts)
    np.testing.assert_allclose(lengths, [0.4, 0.24, 0.144, 0.0864], atol=0.06)
    short = np.mean([text == "ab" for text in constrained("(ab|abcd)", a=0.2, b=0.2, c=0.15, d=0.2, end=0.25)])
    assert short == pytest.approx(0.85, abs=0.06)
    empty = np.mean([text == "" for text in constrained("a?", a=0.7, end=0.3)])
    assert empty == pytest.approx(0.3, abs=0.06)
    sure = constrained("[ab]{1,10}", a=0.5, b=0.5)  # nothing outside has any probability
    assert {len(text) for text in sure} == {10}


@pytest.mark.parametrize("expression", ["", "()", "(a{0})", "^$"])
def test_an_empty_expression_writes_nothing(expression: str) -> None:
    assert set(constrained(expression, 5, a=0.9, end=0.1)) == {""}
    assert set(constrained(expression, 5, length=0, a=0.9, end=0.1)) == {""}


def assert_accepts_the_same(expression: str, alphabet: str, longest: int) -> None:
    """For all texts of up to `longest` characters."""
    machine = Automaton(expression, list(alphabet))
    for length in range(longest + 1):
        for letters in itertools.product(alphabet, repeat=length):
            state = 0
            for c in letters:
                state = machine.follow[state, machine.classes[alphabet.index(c)]] if state >= 0 else -1
            accepts = state >= 0 and bool(machine.accepting[state])
            assert accepts == bool(re.fullmatch(expression, "".join(letters))), (expression, letters)


@pytest.mark.parametrize(
    "expression", [r"^ab+$", r"^ab|cd$", r"(^ab|^cd)", r"\Aab\Z", r"(^(?:ab)$)", r"^a\$?$", r"[$]?a$", r"a\.$"]
)
def test_anchors_at_the_ends_are_understood(expression: str) -> None:
    assert_accepts_the_same(expression, "abcd.$", 4)


@pytest.mark.parametrize(
    "expression",
    ["a", "[^a]", "a|bc", "(ab)*c?", "a{2,3}b{2,}", "(a|b){0,2}c+?", "(?i)A[B-D]", "(?s).b", ".b", r"\w+\.", r"[\d.a]",
     "(?i)[^A]b", "(?:a|)(?:b|c)*", "a(?i:B)c", "((a*)*b)*"],
)  # fmt: skip
def test_an_automaton_accepts_what_pythons_expressions_match(expression: str) -> None:
    assert_accepts_the_same(expression, "abcB.\n", 5)


@pytest.mark.parametrize(
    "expression", [r"\w+", r"(?a)\w+", r"(?a)\W", r"\d", r"(?a)\d", r"(?a:\d|\w)\w", r"(?i)É", "(?i)[à-ö]"]
)
def test_characters_are_of_the_kinds_that_the_flags_say(expression: str) -> None:
    assert_accepts_the_same(expression, "aé٣3 É", 2)


@pytest.mark.parametrize("expression", [".*a.{14}", "(a{1000}){1000}", "(a?){2000}", "[ab]{6000}"])
def test_too_large_an_automaton_is_refused(expression: str) -> None:
    with pytest.raises(SettingsError, match=f"more than {MOST_STATES:,} states"):
        Constraint(expression, VOCABULARY)


@pytest.mark.parametrize("expression", ["(?=a)b", r"(a)\1", "a^b", r"a\b", "(?<=a)b"])
def test_what_is_no_automaton_is_refused(expression: str) -> None:
    with pytest.raises(SettingsError, match="cannot be used"):
        Constraint(expression, VOCABULARY)


def test_bans_and_temperatures_respect_the_ends() -> None:
    banned = VOCABULARY.encode("\n")
    constraint = Constraint("[ab]{1,5}", VOCABULARY, banned=banned.tolist())
    options = SamplingOptions(ban=tuple(banned.tolist()))
    request = Request(stop=StopConditions(30, constraint=constraint), options=options, num_samples=50)
    texts = [s.text for s in generate_samples(unigram({"a": 0.3, "b": 0.3, "\n": 0.4}), request)]
    assert {len(text) for text in texts} == {5}  # the only character outside is banned
    greedy = Request(
        stop=StopConditions(30, constraint=Constraint("[ab]{1,5}", VOCABULARY)), options=SamplingOptions(0.0)
    )
    assert generate_samples(unigram({"a": 0.3, "b": 0.3, "\n": 0.4}), greedy)[0].text == "a"
