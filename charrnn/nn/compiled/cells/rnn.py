"""The vanilla recurrent cell, compiled; its equations are those of `charrnn.nn.cells.rnn`.

    a_t = W_ih x_t + b + W_hh h_{t-1}
    h_t = tanh(a_t)

Backwards:

    dh_t = its gradient from above + W_hhᵀ da_{t+1}
    da_t = dh_t (1 - h_t²)
"""

from __future__ import annotations

from typing import Any

from charrnn.nn.compiled.around import around
from charrnn.nn.compiled.functions import tanh
from charrnn.nn.compiled.jit import kernel
from charrnn.nn.compiled.layout import CompiledCell
from charrnn.nn.compiled.vector import at, load, nothing, spread_at, store
from charrnn.nn.compiled.window import before, collect, forget_all

# There is one gate, so a panel has the pre-activations of two blocks of states, `p` and the next.
pre_activate, carry, hand_down, finish = around(2)


@kernel
def forward(w: Any, s: Any, start: int, stop: int) -> None:
    """Run a layer over the steps start..stop: `h` of `Window` from its input and the first state."""
    panels, columns = s.gates.shape[1], s.gates.shape[2]
    for t in range(start, stop):
        states, place = before(s, t)
        for p in range(panels):
            pre_activate(w, s, t, p, states, place)
            for b in range(columns):
                for k in range(2):
                    store(s.h, (t + 1, 2 * p + k, b), tanh(load(s.gates, (t, p, b, k))))


@kernel
def backward(w: Any, s: Any, d: Any) -> None:
    """Backpropagate through the window that `forward` ran last; gradients are added to `d`."""
    steps, panels, columns = s.gates.shape[0], s.gates.shape[1], s.gates.shape[2]
    for t in range(steps - 1, -1, -1):
        for p in range(panels):
            if t + 1 < steps:
                carry(w, s, t + 1, p)
            for b in range(columns):
                kept = spread_at(at(s.keep, (t + 1, b)))
                for k in range(2):
                    dh = load(s.dh, (t, 2 * p + k, b)) + kept * load(s.carried, (0, 2 * p + k, b))
                    h = load(s.h, (t + 1, 2 * p + k, b))
                    store(s.gates, (t, p, b, k), dh * (1.0 - h * h))
                    store(s.carried, (0, 2 * p + k, b), nothing(s.h))
            collect(d, s, t, p)
        hand_down(w, s, t)
    forget_all(s)
    finish(w, s, d)


CELL = CompiledCell(forward, backward, gates="h", blocks="h", inputs=2, pairs=True)
