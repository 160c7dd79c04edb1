"""Cells written once more, gate by gate, in float64 and without any of the package's tricks."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np


def sigmoid(a: np.ndarray) -> np.ndarray:
    return 1.0 / (1.0 + np.exp(-a))


def run_layer(
    cell: str, p: Mapping[str, np.ndarray], x: np.ndarray, state: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """(T, K, B) inputs and an (S, H, B) state -> (T, H, B) hidden states and the state after them."""
    size = p["weight_hh"].shape[1]
    names = {"rnn": "h", "lstm": "ifgo", "gru": "rzn"}[cell]
    w, u, b = (
        {g: p[k][n * size : (n + 1) * size].astype(np.float64) for n, g in enumerate(names)}
        for k in ("weight_ih", "weight_hh", "bias")
    )
    h = state[0].astype(np.float64)
    c = state[1].astype(np.float64) if cell == "lstm" else None
    out = []
    for x_t in x:
        a = {g: w[g] @ x_t + b[g][:, None] for g in names}
        if cell == "rnn":
            h = np.tanh(a["h"] + u["h"] @ h)
        elif cell == "lstm":
            i, f, o = (sigmoid(a[g] + u[g] @ h) for g in "ifo")
            g = np.tanh(a["g"] + u["g"] @ h)
            c = f * c + i * g
            h = o * np.tanh(c)
        else:
            r, z = (sigmoid(a[g] + u[g] @ h) for g in "rz")
            n = np.tanh(a["n"] + r * (u["n"] @ h + p["bias_hn"].astype(np.float64)[:, None]))
            h = (1 - z) * n + z * h
        out.append(h)
    return np.stack(out), np.stack([h] if c is None else [h, c])


def run_network(
    cell: str, layers: int, params: Mapping[str, np.ndarray], ids: np.ndarray, state: list[np.ndarray]
) -> tuple[np.ndarray, list[np.ndarray]]:
    """(T, B) ids -> (T, V, B) log-probabilities and the final states."""
    x = np.eye(params["layers.0.weight_ih"].shape[1])[ids].transpose(0, 2, 1)
    states = []
    for k in range(layers):
        layer = {name.split(".", 2)[2]: v for name, v in params.items() if name.startswith(f"layers.{k}.")}
        x, last = run_layer(cell, layer, x, state[k])
        states.append(last)
    logits = params["head.weight"].astype(np.float64) @ x + params["head.bias"].astype(np.float64)[:, None]
    logits -= logits.max(axis=1, keepdims=True)
    return logits - np.log(np.exp(logits).sum(axis=1, keepdims=True)), states
