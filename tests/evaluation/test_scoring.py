"""Lines, positions and candidates: by hand, and against symbols read one by one."""

from __future__ import annotations

import math

import numpy as np
import pytest

from charrnn.data.vocabulary import Vocabulary
from charrnn.evaluation import scoring
from charrnn.evaluation.loss import Score
from charrnn.evaluation.scoring import Spot, by_line, candidate_nats, character_nats, most_surprising, text_nats
from charrnn.nn.network import CharRNN
from charrnn.runs.start import TextModel, TextStart
from tests.strategies import make_case

VOCABULARY = Vocabulary.of("abcde .")
SEPARATOR = np.array([1, 0], np.uint8)


def test_lines_by_hand() -> None:
    ids = np.array([0, 1, 9, 2, 9, 9, 3], np.uint8)
    nats = np.array([np.nan, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
    found = by_line(ids, nats, 9)
    assert [(line.number, line.characters, line.nats) for line in found] == [
        (1, 2, 3.0), (2, 2, 7.0), (3, 1, 5.0), (4, 1, 6.0),
    ]  # fmt: skip
    assert found[0].bits_per_char == pytest.approx(1.5 / math.log(2))
    assert [line.characters for line in by_line(ids, nats, None)] == [6]
    (ended,) = by_line(ids[:3], nats[:3], 9)  # a text that ends in a line end has no empty line after it
    assert (ended.characters, ended.nats) == (2, 3.0)
    assert math.isnan(by_line(ids[:1], nats[:1], None)[0].bits_per_char)


def test_places_are_apart_and_in_order() -> None:
    nats = np.array([np.nan, 1, 9, 8, 0, 0, 7, 0, 0, 0, 2.0])
    assert [s.position for s in most_surprising(nats, 3, apart=3)] == [2, 6, 10]
    assert [s.position for s in most_surprising(nats, 9, apart=30)] == [2]
    assert most_surprising(np.array([np.nan]), 3) == []
    assert most_surprising(nats, 1) == [Spot(2, 9 / math.log(2))]
    ties = np.full(60, 1.0)
    assert [s.position for s in most_surprising(ties, 9)] == [0, 20, 40]


def test_a_score_in_every_unit() -> None:
    score = Score(nats=30.0, characters=20)
    assert (score.loss, score.bits_per_char) == (1.5, pytest.approx(1.5 / math.log(2)))
    assert score.perplexity == pytest.approx(math.exp(1.5))
    assert math.isnan(Score(0.0, 0).loss)
    assert math.isnan(Score(0.0, 0).perplexity)
    assert Score(699.0, 1).perplexity == math.exp(699.0)
    assert Score(700.0, 1).perplexity == math.inf


def one_by_one(models: list[CharRNN], text: list[int], separator: list[int] | None) -> list[float]:
    """Nats of every symbol but the first, under the mean of the probabilities; zero states where a document begins."""
    likelihood = np.zeros(len(text) - 1)
    for model in models:
        state = model.zero_state(1)
        for t in range(len(text) - 1):
            if separator is not None and text[:t][-len(separator) :] == separator:
                state = model.zero_state(1)
            ids = np.array(text[t : t + 2])[:, None]
            likelihood[t] += math.exp(-float(model.loss(ids[:1], ids[1:], state)[0, 0])) / len(models)
    return [-math.log(p) for p in likelihood]


@pytest.mark.parametrize("separator", [None, SEPARATOR], ids=["endless", "documents"])
def test_candidates_cost_what_their_symbols_cost_one_by_one(
    separator: np.ndarray | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scoring, "_WINDOW", 3)
    models = [make_case("gru", V=7, H=5, L=2, seed=seed, noise=1.0).model for seed in (0, 1)]
    nothing = np.zeros(0, np.uint8)
    writer = TextModel(models, VOCABULARY, [TextStart(m.zero_state(1), None, nothing, separator) for m in models])
    plain = None if separator is None else separator.tolist()
    prime, texts = [3, 1], [[0, 2, 5, 1, 0, 4, 4, 6, 1, 0], [2], [], [1, 0, 0], [6, 6, 1, 0, 3, 3]]
    candidates = [np.array(text, np.uint8) for text in texts]
    costs = [one_by_one(models, prime + text, plain)[1:] for text in texts]
    assert candidate_nats(writer, prime, candidates) == pytest.approx([sum(cost) for cost in costs], rel=1e-12)
    rows = np.array([texts[0], texts[4] + [0] * 4]).T
    assert text_nats(writer, rows, prime)[:, 0] == pytest.approx(costs[0], rel=1e-12)
    ended = [sum(one_by_one(models, [*prime, *text, 5, 5], plain)[1:]) for text in texts]
    assert candidate_nats(writer, prime, candidates, end=np.array([5, 5])) == pytest.approx(ended, rel=1e-12)
    found = character_nats(models, np.array(prime + texts[0], np.uint8), separator=separator)
    assert math.isnan(found[0])
    assert found[1:] == pytest.approx(one_by_one(models, prime + texts[0], plain), rel=1e-9)


def test_batches_of_candidates_hold_no_more_than_they_may(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scoring, "_CELLS", 12)
    read: list[tuple[int, ...]] = []

    def noted(model: object, rows: np.ndarray, prime: object) -> np.ndarray:
        read.append(rows.shape)
        assert rows.dtype == np.intp
        return np.arange(rows.size, dtype=float).reshape(rows.shape)

    monkeypatch.setattr(scoring, "text_nats", noted)
    lengths = [4, 40, 0, 4, 3, 4]
    found = candidate_nats(None, [], [np.zeros(n, np.uint8) for n in lengths])  # type: ignore[arg-type]
    assert read == [(4, 3), (4, 1), (40, 1)]
    assert found[2] == 0.0
    assert found[4] == 0 + 3 + 6  # the first column of three rows


def test_a_probability_of_zero_costs_a_finite_number_of_nats() -> None:
    model = CharRNN(7, cell="rnn", hidden_size=2, dtype=np.float64)
    model.params["head.bias"][...] = [0, -2000, -2000, -2000, -2000, -2000, -2000]
    writer = TextModel([model], VOCABULARY, [TextStart(model.zero_state(1), None, np.zeros(1, np.uint8))])
    (cost,) = candidate_nats(writer, [], [np.array([3])])
    assert cost == pytest.approx(-math.log(np.finfo(np.float64).tiny))
