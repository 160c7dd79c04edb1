"""Each cell in ten plain lines; start reading here.

One step forward and one step back of every cell, and backpropagation through time over a window, as in a
textbook: no buffers, no fused weights, no tricks. The cells used in training (`rnn`, `lstm`, `gru`, `milstm`) compute
the same numbers faster; the tests compare them with these functions in float64, the benchmarks measure the speed-up.

Shapes: K inputs, H units, B parallel columns. x (K, B); a state is a tuple of (H, B) arrays, h first. A layer's
parameters `p` are `weight_ih` W (G*H, K), `weight_hh` U (G*H, H), `bias` b (G*H,) and the GRU's `bias_hn` (H,), with
the gates' blocks in PyTorch's order. `d` before a name is the gradient of the loss with respect to it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, MutableMapping, Sequence
from typing import Any

import numpy as np

from charrnn.nn.params import Array

State = tuple[Array, ...]
Params = Mapping[str, Array]


def sigmoid(a: Array) -> Any:
    """1 / (1 + exp(-a))."""
    return 1.0 / (1.0 + np.exp(-a))


def rnn(p: Params, x: Array, state: State) -> tuple[State, Any]:
    """Elman (1990): the new state, and what the backward pass needs."""
    (h_prev,) = state
    h = np.tanh(p["weight_ih"] @ x + p["bias"][:, None] + p["weight_hh"] @ h_prev)
    return (h,), (x, h_prev, h)


def rnn_backward(p: Params, kept: Any, dstate: State, grads: MutableMapping[str, Array]) -> tuple[Array, State]:
    """Add to `grads`; the gradients of x and of the state before."""
    (dh,), (x, h_prev, h) = dstate, kept
    da = dh * (1 - h**2)
    add_gradients(grads, da, x, da, h_prev)
    return p["weight_ih"].T @ da, (p["weight_hh"].T @ da,)


def lstm(p: Params, x: Array, state: State) -> tuple[State, Any]:
    """Hochreiter and Schmidhuber (1997), with forget gates: the new state, and what the backward pass needs."""
    h_prev, c_prev = state
    a_i, a_f, a_g, a_o = np.split(p["weight_ih"] @ x + p["bias"][:, None] + p["weight_hh"] @ h_prev, 4)
    i, f, g, o = sigmoid(a_i), sigmoid(a_f), np.tanh(a_g), sigmoid(a_o)
    c = f * c_prev + i * g
    h = o * np.tanh(c)
    return (h, c), (x, h_prev, c_prev, i, f, g, o, c)


def lstm_backward(p: Params, kept: Any, dstate: State, grads: MutableMapping[str, Array]) -> tuple[Array, State]:
    """Add to `grads`; the gradients of x and of the state before."""
    (dh, dc), (x, h_prev, c_prev, i, f, g, o, c) = dstate, kept
    dc = dc + dh * o * (1 - np.tanh(c) ** 2)
    da_i = dc * g * i * (1 - i)
    da_f = dc * c_prev * f * (1 - f)
    da_g = dc * i * (1 - g**2)
    da_o = dh * np.tanh(c) * o * (1 - o)
    da = np.concatenate((da_i, da_f, da_g, da_o))
    add_gradients(grads, da, x, da, h_prev)
    return p["weight_ih"].T @ da, (p["weight_hh"].T @ da, dc * f)


def milstm(p: Params, x: Array, state: State) -> tuple[State, Any]:
    """Wu et al. (2016), an LSTM of sum and product: the new state, and what the backward pass needs."""
    h_prev, c_prev = state
    own, recurrent = p["weight_ih"] @ x + p["bias"][:, None], p["weight_hh"] @ h_prev
    a_i, a_f, a_g, a_o = np.split(own + recurrent + own * recurrent, 4)
    i, f, g, o = sigmoid(a_i), sigmoid(a_f), np.tanh(a_g), sigmoid(a_o)
    c = f * c_prev + i * g
    h = o * np.tanh(c)
    return (h, c), (x, h_prev, own, recurrent, (c_prev, i, f, g, o, c))


def milstm_backward(p: Params, kept: Any, dstate: State, grads: MutableMapping[str, Array]) -> tuple[Array, State]:
    """Add to `grads`; the gradients of x and of the state before."""
    x, h_prev, own, recurrent, (c_prev, i, f, g, o, c) = kept
    dh, dc = dstate
    dc = dc + dh * o * (1 - np.tanh(c) ** 2)
    da_i, da_f = dc * g * i * (1 - i), dc * c_prev * f * (1 - f)
    da_g, da_o = dc * i * (1 - g**2), dh * np.tanh(c) * o * (1 - o)
    da = np.concatenate((da_i, da_f, da_g, da_o))
    da_x, da_h = da * (1 + recurrent), da * (1 + own)
    add_gradients(grads, da_x, x, da_h, h_prev)
    return p["weight_ih"].T @ da_x, (p["weight_hh"].T @ da_h, dc * f)


def gru(p: Params, x: Array, state: State) -> tuple[State, Any]:
    """Cho et al. (2014), the reset gate after the product: the new state, and what the backward pass needs."""
    (h_prev,) = state
    x_r, x_z, x_n = np.split(p["weight_ih"] @ x + p["bias"][:, None], 3)
    u_r, u_z, u_n = np.split(p["weight_hh"] @ h_prev, 3)
    r, z = sigmoid(x_r + u_r), sigmoid(x_z + u_z)
    q = u_n + p["bias_hn"][:, None]
    n = np.tanh(x_n + r * q)
    h = (1 - z) * n + z * h_prev
    return (h,), (x, h_prev, r, z, q, n)


def gru_backward(p: Params, kept: Any, dstate: State, grads: MutableMapping[str, Array]) -> tuple[Array, State]:
    """Add to `grads`; the gradients of x and of the state before."""
    (dh,), (x, h_prev, r, z, q, n) = dstate, kept
    da_n = dh * (1 - z) * (1 - n**2)
    da_r = da_n * q * r * (1 - r)
    da_z = dh * (h_prev - n) * z * (1 - z)
    dq = da_n * r
    da_x, da_h = np.concatenate((da_r, da_z, da_n)), np.concatenate((da_r, da_z, dq))
    add_gradients(grads, da_x, x, da_h, h_prev)
    grads["bias_hn"] += dq.sum(axis=1)
    return p["weight_ih"].T @ da_x, (p["weight_hh"].T @ da_h + dh * z,)


STEPS: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
    "rnn": (rnn, rnn_backward),
    "lstm": (lstm, lstm_backward),
    "gru": (gru, gru_backward),
    "milstm": (milstm, milstm_backward),
}


def add_gradients(grads: MutableMapping[str, Array], da_x: Array, x: Array, da_h: Array, h_prev: Array) -> None:
    """Add one step's gradients of the weights and the bias: outer products summed over the columns."""
    grads["weight_ih"] += da_x @ x.T
    grads["weight_hh"] += da_h @ h_prev.T
    grads["bias"] += da_x.sum(axis=1)


def run_network(
    cell: str, num_layers: int, params: Params, ids: np.ndarray, state: Sequence[Array]
) -> tuple[Array, list[Array], list[Any]]:
    """A window through all layers and the softmax.

    Args:
        cell: a key of `STEPS`.
        num_layers: L.
        params: `layers.0.weight_ih`, ..., `head.weight`, `head.bias`.
        ids: (T, B) symbols.
        state: an (S, H, B) array per layer.

    Returns:
        (T, V, B) log-probabilities of the next symbol, nats; the states after the window; per step, what the
        backward pass needs: what each layer kept, and the top layer's h.
    """
    forward, _ = STEPS[cell]
    one_hot = np.eye(params["layers.0.weight_ih"].shape[1], dtype=params["layers.0.weight_ih"].dtype)
    states: list[State] = [tuple(layer) for layer in state]
    log_p, kept = [], []
    for row in ids:
        x, layers = one_hot[row].T, []
        for k in range(num_layers):
            states[k], needed = forward(layer(params, k), x, states[k])
            layers.append(needed)
            x = states[k][0]
        kept.append((layers, x))
        logits = params["head.weight"] @ x + params["head.bias"][:, None]
        logits = logits - logits.max(axis=0)
        log_p.append(logits - np.log(np.exp(logits).sum(axis=0)))
    return np.stack(log_p), [np.stack(s) for s in states], kept


def loss_and_grad(
    cell: str, num_layers: int, params: Params, ids: np.ndarray, targets: np.ndarray, state: Sequence[Array]
) -> tuple[float, dict[str, Array], list[Array], list[Array]]:
    """Backpropagation through time over a window (Werbos 1990).

    Args:
        cell: a key of `STEPS`.
        num_layers: L.
        params: see `run_network`.
        ids: (T, B) symbols.
        targets: (T, B) symbols that follow.
        state: an (S, H, B) array per layer.

    Returns:
        The sum of nats; the gradients of its mean per symbol; the states after the window; the gradients of those
        before it.
    """
    _, backward = STEPS[cell]
    log_p, after, kept = run_network(cell, num_layers, params, ids, state)
    columns = np.arange(ids.shape[1])
    nats = -sum(log_p[t, targets[t], columns].sum() for t in range(len(ids)))
    grads = {name: np.zeros_like(values) for name, values in params.items()}
    dstates: list[State] = [tuple(np.zeros_like(s) for s in layer) for layer in after]
    for t in reversed(range(len(ids))):
        dlogits = np.exp(log_p[t])
        dlogits[targets[t], columns] -= 1
        dlogits /= ids.size
        layers, top = kept[t]
        grads["head.weight"] += dlogits @ top.T
        grads["head.bias"] += dlogits.sum(axis=1)
        dx = params["head.weight"].T @ dlogits
        for k in reversed(range(num_layers)):
            dh, *others = dstates[k]
            dx, dstates[k] = backward(layer(params, k), layers[k], (dh + dx, *others), layer(grads, k))
    return float(nats), grads, after, [np.stack(d) for d in dstates]


def layer(params: Any, index: int) -> Any:
    """The parameters of one layer by their short names: the arrays themselves, so that gradients can be added."""
    prefix = f"layers.{index}."
    return {name.removeprefix(prefix): values for name, values in params.items() if name.startswith(prefix)}
