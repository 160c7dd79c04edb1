"""What is drawn, and how text streams out."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from charrnn.data.vocabulary import TextDecoder, Vocabulary
from charrnn.evaluation.loss import evaluate
from charrnn.sampling.draw import Sampler, Uniforms
from charrnn.sampling.filters.cuts import keep_top_k, keep_top_p
from charrnn.sampling.filters.filter import softmax
from charrnn.sampling.generate import generate_ids, generate_text
from charrnn.sampling.options import SamplingOptions
from tests.strategies import make_case

logits_of = st.lists(st.floats(-8, 8), min_size=1, max_size=12).map(lambda x: np.array(x)[:, None])


@given(logits_of, st.integers(1, 12))
def test_top_k_keeps_the_k_likeliest(logits: np.ndarray, k: int) -> None:
    kept = np.isfinite(keep_top_k(logits, k)[:, 0])
    assert kept.sum() == min(k, len(logits))
    assert logits[kept].min() >= max(logits[~kept].max(initial=-np.inf), -np.inf)


@given(logits_of, st.floats(0.01, 0.999))
def test_top_p_keeps_the_fewest_that_reach_p(logits: np.ndarray, p: float) -> None:
    kept = np.isfinite(keep_top_p(logits, p)[:, 0])
    weights = np.sort(softmax(logits)[:, 0])[::-1]
    fewest = next((n for n in range(1, len(weights) + 1) if weights[:n].sum() >= p - 1e-12), len(weights))
    assert abs(int(kept.sum()) - fewest) <= (1 if np.isclose(weights[:fewest].sum(), p) else 0)
    assert logits[kept].min() >= logits[~kept].max(initial=-np.inf)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_draws_follow_the_tempered_distribution(temperature: float) -> None:
    logits = np.array([2.0, 1.0, 0.0, -1.0, -9.0])
    n = 40_000
    uniforms = np.random.default_rng(0).random(n)
    ids = Sampler(len(logits), n, SamplingOptions(temperature=temperature)).draw(
        np.repeat(logits[:, None], n, axis=1), uniforms
    )
    p = softmax(logits[:, None] / temperature)[:, 0]
    expected, seen = n * p[:4], np.bincount(ids, minlength=5)[:4]
    assert ((seen - expected) ** 2 / expected).sum() < 16.3  # chi-square, 3 degrees of freedom, p = 0.001


def test_a_draw_at_the_edge_stays_inside_the_kept_symbols() -> None:
    logits = np.array([[0.0], [1.0], [5.0], [4.0]])
    for u in (0.0, 1.0 - 2**-53):
        assert Sampler(len(logits), 1, SamplingOptions(top_k=2)).draw(logits, np.array([u]))[0] in (2, 3)
    assert Sampler(len(logits), 1, SamplingOptions(temperature=0.0)).draw(logits, np.array([0.9]))[0] == 2


@pytest.mark.parametrize(
    ("temperature", "edges"),
    [(1.0, [0.25, 0.5, 1.0]), (0.5, [1 / 6, 1 / 3, 1.0]), (2.0, [1 / (2 + 2**0.5), 2 / (2 + 2**0.5), 1.0])],
)
def test_a_draw_is_the_symbol_at_which_the_sum_exceeds_the_number(temperature: float, edges: list[float]) -> None:
    sampler = Sampler(3, 2, SamplingOptions(temperature=temperature))
    logits = np.log(np.array([[1.0, 10.0], [1.0, 10.0], [2.0, 20.0]]))
    for symbol, (low, high) in enumerate(itertools.pairwise([0.0, *edges])):
        ids = sampler.draw(logits, np.array([low + 1e-9, high - 1e-9]))
        assert ids.tolist() == [symbol, symbol]


def test_sample_i_has_the_numbers_of_seed_and_i() -> None:
    for purpose in ((), (1,)):
        numbers = Uniforms(3, 2, *purpose, first=5)
        found = np.array([numbers.draw().copy() for _ in range(600)])
        for k in range(2):
            expected = np.random.default_rng([3, 5 + k, *purpose]).random(600)
            np.testing.assert_array_equal(found[:, k], expected)
    logits, sampler = np.zeros((1000, 1)), Sampler(1000, 1, seed=3, first=6)
    rng = np.random.default_rng([3, 6])
    assert [int(sampler.sample(logits)[0]) for _ in range(5)] == (rng.random(5) * 1000).astype(int).tolist()


def test_filters_have_numbers_of_their_own() -> None:
    options, logits = SamplingOptions(xtc_probability=0.5, xtc_threshold=0.001), np.zeros((100, 1))
    sampler, left_out = Sampler(100, 1, options, seed=3, first=6), np.random.default_rng([3, 6, 1])
    drawn = np.random.default_rng([3, 6])
    for _ in range(20):  # all symbols are above the threshold: only the last stays, or all
        u, out = drawn.random(), left_out.random() < 0.5
        assert sampler.sample(logits)[0] == (99 if out else int(u * 100))


def test_the_same_seed_gives_the_same_text_and_samples_differ() -> None:
    case = make_case("gru", V=9, H=16, dtype=np.float32)
    prime = np.array([1, 2, 3])

    def draw(seed: int, n: int) -> np.ndarray:
        return np.stack(list(generate_ids(case.model, prime, length=60, seed=seed, num_samples=n)), axis=1)

    np.testing.assert_array_equal(draw(5, 3), draw(5, 3))
    assert (draw(5, 3)[0] != draw(6, 3)[0]).any()
    three = draw(5, 3)
    assert (three[0] != three[1]).any()
    np.testing.assert_array_equal(three[:1], draw(5, 1))


def test_sampling_continues_the_prime_with_its_state() -> None:
    case = make_case("lstm", T=8, B=1, V=6, H=8)
    greedy = list(generate_ids(case.model, case.inputs[:, 0], length=1, seed=0, options=SamplingOptions(temperature=0)))
    state = case.model.zero_state(1)
    case.model.refresh(backward=False)
    logits = case.model.head.logits(case.model._forward(case.inputs, state, None, None))
    assert greedy[0][0] == logits[:, -1, 0].argmax()


def test_split_characters_wait_for_their_rest() -> None:
    vocabulary = Vocabulary.of("é€a".encode())
    decoder = TextDecoder(vocabulary)
    pieces = [decoder.feed(int(i)) for i in vocabulary.encode("é€a".encode())]
    assert pieces == ["", "é", "", "", "€", "a"]
    decoder.feed(int(vocabulary.encode("é".encode())[0]))
    assert decoder.finish() == "�"


def test_text_streams_character_by_character() -> None:
    case = make_case("rnn", V=4, H=8, dtype=np.float32)
    vocabulary = Vocabulary.of("abc\n")
    pieces = list(generate_text(case.model, vocabulary, vocabulary.encode("ab"), length=17, seed=1))
    assert [len(p) for p in pieces] == [1] * 17
    with pytest.raises(ValueError, match="at least one"):
        next(generate_ids(case.model, np.array([], int), length=1, seed=0))


@pytest.mark.parametrize("size", [2, 3, 100, 700, 5000])
def test_every_symbol_but_the_first_is_scored_once(size: int) -> None:
    case = make_case("lstm", V=5, H=6)
    ids = np.random.default_rng(0).integers(0, 5, size).astype(np.uint8)
    one = evaluate(case.model, ids, streams=1)
    many = evaluate(case.model, ids)
    assert one.characters == many.characters == size - 1
    assert many.loss == pytest.approx(one.loss, rel=1e-6)  # the warm-up makes the cut invisible
    state = case.model.zero_state(1)
    plain = case.model.loss(ids[:-1, None].astype(np.intp), ids[1:, None].astype(np.intp), state).sum()
    assert one.nats == pytest.approx(plain, rel=1e-12)
