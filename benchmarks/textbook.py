"""A recurrent network as tutorials write it, for comparison: batch-major, one step at a time, no preallocation."""

from __future__ import annotations

from typing import Any

import numpy as np

F = np.ndarray


def sigmoid(a: F) -> F:
    return 1.0 / (1.0 + np.exp(-a))


class Textbook:
    """Layers of one cell with a softmax head, trained by Adam with clipping; (B, T) ids."""

    def __init__(self, cell: str, L: int, H: int, V: int) -> None:
        rng = np.random.default_rng(0)
        gates = {"rnn": 1, "lstm": 4, "gru": 3}[cell]
        self.cell, self.L, self.H, self.V = cell, L, H, V
        self.p: dict[str, F] = {}
        for k in range(L):
            rows = V if k == 0 else H
            self.p |= {
                f"W{k}": rng.uniform(-1, 1, (rows, gates * H)) / np.sqrt(H),
                f"U{k}": rng.uniform(-1, 1, (H, gates * H)) / np.sqrt(H),
                f"b{k}": np.zeros(gates * H),
            }
        self.p |= {"Wy": rng.uniform(-1, 1, (H, V)) / np.sqrt(H), "by": np.zeros(V)}
        self.p = {name: value.astype(np.float32) for name, value in self.p.items()}
        self.m = {name: np.zeros_like(value) for name, value in self.p.items()}
        self.v = {name: np.zeros_like(value) for name, value in self.p.items()}
        self.state: Any = None
        self.steps = 0

    def forward_cell(self, k: int, x: F, h: F, c: F) -> tuple[F, F, tuple[F, ...]]:
        """One step of layer `k`: the new h and c, and what its derivative needs."""
        W, U, b, H = self.p[f"W{k}"], self.p[f"U{k}"], self.p[f"b{k}"], self.H
        if self.cell == "gru":
            ax, ah = x @ W + b, h @ U
            r, z = sigmoid(ax[:, :H] + ah[:, :H]), sigmoid(ax[:, H : 2 * H] + ah[:, H : 2 * H])
            n = np.tanh(ax[:, 2 * H :] + r * ah[:, 2 * H :])
            return (1 - z) * n + z * h, c, (x, h, r, z, n, ah[:, 2 * H :])
        a = x @ W + h @ U + b
        if self.cell == "rnn":
            new = np.tanh(a)
            return new, c, (x, h, new)
        i, f, o = sigmoid(a[:, :H]), sigmoid(a[:, H : 2 * H]), sigmoid(a[:, 3 * H :])
        g = np.tanh(a[:, 2 * H : 3 * H])
        new_c = f * c + i * g
        return o * np.tanh(new_c), new_c, (x, h, c, i, f, g, o, np.tanh(new_c))

    def backward_cell(self, k: int, dh: F, dc: F, kept: tuple[F, ...], grads: dict[str, F]) -> tuple[F, F, F]:
        """Adds to `grads`; gradients of the input and of the state before."""
        W, U = self.p[f"W{k}"], self.p[f"U{k}"]
        if self.cell == "gru":
            x, h, r, z, n, q = kept
            dn = dh * (1 - z) * (1 - n * n)
            dz, dr = dh * (h - n) * z * (1 - z), dn * q * r * (1 - r)
            da_x, da_h = np.concatenate((dr, dz, dn), axis=1), np.concatenate((dr, dz, dn * r), axis=1)
            dh_prev = dh * z + da_h @ U.T
        else:
            if self.cell == "rnn":
                x, h, new = kept
                da_x = dh * (1 - new * new)
            else:
                x, h, c, i, f, g, o, tanh_c = kept
                dc = dc + dh * o * (1 - tanh_c**2)
                parts = dc * g * i * (1 - i), dc * c * f * (1 - f), dc * i * (1 - g * g), dh * tanh_c * o * (1 - o)
                da_x, dc = np.concatenate(parts, axis=1), dc * f
            da_h, dh_prev = da_x, da_x @ U.T
        grads[f"W{k}"] += x.T @ da_x
        grads[f"U{k}"] += h.T @ da_h
        grads[f"b{k}"] += da_x.sum(axis=0)
        return da_x @ W.T, dh_prev, dc

    def train(self, inputs: F, targets: F) -> float:
        """One window of (B, T) ids: nats per character."""
        B, T = inputs.shape
        if self.state is None:
            self.state = [(np.zeros((B, self.H), np.float32),) * 2 for _ in range(self.L)]
        kept, tops, loss = [], [], 0.0
        for t in range(T):
            x = np.eye(self.V, dtype=np.float32)[inputs[:, t]]
            for k in range(self.L):
                h, c, cache = self.forward_cell(k, x, *self.state[k])
                self.state[k] = (h, c)
                kept.append(cache)
                x = h
            logits = x @ self.p["Wy"] + self.p["by"]
            p = np.exp(logits - logits.max(axis=1, keepdims=True))
            p /= p.sum(axis=1, keepdims=True)
            loss -= float(np.log(p[np.arange(B), targets[:, t]]).sum())
            tops.append((x, p))
        grads = {name: np.zeros_like(value) for name, value in self.p.items()}
        dh = [np.zeros((B, self.H), np.float32) for _ in range(self.L)]
        dc = [np.zeros((B, self.H), np.float32) for _ in range(self.L)]
        for t in reversed(range(T)):
            x, p = tops[t]
            p[np.arange(B), targets[:, t]] -= 1
            p /= B * T
            grads["Wy"] += x.T @ p
            grads["by"] += p.sum(axis=0)
            below = p @ self.p["Wy"].T
            for k in reversed(range(self.L)):
                below, dh[k], dc[k] = self.backward_cell(k, below + dh[k], dc[k], kept[t * self.L + k], grads)
        self.adam(grads)
        return loss / (B * T)

    def adam(self, grads: dict[str, F]) -> None:
        """Clip by norm and update."""
        norm = np.sqrt(sum(float((g**2).sum()) for g in grads.values()))
        self.steps += 1
        for name, g in grads.items():
            g = g * min(1.0, 1.0 / norm)
            self.m[name] = 0.9 * self.m[name] + 0.1 * g
            self.v[name] = 0.99 * self.v[name] + 0.01 * g**2
            m, v = self.m[name] / (1 - 0.9**self.steps), self.v[name] / (1 - 0.99**self.steps)
            self.p[name] -= 1e-3 * m / (np.sqrt(v) + 1e-8)
