"""Optimisers against their formulas, one scalar at a time."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from types import SimpleNamespace

import numpy as np
import pytest

from charrnn.nn import optim
from charrnn.nn.clip import clip_by_norm, clip_by_value, global_norm
from charrnn.nn.muon import matrices_of, one_by_one, orthogonalised
from charrnn.nn.network import CharRNN
from charrnn.nn.optim import OptimizerOptions
from charrnn.nn.optimizers import OPTIMIZERS, make_optimizer
from charrnn.nn.params import Array, FlatParams
from charrnn.nn.schedule import SCHEDULES, ScheduleOptions, rate_factor

OPTIONS = OptimizerOptions(momentum=0.8, beta1=0.7, beta2=0.9, rho=0.6, epsilon=1e-3, weight_decay=0.1)
RATE = 0.05


def formula(name: str, options: OptimizerOptions, p: float, gradients: list[float]) -> float:
    v = s = m = 0.0
    o = options
    for t, g in enumerate(gradients, start=1):
        if name == "adamw":
            p -= RATE * o.weight_decay * p
        elif name != "muon":  # which shrinks matrices alone, and has none here
            g += o.weight_decay * p
        if name == "sgd":
            v = o.momentum * v + g
            p -= RATE * (g + o.momentum * v if o.nesterov else v)
        elif name == "adagrad":
            s += g * g
            p -= RATE * g / (math.sqrt(s) + o.epsilon)
        elif name == "rmsprop":
            s = o.rho * s + (1 - o.rho) * g * g
            p -= RATE * g / (math.sqrt(s) + o.epsilon)
        else:
            m = o.beta1 * m + (1 - o.beta1) * g
            s = o.beta2 * s + (1 - o.beta2) * g * g
            p -= RATE * (m / (1 - o.beta1**t)) / (math.sqrt(s / (1 - o.beta2**t)) + o.epsilon)
    return p


@pytest.mark.parametrize("name", sorted(OPTIMIZERS))
@pytest.mark.parametrize("nesterov", [False, True])
def test_optimizers_follow_their_formulas(name: str, nesterov: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(optim, "BLOCK", 3)  # several blocks, the last one short
    options = OptimizerOptions(**{**OPTIONS.__dict__, "nesterov": nesterov})
    rng = np.random.default_rng(0)
    start, gradients = rng.normal(size=7), rng.normal(size=(4, 7))
    optimizer = OPTIMIZERS[name](7, np.dtype(np.float64), options)
    p = start.copy()
    for g in gradients:
        optimizer.step(p, g.copy(), RATE)
    expected = [formula(name, options, start[k], list(gradients[:, k])) for k in range(7)]
    np.testing.assert_allclose(p, expected, rtol=1e-12)


def test_clipping_by_norm_keeps_the_direction() -> None:
    grad = np.array([3.0, 4.0], np.float32)
    assert global_norm(grad) == 5.0
    assert clip_by_norm(grad, 1.0, 5.0) == 0.2
    assert clip_by_norm(grad, 2.0, 1.0) == 1.0
    for name in OPTIMIZERS:
        scaled, clipped = (np.ones(2, np.float32) for _ in range(2))
        OPTIMIZERS[name](2, grad.dtype).step(scaled, grad * np.float32(0.2), RATE)
        OPTIMIZERS[name](2, grad.dtype).step(clipped, grad.copy(), RATE, 0.2)
        np.testing.assert_array_equal(clipped, scaled)


def test_the_norm_of_huge_gradients_does_not_overflow() -> None:
    assert global_norm(np.full(100_000, 1e30, np.float32)) == pytest.approx(1e30 * math.sqrt(1e5), rel=1e-6)


def test_clipping_by_value_limits_each_component() -> None:
    grad = np.array([-3.0, 0.5, 4.0], np.float32)
    assert clip_by_value(grad, 1.0, 0.0) == 1.0
    np.testing.assert_array_equal(grad, [-1.0, 0.5, 1.0])


@pytest.mark.parametrize("name", sorted(SCHEDULES))
def test_schedules_start_at_the_peak_and_never_rise(name: str) -> None:
    factors = [rate_factor(name, step=s, progress=s / 1000, warmup_steps=0) for s in range(1000)]
    assert factors[0] == 1.0
    assert all(b <= a + 1e-12 for a, b in itertools.pairwise(factors))
    assert min(factors) >= 0.0


def test_warm_up_rises_to_the_schedule() -> None:
    factors = [rate_factor("constant", step=s, progress=0.0, warmup_steps=4) for s in range(6)]
    assert factors == [0.25, 0.5, 0.75, 1.0, 1.0, 1.0]


def test_schedules_end_where_they_say() -> None:
    options = ScheduleOptions(min_lr_ratio=0.1, lr_decay_steps=10, lr_decay=0.5)
    for name in ("cosine", "linear"):
        assert rate_factor(name, step=99, progress=1.0, warmup_steps=0, options=options) == pytest.approx(0.1)
    assert rate_factor("step", step=29, progress=0.3, warmup_steps=0, options=options) == 0.25
    assert rate_factor("exponential", step=5, progress=0.0, warmup_steps=0, options=options) == pytest.approx(0.5**0.5)


@pytest.mark.parametrize("name", ["step", "exponential"])
def test_decay_counts_from_the_end_of_warm_up(name: str) -> None:
    options = ScheduleOptions(lr_decay_steps=10, lr_decay=0.5)
    factors = [rate_factor(name, step=s, progress=0.0, warmup_steps=15, options=options) for s in (7, 14, 15, 25, 35)]
    assert factors == pytest.approx([8 / 15, 1.0, 1.0, 0.5, 0.25])


def test_views_write_to_the_flat_vector() -> None:
    params = FlatParams({"a.x": (2, 3), "a.y": (4,), "b": ()}, np.float32)
    params["a.y"][...] = 2.0
    assert params.size == 11
    assert params.flat[6:10].tolist() == [2.0] * 4
    assert set(params.under("a")) == {"x", "y"}
    with pytest.raises(ValueError, match="parameters need"):
        FlatParams({"x": (2,)}, np.float32, buffer=np.zeros(3, np.float32))


@pytest.mark.parametrize("progress", [-0.5, 0.0, 0.25, 0.5, 0.75, 1.0, 1.5])
def test_schedules_follow_their_formulas(progress: float) -> None:
    options = ScheduleOptions(min_lr_ratio=0.1, lr_decay_steps=10, lr_decay=0.5, plateaus=3)
    done = min(max(progress, 0.0), 1.0)
    expected = {
        "constant": 1.0,
        "step": 0.25,
        "exponential": 0.5**2.7,
        "cosine": 0.1 + 0.9 * math.cos(math.pi * done / 2) ** 2,
        "linear": 1.0 - 0.9 * done,
        "plateau": 0.125,
    }
    assert expected.keys() == SCHEDULES.keys()
    for name, factor in expected.items():
        got = rate_factor(name, step=27, progress=progress, warmup_steps=0, options=options)
        assert got == pytest.approx(factor, rel=1e-12)


@pytest.mark.parametrize("value", [1e-25, 1e25])
def test_the_norm_outside_what_squares_can_hold_is_exact(value: float) -> None:
    grad = np.full(50_000, value, np.float32)
    assert global_norm(grad) == pytest.approx(float(np.float32(value)) * math.sqrt(50_000), rel=1e-6)
    assert global_norm(np.zeros(3, np.float32)) == 0.0


def test_the_norm_is_of_all_blocks_and_warns_of_nothing() -> None:
    grad = np.random.default_rng(0).normal(size=40_001).astype(np.float32)
    assert global_norm(grad) == pytest.approx(math.sqrt(sum(float(g) ** 2 for g in grad)), rel=1e-6)


def test_a_gradient_as_long_as_the_limit_is_left_alone() -> None:
    grad = np.array([3.0, 4.0])
    assert (clip_by_norm(grad, 5.0, 5.0), clip_by_norm(grad, 4.0, 5.0)) == (1.0, 0.8)


@pytest.mark.parametrize("name", sorted(OPTIMIZERS))
def test_moments_and_steps_are_there_to_be_saved(name: str) -> None:
    optimizer = OPTIMIZERS[name](5, np.dtype(np.float32))
    assert optimizer.options == OptimizerOptions()
    assert optimizer._scratch.dtype == np.float32
    assert list(optimizer.moments) == list(optimizer.moment_names)
    assert all(m.shape == (5,) and m.dtype == np.float32 and not m.any() for m in optimizer.moments.values())
    p, g = np.ones(5, np.float32), np.full(5, 0.5, np.float32)
    for done in range(3):
        assert optimizer.steps_done == done
        optimizer.step(p, g, RATE)
    assert all(m.all() for m in optimizer.moments.values())
    np.testing.assert_array_equal(g, 0.5)  # without weight decay the gradient is only read
    assert (p < 1.0).all()


@pytest.mark.parametrize("size", [3, 8, 9])
def test_blocks_cover_the_vector_once(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(optim, "BLOCK", 4)
    p, g = np.zeros(size), np.ones(size)
    optim.SGD(size, np.dtype(np.float64), OptimizerOptions(momentum=0.0)).step(p, g, 1.0)
    np.testing.assert_array_equal(p, -1.0)


def test_warm_up_multiplies_what_the_schedule_says() -> None:
    options = ScheduleOptions(min_lr_ratio=0.0)  # of a run bounded by time, half of which has passed
    assert rate_factor("linear", step=0, progress=0.5, warmup_steps=4, options=options) == pytest.approx(0.125)


def test_muon_turns_the_matrices_that_states_meet_and_leaves_the_rest_to_adam() -> None:
    model = CharRNN(9, cell="lstm", hidden_size=6, num_layers=2, embedding_size=4, dtype=np.float64)
    params, grads, shapes = model.params, model.grads, model.params.shapes
    rng = np.random.default_rng(1)
    params.flat[...], grads.flat[...] = rng.normal(size=(2, params.size))
    matrices = {"layers.0.weight_hh", "layers.1.weight_ih", "layers.1.weight_hh", "head.weight"}
    found = {(params.flat[where].size, shape) for where, shape in matrices_of(params)}
    assert found == {(params[name].size, params[name].shape) for name in matrices}
    plain = FlatParams(shapes, np.float64, buffer=params.flat.copy())
    start = FlatParams(shapes, np.float64, buffer=params.flat.copy())
    muon, adam = (make_optimizer(name, model, OptimizerOptions()) for name in ("muon", "adamw"))
    for step in range(1, 5):
        muon.step(params.flat, grads.flat, 0.01)
        adam.step(plain.flat, grads.flat, 0.01)
        for name in shapes:
            moved = not np.array_equal(params[name], start[name])
            assert moved == (name not in matrices or step == 4)
            assert np.array_equal(params[name], plain[name]) == (name not in matrices)
    assert all(np.array_equal(muon.moments[name], adam.moments[name]) for name in ("mean", "square_mean"))


@pytest.mark.parametrize("shape", [(5, 40), (40, 5), (24, 24), (1, 7)])
def test_muon_moves_all_directions_about_as_far(shape: tuple[int, int]) -> None:
    gradient = np.random.default_rng(2).normal(size=shape).astype(np.float32)
    turned = orthogonalised(gradient)
    assert turned.shape == shape
    assert turned.dtype == np.float32
    u, values, v = np.linalg.svd(gradient, full_matrices=False)
    lengths = np.diagonal(u.T @ turned @ v.T)
    np.testing.assert_allclose(turned, (u * lengths) @ v, atol=1e-4)  # the same directions
    assert lengths[values > 0.3 * values[0]].min() > 0.6
    assert lengths.max() < 1.3


def test_muon_knows_no_direction_without_a_gradient() -> None:
    np.testing.assert_array_equal(orthogonalised(np.zeros((3, 4))), np.zeros((3, 4)))


@pytest.mark.parametrize("shape", [(5, 40), (60, 24), (2, 9)])
def test_muon_shares_its_products_out(shape: tuple[int, int]) -> None:
    gradient = np.random.default_rng(3).normal(size=shape)
    counts: list[int] = []

    def on_threads(run: Callable[[int], Array], count: int) -> list[Array]:
        counts.append(count)
        return [run(k) for k in reversed(range(count))][::-1]

    shared = orthogonalised(gradient, threads=3, on_threads=on_threads)
    assert counts == [min(3, *shape)] * 9
    np.testing.assert_allclose(shared, orthogonalised(gradient), atol=1e-12)


def test_muon_uses_the_threads_of_the_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    model, sped_up = CharRNN(9, hidden_size=6), []
    model.engine = SimpleNamespace(threads=2, on_threads=one_by_one, speed_up=sped_up.append)  # type: ignore[assignment]
    counts: list[int] = []
    monkeypatch.setattr("charrnn.nn.muon._iterated", lambda parts, run: counts.append(len(parts)) or parts)
    muon = make_optimizer("muon", model, OptimizerOptions())
    assert sped_up == [muon]
    muon.step(model.params.flat, model.grads.flat + 1, 0.1)
    assert counts == []
    for _ in range(3):
        muon.step(model.params.flat, model.grads.flat + 1, 0.1)
    assert counts == [2] * 6  # two matrices
    assert make_optimizer("adam", model, OptimizerOptions()) is sped_up[1]
