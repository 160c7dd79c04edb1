"""The numbers behind the views, against independent calculations."""

from __future__ import annotations

import math
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest

from charrnn.data.vocabulary import Vocabulary
from charrnn.data.windows import cut_window
from charrnn.inspection import properties
from charrnn.inspection.errors import NGRAM, by_character, by_frequency, by_place_in_word
from charrnn.inspection.memory import gradient_memory, grouped_by_length, loss_by_context
from charrnn.inspection.predictions import best_and_worst, predictions
from charrnn.inspection.trace import Trace, trace_text
from charrnn.inspection.units import rank_units, saturation
from charrnn.inspection.weights import embed_symbols, norms, spectra
from charrnn.nn.network import CharRNN
from tests.conftest import SENTENCES


def make(cell: str, *, L: int = 2, H: int = 5, V: int = 7, dtype: type = np.float64) -> CharRNN:
    model = CharRNN(V, cell=cell, hidden_size=H, num_layers=L, dtype=dtype)
    model.init(np.random.default_rng(0))
    if dtype is np.float64:
        model.params.flat[:] *= 2  # far from linear; in float32 rounding would grow with time
    return model


def ids_of(model: CharRNN, n: int, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, model.vocab_size, n)


@pytest.mark.parity
@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
def test_activations_equal_pytorchs(cell: str) -> None:
    torch = pytest.importorskip("torch")
    model = make(cell, dtype=np.float32)
    ids = ids_of(model, 300)
    trace = trace_text(model, ids)
    kind = {"rnn": torch.nn.RNN, "lstm": torch.nn.LSTM, "gru": torch.nn.GRU}[cell]
    peer = kind(model.vocab_size, model.hidden_size, model.num_layers)
    H = model.hidden_size
    with torch.no_grad():
        for k in range(model.num_layers):
            p = model.params.under(f"layers.{k}")
            getattr(peer, f"weight_ih_l{k}").copy_(torch.from_numpy(p["weight_ih"].copy()))
            getattr(peer, f"weight_hh_l{k}").copy_(torch.from_numpy(p["weight_hh"].copy()))
            getattr(peer, f"bias_ih_l{k}").copy_(torch.from_numpy(p["bias"].copy()))
            bias = np.zeros_like(p["bias"])
            if cell == "gru":
                bias[2 * H :] = p["bias_hn"]
            getattr(peer, f"bias_hh_l{k}").copy_(torch.from_numpy(bias))
        x = torch.nn.functional.one_hot(torch.from_numpy(ids.astype(np.int64)), model.vocab_size).float()
        top, _ = peer(x[:, None])
        head = model.params.under("head")
        logits = top[:, 0] @ torch.from_numpy(head["weight"].T.copy()) + torch.from_numpy(head["bias"].copy())
        np.testing.assert_allclose(trace.activation("h"), top[:, 0].numpy(), atol=1e-5)
        np.testing.assert_allclose(trace.log_p, torch.log_softmax(logits, -1).numpy(), atol=1e-4)


def sigmoid(a: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-a))


def test_gates_follow_their_equations() -> None:
    lstm = make("lstm", L=1)
    ids = ids_of(lstm, 40)
    trace = trace_text(lstm, ids)
    p = lstm.params.under("layers.0")
    h, c = (trace.activation(name) for name in "hc")
    before = np.vstack([np.zeros((1, lstm.hidden_size)), h[:-1]])
    a = p["weight_ih"][:, ids].T + p["bias"] + before @ p["weight_hh"].T
    i, f, g, o = np.split(a, 4, axis=1)
    for name, expected in (("i", sigmoid(i)), ("f", sigmoid(f)), ("g", np.tanh(g)), ("o", sigmoid(o))):
        np.testing.assert_allclose(trace.activation(name), expected, atol=1e-12)
    np.testing.assert_allclose(h, sigmoid(o) * np.tanh(c), atol=1e-12)
    gru = make("gru", L=1)
    trace = trace_text(gru, ids)
    h, z, n = (trace.activation(name) for name in "hzn")
    before = np.vstack([np.zeros((1, gru.hidden_size)), h[:-1]])
    np.testing.assert_allclose(h, (1 - z) * n + z * before, atol=1e-12)


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
def test_memory_gradients_equal_finite_differences(cell: str) -> None:
    model = make(cell)
    ids = ids_of(model, 10)[:, None]
    norms_ = model.state_gradient_norms(ids[:-1], ids[-1], model.zero_state(1))
    for step in (0, 3, 8):
        start = model.zero_state(1)
        if step:
            model.loss(ids[:step], ids[1 : step + 1], start)
        square, epsilon = 0.0, 1e-6
        for layer, values in enumerate(start):
            for index in np.ndindex(values.shape):
                ends = []
                for sign in (1, -1):
                    state = [s.copy() for s in start]
                    state[layer][index] += sign * epsilon
                    ends.append(float(model.loss(ids[step:9], ids[step + 1 : 10], state)[-1, 0]))
                square += ((ends[0] - ends[1]) / (2 * epsilon)) ** 2
        assert norms_[step, 0] == pytest.approx(math.sqrt(square), rel=1e-5)


def test_a_gradient_that_is_too_small_to_be_squared_is_measured() -> None:
    small, double = make("rnn", L=1, dtype=np.float32), make("rnn", L=1)
    for model in (small, double):
        model.init(np.random.default_rng(0))
        model.params["layers.0.weight_hh"][...] *= 0.8
    ids = ids_of(small, 2000)
    norms_ = gradient_memory(small, ids, steps=200, places=4)
    assert 1e-37 < norms_[-1] < 1e-23  # whose square float32 does not have
    np.testing.assert_allclose(np.log(norms_), np.log(gradient_memory(double, ids, steps=200, places=4)), atol=0.02)


def test_documents_are_traced_as_training_read_them() -> None:
    model = make("gru", dtype=np.float32)
    ids, separator = ids_of(model, 700).astype(np.uint8), np.array([3], np.uint8)
    window = cut_window(ids, np.array([0]), len(ids) - 1, separator)
    expected = model.loss(window.inputs, window.targets, model.zero_state(1), resets=window.resets)[:, 0]
    trace = trace_text(model, ids, separator=separator)
    np.testing.assert_allclose(trace.nats, expected, rtol=1e-4)
    first = np.flatnonzero(ids == 3)[0] + 1
    again = trace_text(model, ids[first : first + 1])
    np.testing.assert_allclose(trace.activation("h")[first], again.activation("h")[0], rtol=1e-4)
    context = loss_by_context(model, ids, steps=9, places=64, separator=separator)
    assert context[0] == pytest.approx(loss_by_context(model, ids, steps=9, places=64)[0])
    assert context[-1] != loss_by_context(model, ids, steps=9, places=64)[-1]


def test_memory_curves_have_the_order_they_say() -> None:
    model = make("lstm", dtype=np.float32)
    ids = ids_of(model, 2000)
    curve = gradient_memory(model, ids, steps=30, places=8)
    assert curve.shape == (30,)
    assert curve[0] > curve[-1]  # the nearest state matters most
    context = loss_by_context(model, ids, steps=20, places=16)
    starts = np.random.default_rng(0).integers(0, len(ids) - 21, 16)
    alone = [float(model.loss(ids[[s]][:, None], ids[[s + 1]][:, None], model.zero_state(1))[0, 0]) for s in starts]
    assert context[0] == pytest.approx(np.mean(alone), rel=1e-5)
    with pytest.raises(ValueError, match="are needed"):
        gradient_memory(model, ids[:50], steps=30)


@pytest.mark.parametrize("steps", [1, 11, 200])
def test_long_contexts_of_like_length_are_averaged(steps: int) -> None:
    loss = np.random.default_rng(0).random(steps)
    lengths, means = grouped_by_length(loss)
    ends = [0]
    for length in lengths:
        ends.append(int(2 * length - ends[-1] - 1))  # the mean of ends[-1] + 1 and the new end
    assert ends[-1] == steps
    np.testing.assert_allclose(means, [loss[a:b].mean() for a, b in pairwise(ends)])
    assert lengths[:10].tolist() == list(range(1, 1 + min(10, steps)))
    assert all(b - a <= 1 + 0.1 * b for a, b in pairwise(ends))


def test_predictions_are_sorted_probabilities_of_what_follows() -> None:
    model = make("gru")
    trace = trace_text(model, ids_of(model, 50))
    found = predictions(trace)
    assert [p.position for p in found] == list(range(1, 50))
    p = np.exp(trace.log_p)
    for prediction in found:
        row = p[prediction.position - 1]
        assert [k for k, _ in prediction.guesses] == sorted(range(7), key=lambda k: -row[k])[:5]
        assert prediction.nats == pytest.approx(-math.log(row[prediction.symbol]))
    best, worst = best_and_worst(found, 3)
    assert best[0].nats == min(q.nats for q in found)
    assert worst[0].nats == max(q.nats for q in found)


def test_properties_of_a_text() -> None:
    text = 'Ab (c [d])\n  "x y" z\n'
    assert properties.bracket_depth(text).tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 1, 0, 0] + [0] * 10
    assert properties.inside_quotes(text)[11:].tolist() == [0, 0, 1, 1, 1, 1, 0, 0, 0, 0]
    assert properties.position_in_line(text)[:12].tolist() == [*range(1, 11), 0, 1]
    assert properties.indentation(text)[11:16].tolist() == [1, 2, 2, 2, 2]
    assert properties.upper_case(text)[:3].tolist() == [1, 0, 0]
    assert properties.word_boundary(text)[:4].tolist() == [0, 0, 1, 1]
    assert properties.line_length(text)[11:13].tolist() == [10, 10]


def planted(text: str, values: np.ndarray, H: int = 6) -> Trace:
    """A trace in which unit 4 of layer 1 is `values` with some noise."""
    rng = np.random.default_rng(0)
    layers = [{"h": rng.normal(size=(len(text), H))} for _ in range(2)]
    layers[1]["h"][:, 4] = values + rng.normal(size=len(text)) * 0.05
    return Trace(np.zeros(len(text), np.intp), layers, np.zeros((len(text), 2)))


@pytest.mark.parametrize("name", ["upper-case", "position-in-line", "word-boundary"])
@pytest.mark.parametrize("sign", [1, -1])
def test_the_unit_that_tracks_a_property_is_found(name: str, sign: int) -> None:
    text = (SENTENCES.title() + "\n") * 12
    ranking = rank_units(planted(text, sign * properties.PROPERTIES[name](text)), text, name)
    assert (ranking[0].layer, ranking[0].unit) == (1, 4)
    assert ranking[0].held_out > 0.95
    assert ranking[1].held_out < 0.2  # noise fits nothing that was not seen
    with pytest.raises(ValueError, match="same everywhere"):
        rank_units(planted("a" * 50, np.zeros(50)), "a" * 50, name if name == "upper-case" else "bracket-depth")


def test_youdens_j_against_every_threshold() -> None:
    rng = np.random.default_rng(3)
    text = "".join(rng.choice(list("aB"), 60))
    values = np.round(rng.normal(size=(60, 3)), 1)  # rounded: ties
    trace = Trace(np.zeros(60, np.intp), [{"h": values}], np.zeros((60, 2)))
    y = properties.upper_case(text)
    for score in rank_units(trace, text, "upper-case"):
        x, positive = values[:30, score.unit], y[:30] > 0
        best = max(abs((x[positive] <= t).mean() - (x[~positive] <= t).mean()) for t in np.unique(x))
        assert score.train == pytest.approx(best)


def test_saturation_counts_time() -> None:
    gate = np.array([[0.05, 0.5], [0.95, 0.5], [0.99, 0.5], [0.5, 0.05]])
    found = saturation(Trace(np.zeros(4, np.intp), [{"h": gate, "f": gate}], np.zeros((4, 2)), "f"))
    assert [(s.gate, s.left.tolist(), s.right.tolist()) for s in found] == [("f", [0.25, 0.25], [0.5, 0.0])]


def test_errors_are_shared_out_whole() -> None:
    text = "The Cat, 12 dogs\n" * 30
    vocabulary = Vocabulary.of(text)
    ids = vocabulary.encode(text)
    nats = np.random.default_rng(0).random(len(ids) - 1)
    for shares in (by_character(text, nats), by_place_in_word(text, nats)):
        assert sum(s.count for s in shares) == len(nats)
        assert sum(s.of_loss for s in shares) == pytest.approx(1.0)
        assert sum(s.count * s.nats for s in shares) == pytest.approx(nats.sum())
    classes = {s.name: s for s in by_character(text, nats)}
    assert classes["digit"].count == 60
    assert classes["capital letter"].count == 59  # the first character is not predicted
    places = {s.name: s.count for s in by_place_in_word(text, nats)}
    assert places["letter 4"] == 30
    train = vocabulary.encode("The Cat, 12 dogs\n" * 5)
    shares = by_frequency(ids, train, nats, len(vocabulary))
    counts = Counter(tuple(train[k : k + NGRAM]) for k in range(len(train) - NGRAM + 1))
    seen = Counter("never" if not (n := counts[tuple(ids[k : k + NGRAM])]) else "1 to 9 times" if n < 10 else "10 to 99"
                   for k in range(len(ids) - NGRAM + 1))  # fmt: skip
    assert {s.name: s.count for s in shares} == dict(seen)


def test_bytes_above_ascii_are_a_class_of_their_own() -> None:
    vocabulary = Vocabulary.of("À la\u00a0fin, Été".encode())
    text = vocabulary.symbols(vocabulary.encode("À la\u00a0fin, Été"))
    assert text[:3] == ["\\xc3", "\\x80", " "]
    nats = np.ones(len(text) - 1)
    classes = {s.name: s.count for s in by_character(text, nats)}
    assert classes == {"byte above 0x7f": 7, "letter": 6, "blank": 2, "punctuation": 1}
    places = {s.name: s.count for s in by_place_in_word(text, nats)}
    assert places == {"byte above 0x7f": 7, "between words": 3, "letter 1": 2, "letter 2": 1, "letter 3": 1,
                      "letter 4": 1, "letter 5": 1}  # fmt: skip
    assert [n for n, at in enumerate(properties.PROPERTIES["word-boundary"](text)) if at] == [2, 10, 11]
    assert not properties.PROPERTIES["upper-case"](text).any()
    assert properties.PROPERTIES["inside-quotes"](['"', "\\xc3", "\n", "\n", "a"]).tolist() == [1, 1, 0, 0, 0]


def test_spectra_norms_and_embeddings() -> None:
    model = make("lstm")
    found = spectra(model.params, "lstm", 2)
    assert [(s.layer, s.gate) for s in found] == [(k, g) for k in (0, 1) for g in "ifgo"]
    block = model.params["layers.1.weight_hh"][10:15]
    np.testing.assert_allclose(found[6].singular_values, np.sqrt(np.linalg.eigvalsh(block @ block.T))[::-1], rtol=1e-6)
    assert found[6].spectral_radius == pytest.approx(max(abs(np.linalg.eigvals(block))))
    assert norms(model.params)[0]["rms"] == pytest.approx(math.sqrt((model.params["layers.0.weight_ih"] ** 2).mean()))
    weight = model.params["layers.0.weight_ih"]
    coordinates, shares = embed_symbols(weight)
    centred = weight.T - weight.T.mean(axis=0)
    assert np.square(coordinates).sum() == pytest.approx(shares.sum() * np.square(centred).sum())
    np.testing.assert_allclose(coordinates[:, 0] @ coordinates[:, 1], 0, atol=1e-9)
    assert embed_symbols(np.zeros((4, 1)))[0].shape == (1, 2)
