"""Networks, windows and states for tests; sizes named by the shape letters of the design."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from charrnn.nn.network import CharRNN, State


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
    fuse_one_hot: bool | None = None,
    seed: int = 0,
    **options: Any,
) -> Case:
    rng = np.random.default_rng(seed)
    model = CharRNN(
        V, cell=cell, hidden_size=H, num_layers=L, dropout=dropout, dtype=dtype, fuse_one_hot=fuse_one_hot, **options
    )
    model.init(rng)
    model.params.flat += rng.normal(0.0, 0.2, model.params.size).astype(dtype)
    inputs, targets = rng.integers(0, V, (2, T, B))
    state = [rng.normal(0.0, 0.5, s.shape).astype(dtype) for s in model.zero_state(B)]
    return Case(model, inputs, targets, state)
