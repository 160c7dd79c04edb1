"""The LSTM with multiplicative integration, compiled; its equations are those of `charrnn.nn.cells.milstm`.

    x_t = W_ih x_t + b        u_t = W_hh h_{t-1}       four blocks each: i f g o
    a_t = x_t + u_t + x_t u_t
    i, f, o = σ(a_i), σ(a_f), σ(a_o)      g = tanh(a_g)
    c_t = f c_{t-1} + i g
    h_t = o tanh(c_t)

Backwards, with dc arriving from step t+1 and da_t as in `lstm`:

    dh_t     = its gradient from above + W_hhᵀ du_{t+1}
    dx_t     = da_t (1 + u_t)
    du_t     = da_t (1 + x_t)

`gates` keeps x and u; the gates themselves are computed again on the way back.
"""

from __future__ import annotations

from typing import Any

from charrnn.nn.compiled.around import around
from charrnn.nn.compiled.functions import sigmoid, tanh
from charrnn.nn.compiled.jit import inline, kernel
from charrnn.nn.compiled.layout import CompiledCell
from charrnn.nn.compiled.vector import at, load, nothing, spread_at, store
from charrnn.nn.compiled.window import before, collect, forget_all

# A panel has the blocks i f g o of x, then those of u.
pre_activate, carry, hand_down, finish = around(4, recurrent=4)


@inline
def _both(s: Any, t: int, p: int, b: int, g: int) -> Any:
    """Gate g's pre-activation."""
    x, u = load(s.gates, (t, p, b, g)), load(s.gates, (t, p, b, g + 4))
    return x + u + x * u


@inline
def _share(s: Any, t: int, p: int, b: int, g: int, da: Any) -> None:
    """Put the gradients of gate g's two parts in their place."""
    x, u = load(s.gates, (t, p, b, g)), load(s.gates, (t, p, b, g + 4))
    store(s.gates, (t, p, b, g), da * (1.0 + u))
    store(s.gates, (t, p, b, g + 4), da * (1.0 + x))


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
                i, f = sigmoid(_both(s, t, p, b, 0)), sigmoid(_both(s, t, p, b, 1))
                g, o = tanh(_both(s, t, p, b, 2)), sigmoid(_both(s, t, p, b, 3))
                c = f * c_prev + i * g
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
                i, f = sigmoid(_both(s, t, p, b, 0)), sigmoid(_both(s, t, p, b, 1))
                g, o = tanh(_both(s, t, p, b, 2)), sigmoid(_both(s, t, p, b, 3))
                tanh_c = tanh(load(s.c, (t + 1, p, b)))
                c_prev = load(s.c, (t, p, b)) * spread_at(at(s.keep, (t, b)))
                _share(s, t, p, b, 3, dh * tanh_c * o * (1.0 - o))
                dc = dc + dh * o * (1.0 - tanh_c * tanh_c)
                _share(s, t, p, b, 2, dc * i * (1.0 - g * g))
                _share(s, t, p, b, 0, dc * g * i * (1.0 - i))
                _share(s, t, p, b, 1, dc * c_prev * f * (1.0 - f))
                store(s.carried, (1, p, b), dc * f)
                store(s.carried, (0, p, b), nothing(s.h))
            collect(d, s, t, p)
        hand_down(w, s, t)
    finish(w, s, d)


CELL = CompiledCell(
    forward,
    backward,
    gates="ifgo",
    blocks="ifgoIFGO",
    inputs=4,
    states=2,
    recurrent=4,
    unbiased="IFGO",
    stored_as=(("I", "i"), ("F", "f"), ("G", "g"), ("O", "o")),
)
