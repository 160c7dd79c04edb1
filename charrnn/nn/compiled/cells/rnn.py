"""The vanilla recurrent cell, compiled; its equations are those of `charrnn.nn.cells.rnn`.

    a_t = W_ih x_t + b + W_hh h_{t-1}
    h_t = tanh(a_t)

Backwards:

    dh_t = its gradient from above + W_hhᵀ da_{t+1}
    da_t = dh_t (1 - h_t²)
"""

from __future__ import annotations

from typing import Any

from charrnn.nn.compiled.functions import tanh
from charrnn.nn.compiled.jit import kernel
from charrnn.nn.compiled.layout import CompiledCell
from charrnn.nn.compiled.product import gates_product, states_product, weight_gradient
from charrnn.nn.compiled.vector import at, load, nothing, spread_at, store
from charrnn.nn.compiled.window import before, begin, clear, collect, forget_all

# There is one gate, so a panel has the pre-activations of two blocks of states, `p` and the next.
_add_gates, _add_states, _add_gradient = gates_product(2), states_product(2), weight_gradient(2)


@kernel
def forward(w: Any, s: Any, start: int, stop: int) -> None:
    """Run a layer over the steps start..stop: `h` of `Window` from its input and the first state."""
    panels, columns = s.gates.shape[1], s.gates.shape[2]
    for t in range(start, stop):
        states, place = before(s, t)
        for p in range(panels):
            begin(w, s, t, p)
            if s.x.shape[0]:
                _add_gates(s.gates, t, p, 0, w.input, s.x, t)
            _add_gates(s.gates, t, p, 0, w.recurrent, states, place)
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
                _add_states(s.carried, 0, p, w.recurrent_back, s.gates, t + 1, 0)
            for b in range(columns):
                kept = spread_at(at(s.keep, (t + 1, b)))
                for k in range(2):
                    dh = load(s.dh, (t, 2 * p + k, b)) + kept * load(s.carried, (0, 2 * p + k, b))
                    h = load(s.h, (t + 1, 2 * p + k, b))
                    store(s.gates, (t, p, b, k), dh * (1.0 - h * h))
                    store(s.carried, (0, 2 * p + k, b), nothing(s.h))
            collect(d, s, t, p)
        if w.input_back.shape[0]:
            clear(s.dh, t)
            for q in range(panels):
                _add_states(s.dh, t, q, w.input_back, s.gates, t, 0)
    for q in range(panels):
        _add_states(s.carried, 0, q, w.recurrent_back, s.gates, 0, 0)
    forget_all(s)
    _add_gradient(d.recurrent, s.gates, 0, s.h)
    if s.x.shape[0]:
        _add_gradient(d.input, s.gates, 0, s.x)


CELL = CompiledCell(forward, backward, gates="h", blocks="h", inputs=2, pairs=True)
