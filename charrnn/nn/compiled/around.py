"""The products around a cell's equations, which every cell takes in the same order."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from charrnn.nn.compiled.jit import inline
from charrnn.nn.compiled.product import gates_product, states_product, weight_gradient
from charrnn.nn.compiled.window import begin, clear


class Around(NamedTuple):
    """What a cell calls for its sums; `w`, `s` and `d` are `Weights`, `Window` and `Gradients`.

    Attributes:
        pre_activate: (w, s, t, p, states, place) fills panel p of the gates of step t: symbols or bias, features,
            states[place].
        carry: (w, s, t, q) adds to pair q of the blocks of `carried` what the gates of step t say of the states
            before it.
        hand_down: (w, s, t) makes of `dh` the gradient of the features of step t, if there is a layer below.
        finish: (w, s, d), after the first step: the gradients of the states before it and of the matrices.
    """

    pre_activate: Callable[..., None]
    carry: Callable[..., None]
    hand_down: Callable[..., None]
    finish: Callable[..., None]


def around(blocks: int, recurrent: int = 0) -> Around:
    """The sums of a cell.

    Args:
        blocks: of a panel of gates that a matrix makes.
        recurrent: the first of those that the recurrent matrix makes; the input's begin at 0.
    """
    add_gates, add_states, add_gradient = gates_product(blocks), states_product(blocks), weight_gradient(blocks)

    @inline
    def pre_activate(w: Any, s: Any, t: int, p: int, states: Any, place: int) -> None:
        begin(w, s, t, p)
        if s.x.shape[0]:
            add_gates(s.gates, t, p, 0, w.input, s.x, t)
        add_gates(s.gates, t, p, recurrent, w.recurrent, states, place)

    @inline
    def carry(w: Any, s: Any, t: int, q: int) -> None:
        add_states(s.carried, 0, q, w.recurrent_back, s.gates, t, recurrent)

    @inline
    def hand_down(w: Any, s: Any, t: int) -> None:
        if w.input_back.shape[0]:
            clear(s.dh, t)
            for q in range(s.dh.shape[1] // 2):
                add_states(s.dh, t, q, w.input_back, s.gates, t, 0)

    @inline
    def finish(w: Any, s: Any, d: Any) -> None:
        for q in range(s.carried.shape[1] // 2):
            carry(w, s, 0, q)
        add_gradient(d.recurrent, s.gates, recurrent, s.h)
        if s.x.shape[0]:
            add_gradient(d.input, s.gates, 0, s.x)

    return Around(pre_activate, carry, hand_down, finish)
