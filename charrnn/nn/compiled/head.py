"""The output layer, compiled; its equations are those of `charrnn.nn.head`.

    logits = W h + b        p = softmax(logits)        loss = -ln p[target]        dlogits = p - onehot(target)

A few steps at a time, whose logits stay in cache. Symbols are filled up to whole vectors; those that are too many have
a bias of -1e30 and so a probability of zero. Where only a few symbols are in the last vector (one of 65), a panel for
them would be mostly empty: their weights lie along the units instead.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from charrnn.nn.compiled.functions import exp
from charrnn.nn.compiled.jit import inline, kernel
from charrnn.nn.compiled.product import gates_product, states_product, weight_gradient
from charrnn.nn.compiled.vector import at, behind, greatest, highest, load, nothing, spread_at, store, total
from charrnn.nn.compiled.window import clear
from charrnn.nn.params import Array, IntArray

NO_SYMBOL = -1e30

_add_logits, _add_states, _add_gradient = gates_product(1), states_product(1), weight_gradient(1)


class Head(NamedTuple):
    """The head's parameters, packed.

    Attributes:
        weight: (P, K, 1, W) panels.
        bias: (V / W, 1, W), filled up.
        back: (K / 2W, P W, 2, W) panels.
        rest: (R, K / W, W), the weights of the last symbols, which are in no panel.
    """

    weight: Array
    bias: Array
    back: Array
    rest: Array


class Scores(NamedTuple):
    """What the head works on.

    Attributes:
        h: (T, Q, B, W) states.
        targets: (T, B) symbols that follow.
        nats: (T, B), overwritten with the surprise at each.
        logits: (t, V / W, B, 1, W), filled up, for the steps that are worked on at once.
        sums: (B,) of exp(logit - highest logit).
        dh: (T, Q, B, W), overwritten with the gradient of the states.
    """

    h: Array
    targets: IntArray
    nats: Array
    logits: Array
    sums: Array
    dh: Array


@inline
def _logits(w: Any, s: Any, t: int, k: int) -> None:
    """Logits of step t in place k."""
    for p in range(s.logits.shape[1]):
        for b in range(s.logits.shape[2]):
            store(s.logits, (k, p, b, 0), load(w.bias, (p, 0)))
        if p < w.weight.shape[0]:
            _add_logits(s.logits, k, p, 0, w.weight, s.h, t)
    for r in range(w.rest.shape[0]):
        for b in range(s.logits.shape[2]):
            sums = nothing(s.logits)
            for q in range(s.h.shape[1]):
                sums = sums + load(w.rest, (r, q)) * load(s.h, (t, q, b))
            s.logits[k, s.logits.shape[1] - 1, b, 0, r] += total(sums)


@inline
def _softmax(w: Any, s: Any, t: int, k: int) -> None:
    """In place k the logits of step t as exp(logit - highest); their sums; the nats of the targets."""
    panels, columns, width = s.logits.shape[1], s.logits.shape[2], s.logits.shape[4]
    _logits(w, s, t, k)
    for b in range(columns):
        largest = load(s.logits, (k, 0, b, 0))
        for p in range(1, panels):
            largest = greatest(load(s.logits, (k, p, b, 0)), largest)
        peak, target, sums = highest(largest), s.targets[t, b], nothing(s.logits)
        picked = s.logits[k, target // width, b, 0, target % width] - peak
        for p in range(panels):
            e = exp(load(s.logits, (k, p, b, 0)) - peak)
            store(s.logits, (k, p, b, 0), e)
            sums = sums + e
        s.sums[b] = total(sums)
        s.nats[t, b] = math.log(s.sums[b]) - picked


@kernel
def logits(w: Any, s: Any, t: int, out: Any) -> None:
    """(V, B) logits of step t."""
    width = s.logits.shape[4]
    _logits(w, s, t, 0)
    for symbol in range(out.shape[0]):
        for b in range(out.shape[1]):
            out[symbol, b] = s.logits[0, symbol // width, b, 0, symbol % width]


@kernel
def loss(w: Any, s: Any) -> None:
    """The nats of a window."""
    for t in range(s.targets.shape[0]):
        _softmax(w, s, t, 0)


@kernel
def loss_and_grad(w: Any, s: Any, d: Any, scale: float) -> None:
    """Nats, and the gradients of `scale` times their sum: those of the states in `dh`, those of `Head` added to `d`."""
    panels, columns, width = s.logits.shape[1], s.logits.shape[2], s.logits.shape[4]
    for start in range(0, s.targets.shape[0], s.logits.shape[0]):
        count = min(s.logits.shape[0], s.targets.shape[0] - start)
        for k in range(count):
            t = start + k
            _softmax(w, s, t, k)
            for b in range(columns):
                s.sums[b] = scale / s.sums[b]
            for p in range(panels):
                db = load(d.bias, (p, 0))
                for b in range(columns):
                    dlogits = load(s.logits, (k, p, b, 0)) * spread_at(at(s.sums, (b,)))
                    store(s.logits, (k, p, b, 0), dlogits)
                    db = db + dlogits
                store(d.bias, (p, 0), db)
            for b in range(columns):
                target = s.targets[t, b]
                s.logits[k, target // width, b, 0, target % width] -= scale
                d.bias[target // width, 0, target % width] -= scale
            clear(s.dh, t)
            for q in range(s.dh.shape[1] // 2):
                _add_states(s.dh, t, q, w.back, s.logits, k, 0)
        _add_gradient(d.weight, s.logits[:count], 0, s.h[start : start + count])
        _rest_gradients(w, s, d, start, count)


@inline
def _rest_gradients(w: Any, s: Any, d: Any, start: int, count: int) -> None:
    """What the symbols that are in no panel add to the gradients of the states and of their own weights."""
    for r in range(w.rest.shape[0]):
        for k in range(count):
            for q in range(s.h.shape[1]):
                weight, gradient = load(w.rest, (r, q)), load(d.rest, (r, q))
                for b in range(s.h.shape[2]):
                    dlogit = spread_at(behind(at(s.logits, (k, s.logits.shape[1] - 1, b, 0)), r))
                    store(s.dh, (start + k, q, b), load(s.dh, (start + k, q, b)) + dlogit * weight)
                    gradient = gradient + dlogit * load(s.h, (start + k, q, b))
                store(d.rest, (r, q), gradient)
