"""The check of gradients, checked: differences, errors and what is compared, by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from charrnn.nn.dropout import DropoutKey
from charrnn.nn.gradcheck import check_gradients, numerical_gradient, relative_error
from charrnn.nn.network import CharRNN

SIZES = {"cell": "lstm", "hidden_size": 3, "num_layers": 2, "dropout": 0.3}
H, V, T, B = 3, 4, 5, 2


def test_differences_are_exact_up_to_the_fourth_power() -> None:
    values = np.array([[0.5, -1.0], [2.0, 3.0]])
    before = values.copy()
    found = numerical_gradient(lambda: float((values**4).sum() + values[1, 0]), values, np.array([2, 0]), epsilon=0.25)
    assert found == pytest.approx([4 * 8.0 + 1, 4 * 0.125], rel=1e-12)
    np.testing.assert_array_equal(values, before)
    (fifth,) = numerical_gradient(lambda: float(values[0, 1] ** 5), values, np.array([1]), epsilon=0.5)
    assert fifth == pytest.approx(5 - 4 * 0.5**4)  # minus four times the fourth power of the distance
    with pytest.raises(ValueError, match=r"^gradient checks need float64, not float32$"):
        numerical_gradient(lambda: 0.0, values.astype(np.float32), np.array([0]))
    with pytest.raises(ValueError, match=r"^the values to check must be contiguous$"):
        numerical_gradient(lambda: 0.0, values.T, np.array([0]))


def test_errors_are_of_the_larger_and_small_components_are_measured_by_the_largest() -> None:
    def error(analytic: list[float], numerical: list[float]) -> float:
        return relative_error(np.array(analytic), np.array(numerical))

    assert error([2.0, -4.0], [1.0, -4.0]) == error([1.0, -4.0], [2.0, -4.0]) == 0.5
    assert error([0.0], [0.0]) == error([], []) == 0.0
    assert error([4.0, 1e-4], [4.0, 0.0]) == pytest.approx(1e-4 / 4e-4)
    assert error([1e-3, 1e-7], [1e-3, 0.0]) == pytest.approx(0.1)  # of 1e-6


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """What is asked of the network."""
    calls: list[tuple[Any, ...]] = []
    real, init = CharRNN.loss_and_grad, CharRNN.init

    def noted(self: CharRNN, inputs: Any, targets: Any, state: Any, *, dropout_key: Any) -> float:
        calls.append((inputs, targets, [layer.copy() for layer in state], dropout_key, self))
        return real(self, inputs, targets, state, dropout_key=dropout_key)

    def begun(self: CharRNN, rng: Any, *, forget_bias: float) -> None:
        calls.append(("begun", forget_bias))
        init(self, rng, forget_bias=forget_bias)

    monkeypatch.setattr(CharRNN, "loss_and_grad", noted)
    monkeypatch.setattr(CharRNN, "init", begun)
    return calls


def check(seed: int = 0, entries: int = 2) -> dict[str, float]:
    return check_gradients(
        SIZES, forget_bias=0.75, seed=seed, entries=entries, seq_length=T, batch_size=B, vocab_size=V
    )


def test_every_parameter_and_state_is_compared_with_dropout_and_from_a_random_state(asked: list[Any]) -> None:
    errors = check(seed=5)
    begun, (inputs, targets, state, key, model), *others = asked
    assert begun == ("begun", 0.75)
    assert (inputs.shape, targets.shape, model.vocab_size, model.dtype) == ((T, B), (T, B), V, np.float64)
    assert (inputs != targets).any()
    assert inputs.max() == targets.max() == V - 1
    assert {*inputs.ravel().tolist(), *targets.ravel().tolist()} == set(range(V))
    assert key == DropoutKey(5, 0)
    assert 0.2 < np.std(np.concatenate([layer.ravel() for layer in state])) < 1.0
    assert all(call[0] is inputs and call[1] is targets and call[3] == key for call in others)
    assert list(errors) == [*model.params, "state.0", "state.1"]
    assert len(others) == 4 * 2 * len(errors)
    assert max(errors.values()) < 1e-6
    again = check(seed=5)
    assert again == errors != check(seed=6)


def test_a_gradient_that_is_twice_too_large_is_half_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    real = CharRNN.loss_and_grad

    def wrong(self: CharRNN, *arguments: Any, **more: Any) -> float:
        nats = real(self, *arguments, **more)
        for gradient in (self.grads["head.bias"], self.state_grads[1]):
            gradient *= 2.0
        return nats

    monkeypatch.setattr(CharRNN, "loss_and_grad", wrong)
    errors = check(entries=4)
    for name, error in errors.items():
        assert error == pytest.approx(0.5 if name in ("head.bias", "state.1") else 0.0, abs=1e-6), name
