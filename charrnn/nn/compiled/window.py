"""What the loops of all cells share: the arrays of a layer's window, the beginning of a step, states that are reset.

Arrays are in blocks (see `product`), W lanes wide: T steps, B columns, P panels of gates, Q = H / W blocks of states.
Units are filled up to a whole number of blocks; the units that are too many have weights of zero and stay zero.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from charrnn.nn.compiled.jit import inline
from charrnn.nn.compiled.vector import at, load, nothing, spread_at, store
from charrnn.nn.params import Array, IntArray


class Weights(NamedTuple):
    """A layer's parameters, packed; see `product`.

    Attributes:
        table: (V, P, n, W), what each symbol adds to the gates, biases included; empty where the input is features.
        bias: (P, n, W), where it is features.
        input, recurrent: panels that make gates from features and from states.
        input_back, recurrent_back: panels that make their gradients from those of the gates; empty where not wanted.
    """

    table: Array
    bias: Array
    input: Array
    recurrent: Array
    input_back: Array
    recurrent_back: Array


class Gradients(NamedTuple):
    """Gradients of `Weights`, in the same shapes."""

    table: Array
    bias: Array
    input: Array
    recurrent: Array


class Window(NamedTuple):
    """A layer's window.

    Attributes:
        ids: (T, B) symbols; empty where the input is features.
        x: (T, K / W, B, W) features; empty where it is symbols.
        keep: (T + 1, B), 0 where the state before a step is zero, else 1; all 1 after the last.
        h: (T + 1, Q, B, W) states before each step and after the last.
        c: the same of the LSTM's second state; of others empty.
        gates: (T, P, B, n, W); after `backward` their gradients.
        dh: (T, Q, B, W) gradient of the states from above; after `backward` that of the features.
        carried: (2, Q, B, W): the gradient of h, then c, that goes to the step before.
        source: (1, Q, B, W), for a state of which some columns are forgotten.
    """

    ids: IntArray
    x: Array
    keep: Array
    h: Array
    c: Array
    gates: Array
    dh: Array
    carried: Array
    source: Array


@inline
def begin(w: Any, s: Any, t: int, p: int) -> None:
    """Fill a panel of the gates of step t with what the symbols add, or with the bias."""
    for b in range(s.gates.shape[2]):
        for g in range(s.gates.shape[3]):
            if s.ids.shape[0]:
                store(s.gates, (t, p, b, g), load(w.table, (s.ids[t, b], p, g)))
            else:
                store(s.gates, (t, p, b, g), load(w.bias, (p, g)))


@inline
def before(s: Any, t: int) -> Any:
    """An array and a place in it: the states before step t, zero in the columns that are not kept."""
    if all_kept(s, t):
        return s.h, t
    forget(s, t, s.source, 0)
    return s.source, 0


@inline
def all_kept(s: Any, t: int) -> bool:
    """Whether no column begins anew at step t."""
    for b in range(s.keep.shape[1]):  # noqa: SIM110 - Numba knows no generator expressions
        if s.keep[t, b] == 0.0:
            return False
    return True


@inline
def forget(s: Any, t: int, out: Any, place: int) -> None:
    """out[place] = h[t], zero in the columns that are not kept."""
    for q in range(s.h.shape[1]):
        for b in range(s.h.shape[2]):
            store(out, (place, q, b), load(s.h, (t, q, b)) * spread_at(at(s.keep, (t, b))))


@inline
def forget_all(s: Any) -> None:
    """Make the states those that each step saw: what they were for the layer above is no longer needed."""
    for t in range(s.gates.shape[0]):
        if not all_kept(s, t):
            forget(s, t, s.h, t)


@inline
def collect(d: Any, s: Any, t: int, p: int) -> None:
    """Add a panel of the gradients of the gates of step t to those of the symbols, or of the bias."""
    for b in range(s.gates.shape[2]):
        for g in range(s.gates.shape[3]):
            da = load(s.gates, (t, p, b, g))
            if s.ids.shape[0]:
                store(d.table, (s.ids[t, b], p, g), load(d.table, (s.ids[t, b], p, g)) + da)
            else:
                store(d.bias, (p, g), load(d.bias, (p, g)) + da)


@inline
def clear(states: Any, t: int) -> None:
    """states[t] = 0."""
    for q in range(states.shape[1]):
        for b in range(states.shape[2]):
            store(states, (t, q, b), nothing(states))
