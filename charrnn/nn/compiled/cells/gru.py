"""The gated recurrent unit, compiled; its equations are those of `charrnn.nn.cells.gru`.

    a_r, a_z = W_ih x_t + b + W_hh h_{t-1}             two blocks
    r, z = σ(a_r), σ(a_z)
    q = W_hn h_{t-1} + b_hn
    n = tanh(W_in x_t + b_n + r q)
    h_t = (1 - z) n + z h_{t-1}

Backwards, with dq = da_n r the gradient of the candidate's recurrent part:

    dh_t     = its gradient from above + W_hhᵀ [da_r; da_z; dq]_{t+1} + (dh z)_{t+1}
    da_n     = dh (1 - z) (1 - n²)
    da_r     = da_n q r (1 - r)
    da_z     = dh (h_{t-1} - n) z (1 - z)
    dq       = da_n r
"""

from __future__ import annotations

from typing import Any

from charrnn.nn.compiled.around import around
from charrnn.nn.compiled.functions import sigmoid, tanh
from charrnn.nn.compiled.jit import kernel
from charrnn.nn.compiled.layout import CompiledCell
from charrnn.nn.compiled.vector import at, load, spread_at, store
from charrnn.nn.compiled.window import before, collect, forget_all

# A panel has the blocks n r z q: the input meets the first three, the recurrent weights the last three.
pre_activate, carry, hand_down, finish = around(3, recurrent=1)


@kernel
def forward(w: Any, s: Any, start: int, stop: int) -> None:
    """Run a layer over the steps start..stop: `h` and `gates` of `Window` from its input and the first state."""
    panels, columns = s.gates.shape[1], s.gates.shape[2]
    for t in range(start, stop):
        states, place = before(s, t)
        for p in range(panels):
            pre_activate(w, s, t, p, states, place)
            for b in range(columns):
                h_prev = load(states, (place, p, b))
                r = sigmoid(load(s.gates, (t, p, b, 1)))
                z = sigmoid(load(s.gates, (t, p, b, 2)))
                q = load(s.gates, (t, p, b, 3))
                n = tanh(load(s.gates, (t, p, b, 0)) + r * q)
                store(s.gates, (t, p, b, 0), n)
                store(s.gates, (t, p, b, 1), r)
                store(s.gates, (t, p, b, 2), z)
                store(s.h, (t + 1, p, b), (1.0 - z) * n + z * h_prev)


@kernel
def backward(w: Any, s: Any, d: Any) -> None:
    """Backpropagate through the window that `forward` ran last; gradients are added to `d`."""
    steps, panels, columns = s.gates.shape[0], s.gates.shape[1], s.gates.shape[2]
    forget_all(s)
    for t in range(steps - 1, -1, -1):
        for p in range(panels):
            if t + 1 < steps and p % 2 == 0:
                carry(w, s, t + 1, p // 2)
            for b in range(columns):
                dh = load(s.dh, (t, p, b)) + spread_at(at(s.keep, (t + 1, b))) * load(s.carried, (0, p, b))
                n, r = load(s.gates, (t, p, b, 0)), load(s.gates, (t, p, b, 1))
                z, q = load(s.gates, (t, p, b, 2)), load(s.gates, (t, p, b, 3))
                h_prev = load(s.h, (t, p, b))
                da_n = dh * (1.0 - z) * (1.0 - n * n)
                store(s.gates, (t, p, b, 0), da_n)
                store(s.gates, (t, p, b, 1), da_n * q * r * (1.0 - r))
                store(s.gates, (t, p, b, 2), dh * (h_prev - n) * z * (1.0 - z))
                store(s.gates, (t, p, b, 3), da_n * r)
                store(s.carried, (0, p, b), dh * z)
            collect(d, s, t, p)
        hand_down(w, s, t)
    finish(w, s, d)


CELL = CompiledCell(
    forward,
    backward,
    gates="rzn",
    blocks="nrzq",
    inputs=3,
    recurrent=1,
    other_bias=(("q", "bias_hn"),),
    stored_as=(("q", "n"),),
)
