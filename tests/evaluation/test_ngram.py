"""The n-gram model, beside a plain-Python one that is written from the formulas of its docstring."""

from __future__ import annotations

import math
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from charrnn.evaluation import ngram
from charrnn.evaluation.ngram import NgramModel, choose_order


class Reference:
    """Interpolated modified Kneser-Ney, one dictionary a length, one symbol at a time."""

    def __init__(self, order: int, vocab_size: int, text: Sequence[int]) -> None:
        self.order, self.vocab_size = order, vocab_size
        self.counts: list[dict[tuple[int, ...], Counter[int]]] = []
        self.discounts: list[Callable[[int], float]] = []
        self.sums: list[dict[tuple[int, ...], tuple[int, float]]] = []  # of the counts, and of their discounts
        for length in range(order + 1):
            predecessors: dict[tuple[int, ...], list[int | None]] = defaultdict(list)
            for end in range(length, len(text)):
                start = end - length
                predecessors[tuple(text[start : end + 1])].append(text[start - 1] if start else None)
            table: dict[tuple[int, ...], Counter[int]] = defaultdict(Counter)
            for gram, before in predecessors.items():
                table[gram[:-1]][gram[-1]] = len(before) if length == order else len(set(before))
            self.counts.append(table)
            self.discounts.append(self.estimate([c for after in table.values() for c in after.values()]))
            self.sums.append(
                {h: (sum(after.values()), sum(map(self.discounts[-1], after.values()))) for h, after in table.items()}
            )

    @staticmethod
    def estimate(counts: list[int]) -> Callable[[int], float]:
        n = Counter(counts)
        if not all(n[c] for c in (1, 2, 3, 4)):
            return lambda c: (0.0, 0.5, 1.0, 1.5)[min(c, 3)]
        y = n[1] / (n[1] + 2 * n[2])
        values = [0.0, *(max(0.1, c - (c + 1) * y * n[c + 1] / n[c]) for c in (1, 2, 3))]
        return lambda c: values[min(c, 3)]

    def p(self, context: Sequence[int], symbol: int) -> float:
        """Probability of a symbol after a context no longer than the order."""
        lower = self.p(context[1:], symbol) if context else 1 / self.vocab_size
        after = self.counts[len(context)].get(tuple(context))
        if not after:
            return lower
        discount, (total, freed) = self.discounts[len(context)], self.sums[len(context)][tuple(context)]
        return (after[symbol] - discount(after[symbol]) + freed * lower) / total

    def nats(self, text: Sequence[int]) -> float:
        return -sum(math.log(self.p(text[max(0, i - self.order) : i], text[i])) for i in range(1, len(text)))


@st.composite
def texts(draw: st.DrawFn, min_size: int = 0) -> tuple[int, list[int], list[int]]:
    """V, a text to learn and a text to predict; often repetitive, so that long contexts come again."""
    V = draw(st.integers(1, 5))
    symbols = st.lists(st.integers(0, V - 1), min_size=min_size, max_size=40)
    return V, draw(symbols) * draw(st.integers(1, 3)), draw(symbols)


def array(text: Sequence[int], dtype: type = np.uint8) -> np.ndarray:
    return np.array(text, dtype)


def markov(length: int, *, seed: int) -> tuple[np.ndarray, float]:
    """A text in which a symbol depends on the two before it, and the source's entropy rate in nats."""
    rng = np.random.default_rng(seed)
    V = 3
    transitions = rng.dirichlet(np.full(V, 0.5), (V, V))  # [a, b, next]
    pairs = np.zeros((V * V, V * V))
    for a, b in np.ndindex(V, V):
        pairs[a * V + b, b * V : b * V + V] = transitions[a, b]
    stationary = np.linalg.matrix_power(pairs, 4096)[0].reshape(V, V)
    rate = -float((stationary[:, :, None] * transitions * np.log(transitions)).sum())
    cumulative, uniform = transitions.cumsum(2), rng.random(length)
    text = [0, 0]
    for u in uniform:
        text.append(min(int(np.searchsorted(cumulative[text[-2], text[-1]], u)), V - 1))
    return array(text), rate


@settings(max_examples=60, deadline=None)
@given(texts(), st.integers(0, 5))
def test_agrees_with_plain_python(case: tuple[int, list[int], list[int]], order: int):
    V, train, other = case
    model, reference = NgramModel(order, V).fit(array(train)), Reference(order, V, train)
    for text in (train, other):
        nats, scored = model.log_loss(array(text))
        assert scored == max(len(text) - 1, 0)
        assert nats == pytest.approx(reference.nats(text), rel=1e-9, abs=1e-9)
    context = other[:order]
    expected = [reference.p(context, symbol) for symbol in range(V)]
    np.testing.assert_allclose(model.probabilities(array(context)), expected, rtol=1e-9)


@pytest.mark.parametrize("order", [1, 2, 4])
def test_agrees_with_plain_python_where_discounts_are_estimated(order: int):
    rng = np.random.default_rng(1)
    words = [rng.integers(0, 20, size) for size in rng.integers(1, 9, 80)]
    train = np.concatenate([words[min(k, 80) - 1] for k in rng.zipf(1.4, 1500)])
    reference = Reference(order, 20, train.tolist())
    assert all(discount(1) != 0.5 for discount in reference.discounts[1:])  # not the fallback
    nats, _ = NgramModel(order, 20).fit(train).log_loss(train[:600])
    assert nats == pytest.approx(reference.nats(train[:600].tolist()), rel=1e-9)


@settings(max_examples=60, deadline=None)
@given(texts(), st.integers(0, 6), st.integers(1, 4))
def test_probabilities_sum_to_one_after_any_context(
    case: tuple[int, list[int], list[int]], order: int, unseen_symbols: int
):
    V, train, context = case
    p = NgramModel(order, V + unseen_symbols).fit(array(train)).probabilities(array(context))
    assert p.shape == (V + unseen_symbols,)
    assert p.sum() == pytest.approx(1.0, abs=1e-12)
    assert (p > 0).all()


def test_probabilities_are_those_that_are_scored():
    text, _ = markov(400, seed=3)
    model = NgramModel(3, 5).fit(text[:300])
    one_by_one = -sum(math.log(model.probabilities(text[:i])[text[i]]) for i in range(1, len(text)))
    assert model.log_loss(text)[0] == pytest.approx(one_by_one, rel=1e-12)


@pytest.mark.parametrize("chunk", [1, 2, 7, 64])
def test_chunks_change_nothing(chunk: int, monkeypatch: pytest.MonkeyPatch):
    text, _ = markov(500, seed=4)
    model = NgramModel(4, 3).fit(text[:300])
    whole, (chosen, losses) = model.log_loss(text), choose_order(text[:300], text[300:], 3)
    monkeypatch.setattr(ngram, "_CHUNK_CHARS", chunk)
    assert model.log_loss(text) == pytest.approx(whole, rel=1e-12)
    again, losses_again = choose_order(text[:300], text[300:], 3)
    assert (again.order, losses_again) == (chosen.order, pytest.approx(losses, rel=1e-12))


def test_approaches_the_entropy_rate_of_a_known_source():
    text, rate = markov(120_000, seed=5)
    train, held_out = text[:60_000], text[60_000:]
    losses = [nats / scored for nats, scored in (NgramModel(n, 3).fit(train).log_loss(held_out) for n in range(4))]
    assert losses[2] == pytest.approx(rate, abs=0.01)
    assert losses[0] > losses[1] + 0.02 > losses[2] + 0.04
    assert losses[3] < losses[2] + 0.01


def test_chooses_the_order_of_a_known_source():
    text, rate = markov(60_000, seed=5)
    model, losses = choose_order(text[:50_000], text[50_000:], 3)
    assert model.order == 2
    assert list(losses) == [1, 2, 3, 4]  # two orders without improvement, then no more
    assert losses[2] == pytest.approx(rate, abs=0.02)


def test_manuals_that_repeat_whole_phrases_get_long_contexts():
    rng = np.random.default_rng(8)
    phrases = rng.integers(0, 2, (60, 30))
    text = phrases[rng.integers(0, 60, 2_000)].ravel()
    model, losses = choose_order(text[:50_000], text[50_000:], 2)
    assert model.order > 8
    assert max(losses) <= 16
    assert losses[model.order] < 0.9 * losses[8]


def test_independent_symbols_need_no_long_context():
    text = np.random.default_rng(6).choice(8, 20_000, p=np.arange(1, 9) / 36).astype(np.uint8)
    model, losses = choose_order(text[:15_000], text[15_000:], 8, range(9))
    assert model.order == 0
    assert list(losses) == [0, 1, 2]


@pytest.mark.parametrize("orders", [range(9), (5, 2, 5), [0], [3]])
def test_chosen_model_and_losses_are_those_of_separate_fits(orders: Sequence[int]):
    text, _ = markov(3000, seed=7)
    train, val = text[:2000], text[2000:]
    model, losses = choose_order(train, val, 3, orders)
    assert list(losses) == sorted(set(orders))[: len(losses)]
    for order, loss in losses.items():
        nats, scored = NgramModel(order, 3).fit(train).log_loss(val)
        assert loss == pytest.approx(nats / scored, rel=1e-12)
    assert losses[model.order] == min(losses.values())
    nats, scored = model.log_loss(val)
    assert nats / scored == pytest.approx(losses[model.order], rel=1e-12)
    assert model.used_chars == 2000


def test_unseen_symbols_and_contexts_cost_a_finite_number_of_nats():
    model = NgramModel(3, 10).fit(array([0, 1] * 500))
    nats, scored = model.log_loss(array([9, 8, 9, 7, 0, 1, 0, 1, 0, 9]))
    assert scored == 9
    assert 5 * math.log(10) < nats < 9 * math.log(1e6)


def test_a_vocabulary_of_a_hundred_thousand_is_exact():
    V, order = 100_000, 4  # V ** 5 is far beyond 2 ** 64
    rng = np.random.default_rng(8)
    train = np.append(
        rng.choice([0, 1, 65_535, 65_536, 99_998, 99_999], 3000), rng.integers(0, V, 30_000)
    )  # keys beyond 2 ** 31
    model, reference = NgramModel(order, V).fit(train.astype(np.uint32)), Reference(order, V, train.tolist())
    text = np.append(train[2800:3200], rng.choice([0, 65_536, 99_999, 5], 200))
    nats, scored = model.log_loss(text.astype(np.uint32))
    assert scored == 599
    assert nats == pytest.approx(reference.nats(text.tolist()), rel=1e-9)
    p = model.probabilities(train[:4].astype(np.uint32))
    assert p.sum() == pytest.approx(1.0)
    assert p[train[4]] == pytest.approx(reference.p(train[:4].tolist(), int(train[4])), rel=1e-9)


def test_a_text_of_one_symbol_is_almost_free():
    text = array([0] * 1000)
    assert NgramModel(5, 1).fit(text).log_loss(text) == (pytest.approx(0.0, abs=1e-9), 999)
    nats, scored = NgramModel(5, 4).fit(text).log_loss(text)
    assert 0 < nats / scored < 0.01


@pytest.mark.parametrize("order", [0, 1, 3])
@pytest.mark.parametrize("train", [[], [1], [1, 0]])
def test_texts_of_two_symbols_and_fewer(train: list[int], order: int):
    model, reference = NgramModel(order, 3).fit(array(train)), Reference(order, 3, train)
    assert model.used_chars == len(train)
    assert model.log_loss(array([])) == (0.0, 0)
    assert model.log_loss(array([1])) == (0.0, 0)
    assert model.log_loss(array([1, 0])) == (pytest.approx(reference.nats([1, 0]), rel=1e-9), 1)
    np.testing.assert_allclose(model.probabilities(array([])).sum(), 1.0)
    chosen, losses = choose_order(array(train), array([1, 0]), 3)
    assert math.isfinite(losses[chosen.order])


def test_counts_only_the_last_max_chars():
    text, _ = markov(3000, seed=9)
    model, same = NgramModel(3, 3).fit(text, max_chars=500), NgramModel(3, 3).fit(text[-500:])
    assert (model.used_chars, NgramModel(3, 3).fit(text).used_chars) == (500, 3002)
    assert model.log_loss(text) == same.log_loss(text) != NgramModel(3, 3).fit(text).log_loss(text)
    chosen, losses = choose_order(text, text, 3, max_chars=500)
    assert (chosen.used_chars, losses) == (500, choose_order(text[-500:], text[:500], 3)[1])


def test_fitting_again_forgets():
    first, second = array([0, 1] * 50), array([1, 2, 0] * 50)
    assert NgramModel(2, 3).fit(first).fit(second).log_loss(second) == NgramModel(2, 3).fit(second).log_loss(second)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.uint32, np.uint64, np.int32])
def test_any_integer_type_and_memory_maps_are_read_and_left_alone(dtype: type, tmp_path: Path):
    text, _ = markov(600, seed=10)
    expected = NgramModel(3, 3).fit(text).log_loss(text)
    path = tmp_path / "ids"
    text.astype(dtype).tofile(path)
    mapped = np.memmap(path, dtype, "r")
    assert NgramModel(3, 3).fit(mapped).log_loss(mapped) == expected
    assert choose_order(mapped, mapped, 3)[1] == choose_order(text, text, 3)[1]
    np.testing.assert_array_equal(mapped, text)


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        (array([0, 3]), "do not fit a vocabulary of 3"),
        (array([0, -1], np.int64), "do not fit a vocabulary of 3"),
        (array([[0, 1]]), "one row of integers"),
        (array([0, 1], np.float32), "one row of integers"),
    ],
)
def test_other_ids_are_refused(ids: np.ndarray, message: str):
    fitted = NgramModel(2, 3).fit(array([0, 1, 2]))
    good = array([0, 1, 2])
    for call in (fitted.fit, fitted.probabilities, fitted.log_loss):
        with pytest.raises(ValueError, match=message):
            call(ids)
    for train, val in ((ids, good), (good, np.concatenate([ids, ids]))):
        with pytest.raises(ValueError, match=message):
            choose_order(train, val, 3)


def test_impossible_settings_are_refused():
    good = array([0, 1, 2])
    for order, vocab_size in ((-1, 3), (2, 0)):
        with pytest.raises(ValueError, match="at least 0 and 1"):
            NgramModel(order, vocab_size)
    with pytest.raises(ValueError, match="max_chars 0"):
        NgramModel(2, 3).fit(good, max_chars=0)
    for val, orders in ((good, []), (good[:1], [1]), (good[:0], [1])):
        with pytest.raises(ValueError, match="two validation symbols"):
            choose_order(good, val, 3, orders)
    with pytest.raises(ValueError, match="at least 0 and 1"):
        choose_order(good, good, 3, [-1, 2])


def test_is_vectorised():
    text = np.random.default_rng(11).integers(0, 60, 200_000).astype(np.uint8)
    start = time.process_time()
    NgramModel(2, 60).fit(text).log_loss(text)
    assert time.process_time() - start < 2.0  # 0.1 s; a Python loop takes longer
