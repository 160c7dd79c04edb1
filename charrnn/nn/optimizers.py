"""All optimisers by name."""

from __future__ import annotations

from charrnn.nn.muon import Muon, matrices_of
from charrnn.nn.optim import SGD, Adagrad, Adam, AdamW, Optimizer, OptimizerOptions, RMSprop
from charrnn.nn.params import FlatParams

OPTIMIZERS: dict[str, type[Optimizer]] = {cls.name: cls for cls in (SGD, Adagrad, RMSprop, Adam, AdamW, Muon)}


def make_optimizer(name: str, params: FlatParams, options: OptimizerOptions) -> Optimizer:
    """The optimiser of a network.

    Args:
        name: a key of `OPTIMIZERS`.
        params: of the network.
        options: see `OptimizerOptions`.

    Raises:
        KeyError: no optimiser of that name.
    """
    cls = OPTIMIZERS[name]
    if issubclass(cls, Muon):
        return cls(params.size, params.dtype, options, matrices_of(params))
    return cls(params.size, params.dtype, options)
