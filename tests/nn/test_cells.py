"""Every registered cell: forward against the naive reference, backward against differences, windows against steps."""

from __future__ import annotations

import numpy as np
import pytest

from charrnn.nn.cells import CELLS
from charrnn.nn.cells.reference import run_network
from charrnn.nn.dropout import DropoutKey
from charrnn.nn.stepper import stepper_of
from tests.strategies import Case, check_gradients, every_kernel, every_way, make_case

SIZES = [{"T": 5, "B": 3, "V": 7, "H": 5}, {"T": 4, "B": 2, "V": 6, "H": 4}, {"T": 1, "B": 1, "V": 2, "H": 1}]
# All sizes at one layer and at three; between them one size is enough for the ordinary tests.
DEPTHS = [
    pytest.param(L, sizes, marks=pytest.mark.extras if L == 2 and k else (), id=f"{L}-{sizes}")
    for L in (1, 2, 3)
    for k, sizes in enumerate(SIZES)
]
every_cell = pytest.mark.parametrize("cell", sorted(CELLS))


def log_probabilities(case: Case) -> tuple[np.ndarray, list[np.ndarray]]:
    """(T, V, B) log-probabilities of every symbol, each asked for as the target, and the last states."""
    found = []
    for symbol in range(case.model.vocab_size):
        state = case.fresh_state()
        found.append(-case.model.loss(case.inputs, np.full_like(case.inputs, symbol), state).astype(np.float64))
    return np.stack(found, axis=1), state


@every_cell
@pytest.mark.parametrize("L", [1, 2, 3])
@every_way
@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-12), (np.float32, 2e-5)])
def test_forward_equals_the_naive_reference(cell: str, L: int, way: str, dtype: type, tolerance: float) -> None:
    case = make_case(cell, T=9, B=3, H=6, L=L, way=way, dtype=dtype)
    params = {name: values.astype(np.float64) for name, values in case.model.params.items()}
    expected, expected_state, _ = run_network(cell, L, params, case.inputs, case.state)
    found, state = log_probabilities(case)
    np.testing.assert_allclose(found, expected, atol=tolerance)
    for a, b in zip(state, expected_state, strict=True):
        np.testing.assert_allclose(a, b, atol=tolerance)


@every_cell
@pytest.mark.parametrize(("L", "sizes"), DEPTHS)
@pytest.mark.parametrize("dropout", [0.0, 0.4])
@every_way
def test_gradients_equal_central_differences(
    cell: str, L: int, dropout: float, sizes: dict[str, int], way: str
) -> None:
    case = make_case(cell, L=L, dropout=dropout, way=way, **sizes)
    check_gradients(case, DropoutKey(seed=3, step=5), None)


@every_cell
@every_way
def test_gradients_with_resets_inside_the_window(cell: str, way: str) -> None:
    case = make_case(cell, T=6, B=3, L=2, way=way)
    check_gradients(case, None, np.array([[0, 1], [2, 0], [2, 2], [5, 1]]))


@every_cell
@every_kernel
def test_a_reset_forgets_the_past_of_its_column_only(cell: str, way: str) -> None:
    case = make_case(cell, T=6, B=2, L=2, way=way)
    resets = np.array([[3, 1]])
    whole = case.model.loss(case.inputs, case.targets, case.fresh_state(), resets=resets)
    plain = case.model.loss(case.inputs, case.targets, case.fresh_state())
    alone = case.model.loss(case.inputs[3:], case.targets[3:], case.model.zero_state(2))
    np.testing.assert_allclose(whole[:, 0], plain[:, 0], atol=1e-12)
    np.testing.assert_allclose(whole[3:, 1], alone[:, 1], atol=1e-12)
    assert abs(whole[3:, 1] - plain[3:, 1]).max() > 1e-4


@every_cell
@every_kernel
@pytest.mark.parametrize("L", [1, 2])
def test_windows_with_carried_state_equal_one_long_window(cell: str, way: str, L: int) -> None:
    case = make_case(cell, T=30, B=3, H=8, L=L, way=way)
    state = case.fresh_state()
    whole = case.model.loss(case.inputs, case.targets, state)
    carried, pieces = case.fresh_state(), []
    for start, stop in [(0, 7), (7, 8), (8, 20), (20, 30)]:
        pieces.append(case.model.loss(case.inputs[start:stop], case.targets[start:stop], carried))
    np.testing.assert_allclose(np.concatenate(pieces), whole, atol=1e-12)
    for a, b in zip(carried, state, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-12)


@every_cell
@every_kernel
@pytest.mark.parametrize("L", [1, 3])
@pytest.mark.parametrize("B", [1, 4])
def test_single_steps_equal_a_window(cell: str, way: str, L: int, B: int) -> None:
    case = make_case(cell, T=40, B=B, H=6, L=L, way=way)
    expected, expected_state = log_probabilities(case)
    stepper = stepper_of(case.model, B)
    stepper.state = case.state
    for t, ids in enumerate(case.inputs):
        logits = stepper.step(ids).astype(np.float64)
        logits -= logits.max(axis=0)
        np.testing.assert_allclose(logits - np.log(np.exp(logits).sum(axis=0)), expected[t], atol=1e-12)
    for a, b in zip(stepper.state, expected_state, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-12)


@every_cell
@every_kernel
def test_a_shorter_window_reuses_the_memory_of_a_longer_one(cell: str, way: str) -> None:
    case = make_case(cell, T=12, B=4, L=2, dropout=0.3, way=way)
    key = DropoutKey(0, 0)
    case.model.loss_and_grad(case.inputs, case.targets, case.fresh_state(), dropout_key=key)
    held, first = case.model.workspace_bytes(), case.model.grads.flat.copy()
    case.model.loss_and_grad(case.inputs[:5], case.targets[:5], case.fresh_state(), dropout_key=key)
    assert case.model.workspace_bytes() == held
    case.model.loss_and_grad(case.inputs, case.targets, case.fresh_state(), dropout_key=key)
    np.testing.assert_array_equal(case.model.grads.flat, first)


@every_cell
def test_large_vocabularies_gather_instead_of_multiplying(cell: str) -> None:
    case = make_case(cell, V=200)
    assert not case.model.layers[0].fuses_one_hot
    assert make_case(cell, V=20).model.layers[0].fuses_one_hot


def test_every_cell_starts_with_open_memory() -> None:
    for cell, gate in (("lstm", "f"), ("gru", "z"), ("milstm", "f")):
        model = make_case(cell).model
        model.init(np.random.default_rng(0), forget_bias=1.0)
        layer = model.layers[0]
        np.testing.assert_array_equal(layer.params["bias"][layer.gate_rows(gate)], 1.0)
