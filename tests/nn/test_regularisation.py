"""Locked and weight dropout, embeddings, the mean of the weights: against differences, formulas and each other."""

from __future__ import annotations

import numpy as np
import pytest

from charrnn.nn.cells import CELLS
from charrnn.nn.dropout import DropoutKey, fill_mask, weight_mask
from charrnn.nn.network import CharRNN
from charrnn.nn.stepper import Stepper
from tests.strategies import check_gradients, every_way, make_case

every_cell = pytest.mark.parametrize("cell", sorted(CELLS))
KEY = DropoutKey(seed=3, step=5)


@every_cell
@pytest.mark.parametrize(
    "options",
    [
        {"dropout": 0.4, "variational_dropout": True},
        {"weight_dropout": 0.4},
        {"embedding_size": 3},
        {"embedding_size": 4, "tie_weights": True},
        {"embedding_size": 9, "dropout": 0.3, "variational_dropout": True, "weight_dropout": 0.3},
    ],
    ids=str,
)
@every_way
def test_gradients_equal_central_differences(cell: str, options: dict[str, object], way: str) -> None:
    check_gradients(make_case(cell, L=2, way=way, **options), KEY, None)


def test_a_locked_mask_is_the_same_at_all_steps() -> None:
    out, plain = np.empty((8, 6, 20), np.float32), np.empty((8, 6, 20), np.float32)
    fill_mask(out, 0.5, KEY, 0, variational=True)
    fill_mask(plain, 0.5, KEY, 0)
    assert (out == out[:, :1]).all()
    assert not (plain == plain[:, :1]).all()
    assert 0.3 < (out[:, 0] == 0).mean() < 0.7


def test_weight_masks_keep_the_expectation_and_differ_by_layer_and_step() -> None:
    mask = weight_mask((301, 101), np.dtype(np.float32), 0.3, KEY, 0)
    assert mask.dtype == np.float32
    assert mask.mean() == pytest.approx(1.0, abs=0.02)
    assert (mask == 0).mean() == pytest.approx(0.3, abs=0.01)
    for other in (DropoutKey(3, 6), DropoutKey(4, 5)):
        assert (weight_mask(mask.shape, mask.dtype, 0.3, other, 0) != mask).mean() > 0.2
    assert (weight_mask(mask.shape, mask.dtype, 0.3, KEY, 1) != mask).mean() > 0.2


@every_cell
def test_dropping_weights_is_running_with_masked_weights(cell: str) -> None:
    case = make_case(cell, L=2, weight_dropout=0.5)
    found = case.model.loss_and_grad(case.inputs, case.targets, case.fresh_state(), dropout_key=KEY)
    masked = make_case(cell, L=2)
    for index in range(2):
        w = masked.model.params[f"layers.{index}.weight_hh"]
        w *= weight_mask(w.shape, w.dtype, 0.5, KEY, index)
    expected = masked.model.loss(case.inputs, case.targets, case.fresh_state()).sum()
    assert found == pytest.approx(expected, rel=1e-12)
    assert found != pytest.approx(case.model.loss(case.inputs, case.targets, case.fresh_state()).sum(), rel=1e-6)


@every_cell
@pytest.mark.parametrize("tie_weights", [False, True])
def test_an_embedding_is_a_network_whose_input_weights_are_the_product(cell: str, tie_weights: bool) -> None:
    case = make_case(cell, L=2, H=4, embedding_size=4 if tie_weights else 3, tie_weights=tie_weights)
    table = case.model.params["head.weight" if tie_weights else "embedding.weight"]
    plain = CharRNN(7, cell=cell, hidden_size=4, num_layers=2, dtype=np.float64)
    for name in plain.params:
        if name != "layers.0.weight_ih":
            plain.params[name][...] = case.model.params[name]
    plain.params["layers.0.weight_ih"][...] = case.model.params["layers.0.weight_ih"] @ table.T
    state, other = case.fresh_state(), case.fresh_state()
    expected = plain.loss(case.inputs, case.targets, other)
    np.testing.assert_allclose(case.model.loss(case.inputs, case.targets, state), expected, atol=1e-12)
    np.testing.assert_allclose(case.model.input_weights(), plain.params["layers.0.weight_ih"], atol=1e-12)
    stepper, reference = Stepper(case.model, 3), Stepper(plain, 3)
    for ids in case.inputs:
        np.testing.assert_allclose(stepper.step(ids), reference.step(ids), atol=1e-12)


def test_an_embedding_begins_as_large_as_weights_without_one() -> None:
    spread = {}
    for size in (0, 16, 64):
        model = CharRNN(80, cell="gru", hidden_size=64, embedding_size=size, tie_weights=False)
        model.init(np.random.default_rng(0))
        spread[size] = model.input_weights().std()
    assert spread[16] == pytest.approx(spread[0], rel=0.2)
    assert spread[64] == pytest.approx(spread[0], rel=0.2)


def test_tying_saves_the_table_and_needs_its_size() -> None:
    tied = CharRNN(50, cell="gru", hidden_size=8, embedding_size=8, tie_weights=True)
    own = CharRNN(50, cell="gru", hidden_size=8, embedding_size=8)
    assert own.params.size - tied.params.size == 50 * 8
    with pytest.raises(ValueError, match="tied"):
        CharRNN(50, cell="gru", hidden_size=8, embedding_size=4, tie_weights=True)
