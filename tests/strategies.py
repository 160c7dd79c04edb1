"""Networks, windows and states for tests; sizes named by the shape letters of the design."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from charrnn.nn.compiled import keep_machine_code
from charrnn.nn.dropout import DropoutKey
from charrnn.nn.gradcheck import numerical_gradient, relative_error
from charrnn.nn.network import CharRNN, State
from charrnn.runs.kernels import kept_code

# How a network can be run: NumPy's kernels, which take one-hot inputs into a product or gather, and compiled ones.
every_way = pytest.mark.parametrize(
    "way", ["fused", "gathered", pytest.param("compiled", marks=pytest.mark.extras)]
)  # fmt: skip
every_kernel = pytest.mark.parametrize("way", ["fused", pytest.param("compiled", marks=pytest.mark.extras)])


@dataclass
class Case:
    """A random network on a random window from a random, non-zero state."""

    model: CharRNN
    inputs: np.ndarray
    targets: np.ndarray
    state: State

    def fresh_state(self) -> State:
        return [layer.copy() for layer in self.state]


def make_case(
    cell: str,
    *,
    T: int = 5,
    B: int = 3,
    V: int = 7,
    H: int = 4,
    L: int = 1,
    dropout: float = 0.0,
    dtype: type = np.float64,
    way: str = "",
    threads: int = 1,
    seed: int = 0,
    noise: float = 0.2,
    **options: Any,
) -> Case:
    """The case in one of the ways above; `noise` is added to weights and biases (much makes wide ones chaotic)."""
    rng = np.random.default_rng(seed)
    options |= {"fused": {"fuse_one_hot": True}, "gathered": {"fuse_one_hot": False}}.get(way, {})
    model = CharRNN(V, cell=cell, hidden_size=H, num_layers=L, dropout=dropout, dtype=dtype, **options)
    if way == "compiled":
        keep_machine_code(kept_code())
        model.use_compiled(threads=threads)
    model.init(rng)
    model.params.flat += rng.normal(0.0, noise, model.params.size).astype(dtype)
    inputs, targets = rng.integers(0, V, (2, T, B))
    state = [rng.normal(0.0, 0.5, s.shape).astype(dtype) for s in model.zero_state(B)]
    return Case(model, inputs, targets, state)


def check_gradients(case: Case, key: DropoutKey | None, resets: np.ndarray | None) -> None:
    model, start = case.model, case.state

    def loss() -> float:
        state = [layer.copy() for layer in start]
        return model.loss_and_grad(case.inputs, case.targets, state, dropout_key=key, resets=resets) / case.inputs.size

    loss()
    analytic = {name: model.grads[name].copy() for name in model.params}
    analytic |= {f"state.{k}": g.copy() for k, g in enumerate(model.state_grads)}
    values = dict(model.params) | {f"state.{k}": layer for k, layer in enumerate(start)}
    rng = np.random.default_rng(1)
    for name, array in values.items():
        # Along random directions every component counts, at a fraction of the evaluations that single ones need.
        directions = rng.normal(size=(3, array.size))
        directions /= np.linalg.norm(directions, axis=1, keepdims=True)
        centre, steps = array.copy(), np.zeros(3)

        def loss_along(array: np.ndarray = array, directions: np.ndarray = directions) -> float:
            array[...] = centre + (steps @ directions).reshape(array.shape)  # noqa: B023 - called in this round only
            return loss()

        numerical = numerical_gradient(loss_along, steps, np.arange(3))
        array[...] = centre
        assert relative_error(directions @ analytic[name].reshape(-1), numerical) < 1e-6, name


def relative(a: np.ndarray, b: np.ndarray) -> float:
    """The norm of the difference over that of `b`."""
    return float(np.linalg.norm(a - b) / max(np.linalg.norm(b), 1e-12))
