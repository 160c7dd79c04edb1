"""A network mixed with counts: the formula, the weights, and one prediction whichever way it is asked for."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from charrnn.api import load
from charrnn.data.vocabulary import Vocabulary
from charrnn.errors import CheckpointError
from charrnn.evaluation.compression.codec import compress, decompress, longest_ngram
from charrnn.evaluation.loss import mixed_surprisals
from charrnn.evaluation.mixture import Mixture, cross_fitted, learn_mixture, weigh
from charrnn.evaluation.ngram import NgramModel, choose_order
from charrnn.evaluation.scoring import text_nats
from charrnn.nn.network import CharRNN
from charrnn.runs.start import TextModel, cold_start, make_start
from charrnn.runs.text import corpus_parts, text_before
from charrnn.sampling.beam import beam_search
from tests.conftest import SENTENCES, Run, assert_one_line_error

WORDS = [*dict.fromkeys(SENTENCES.split()), "and", "horse", "bird", "hen", "small", "green"]
TEXT = " ".join(np.random.default_rng(7).choice(WORDS, 400))[:900]
VOCABULARY = Vocabulary.of(TEXT)
IDS = VOCABULARY.encode(TEXT)
V = len(VOCABULARY)


@pytest.fixture(scope="module")
def mixture() -> Mixture:
    ngram = NgramModel(3, V).fit(IDS[:400])
    return Mixture(ngram, np.random.default_rng(0).dirichlet(np.ones(3), 15 * (ngram.order + 1)))


@pytest.fixture(scope="module")
def writer(mixture: Mixture) -> TextModel:
    models = [a_model("gru", 0), a_model("lstm", 1)]
    return TextModel(models, VOCABULARY, [cold_start(model, VOCABULARY) for model in models], mixture)


def a_model(cell: str, seed: int) -> CharRNN:
    model = CharRNN(V, cell=cell, hidden_size=12)
    model.init(np.random.default_rng(seed))
    model.params.flat *= 3.0
    return model


COUNTED = "".join(map(chr, IDS[:400]))


def longest(context: np.ndarray) -> int:
    """Symbols of the longest context, of three at most, that was counted."""
    return max(k for k in range(4) if k == 0 or (k <= len(context) and "".join(map(chr, context[-k:])) in COUNTED))


def by_hand(mixture: Mixture, context: np.ndarray, p_network: np.ndarray) -> np.ndarray:
    """(V,) the docstring's formula, with the longest seen context looked for in the counted text itself."""
    seen, run = longest(context), 0
    while run < len(context) and longest(context[: len(context) - run]) == 3:
        run += 1
    backoff = mixture.ngram.predict(memory_of(mixture.ngram, context)).backoff[0]
    size = 0 if backoff <= 0.05 else 1 if backoff <= 0.3 else 2
    length = 0 if run <= 1 else 1 if run <= 8 else 2 if run <= 32 else 3 if run <= 160 else 4
    p = mixture.ngram.probabilities(context)
    shorter = mixture.ngram.probabilities(context[len(context) - seen + 1 :]) if seen else 1 / V
    alone = (p - backoff * shorter) / (1 - backoff)
    w = mixture.weights[15 * seen + 5 * size + length]
    return w[0] * p_network + w[1] * p + w[2] * alone


def memory_of(mixture: Mixture | NgramModel, context: np.ndarray) -> np.ndarray:
    memory = mixture.memory(1)
    for symbol in context:
        memory = mixture.read(memory, symbol[None])
    return memory


def test_each_symbol_has_the_weighted_mean_of_all_three(mixture: Mixture) -> None:
    rng = np.random.default_rng(1)
    contexts = [IDS[max(0, place - 5) : place] for place in (1, 2, 5, 120, 500)]
    contexts += [rng.permutation(IDS[772:777])]  # hardly a context that was counted
    contexts += [IDS[100 : 100 + length] for length in (11, 12, 36, 250)]  # copied, for longer and longer
    for context in contexts:
        p = rng.dirichlet(np.ones(V))
        found = mixture.mix(p[:, None], memory_of(mixture, context))[:, 0]
        np.testing.assert_allclose(found, by_hand(mixture, context, p), rtol=1e-9, atol=1e-12)
        assert found.sum() == pytest.approx(1.0)


def test_where_the_counted_text_ends_nothing_is_known_to_follow(mixture: Mixture) -> None:
    text = np.concatenate((np.tile(VOCABULARY.encode("ab"), 9), VOCABULARY.encode("cat")))
    ngram = NgramModel(3, V).fit(text)
    found = ngram.predict(memory_of(ngram, text))
    assert (found.seen[0], found.backoff[0]) == (3, 1.0)
    np.testing.assert_array_equal(found.literal, found.p)


def test_whole_texts_and_single_steps_agree(writer: TextModel, mixture: Mixture) -> None:
    prime, rows = IDS[450:480], IDS[480:600]
    alone = TextModel(writer.models, writer.vocabulary, writer.starts)
    network = text_nats(alone, rows[:, None], prime)[:, 0]
    expected = mixture.nats(network, np.concatenate((prime, rows)), scored_from=len(prime))
    np.testing.assert_allclose(text_nats(writer, rows[:, None], prime)[:, 0], expected, rtol=1e-4, atol=1e-5)
    assert abs(expected - network).max() > 0.1


def test_streams_keep_contexts_of_their_own(writer: TextModel) -> None:
    rows = np.stack((IDS[480:520], IDS[600:640], IDS[700:740]), axis=1)
    together = text_nats(writer, rows)
    for k in range(3):
        np.testing.assert_allclose(together[:, k], text_nats(writer, rows[:, k : k + 1])[:, 0], rtol=1e-4, atol=1e-5)


def test_the_first_symbol_of_a_text_is_mixed_too(writer: TextModel, mixture: Mixture) -> None:
    starts = [make_start(model, VOCABULARY, opening=IDS[:100]) for model in writer.models]
    assert all(start.logits is not None for start in starts)
    _, mixed = TextModel(writer.models, VOCABULARY, starts, mixture).begin()
    _, alone = TextModel(writer.models, VOCABULARY, starts).begin()
    np.testing.assert_allclose(np.exp(mixed), mixture.mix(np.exp(alone), mixture.memory(1)), rtol=1e-6)


def test_beams_keep_their_contexts(writer: TextModel) -> None:
    for found in beam_search(writer, IDS[450:460], length=12, width=4):
        alone = text_nats(writer, np.array(found.ids)[:, None], IDS[450:460])[:, 0]
        np.testing.assert_allclose(found.nats, alone, rtol=1e-4, atol=1e-5)


def test_a_document_end_resets_the_networks_and_not_the_counts(mixture: Mixture) -> None:
    model, separator = a_model("gru", 2), VOCABULARY.encode(".")
    start = cold_start(model, VOCABULARY, separator)
    writer = TextModel([model], VOCABULARY, [start], mixture)
    text = VOCABULARY.encode("on the mat. ")
    stepper, _ = writer.begin(text)
    alone, logits = TextModel([model], VOCABULARY, [start]).begin(text)
    p = np.exp(logits - np.logaddexp.reduce(logits))
    expected = mixture.mix(p, memory_of(mixture, text))
    np.testing.assert_allclose(np.exp(writer.begin(text)[1]), expected, rtol=1e-5)
    np.testing.assert_array_equal(stepper.state[0], alone.state[0])


def test_the_weights_found_are_the_best_there_are() -> None:
    rng = np.random.default_rng(2)
    ngram, network = NgramModel(2, V).fit(IDS[:400]), rng.exponential(1.0, len(IDS) - 401)
    learned = weigh(ngram, network, IDS[400:])
    least = learned.nats(network, IDS[400:]).sum()
    for k in range(len(learned.weights)):
        for favoured in np.eye(3):
            other = learned.weights.copy()
            other[k] = 0.95 * other[k] + 0.05 * favoured
            # A little better is possible: rarely met contexts are pulled towards the weight of all.
            assert Mixture(ngram, other).nats(network, IDS[400:]).sum() > least - 1.0
    assert least < network.sum()
    assert least < ngram.log_loss(IDS[400:])[0]


def test_what_is_certain_gets_the_weight() -> None:
    ngram = NgramModel(2, V).fit(IDS[:400])
    assert weigh(ngram, np.full(499, 1e-4), IDS[400:]).weights[:, 0].min() > 0.8
    assert weigh(ngram, np.full(499, 30.0), IDS[400:]).weights[:, 0].max() < 0.2


def test_a_copied_passage_is_trusted_where_prose_is_not() -> None:
    """Weights are learned on a text of which a fifth is copied, and hold for one that is nothing else."""
    counted, new = np.random.default_rng(5).integers(V, size=(2, 800))
    ngram, copied = NgramModel(4, V).fit(counted), counted[350:]
    learned = weigh(ngram, np.full(999, 2.0), np.concatenate((new, counted[100:300])))
    assert learned.nats(np.full(449, 2.0), copied).sum() < 0.3 * ngram.log_loss(copied)[0]


def test_what_is_always_a_little_worse_gets_no_weight() -> None:
    ngram = NgramModel(2, V).fit(IDS[:400])
    counts = -np.log(np.concatenate([found.p for found in ngram.likelihoods(IDS[400:])]))
    assert weigh(ngram, counts + 0.01, IDS[400:]).weights[:, 0].max() < 0.05


@pytest.mark.parametrize("separator", [None, VOCABULARY.encode("a")])
def test_a_mixture_is_learned_from_the_beginning_of_the_validation_part(
    separator: np.ndarray | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("charrnn.evaluation.mixture.LEARNED_FROM", 200)
    models, train, val = [a_model("gru", 0), a_model("lstm", 1)], IDS[:500], IDS[500:]
    found = learn_mixture(models, train, val, separator)
    ngram, _ = choose_order(train, val[:200], V)
    nats = mixed_surprisals(models, val[:200], separator=separator, before=train[-1:])
    assert found.ngram.digest() == ngram.digest()
    np.testing.assert_array_equal(found.weights, weigh(ngram, nats, val[:200]).weights)


def test_halves_are_weighed_by_each_other() -> None:
    ngram, network = NgramModel(2, V).fit(IDS[:400]), np.concatenate((np.full(249, 30.0), np.full(250, 1e-4)))
    found = cross_fitted(ngram, network, IDS[400:])
    first, second = weigh(ngram, network[249:], IDS[649:]), weigh(ngram, network[:249], IDS[400:650])
    np.testing.assert_allclose(found[:249], first.nats(network[:249], IDS[400:650]))
    np.testing.assert_allclose(found[249:], second.nats(network, IDS[400:])[249:])
    assert found.mean() > weigh(ngram, network, IDS[400:]).nats(network, IDS[400:]).mean() + 0.1


def test_compressed_with_counts_and_back(mixture: Mixture) -> None:
    model = a_model("gru", 3)
    start, data = cold_start(model, VOCABULARY), TEXT[300:800].encode()
    for streams in (1, 3):
        packed, _ = compress(data, model, VOCABULARY, start=start, mixture=mixture, streams=streams)
        assert len(packed) < len(compress(data, model, VOCABULARY, start=start, streams=streams)[0])
        assert decompress(packed, model, VOCABULARY, start=start, mixture=mixture) == data
        assert (packed[4], longest_ngram(packed)) == (4, 16)
        older = packed[:4] + bytes([3]) + packed[5:]  # as it was while counts looked back 8 characters at most
        assert longest_ngram(older) == 8
        assert decompress(older, model, VOCABULARY, start=start, mixture=mixture) == data
    others = (None, Mixture(mixture.ngram, mixture.weights * 0.99),
              Mixture(NgramModel(3, V).fit(IDS[:399]), mixture.weights))  # fmt: skip
    for other in others:
        with pytest.raises(CheckpointError, match="another model"):
            decompress(packed, model, VOCABULARY, start=start, mixture=other)


def test_the_commands(charrnn_here: Run, config_file: Path, tmp_path: Path) -> None:
    words = ("train", "--config", config_file, "--quiet", "--run-dir", "a", "--set", "training.max_steps=60")
    assert charrnn_here(*words, "--set", "corpus.test_fraction=0.1").returncode == 0
    report = json.loads(charrnn_here("eval", "a", "--ngram", "--json").stdout)
    best = min(report["loss"], report["baselines"]["ngram"] * math.log(2))  # of counts, which know this text by heart
    assert 0.5 * best < report["mixture"]["loss"] < best
    each = json.loads(charrnn_here("eval", "a", "--ngram", "--per-char", "json").stdout)["characters"]
    total = report["mixture"]["loss"] * report["characters"]
    assert sum(c["nats"] for c in each[1:]) == pytest.approx(total, abs=each[0]["nats"] or 1e-3)
    shown = charrnn_here("eval", "a", "--ngram", "--split", "test").stdout
    assert "mixed with order" in shown
    model = load(tmp_path / "a").with_ngram()
    assert model.with_ngram(longest=2).mixture.ngram.order <= 2
    parts = corpus_parts(model.checkpoints[0])
    network = mixed_surprisals(model.models, parts["val"], before=text_before(parts, "val"))
    expected = cross_fitted(model.mixture.ngram, network, parts["val"]).mean()
    assert report["mixture"]["loss"] == pytest.approx(expected, rel=1e-5)
    test = json.loads(charrnn_here("eval", "a", "--text", "chapter", "--ngram", "--json").stdout or "null")
    assert test is None  # there is no such file
    (tmp_path / "chapter").write_text(SENTENCES[20:150])
    test = json.loads(charrnn_here("eval", "a", "--text", "chapter", "--ngram", "--json").stdout)
    assert test["mixture"]["loss"] == pytest.approx(model.evaluate(SENTENCES[20:150]).loss)
    written = charrnn_here("sample", "a", "--ngram", "--seed", 1, "--length", 60, "--prompt", "the ", "-q").stdout
    assert written.strip() == ("the " + model.generate("the ", length=60, seed=1)).strip()
    assert written != charrnn_here("sample", "a", "--seed", 1, "--length", 60, "--prompt", "the ", "-q").stdout
    assert charrnn_here("compress", "a", "chapter", "-o", "c.crnn", "--ngram", "-q").returncode == 0
    assert charrnn_here("decompress", "a", "c.crnn", "-o", "back", "-q").returncode == 0
    assert (tmp_path / "back").read_text() == SENTENCES[20:150]
    (tmp_path / "text.txt").rename(tmp_path / "moved.txt")
    assert_one_line_error(charrnn_here("decompress", "a", "c.crnn", "-o", "x"), 3, "text.txt")
    moved = ("decompress", "a", "c.crnn", "-o", "x", "--corpus", "moved.txt", "-q")
    assert charrnn_here(*moved).returncode == 0
