"""Optimisers' updates, compiled: one pass over parameters, gradient and moments, split among threads.

The operations are those of `charrnn.nn.optim` in the same order, each rounded on its own, so the bits are the same, on
any number of threads, and a run may change from one to the other. An optimiser gets a compiled version by a kernel here
and a line in `UPDATES`; one without is run by NumPy.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from charrnn.nn.compiled.jit import kernel
from charrnn.nn.optim import Adam, Optimizer
from charrnn.nn.params import Array

if TYPE_CHECKING:
    from charrnn.nn.compiled.engine import Engine

Update = Callable[[Optimizer, Array, Array, float, float], None]

_LEAST = 1 << 15  # parameters of a thread; fewer take less time than to call it


@kernel
def _adam(p: Any, g: Any, m: Any, v: Any, scalars: Any) -> None:
    """See `charrnn.nn.optim.Adam`."""
    scale, shrink, decay, beta1, rest1, beta2, rest2, epsilon, rate = scalars
    for k in range(p.size):
        p_k, g_k = p[k] * shrink, g[k] * scale
        if decay != 0.0:
            g_k += p_k * decay
        m[k] = m[k] * beta1 + g_k * rest1
        v[k] = v[k] * beta2 + g_k * g_k * rest2
        p[k] = p_k - m[k] / (np.sqrt(v[k]) + epsilon) * rate


def adam(engine: Engine) -> Update:
    """Of Adam, AdamW and what Muon leaves to Adam."""

    def update(optimizer: Optimizer, params: Array, grad: Array, rate: float, scale: float) -> None:
        assert isinstance(optimizer, Adam)
        o, number = optimizer.options, params.dtype.type
        shrink, decay = (1.0 - rate * o.weight_decay, 0.0) if optimizer.decoupled_decay else (1.0, o.weight_decay)
        constants = (scale, shrink, decay, o.beta1, 1.0 - o.beta1, o.beta2, 1.0 - o.beta2, *optimizer.corrected(rate))
        scalars = tuple(map(number, constants))
        m, v = optimizer.moments["mean"], optimizer.moments["square_mean"]
        count = max(1, min(engine.threads, params.size // _LEAST))

        def run(k: int) -> None:
            mine = slice(k * params.size // count, (k + 1) * params.size // count)
            _adam(params[mine], grad[mine], m[mine], v[mine], scalars)

        engine.on_threads(run, count)

    return update


UPDATES: dict[str, Callable[[Engine], Update]] = {"adam": adam, "adamw": adam, "muon": adam}
