"""Every kernel of a cell run once on next to nothing, so that all of them are compiled."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from charrnn.nn.compiled import packing
from charrnn.nn.compiled.engine import Engine
from charrnn.nn.compiled.layout import CompiledCell
from charrnn.nn.compiled.stepper import CompiledStepper
from charrnn.nn.compiled.updates import UPDATES
from charrnn.nn.optimizers import OPTIMIZERS
from charrnn.nn.params import Array


def run_all(cell: CompiledCell, tick: Callable[[int, int], None], dtype: type[np.floating] = np.float32) -> None:
    """Compile what is not compiled; see `charrnn.nn.compiled.compile_kernels`."""
    H = V = 2

    def layer(inputs: int) -> dict[str, Array]:
        rows = len(cell.gates) * H
        shapes = {"weight_ih": (rows, inputs), "weight_hh": (rows, H), "bias": (rows,)}
        shapes |= {name: (H,) for _, name in cell.other_bias}
        return {name: np.zeros(shape, dtype) for name, shape in shapes.items()}

    layers = [layer(V), layer(H)]
    head: dict[str, Array] = {"weight": np.zeros((V, H), dtype), "bias": np.zeros(V, dtype)}
    engine = Engine(cell, layers, head)
    ids = np.zeros((1, 1), np.intp)
    state = [np.zeros((cell.states, H, 1), dtype) for _ in layers]
    grads = [{name: np.empty_like(values) for name, values in params.items()} for params in (*layers, head)]
    nothing = np.zeros((1, 1, 1, engine.head.width), dtype)
    kernels: list[Callable[[], object]] = [
        lambda: engine.refresh(backward=True),
        lambda: engine.loss(ids, ids, state, resets=None),
        lambda: packing.drop(nothing, 0, np.zeros((1, 1, 1), dtype), nothing),
        lambda: engine.loss_and_grad(ids, ids, state, resets=None, scale=1.0, dropping=None, grads=grads),
        lambda: CompiledStepper(engine).step(0),
        lambda: _update(engine, dtype),
    ]
    for done, run in enumerate(kernels):
        tick(done, len(kernels))
        run()
    tick(len(kernels), len(kernels))


def _update(engine: Engine, dtype: type[np.floating]) -> None:
    for name in UPDATES:
        optimizer = OPTIMIZERS[name](1, np.dtype(dtype))
        engine.speed_up(optimizer)
        optimizer.step(np.zeros(1, dtype), np.zeros(1, dtype), 0.0)
