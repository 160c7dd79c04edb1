"""A network that has gone wrong is noticed, one in order is not."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from charrnn.evaluation.health import SAMPLES, Health, _again, _read, _samples, check_health, derailed
from charrnn.nn.network import CharRNN
from charrnn.runs.checkpoint import load_checkpoint, save_checkpoint
from tests.conftest import Run, train_here

V = 8
BAD = V - 1
IDS = np.resize(np.array([0, 1, 2, BAD], np.uint8), 2000)  # a quarter of all places


def network(*, still: int = 0, saturated: int = 0, latch: bool = True) -> CharRNN:
    """Predicts each symbol by the one before it; with a latch, from BAD on it knows nothing any more."""
    model = CharRNN(V, cell="rnn", hidden_size=1 + V + still + saturated)
    p, own = model.params, slice(1, V + 1)
    p["layers.0.weight_ih"][own] = 6.0 * np.eye(V)
    p["layers.0.bias"][own] = -3.0
    p["head.weight"][:, own] = 4.0 * np.roll(np.eye(V), 1, axis=0)
    p["head.bias"][BAD] = -20.0
    p["layers.0.bias"][0], p["layers.0.weight_hh"][0, 0] = -1.0, 6.0
    if latch:
        p["layers.0.weight_ih"][0, BAD] = 20.0
        p["layers.0.weight_hh"][own, 0] = -20.0
        p["layers.0.bias"][own] -= 20.0
    p["layers.0.bias"][V + 1 + still :] = 5.0
    return model


def test_samples_that_derail_are_counted() -> None:
    sick = check_health(network(), IDS, loss=0.05)
    assert sick.derailed_samples == pytest.approx(0.25, abs=0.15)
    assert "derail" in sick.notes()[0]
    assert sick.notes()[0].endswith(
        "train it a little further from these weights, with training.state_reset at 0.05 or more"
    )
    well = check_health(network(latch=False), IDS, loss=0.05)
    assert well.derailed_samples == 0.0
    assert not any("derail" in note for note in well.notes())


def test_units_that_stand_still_or_are_saturated_are_counted() -> None:
    well = check_health(network(latch=False), IDS[IDS != BAD], loss=0.05)
    moving = 3 / (V + 1)  # the units of the symbols that the text has
    assert well.still_units == pytest.approx(1 - moving)
    found = check_health(network(latch=False, still=20, saturated=40), IDS[IDS != BAD], loss=0.05)
    assert found.still_units == pytest.approx(1 - 3 / (V + 61))
    assert found.saturated_units >= 40 / (V + 61)
    assert len(found.notes()) == 2


@pytest.mark.parametrize(("size", "skipped"), [(100, 0), (128, 0), (129, 64), (256, 64)])
def test_units_are_watched_from_where_their_state_has_settled(size: int, skipped: int) -> None:
    """A text of up to 256 characters is read whole, from its beginning."""
    model = network(latch=False, still=1, saturated=1)
    ids = np.array([0, 1, 2], np.uint8)[np.random.default_rng(0).integers(3, size=size)]
    ids[:skipped] = 3  # a symbol that is not there afterwards
    layers, _ = model.trace(ids[:, None].astype(np.intp), model.zero_state(1))
    h = layers[0]["h"][skipped:, :, 0].astype(np.float64)
    moves = np.sqrt(((h - h.mean(axis=0)) ** 2).mean(axis=0)) >= 0.01
    saturated = [sum(abs(x) > 0.99 for x in unit) > len(unit) / 2 for unit in h.T]
    assert moves.sum() == (3 if skipped else 4)  # the latch settles in the beginning
    assert _read(model, ids, np.random.default_rng(1))[:2] == (1 - np.mean(moves), np.mean(saturated))


@pytest.mark.parametrize("text", ["a", "ab", "abc" * 16 + "a", "ab" * 250, "a" * 499 + "bcd"])
def test_a_text_that_shows_nothing_is_not_asked(text: str) -> None:
    ids = np.array([ord(c) - ord("a") for c in text], np.uint8)
    sick = network(still=20, saturated=40)
    assert check_health(sick, ids, loss=0.05) is None
    assert check_health(sick, np.append(ids, np.resize([0, 1, 2], 50)), loss=0.05).notes()


def test_the_few_symbols_of_a_small_vocabulary_are_enough() -> None:
    for size, expected in ((1, False), (2, True)):
        model = CharRNN(size, cell="gru", hidden_size=3)
        ids = np.resize(np.arange(size, dtype=np.uint8), 100)
        assert (check_health(model, ids, loss=0.5) is not None) == expected


def test_a_text_of_one_symbol_is_the_texts_own_fault(charrnn_here: Run, config_file: Path) -> None:
    train_here("-c", config_file, "--run-dir", "a", "--set", "training.max_steps=210")
    for text in ("a" * 300, "the"):
        done = charrnn_here("eval", "a", "--text", "-", "--json", "--no-baselines", stdin=text)
        assert json.loads(done.stdout)["health"] == {
            "derailed_samples": None, "still_units": None, "saturated_units": None, "notes": [],
        }  # fmt: skip
        assert "learning_rate" not in done.stderr
    config_file.with_name("text.txt").write_text("a" * 2000)
    done = charrnn_here("train", "-c", config_file, "--run-dir", "b", "--json")
    assert "still_units" not in json.loads(done.stdout)


def test_one_surprising_sample_is_no_alarm() -> None:
    assert Health(1 / SAMPLES, 0.1, 0.4).notes() == ()
    assert len(Health(2 / SAMPLES, 0.3, 0.6).notes()) == len(Health(2 / SAMPLES, 0.3, 0.6).notes(200)) == 3
    assert not Health(0.0, 0.7, 0.0).notes(20)  # it has hardly begun


def test_a_derailed_sample_is_one_with_a_span_of_surprises() -> None:
    nats = np.full((200, 3), 1.0)
    nats[60:70, 0] = 8.0  # a strange name
    nats[100:, 1] = 4.0
    assert derailed(nats, 1.0, 65).tolist() == [False, True, False]
    assert derailed(np.full((200, 1), math.log(65)), math.log(65), 65).tolist() == [False]  # has learned nothing yet
    assert derailed(np.full((20, 1), 9.0), 1.0, 65).tolist() == [True]


@pytest.mark.parametrize(
    ("loss", "limit"),
    [
        (0.1, 2 * 0.1 + 1),  # a small loss: above its double and a nat
        (1.0, 1.0 + 0.5 * (math.log(65) - 1.0)),  # half way to guessing
        (3.8, 3.8 + 0.8),  # next to guessing
    ],
)
def test_fifty_characters_above_the_limit_are_derailed(loss: float, limit: float) -> None:
    nats = np.zeros((200, 4))
    nats[:50, 0] = nats[150:, 1] = limit + 0.01
    nats[75:125, 2], nats[75:125, 3] = limit - 0.01, limit + 0.01
    nats[100, 3] = 0.0  # one less is below
    assert derailed(nats, loss, 65).tolist() == [True, True, False, False]
    assert derailed(nats[:50], loss, 65).tolist() == [True, False, False, False]


def test_notes_begin_beyond_a_fifth_still_and_half_saturated() -> None:
    assert Health(0.0, 0.2, 0.5).notes() == ()
    still, saturated = (*Health(0.0, 0.21, 0.5).notes(), *Health(0.0, 0.2, 0.51).notes())
    assert "21% of the units never move" in still
    assert "51% of the units are saturated" in saturated
    assert all(note.endswith("; lower training.learning_rate or set training.grad_clip") for note in (still, saturated))
    assert "3% of samples" in Health(2 / SAMPLES, 0.0, 0.0).notes()[0]


def test_the_seed_draws_the_samples_and_the_places() -> None:
    model = CharRNN(V, cell="gru", hidden_size=6)
    model.init(np.random.default_rng(0))
    (written, first), (_, again), (_, other) = (_samples(model, IDS, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert first.shape == (200, SAMPLES)
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()
    rng, state = np.random.default_rng(1), model.zero_state(SAMPLES)
    ids = IDS[rng.integers(len(IDS), size=SAMPLES)].astype(np.intp)[None]
    for step, row in enumerate(first[:5]):
        np.testing.assert_array_equal(written[step], ids[0])
        _, log_p = model.trace(ids, state)
        ids = (log_p[0] + rng.gumbel(size=log_p[0].shape)).argmax(axis=0)[None]
        np.testing.assert_allclose(row, -log_p[0][ids[0], np.arange(SAMPLES)], rtol=1e-5)
    np.testing.assert_allclose(_again(model, written, model.zero_state(1)), first, rtol=1e-3)  # the same reader


def test_a_network_that_is_sure_of_its_noise_derails_all_the_same() -> None:
    """From the zero state on it writes 3 and nothing else, until it reads a BAD; from then on it is in order."""
    model, text = network(latch=False), np.resize(np.arange(V, dtype=np.uint8), 2000)
    p = model.params
    p["layers.0.bias"][0], p["layers.0.weight_ih"][0, BAD] = 1.0, -20.0
    p["head.bias"][BAD], p["head.bias"][3], p["head.weight"][3, 0] = 0.0, 30.0, 30.0
    own = _samples(model, text, np.random.default_rng(0))[1]
    assert not derailed(own, 0.05, V).any()
    assert check_health(model, text, loss=0.05).derailed_samples == pytest.approx(7 / 8, abs=0.1)
    never = check_health(model, text[text != BAD], loss=0.05)  # no reader is in order, so none judges
    assert never.derailed_samples == 0.0


@pytest.mark.parametrize("size", [1, 2, 64, 65, 300])
def test_the_best_of_some_readers_is_taken(size: int) -> None:
    """A unit that the first symbol sets for ever, and without which nothing is predicted."""
    ids = np.resize(np.array([0, 1], np.uint8), size)
    ids[0] = BAD
    *_, state, nats = _read(network(), ids, np.random.default_rng(0))
    assert nats >= 0.0
    assert [layer.shape for layer in state] == [(1, 1 + V, 1)]
    text = np.resize(np.arange(BAD, dtype=np.uint8), 2000)
    text[1200:] = BAD
    *_, state, nats = _read(network(), text, np.random.default_rng(0))
    assert state[0][0, 0, 0] < 0  # the readers that began before have not met it
    assert nats < 2.0


def test_the_end_of_training_and_eval_tell_the_user(charrnn_here: Run, config_file: Path, tmp_path: Path) -> None:
    bad = ("training.learning_rate=30", "training.grad_clip=null", "training.max_steps=40", "model.cell=rnn")
    options = [word for override in bad for word in ("--set", override)]
    done = charrnn_here("train", "-c", config_file, "--run-dir", "a", "--json", *options)
    summary = json.loads(done.stdout)
    assert summary["saturated_units"] > 0.5
    assert any("saturated" in note for note in summary["notes"])
    assert "units are saturated most of the time; try --set training.learning_rate=7.5" in done.stderr
    report = charrnn_here("eval", "a/last.npz", "--json", "--no-baselines")
    health = json.loads(report.stdout)["health"]
    assert health["saturated_units"] == pytest.approx(summary["saturated_units"], abs=0.15)
    assert set(health) == {"derailed_samples", "still_units", "saturated_units", "notes"}
    assert "saturated most of the time" in charrnn_here("eval", "a/last.npz", "--no-baselines").stderr
    done = charrnn_here("train", "-c", config_file, "--run-dir", "b", "--json")
    assert json.loads(done.stdout)["notes"] == []
    assert "note: " not in done.stderr
    save_checkpoint(tmp_path / "c.npz", load_checkpoint(tmp_path / "a" / "last.npz"))
    both = json.loads(charrnn_here("eval", "b", "c.npz", "--json", "--no-baselines").stdout)
    assert both["health"]["saturated_units"] == health["saturated_units"]  # the worse of the two
