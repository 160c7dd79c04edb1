"""Dropout masks and the softmax head."""

from __future__ import annotations

import numpy as np
import pytest

from charrnn.nn.dropout import DropoutKey, fill_mask, reset_states
from charrnn.nn.head import SoftmaxHead
from charrnn.nn.params import FlatParams


def mask(rate: float, key: DropoutKey, layer: int = 0, columns: int = 40) -> np.ndarray:
    out = np.empty((16, 9, columns), np.float32)
    fill_mask(out, rate, key, layer)
    return out


def test_masks_keep_the_expectation() -> None:
    values = mask(0.3, DropoutKey(0, 0), columns=400)
    assert set(np.unique(values)) == {0.0, np.unique(values)[-1]}
    assert np.unique(values)[-1] == pytest.approx(1 / 0.7, rel=1e-4)
    assert (values == 0).mean() == pytest.approx(0.3, abs=0.01)


def test_masks_depend_on_seed_step_and_layer() -> None:
    base = mask(0.5, DropoutKey(1, 2))
    np.testing.assert_array_equal(base, mask(0.5, DropoutKey(1, 2)))
    for other in (mask(0.5, DropoutKey(2, 2)), mask(0.5, DropoutKey(1, 3)), mask(0.5, DropoutKey(1, 2), layer=1)):
        assert (base != other).mean() > 0.3


@pytest.mark.parametrize("cut", [1, 16, 20, 32])
def test_a_share_of_the_columns_gets_its_share_of_the_mask(cut: int) -> None:
    whole = mask(0.5, DropoutKey(1, 2))
    left, right = np.empty((16, 9, cut), np.float32), np.empty((16, 9, 40 - cut), np.float32)
    fill_mask(left, 0.5, DropoutKey(1, 2, first_column=0), 0)
    fill_mask(right, 0.5, DropoutKey(1, 2, first_column=cut), 0)
    np.testing.assert_array_equal(np.concatenate((left, right), axis=2), whole)


def test_a_rate_just_below_one_still_keeps_something() -> None:
    values = mask(0.999995, DropoutKey(0, 0))
    assert np.isfinite(values).all()
    assert (values == 0).mean() > 0.999


def resets(rate: float, key: DropoutKey, columns: int = 40) -> np.ndarray:
    """Which columns are zeroed; all of a column or nothing of it."""
    state = [np.ones((2, 3, columns), np.float32) for _ in range(2)]
    reset_states(state, rate, key)
    assert all((layer == layer[:1, :1]).all() for layer in state)
    np.testing.assert_array_equal(state[0], state[1])
    return np.flatnonzero(state[0][0, 0] == 0)


def test_states_are_reset_as_often_as_asked() -> None:
    assert len(resets(0.0, DropoutKey(0, 0))) == 0
    assert len(resets(0.05, DropoutKey(0, 0), columns=20_000)) == pytest.approx(1000, abs=100)
    assert len(resets(0.999, DropoutKey(0, 0))) >= 38


def test_resets_depend_on_seed_and_step_and_not_on_the_masks_draws() -> None:
    base = resets(0.5, DropoutKey(1, 2))
    np.testing.assert_array_equal(base, resets(0.5, DropoutKey(1, 2)))
    for other in (resets(0.5, DropoutKey(2, 2)), resets(0.5, DropoutKey(1, 3))):
        assert base.tolist() != other.tolist()


@pytest.mark.parametrize("cut", [1, 16, 20, 39])
def test_a_share_of_the_columns_gets_its_share_of_the_resets(cut: int) -> None:
    whole = resets(0.3, DropoutKey(1, 2))
    left, right = resets(0.3, DropoutKey(1, 2), cut), resets(0.3, DropoutKey(1, 2, first_column=cut), 40 - cut)
    np.testing.assert_array_equal(np.concatenate((left, right + cut)), whole)


@pytest.mark.parametrize("piece", [1, 40, 1 << 18])
def test_the_head_in_pieces_equals_the_formula(piece: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("charrnn.nn.head._PIECE", piece)
    V, H, T, B = 5, 4, 6, 3
    rng = np.random.default_rng(0)
    params = FlatParams(SoftmaxHead.param_shapes(V, H), np.float64)
    params.flat[:] = rng.normal(size=params.size)
    head, grads = SoftmaxHead(params), params.like()
    head.refresh(backward=True)
    h = np.concatenate((rng.normal(size=(H, T, B)), np.ones((1, T, B))))
    targets = rng.integers(0, V, (T, B))
    logits = np.einsum("vh,htb->vtb", params["weight"], h[:H]) + params["bias"][:, None, None]
    p = np.exp(logits) / np.exp(logits).sum(axis=0)
    nats = -np.log(np.take_along_axis(p, targets[None], axis=0)[0])
    d = (p - np.eye(V)[targets].transpose(2, 0, 1)) / targets.size
    dh = np.empty((H, T, B))
    total = head.loss_and_grad(h, targets, grads, dh=dh, scale=1 / targets.size)
    assert total == pytest.approx(nats.sum(), rel=1e-12)
    np.testing.assert_allclose(head.loss(h, targets), nats, rtol=1e-12)
    np.testing.assert_allclose(grads["weight"], np.einsum("vtb,htb->vh", d, h[:H]), atol=1e-12)
    np.testing.assert_allclose(grads["bias"], d.sum(axis=(1, 2)), atol=1e-12)
    np.testing.assert_allclose(dh, np.einsum("vh,vtb->htb", params["weight"], d), atol=1e-12)


def test_the_head_survives_huge_logits() -> None:
    params = FlatParams(SoftmaxHead.param_shapes(3, 1), np.float32)
    params["weight"][:, 0] = [1e4, 0.0, -1e4]
    head = SoftmaxHead(params)
    head.refresh(backward=True)
    nats = head.loss(np.ones((2, 1, 3), np.float32), np.array([[0, 1, 2]]))
    np.testing.assert_allclose(nats, [[0.0, 1e4, 2e4]])
