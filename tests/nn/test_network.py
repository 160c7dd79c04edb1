"""Networks learn: they memorise a text, and reach the entropy of a source without going below it."""

from __future__ import annotations

import math
import tracemalloc
from typing import Any

import numpy as np
import pytest

from charrnn.evaluation.loss import evaluate
from charrnn.nn import network
from charrnn.nn.cells import CELLS
from charrnn.nn.clip import clip_by_norm, global_norm
from charrnn.nn.dropout import DropoutKey, weight_mask
from charrnn.nn.network import CharRNN
from charrnn.nn.optim import Adam
from tests.conftest import SENTENCES
from tests.strategies import Case, every_kernel, make_case
from tests.training.reference_network import Layer, Network


def train_on(model: CharRNN, inputs: np.ndarray, targets: np.ndarray, *, steps: int, rate: float) -> float:
    """Train on one window again and again; the last loss in nats per character."""
    optimizer = Adam(model.params.size, model.dtype)
    nats = math.inf
    for _ in range(steps):
        nats = model.loss_and_grad(inputs, targets, model.zero_state(inputs.shape[1])) / inputs.size
        grad = model.grads.flat
        optimizer.step(model.params.flat, grad, rate, clip_by_norm(grad, 1.0, global_norm(grad)))
        if nats < 0.02:
            break
    return nats


@pytest.mark.parametrize("cell", sorted(CELLS))
def test_two_hundred_characters_are_memorised(cell: str) -> None:
    text = np.frombuffer((SENTENCES * 2)[:201].encode(), np.uint8)
    symbols, ids = np.unique(text, return_inverse=True)
    model = CharRNN(len(symbols), cell=cell, hidden_size=64)
    model.init(np.random.default_rng(0))
    assert train_on(model, ids[:-1, None], ids[1:, None], steps=400, rate=0.01) < 0.05


@pytest.mark.parametrize("cell", sorted(CELLS))
def test_a_markov_source_is_learned_to_its_entropy_and_not_below(cell: str) -> None:
    stay = np.array([0.9, 0.7])  # two states that show themselves: P(0|0) and P(1|1)
    rng = np.random.default_rng(0)
    draws, ids = rng.random(120_000), np.zeros(120_000, np.intp)
    for k in range(1, len(ids)):
        ids[k] = ids[k - 1] if draws[k] < stay[ids[k - 1]] else 1 - ids[k - 1]
    share = np.array([1 - stay[1], 1 - stay[0]]) / (2 - stay.sum())  # the chain's stationary distribution
    entropy = float(-(share * (stay * np.log(stay) + (1 - stay) * np.log(1 - stay))).sum())
    train, val = ids[:90_000], ids[90_000:]
    model = CharRNN(2, cell=cell, hidden_size=8)
    model.init(rng)
    optimizer = Adam(model.params.size, model.dtype)
    columns = train[: len(train) // 30 * 30].reshape(30, -1).T
    state = model.zero_state(30)
    for step in range(300):
        start = step * 40 % (len(columns) - 41)
        window = columns[start : start + 41]
        model.loss_and_grad(window[:-1], window[1:], state)
        optimizer.step(model.params.flat, model.grads.flat, 0.02 * (1 - step / 300))
    # What this very text costs under the true probabilities: the noise of a finite text is in both numbers.
    ideal = -np.log(np.where(val[1:] == val[:-1], stay[val[:-1]], 1 - stay[val[:-1]])).mean()
    loss = evaluate(model, val.astype(np.uint8)).loss
    assert loss < ideal * 1.02
    assert loss > ideal - 3 * 0.9 / math.sqrt(len(val))
    assert abs(ideal - entropy) < 0.02


@pytest.mark.parametrize("cell", sorted(CELLS))
@every_kernel
@pytest.mark.parametrize("L", [1, 2])
def test_a_training_step_allocates_next_to_nothing(cell: str, way: str, L: int) -> None:
    case = make_case(cell, T=32, B=16, V=50, H=64, L=L, dtype=np.float32, way=way)
    state = case.fresh_state()
    for _ in range(2):
        case.model.loss_and_grad(case.inputs, case.targets, state)
    tracemalloc.start()
    case.model.loss_and_grad(case.inputs, case.targets, state)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    window = 32 * 16 * 64 * 4  # bytes of one window of states
    assert peak < window, f"{peak} bytes at the peak of a step"


def test_the_gradient_is_of_the_mean_and_the_loss_is_the_sum() -> None:
    case = make_case("lstm")
    total = case.model.loss_and_grad(case.inputs, case.targets, case.fresh_state())
    mean_grad = case.model.grads.flat.copy()
    assert total == pytest.approx(case.model.loss(case.inputs, case.targets, case.fresh_state()).sum())
    case.model.loss_and_grad(case.inputs, case.targets, case.fresh_state(), scale=1.0)
    np.testing.assert_allclose(case.model.grads.flat, mean_grad * case.inputs.size, rtol=1e-9, atol=1e-12)


def plain_of(case: Case) -> Network:
    return Network(case.model.cell_name, case.model.num_layers, None, case.model.vocab_size)


@pytest.mark.parametrize("cell", sorted(CELLS))
def test_a_trace_has_what_the_plain_network_computes(cell: str) -> None:
    case = make_case(cell, T=6, L=2)
    ours, theirs, x = case.fresh_state(), case.fresh_state(), np.eye(7)[case.inputs].transpose(0, 2, 1)
    found, log_p = case.model.trace(case.inputs.astype(np.uint8), ours)
    for k, names in enumerate(found):
        layer = Layer.of(cell, dict(case.model.params), k, None)
        x = layer.forward(x, theirs[k], set())
        assert set(names) == {*CELLS[cell].state_names, *CELLS[cell].gates}
        for name, values in names.items():
            expected = [step[name] for step in layer.steps]
            np.testing.assert_allclose(values, expected, atol=1e-12, err_msg=name)
    np.testing.assert_allclose(log_p, plain_of(case).log_probabilities(dict(case.model.params), x), atol=1e-12)
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-12)


@pytest.mark.parametrize("cell", sorted(CELLS))
@pytest.mark.parametrize("options", [{}, {"embedding_size": 3}, {"embedding_size": 4, "tie_weights": True}], ids=str)
def test_the_gradient_before_each_step_is_of_the_last_symbol(cell: str, options: dict[str, object]) -> None:
    """That is what a window's gradient has more than that of a window without its last step."""
    case, T = make_case(cell, T=5, L=2, **options), 5
    after = case.fresh_state()
    norms = case.model.state_gradient_norms(case.inputs, case.targets[-1], after)
    gradient = case.model.grads.flat.copy()
    for t in range(T - 1):
        grads = []
        for stop in (T, T - 1):
            state = case.fresh_state()
            if t:
                case.model.loss(case.inputs[:t], case.targets[:t], state)
            case.model.loss_and_grad(case.inputs[t:stop], case.targets[t:stop], state, scale=1.0)
            grads.append((case.model.grads.flat.copy(), [g.copy() for g in case.model.state_grads]))
            if stop == T:
                for a, b in zip(after, state, strict=True):
                    np.testing.assert_allclose(a, b, atol=1e-12)
        (whole, with_last), (shorter, without) = grads
        if t == 0:
            np.testing.assert_allclose(gradient, whole - shorter, atol=1e-12)
        squares = sum(((a - b) ** 2).sum(axis=(0, 1)) for a, b in zip(with_last, without, strict=True))
        np.testing.assert_allclose(norms[t], np.sqrt(squares), rtol=1e-9)


class Recorder:
    """Stands in for compiled kernels, which tests marked extras run: notes what it is asked for."""

    nbytes = 1000

    def __init__(self, *made: Any, **options: Any) -> None:
        self.made, self.calls = (made, options), []

    def refresh(self, **options: Any) -> None:
        self.calls.append(("refresh", options))

    def loss(self, *arguments: Any, **options: Any) -> str:
        self.calls.append(("loss", arguments, options))
        return "nats of each"

    def loss_and_grad(self, *arguments: Any, **options: Any) -> tuple[float, list[str]]:
        self.calls.append(("loss_and_grad", arguments, options))
        for grads in options["grads"]:
            for values in grads.values():
                values[...] = 2.0
        return 3.5, ["before"]


def test_compiled_kernels_get_all_that_decides_a_window(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network, "make_engine", Recorder)
    rates = {"dropout": 0.25, "variational_dropout": True, "weight_dropout": 0.5}
    model = CharRNN(5, cell="gru", hidden_size=4, num_layers=2, embedding_size=3, **rates)
    model.use_compiled(threads=2)
    model.init(np.random.default_rng(0))
    engine: Any = model.engine
    (cell, each, head), options = engine.made
    assert (cell, options) == ("gru", {"threads": 2})
    assert each[0]["weight_ih"] is model.embedding.product  # type: ignore[union-attr]
    assert np.shares_memory(each[1]["bias"], model.params["layers.1.bias"])
    assert np.shares_memory(head["bias"], model.params["head.bias"])
    assert model.workspace_bytes() == 1000

    ids, targets, resets = np.zeros((3, 2), np.intp), np.ones((3, 2), np.intp), np.array([[1, 0]])
    state = model.zero_state(2)
    assert model.loss(ids, targets, state, resets=resets) == "nats of each"  # type: ignore[comparison-overlap]
    assert engine.calls == [
        ("refresh", {"backward": False, "recurrent": []}),
        ("loss", (ids, targets, state), {"resets": resets}),
    ]
    np.testing.assert_allclose(
        model.embedding.product,  # type: ignore[union-attr]
        model.params["layers.0.weight_ih"] @ model.params["embedding.weight"].T,
        rtol=1e-6,
    )
    engine.calls.clear()
    model.loss(ids, targets, state, refresh=False)
    assert engine.calls == [("loss", (ids, targets, state), {"resets": None})]

    engine.calls.clear()
    key = DropoutKey(seed=1, step=2)
    assert model.loss_and_grad(ids, targets, state, dropout_key=key, resets=resets) == 3.5
    assert model.state_grads == ["before"]
    (_, refreshed), (_, arguments, options) = engine.calls
    masks = [weight_mask((12, 4), np.dtype(np.float32), 0.5, key, k) for k in range(2)]
    assert refreshed["backward"]
    for k, dropped in enumerate(refreshed["recurrent"]):
        np.testing.assert_array_equal(dropped, model.params[f"layers.{k}.weight_hh"] * masks[k])
        np.testing.assert_array_equal(model.grads[f"layers.{k}.weight_hh"], 2.0 * masks[k])
    assert len(refreshed["recurrent"]) == 2
    assert arguments == (ids, targets, state)
    assert options.pop("dropping") == network.Dropping(0.25, True, key)
    assert len(options.pop("grads")) == 3
    assert options == {"resets": resets, "scale": 1 / 6}
    assert (model.grads["head.bias"] == 2.0).all()
    model.loss_and_grad(ids, targets, state, scale=0.5)
    assert engine.calls[-1][2]["dropping"] is None
    assert engine.calls[-1][2]["scale"] == 0.5
    assert engine.calls[-2][1]["recurrent"] == []


def test_a_network_is_by_default_an_lstm_of_256_in_float32() -> None:
    model = CharRNN(5)
    assert (model.cell_name, model.hidden_size, model.num_layers, model.dtype) == ("lstm", 256, 1, np.float32)
    assert (model.dropout, model.weight_dropout, model.embedding, model.engine) == (0.0, 0.0, None, None)
    (state,) = model.zero_state(3)
    assert (state.shape, state.dtype, state.any()) == ((2, 256, 3), np.float32, False)
    assert CharRNN(5, dtype=np.float64).grads.dtype == np.float64


@pytest.mark.parametrize("layers", [1, 2])
def test_windows_that_were_read_without_dropout_are_trained_on_with_it(layers: int) -> None:
    """The buffers of a size were made without masks."""
    ids, key = np.random.default_rng(0).integers(0, 5, (2, 6, 3)), DropoutKey(3, 0)
    gradients = []
    for reads in (False, True):
        model = CharRNN(5, cell="gru", hidden_size=4, num_layers=layers, dropout=0.5, dtype=np.float64)
        model.init(np.random.default_rng(1))
        if reads:
            model.loss(*ids, model.zero_state(3))
        model.loss_and_grad(*ids, model.zero_state(3), dropout_key=key)
        gradients.append(model.grads.flat.copy())
    np.testing.assert_array_equal(*gradients)
