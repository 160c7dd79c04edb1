"""The long short-term memory cell, compiled; its equations are those of `charrnn.nn.cells.lstm`.

    a_t = W_ih x_t + b + W_hh h_{t-1}                  four blocks: i f g o
    i, f, o = σ(a_i), σ(a_f), σ(a_o)      g = tanh(a_g)
    c_t = f c_{t-1} + i g
    h_t = o tanh(c_t)

Backwards, with dc arriving from step t+1:

    dh_t     = its gradient from above + W_hhᵀ da_{t+1}
    da_o     = dh tanh(c) o (1 - o)
    dc      += dh o (1 - tanh²(c))
    da_g     = dc i (1 - g²)
    da_i     = dc g i (1 - i)
    da_f     = dc c_{t-1} f (1 - f)
    dc_{t-1} = dc f
"""

from __future__ import annotations

from typing import Any

from charrnn.nn.compiled.around import around
from charrnn.nn.compiled.functions import sigmoid, tanh
from charrnn.nn.compiled.jit import kernel
from charrnn.nn.compiled.layout import CompiledCell
from charrnn.nn.compiled.vector import at, load, nothing, spread_at, store
from charrnn.nn.compiled.window import before, collect, forget_all

pre_activate, carry, hand_down, finish = around(4)


@kernel
def forward(w: Any, s: Any, start: int, stop: int) -> None:
    """Run a layer over the steps start..stop: `h`, `c` and `gates` of `Window` from its input and the first state."""
    panels, columns = s.gates.shape[1], s.gates.shape[2]
    for t in range(start, stop):
        states, place = before(s, t)
        for p in range(panels):
            pre_activate(w, s, t, p, states, place)
            for b in range(columns):
                c_prev = load(s.c, (t, p, b)) * spread_at(at(s.keep, (t, b)))
                i = sigmoid(load(s.gates, (t, p, b, 0)))
                f = sigmoid(load(s.gates, (t, p, b, 1)))
                g = tanh(load(s.gates, (t, p, b, 2)))
                o = sigmoid(load(s.gates, (t, p, b, 3)))
                c = f * c_prev + i * g
                store(s.gates, (t, p, b, 0), i)
                store(s.gates, (t, p, b, 1), f)
                store(s.gates, (t, p, b, 2), g)
                store(s.gates, (t, p, b, 3), o)
                store(s.c, (t + 1, p, b), c)
                store(s.h, (t + 1, p, b), o * tanh(c))


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
                kept = spread_at(at(s.keep, (t + 1, b)))
                dh = load(s.dh, (t, p, b)) + kept * load(s.carried, (0, p, b))
                dc = kept * load(s.carried, (1, p, b))
                i, f = load(s.gates, (t, p, b, 0)), load(s.gates, (t, p, b, 1))
                g, o = load(s.gates, (t, p, b, 2)), load(s.gates, (t, p, b, 3))
                tanh_c = tanh(load(s.c, (t + 1, p, b)))
                c_prev = load(s.c, (t, p, b)) * spread_at(at(s.keep, (t, b)))
                store(s.gates, (t, p, b, 3), dh * tanh_c * o * (1.0 - o))
                dc = dc + dh * o * (1.0 - tanh_c * tanh_c)
                store(s.gates, (t, p, b, 2), dc * i * (1.0 - g * g))
                store(s.gates, (t, p, b, 0), dc * g * i * (1.0 - i))
                store(s.gates, (t, p, b, 1), dc * c_prev * f * (1.0 - f))
                store(s.carried, (1, p, b), dc * f)
                store(s.carried, (0, p, b), nothing(s.h))
            collect(d, s, t, p)
        hand_down(w, s, t)
    finish(w, s, d)


CELL = CompiledCell(forward, backward, gates="ifgo", blocks="ifgo", inputs=4, states=2)
