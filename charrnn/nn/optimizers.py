"""All optimisers by name."""

from __future__ import annotations

from typing import Any

from charrnn.nn.muon import Muon, matrices_of
from charrnn.nn.network import CharRNN
from charrnn.nn.optim import SGD, Adagrad, Adam, AdamW, Optimizer, OptimizerOptions, RMSprop

OPTIMIZERS: dict[str, type[Optimizer]] = {cls.name: cls for cls in (SGD, Adagrad, RMSprop, Adam, AdamW, Muon)}


def make_optimizer(name: str, model: CharRNN, options: OptimizerOptions) -> Optimizer:
    """The optimiser of a network, compiled where the network is.

    Args:
        name: a key of `OPTIMIZERS`.
        model: the network.
        options: see `OptimizerOptions`.

    Raises:
        KeyError: no optimiser of that name.
    """
    cls, params = OPTIMIZERS[name], model.params
    engine, more = model.engine, dict[str, Any]()
    if issubclass(cls, Muon):
        more["matrices"] = matrices_of(params)
        if engine is not None:
            more |= {"threads": engine.threads, "on_threads": engine.on_threads}
    made = cls(params.size, params.dtype, options, **more)
    if engine is not None:
        engine.speed_up(made)
    return made
