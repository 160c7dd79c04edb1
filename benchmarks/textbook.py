"""The package's reference cells trained as in tutorials: one step at a time, a new array for everything."""

from __future__ import annotations

import numpy as np

from charrnn.nn.cells.reference import loss_and_grad
from charrnn.nn.network import CharRNN


class Textbook:
    """Layers of one cell with a softmax head, trained by Adam with clipping; (T, B) ids."""

    def __init__(self, cell: str, L: int, H: int, V: int, B: int) -> None:
        model = CharRNN(V, cell=cell, hidden_size=H, num_layers=L)
        model.init(np.random.default_rng(0))
        self.cell, self.layers = cell, L
        self.p = {name: values.copy() for name, values in model.params.items()}
        self.m = {name: np.zeros_like(value) for name, value in self.p.items()}
        self.v = {name: np.zeros_like(value) for name, value in self.p.items()}
        self.state = model.zero_state(B)
        self.steps = 0

    def train(self, inputs: np.ndarray, targets: np.ndarray) -> float:
        """One window: nats per character."""
        nats, grads, self.state, _ = loss_and_grad(self.cell, self.layers, self.p, inputs, targets, self.state)
        self.adam(grads)
        return nats / inputs.size

    def adam(self, grads: dict[str, np.ndarray]) -> None:
        """Clip by norm and update."""
        norm = np.sqrt(sum(float((g**2).sum()) for g in grads.values()))
        self.steps += 1
        for name, g in grads.items():
            g = g * np.float32(min(1.0, 1.0 / norm))
            self.m[name] = 0.9 * self.m[name] + 0.1 * g
            self.v[name] = 0.99 * self.v[name] + 0.01 * g**2
            m, v = self.m[name] / (1 - 0.9**self.steps), self.v[name] / (1 - 0.99**self.steps)
            self.p[name] -= 1e-3 * m / (np.sqrt(v) + 1e-8)
