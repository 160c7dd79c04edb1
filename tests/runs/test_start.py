"""How texts begin: from states that training has seen, and documents as training began them."""

from __future__ import annotations

import dataclasses
import itertools
from pathlib import Path

import numpy as np
import pytest

from charrnn.api import TrainedModel
from charrnn.data.vocabulary import Vocabulary
from charrnn.data.windows import cut_window
from charrnn.evaluation.scoring import candidate_nats, text_nats
from charrnn.nn.head import log_softmax
from charrnn.nn.network import CharRNN
from charrnn.runs.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from charrnn.runs.start import TextModel, TextStepper, cold_start, make_start, opening_of, text_model
from charrnn.sampling.generate import Request, StopConditions, generate_samples
from tests.checkpoints import a_checkpoint

VOCABULARY = Vocabulary.of("abcd.\n")
NEWLINE = VOCABULARY.encode("\n")


def a_model(cell: str = "gru", seed: int = 0) -> CharRNN:
    model = CharRNN(len(VOCABULARY), cell=cell, hidden_size=10, num_layers=2)
    model.init(np.random.default_rng(seed))
    model.params.flat *= 3.0
    return model


def read(model: CharRNN, ids: np.ndarray, separator: np.ndarray | None) -> np.ndarray:
    """(N - 1,) nats of all but the first, as training and evaluation read one stream."""
    window = cut_window(ids, np.array([0]), len(ids) - 1, separator)
    return model.loss(window.inputs, window.targets, model.zero_state(1), resets=window.resets)[:, 0]


@pytest.mark.parametrize("separator", ["\n", ".\n", "\n\n"])
@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
def test_documents_are_read_as_training_reads_them(cell: str, separator: str) -> None:
    model, end = a_model(cell), VOCABULARY.encode(separator)
    text = VOCABULARY.encode(f"ab{separator}abc{separator}{separator}\n\ndd.{separator}\n\n\nab")
    expected = read(model, text, end)
    stepper, nats = TextStepper([model], 1, end), []
    for symbol, target in itertools.pairwise(text):
        nats.append(-log_softmax(stepper.feed(int(symbol)))[target, 0])
    np.testing.assert_allclose(nats, expected, rtol=1e-4)
    # From the end of one document on: an opening, then the same documents, scored from their first symbol.
    opening = text[: 2 + len(end)]
    whole = TextModel([model], VOCABULARY, [make_start(model, VOCABULARY, opening=opening, separator=end)])
    rest = text[len(opening) :]
    np.testing.assert_allclose(text_nats(whole, rest[:, None])[:, 0], expected[len(opening) - 1 :], rtol=1e-4)
    primed = text_nats(whole, rest[4:, None], rest[:4])[:, 0]
    np.testing.assert_allclose(primed, expected[len(opening) + 3 :], rtol=1e-4)


def test_streams_end_their_documents_one_by_one() -> None:
    model, end = a_model(), VOCABULARY.encode("\n")
    stepper = TextStepper([model], 2, end)
    rows = np.array([VOCABULARY.encode("ab\nab"), VOCABULARY.encode("abca\n")]).T
    for ids in rows:
        together = stepper.step(ids).copy()
    for column, text in enumerate(rows.T):
        alone = TextStepper([model], 1, end)
        for symbol in text:
            expected = alone.feed(int(symbol)).copy()
        np.testing.assert_allclose(together[:, [column]], expected, rtol=1e-4)
    kept = stepper.taken(np.array([1, 1, 0])).step(np.array([0, 1, 0]))
    fresh = TextStepper([model]).feed(1)
    np.testing.assert_allclose(kept[:, [1]], fresh, rtol=1e-4)  # the second stream was at a document's end


def test_a_text_follows_the_opening() -> None:
    model, opening = a_model(), VOCABULARY.encode("\nab.\nabcd\n")
    start = make_start(model, VOCABULARY, opening=opening)
    whole = TextModel([model], VOCABULARY, [start])
    rest = VOCABULARY.encode("dab")
    expected = read(model, np.concatenate((opening, rest)), None)
    np.testing.assert_allclose(text_nats(whole, rest[:, None])[:, 0], expected[len(opening) - 1 :], rtol=1e-4)


def test_the_opening_ends_where_a_line_or_document_does() -> None:
    lines = VOCABULARY.encode("ab\ncd\n" * 200 + "abc")
    opening = VOCABULARY.decode(opening_of(lines, VOCABULARY, None))
    assert opening.startswith("\n")
    assert opening.endswith("cd\n")
    assert 240 < len(opening) < 270
    end = VOCABULARY.encode(".\n")
    documents = VOCABULARY.encode("ab\ncd.\n" * 200 + "abc\n")
    assert VOCABULARY.decode(opening_of(documents, VOCABULARY, end)).endswith("cd.\n")
    endless = VOCABULARY.encode("ab\ncd" * 500)
    assert VOCABULARY.decode(opening_of(endless, VOCABULARY, end)).endswith("cd.\n")  # gets an end
    tiny = VOCABULARY.encode("ab")
    assert VOCABULARY.decode(opening_of(tiny, VOCABULARY, None)) == "ab"


def stuck_model() -> tuple[CharRNN, list[np.ndarray]]:
    """A network whose last unit, once it is at 1, stays there and makes all symbols equally likely."""
    model = a_model("rnn")
    for layer in range(2):
        model.params[f"layers.{layer}.weight_hh"][-1] = 0.0
        model.params[f"layers.{layer}.weight_ih"][-1] = 0.0
        model.params[f"layers.{layer}.weight_hh"][-1, -1] = 4.0
        model.params[f"layers.{layer}.bias"][-1] = 0.0
    weight = model.params["head.weight"]
    weight[:, -1] = np.where(np.arange(len(weight)) % 2, 60.0, -60.0)
    weight[:2, -1] = 60.0
    states = [np.random.default_rng(0).normal(0.0, 0.2, (1, 10, 5)).astype(np.float32) for _ in range(2)]
    for layer in states:
        layer[:, -1] = [-1.0, -1.0, 0.0, 0.0, 0.0]
    return model, states


def test_a_state_that_the_network_is_stuck_in_is_not_chosen() -> None:
    model, states = stuck_model()
    opening = VOCABULARY.encode("\nab.\nabcd\nabab\n")
    for carried in (states, [layer[:, :, ::-1].copy() for layer in states]):
        assert abs(make_start(model, VOCABULARY, opening=opening, carried=carried).state[1][0, -1, 0]) < 0.1
        assert abs(make_start(model, VOCABULARY, carried=carried).state[1][0, -1, 0]) < 0.1


def test_states_that_are_still_zero_are_no_states_of_a_text() -> None:
    model = a_model()
    zeros = model.zero_state(4)
    mixed = [layer.copy() for layer in zeros]
    for layer in mixed:
        layer[:, :, 2] = 0.3
    only = [layer[:, :, [2]] for layer in mixed]
    for found, expected in zip(
        make_start(model, VOCABULARY, carried=mixed).state,
        make_start(model, VOCABULARY, carried=only).state,
        strict=True,
    ):
        np.testing.assert_allclose(found, expected, rtol=1e-5)
    imported = make_start(model, VOCABULARY, carried=zeros)  # begins after text of its own making
    assert np.abs(imported.state[0]).max() > 0
    assert [x.tolist() for x in imported.state] == [x.tolist() for x in make_start(model, VOCABULARY).state]


def test_a_cold_start_is_the_zero_state() -> None:
    model = a_model()
    cold = TextModel([model], VOCABULARY, [cold_start(model, VOCABULARY)])
    text = VOCABULARY.encode("abcd")
    np.testing.assert_allclose(text_nats(cold, text[1:, None], text[:1])[:, 0], read(model, text, None), rtol=1e-4)
    after = np.concatenate((NEWLINE, text))
    np.testing.assert_allclose(text_nats(cold, text[:, None])[:, 0], read(model, after, None), rtol=1e-4)


def test_ensembles_begin_each_in_its_own_way() -> None:
    models = [a_model("gru", 0), a_model("lstm", 1)]
    starts = [make_start(m, VOCABULARY, opening=VOCABULARY.encode("\nab.\nabcd\n")) for m in models]
    both, text = TextModel(models, VOCABULARY, starts), VOCABULARY.encode("dab.")
    alone = [text_nats(TextModel([m], VOCABULARY, [s]), text[:, None]) for m, s in zip(models, starts, strict=True)]
    np.testing.assert_allclose(
        np.exp(-text_nats(both, text[:, None])), np.mean([np.exp(-x) for x in alone], axis=0), rtol=1e-4
    )
    stepper, logits = both.begin()
    np.testing.assert_allclose(-log_softmax(logits)[text[0], 0], text_nats(both, text[:, None])[0, 0], rtol=1e-4)
    assert stepper.batch_size == 1


def test_the_end_of_a_document_counts() -> None:
    model, end = a_model(), NEWLINE
    whole = TextModel([model], VOCABULARY, [make_start(model, VOCABULARY, opening=NEWLINE, separator=end)])
    candidates = [VOCABULARY.encode(text) for text in ("ab", "abcd", "", "ab")]
    nats = candidate_nats(whole, (), candidates, end=end)
    for text, found in zip(("ab\n", "abcd\n", "\n"), nats, strict=False):
        ids = VOCABULARY.encode(text)
        assert found == pytest.approx(text_nats(whole, ids[:, None]).sum(), rel=1e-4)
    assert candidate_nats(whole, (), candidates[:1])[0] < nats[0]


def test_generated_documents_begin_as_they_are_scored() -> None:
    """The surprise that the generator measures is that of a reading with training's resets."""
    model, end = a_model("lstm"), NEWLINE
    whole = TextModel([model], VOCABULARY, [make_start(model, VOCABULARY, opening=NEWLINE, separator=end)])
    samples = generate_samples(whole, Request(seed=4, stop=StopConditions(80), num_samples=3, measure=True))
    assert sum("\n" in sample.text for sample in samples) > 1
    for sample in samples:
        expected = read(model, VOCABULARY.encode("\n" + sample.text), end)
        np.testing.assert_allclose([c.nats for c in sample.characters], expected, rtol=1e-3, atol=1e-5)


def test_checkpoints_carry_the_opening(tmp_path: Path) -> None:
    saved: Checkpoint = dataclasses.replace(a_checkpoint(), opening=(1, 2, 3))
    save_checkpoint(tmp_path / "a.npz", saved)
    assert load_checkpoint(tmp_path / "a.npz").opening == (1, 2, 3)
    model = TrainedModel([saved])
    assert model.generate(length=30, seed=1) == model.generate(length=30, seed=1)
    assert text_model([saved], model.models).starts[0].state[0].tolist() == model.text_model.starts[0].state[0].tolist()
    assert model.generate(length=30) != TrainedModel([saved], cold=True).generate(length=30)


@pytest.mark.parametrize("opening", [(99,), (-1,), (0,) * 5000])
def test_a_damaged_opening_is_refused(tmp_path: Path, opening: tuple[int, ...]) -> None:
    save_checkpoint(tmp_path / "a.npz", dataclasses.replace(a_checkpoint(), opening=opening))
    with pytest.raises(Exception, match="opening is damaged"):
        load_checkpoint(tmp_path / "a.npz")
