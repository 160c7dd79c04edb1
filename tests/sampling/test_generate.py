"""How samples end, what is measured, ensembles, beams and expressions: against plain references."""

from __future__ import annotations

import itertools
import math
import re
import sys

import numpy as np
import pytest

from charrnn.data.vocabulary import Vocabulary
from charrnn.errors import SettingsError
from charrnn.evaluation.loss import evaluate, mixed_surprisals
from charrnn.nn.ensemble import EnsembleStepper
from charrnn.nn.network import CharRNN
from charrnn.nn.stepper import Stepper
from charrnn.runs.start import TextModel, TextStart
from charrnn.sampling.beam import Hypothesis, _best, _scored, beam_search
from charrnn.sampling.constraint import Constraint
from charrnn.sampling.generate import (
    GeneratedChar,
    Request,
    Sample,
    StopConditions,
    generate,
    generate_samples,
    generate_text,
    generate_texts,
)
from charrnn.sampling.options import SamplingOptions

TEXT = "abcde .\n"
VOCABULARY = Vocabulary.of(TEXT)
PRIME = VOCABULARY.encode("ab")


def a_model(seed: int = 0, cell: str = "gru", hidden: int = 12) -> CharRNN:
    model = CharRNN(len(VOCABULARY), cell=cell, hidden_size=hidden)
    model.init(np.random.default_rng(seed))
    model.params.flat *= 3.0
    return model


MODEL = a_model()


def bare(*models: CharRNN) -> TextModel:
    """Networks that read from a zero state, as the plain references do."""
    return TextModel(models, VOCABULARY, [TextStart(m.zero_state(1), None, PRIME[:0]) for m in models])


def run(stop: StopConditions, *, count: int = 1, seed: int = 3, measure: bool = False) -> list[Sample]:
    samples: list[Sample] = []
    seen: list[list[GeneratedChar]] = [[] for _ in range(count)]
    request = Request(PRIME, seed, stop, num_samples=count, measure=measure)
    for k, character in generate(bare(MODEL), request, samples=samples):
        seen[k].append(character)
    assert [s.text for s in samples] == ["".join(c.text for c in characters) for characters in seen]
    whole = generate_samples(bare(MODEL), request)
    assert [(s.text, s.finish_reason) for s in whole] == [(s.text, s.finish_reason) for s in samples]
    assert generate_texts(bare(MODEL), request) == [s.text for s in samples]
    return samples


def plain(length: int, seed: int = 3) -> str:
    return "".join(generate_text(MODEL, VOCABULARY, PRIME, length=length, seed=seed))


def test_without_an_end_it_is_the_plain_sample() -> None:
    (sample,) = run(StopConditions(length=80))
    assert sample.text == plain(80)
    assert sample.finish_reason == "length"


def test_a_sample_of_no_length_is_over_before_it_begins() -> None:
    for stop in (StopConditions(length=0), StopConditions(length=0, stop=("e",))):
        assert [(sample.text, sample.finish_reason) for sample in run(stop, count=2)] == [("", "length")] * 2


@pytest.mark.parametrize("stops", [("e",), ("d ", "ab"), ("\n",), ("abc", "bca", "cab"), ("nothing",), ("aa", "aaa")])
@pytest.mark.parametrize("seed", range(6))
def test_a_stop_cuts_before_its_first_occurrence(stops: tuple[str, ...], seed: int) -> None:
    whole = plain(120, seed)
    (sample,) = run(StopConditions(length=120, stop=stops), seed=seed)
    ends = [(whole.find(stop) + len(stop), whole.find(stop)) for stop in stops if stop in whole]
    assert sample.text == (whole[: min(ends)[1]] if ends else whole)
    assert sample.finish_reason == ("stop" if ends else "length")


def test_nothing_is_held_back_longer_than_needed() -> None:
    stop = "e.e.e."
    released = ""
    for made, (_, character) in enumerate(
        generate(bare(MODEL), Request(PRIME, 3, StopConditions(length=60, stop=(stop,))))
    ):
        released += character.text
        assert len(released) == made + 1
    assert plain(60).startswith(released)


@pytest.mark.parametrize("words", [1, 2, 5])
def test_words(words: int) -> None:
    whole = plain(400)
    (sample,) = run(StopConditions(length=400, until_words=words))
    assert len(sample.text.split()) == words
    assert whole.startswith(sample.text)
    assert whole[len(sample.text)].isspace()
    assert sample.finish_reason == "words"


def test_a_sample_does_not_depend_on_its_neighbours() -> None:
    control = StopConditions(length=60, stop=("e.",))
    many = run(control, count=7, measure=True)
    assert len({sample.text for sample in many}) > 3
    assert [s.text for s in run(control, count=2, measure=True)] == [s.text for s in many[:2]]
    one = run(control, measure=True)[0]
    assert one.text == many[0].text
    assert one.nats == pytest.approx(many[0].nats, rel=1e-4)


def test_nats_are_those_of_evaluation_and_entropy_is_its_mean() -> None:
    (sample,) = run(StopConditions(length=50), measure=True)
    ids = VOCABULARY.encode("ab" + sample.text)
    assert sample.nats == pytest.approx(evaluate(MODEL, ids, streams=1).nats - evaluate(MODEL, PRIME).nats, rel=1e-4)
    stepper = Stepper(MODEL)
    for k, symbol in enumerate(ids[:-1]):
        logits = stepper.step(int(symbol))[:, 0].astype(float)
        p = np.exp(logits - logits.max())
        p /= p.sum()
        if k >= 1:
            assert sample.characters[k - 1].entropy == pytest.approx(-(p * np.log(p)).sum(), rel=1e-4)


def probabilities(model: CharRNN, ids: np.ndarray) -> np.ndarray:
    stepper = Stepper(model)
    for symbol in ids:
        logits = stepper.step(int(symbol))[:, 0].astype(float)
    p = np.exp(logits - logits.max())
    return p / p.sum()


def test_an_ensemble_is_the_mean_of_probabilities() -> None:
    models = [a_model(0), a_model(1, "lstm", 7), a_model(2, "rnn", 5)]
    ids = VOCABULARY.encode("abeddc ab.\nac")
    stepper = EnsembleStepper(models)
    for symbol in ids:
        found = np.exp(stepper.step(int(symbol))[:, 0])
    expected = np.mean([probabilities(model, ids) for model in models], axis=0)
    np.testing.assert_allclose(found, expected, rtol=1e-4)
    state = stepper.state
    other = EnsembleStepper(models, 2)
    other.state = [np.repeat(layer, 2, axis=2) for layer in state]
    both, alone = other.step(np.array([1, 2])), stepper.step(1)
    np.testing.assert_allclose(both[:, :1], alone, rtol=1e-4)
    nats = mixed_surprisals(models, ids, streams=1)
    for k in (0, 4, 10):
        p = np.mean([probabilities(model, ids[: k + 1]) for model in models], axis=0)
        assert nats[k] == pytest.approx(-math.log(p[ids[k + 1]]), rel=1e-4)
    assert mixed_surprisals([MODEL], ids, streams=1).sum() == pytest.approx(evaluate(MODEL, ids).nats, rel=1e-5)


def test_a_wide_beam_finds_the_likeliest_of_all_texts() -> None:
    V, length = len(VOCABULARY), 3
    best = beam_search(bare(MODEL), PRIME, length=length, width=V**length)
    assert len(best) == V**length
    scores = {}
    for text in itertools.product(range(V), repeat=length):
        ids = np.concatenate((PRIME, np.array(text, PRIME.dtype)))
        scores[text] = -(evaluate(MODEL, ids).nats - evaluate(MODEL, PRIME).nats) / length
    likeliest = max(scores, key=scores.__getitem__)
    assert best[0].ids == likeliest
    assert best[0].score == pytest.approx(scores[likeliest], rel=1e-4)
    assert [h.score for h in best] == sorted((h.score for h in best), reverse=True)
    narrow = beam_search(bare(MODEL), PRIME, length=length, width=1)
    greedy = list(
        generate_text(MODEL, VOCABULARY, PRIME, length=length, seed=0, options=SamplingOptions(temperature=0.0))
    )
    assert VOCABULARY.decode(np.array(narrow[0].ids)) == "".join(greedy)


def searched(
    length: int, width: int, *, penalty: float, ends: tuple[int, ...], banned: tuple[int, ...]
) -> list[tuple[tuple[int, ...], float]]:
    """Texts and scores of a beam search that reads every text from its beginning."""
    alive, finished = [((), 0.0)], []
    for step in range(1, length + 1):
        grown: list[tuple[tuple[int, ...], float]] = []
        for text, total in alive:
            nats = -np.log(probabilities(MODEL, np.array([*PRIME, *text], PRIME.dtype)))
            grown += [((*text, symbol), total + nats[symbol]) for symbol in range(len(nats)) if symbol not in banned]
        alive = []
        for text, total in sorted(grown, key=lambda grown: grown[1]):
            if len(alive) == width:
                break
            if text[-1] in ends:
                finished.append((text[:-1], -total / step**penalty))
            else:
                alive.append((text, total))
    finished += [(text, -total / length**penalty) for text, total in alive]
    return sorted(finished, key=lambda found: (-found[1], found[0]))[:width]


@pytest.mark.parametrize("width", [1, 3, 7])
@pytest.mark.parametrize("penalty", [0.0, 0.7, 2.0])
@pytest.mark.parametrize(("ends", "banned"), [((), ()), ((7, 1), ()), ((7,), (0, 3))])
def test_a_narrow_beam_follows_the_likeliest_beginnings(
    width: int, penalty: float, ends: tuple[int, ...], banned: tuple[int, ...]
) -> None:
    expected = searched(5, width, penalty=penalty, ends=ends, banned=banned)
    found = beam_search(bare(MODEL), PRIME, length=5, width=width, length_penalty=penalty, ends=ends, banned=banned)
    assert [hypothesis.ids for hypothesis in found] == [ids for ids, _ in expected]
    assert [hypothesis.score for hypothesis in found] == pytest.approx([score for _, score in expected], rel=1e-4)
    assert all(len(hypothesis.nats) == len(hypothesis.ids) for hypothesis in found)


def test_beams_end_and_obey_bans() -> None:
    end = int(np.argmax(probabilities(MODEL, PRIME)))  # the likeliest, so that one text is over at once
    found = beam_search(bare(MODEL), PRIME, length=12, width=6, ends=(end,), banned=(2,), length_penalty=0.0)
    assert len({h.ids for h in found}) == 6
    assert found[0].ids == ()
    for hypothesis in found:
        assert end not in hypothesis.ids
        assert 2 not in hypothesis.ids
        assert len(hypothesis.nats) == len(hypothesis.ids)
    assert beam_search(bare(MODEL), PRIME, length=5, width=3, banned=range(len(VOCABULARY))) == []


class TestConstraints:
    @pytest.mark.parametrize(
        "expression",
        ["[abc]{3}", "a+b|c*d", "(ab|cd)+\\.", "[^e]*", "[a-e]+( [a-e]+){1,4}\\.", "a?", ".*dead.*", "x|b"],
    )
    def test_every_sample_matches_as_a_whole(self, expression: str) -> None:
        constraint = Constraint(expression, VOCABULARY)
        for length in (max(1, constraint.shortest), 9, 30):
            for sample in run(StopConditions(length=length, constraint=constraint), count=20):
                assert re.fullmatch(expression, sample.text), (expression, sample.text)
                assert sample.finish_reason in ("match", "length")

    def test_it_ends_where_nothing_can_follow_and_stays_likely(self) -> None:
        (sample,) = run(StopConditions(length=50, constraint=Constraint("[a-e]{4}", VOCABULARY)))
        assert (len(sample.text), sample.finish_reason) == (4, "match")
        (free,) = run(StopConditions(length=40, constraint=Constraint("(.|\\n)*", VOCABULARY)))
        assert free.text == plain(40)

    @pytest.mark.parametrize(
        ("expression", "why"),
        [
            ("[x-z]+", "no text of the model's characters matches '[x-z]+'"),
            ("(", "'(' is not a valid regular expression: missing ), unterminated subpattern at position 0"),
            ("(?=a)b", "'(?=a)b' cannot be used: look-around is not supported"),
            ("(?!a)b", "'(?!a)b' cannot be used: look-around is not supported"),
            ("(a)\\1", "'(a)\\\\1' cannot be used: back-references are not supported"),
            ("(a)?(?(1)b|c)", "'(a)?(?(1)b|c)' cannot be used: back-references are not supported"),
            (
                "a^b",
                "'a^b' cannot be used: ^ and $ are possible at its ends only, and \\b is not supported",
            ),
        ],
    )
    def test_what_cannot_be(self, expression: str, why: str) -> None:
        with pytest.raises(SettingsError) as caught:
            Constraint(expression, VOCABULARY)
        assert caught.value.message == f"`constrain`: {why}"

    def test_what_only_newer_pythons_understand_is_refused_too(self) -> None:
        newer = sys.version_info >= (3, 11)
        with pytest.raises(SettingsError, match="possessive repeat cannot be used" if newer else "not a valid"):
            Constraint("a++b", VOCABULARY)

    def test_too_short_a_length_bans_and_bytes(self) -> None:
        constraint = Constraint("abcde", VOCABULARY)
        assert run(StopConditions(length=5, constraint=constraint))[0].text == "abcde"
        with pytest.raises(SettingsError, match="the shortest match has 5 characters, but `length` is 4"):
            run(StopConditions(length=4, constraint=constraint))
        with pytest.raises(SettingsError, match="no text of the model's characters without those banned matches 'a'"):
            Constraint("a", VOCABULARY, banned=PRIME[:1].tolist())
        with pytest.raises(SettingsError, match="needs a model of characters, this one is of bytes"):
            Constraint("a", Vocabulary.of(b"abc"))


def test_the_score_of_a_beam_by_hand() -> None:
    assert _scored((1, 2), (1.0, 3.0, 2.0), 2.0) == Hypothesis((1, 2), (1.0, 3.0), -6.0 / 9)  # with the end's nats
    assert _scored((), (0.5,), 1.0) == Hypothesis((), (), -0.5)
    assert _scored((), (), 1.0).score == 0.0
    assert _scored((1, 1), (1.0, 1.0), 1000.0).score == -2.0 / 2.0**1000
    assert _scored((1, 1), (1.0, 1.0), 1e6).score == 0.0
    equal = [Hypothesis(ids, (), 1.0) for ids in ((2,), (1, 5), (1,))]
    assert _best([*equal, Hypothesis((9,), (), 2.0)], 3) == [Hypothesis((9,), (), 2.0), equal[2], equal[1]]


def test_a_sample_is_measured_by_its_mean_and_begins_with_a_symbol() -> None:
    sample = Sample([GeneratedChar("a", 1.0, 0.5), GeneratedChar("b", 3.0, 0.5)], "length")
    assert (sample.text, sample.nats, sample.nats_per_char) == ("ab", 4.0, 2.0)
    assert math.isnan(Sample().nats_per_char)
    with pytest.raises(ValueError, match="at least one symbol"):
        generate_text(MODEL, VOCABULARY, PRIME[:0], length=1, seed=0).__next__()
