"""Dropout masks and the softmax head."""

from __future__ import annotations

import numpy as np
import pytest

from charrnn.nn.dropout import DropoutKey, fill_mask, reset_states, weight_mask
from charrnn.nn.head import SoftmaxHead, log_softmax
from charrnn.nn.params import FlatParams
from tests.training import reference_rules as plain


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


@pytest.mark.parametrize("first", [0, 5, 16, 30])
@pytest.mark.parametrize("rate", [0.3, 0.999995])
def test_masks_are_the_documented_draws(first: int, rate: float) -> None:
    key, where = DropoutKey(3, 11, first_column=first), {"seed": 3, "step": 11, "layer": 2}
    for variational in (False, True):
        out = np.empty((4, 3, 21))
        fill_mask(out, rate, key, 2, variational=variational)
        np.testing.assert_array_equal(out, plain.unit_mask((4, 3, 21), rate, variational, first=first, **where))
    mask_ = weight_mask((9, 3), np.dtype(np.float32), rate, key, 2)
    assert mask_.dtype == np.float32
    np.testing.assert_array_equal(mask_, plain.weight_mask((9, 3), rate, **where).astype(np.float32))


def test_resets_are_the_documented_draws() -> None:
    expected = plain.forgets(40, 0.4, seed=3, step=11)
    assert resets(0.4, DropoutKey(3, 11)).tolist() == np.flatnonzero(expected).tolist()
    assert resets(0.4, DropoutKey(3, 11, first_column=21), 19).tolist() == np.flatnonzero(expected[21:]).tolist()
    reset_states([], 0.4, DropoutKey(3, 11))  # a network of no layers has nothing to forget


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


def test_a_fresh_head_has_uniform_weights_and_no_bias() -> None:
    params = FlatParams(SoftmaxHead.param_shapes(30, 16), np.float32)
    params.flat[:] = 9.0
    SoftmaxHead(params).init(np.random.default_rng(0))
    assert not params["bias"].any()
    assert 0.24 < np.abs(params["weight"]).max() <= 0.25  # 1 / sqrt(16)
    assert abs(params["weight"].mean()) < 0.02


def test_log_softmax_is_the_logarithm_of_shares_and_survives_huge_logits() -> None:
    logits = np.array([[1.0, 1000.0], [2.0, 0.0], [4.0, -1000.0]], np.float32)
    before, shares = logits.copy(), np.exp([1.0, 2.0, 4.0])
    out = log_softmax(logits)
    assert out.dtype == np.float64
    np.testing.assert_allclose(out[:, 0], np.log(shares / shares.sum()), rtol=1e-12)
    np.testing.assert_array_equal(out[:, 1], [0.0, -1000.0, -2000.0])
    np.testing.assert_array_equal(logits, before)


def test_logits_are_a_product_and_a_bias_and_only_training_needs_the_transpose() -> None:
    params = FlatParams(SoftmaxHead.param_shapes(3, 2), np.float64)
    params.flat[:] = np.random.default_rng(0).normal(size=params.size)
    head = SoftmaxHead(params)
    head.w_back[...] = 7.0
    head.refresh(backward=False)
    assert (head.w_back == 7.0).all()
    h = np.concatenate((np.random.default_rng(1).normal(size=(2, 4, 5)), np.ones((1, 4, 5))))
    expected = np.einsum("vh,htb->vtb", params["weight"], h[:2]) + params["bias"][:, None, None]
    np.testing.assert_allclose(head.logits(h), expected, rtol=1e-12)


def test_a_window_is_worked_off_in_pieces_of_whole_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    params = FlatParams(SoftmaxHead.param_shapes(5, 2), np.float32)
    head = SoftmaxHead(params)
    for logits_at_once, expected in ((30, [2, 2, 2, 1]), (29, [1] * 7), (1, [1] * 7), (1 << 18, [7])):
        monkeypatch.setattr("charrnn.nn.head._PIECE", logits_at_once)
        pieces = [(piece, logits.shape) for piece, logits in head._pieces(np.ones((3, 7, 3), np.float32))]
        assert [piece.stop - piece.start for piece, _ in pieces] == expected
        assert [shape for _, shape in pieces] == [(5, 3 * steps) for steps in expected]


def test_nats_have_the_type_of_the_states_and_are_added_in_float64() -> None:
    rng = np.random.default_rng(0)
    params = FlatParams(SoftmaxHead.param_shapes(9, 4), np.float32)
    params.flat[:] = rng.normal(size=params.size)
    head = SoftmaxHead(params)
    head.refresh(backward=True)
    h, targets = rng.normal(size=(5, 50, 8)).astype(np.float32), rng.integers(0, 9, (50, 8))
    nats = head.loss(h, targets)
    assert nats.dtype == np.float32
    total = head.loss_and_grad(h, targets, params.like(), dh=np.empty((4, 50, 8), np.float32), scale=1.0)
    assert total == nats.sum(dtype=np.float64) != float(nats.sum())


def test_a_huge_logit_leaves_the_other_columns_alone_and_the_memory_is_kept() -> None:
    params = FlatParams(SoftmaxHead.param_shapes(2, 1), np.float32)
    params["weight"][:, 0] = [1.0, 0.0]
    head = SoftmaxHead(params)
    head.refresh(backward=True)
    h = np.ones((2, 1, 2), np.float32)
    h[0, 0] = [0.0, 1e4]
    np.testing.assert_allclose(head.loss(h, np.array([[0, 0]])), [[np.log(2.0), 0.0]], rtol=1e-6)
    first, second = (next(iter(head._pieces(h)))[1] for _ in range(2))
    assert np.shares_memory(first, second)
    assert {a.dtype for a in (first, head.fused, head.d_fused, head.w_back)} == {np.dtype(np.float32)}
