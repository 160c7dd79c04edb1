"""One step at a time on compiled kernels: the counterpart of `charrnn.nn.stepper.Stepper`."""

from __future__ import annotations

from typing import Any

import numpy as np

from charrnn.nn.buffers import aligned
from charrnn.nn.compiled import head
from charrnn.nn.compiled.engine import Engine
from charrnn.nn.compiled.layout import from_blocks, to_blocks
from charrnn.nn.compiled.window import Window
from charrnn.nn.params import Array

_STEPS = 32  # of a window, which is then begun again with its last state


class CompiledStepper:
    """Feeds symbols one by one to B streams.

    Args:
        engine: its panels are packed anew, once; changes of the parameters after that are not seen.
        columns: B.
    """

    def __init__(self, engine: Engine, columns: int = 1) -> None:
        self._engine, self.columns = engine, columns
        self.vocab_size, self.hidden_size = engine.head.vocab_size, engine.hidden_size
        engine.refresh(backward=False)
        dtype, width = engine.head.dtype, engine.head.rows.shape[2]
        self._ids = np.zeros((_STEPS, columns), np.intp)
        keep = np.ones((_STEPS + 1, columns), dtype)
        panels, blocks, _ = engine.layers[0].rows.bias.shape
        Q, x = engine.layers[0].rows.units // width, aligned((0, 1, columns, width), dtype)
        self._windows: list[Window] = []
        for index in range(len(engine.layers)):
            states = [aligned((_STEPS + 1 if k < engine.cell.states else 0, Q, columns, width), dtype) for k in (0, 1)]
            ids = self._ids if index == 0 else self._ids[:0]
            gates = aligned((_STEPS, panels, columns, blocks, width), dtype)
            nothing, source = aligned((0, Q, columns, width), dtype), aligned((1, Q, columns, width), dtype)
            self._windows.append(
                Window(ids, x, keep, h=states[0], c=states[1], gates=gates, dh=nothing, carried=nothing, source=source)
            )
            x = states[0][1:]
        shape = (1, len(engine.head.rows), columns, 1, width)
        targets, sums = self._ids[:0], np.empty(columns, dtype)
        nats = aligned((0, columns), dtype)
        self._scores = head.Scores(x, targets, nats, aligned(shape, dtype), sums, nothing)
        self._logits = np.empty((self.vocab_size, columns), dtype)
        self._next = 0

    @property
    def state(self) -> list[Array]:
        """One (S, H, B) array a layer, copied."""
        out = []
        for s in self._windows:
            made = np.empty((self._engine.cell.states, self.hidden_size, self.columns), self._logits.dtype)
            for store, values in zip((s.h, s.c), made, strict=False):
                from_blocks(store[self._next], values)
            out.append(made)
        return out

    @state.setter
    def state(self, state: list[Array]) -> None:
        for s, layer in zip(self._windows, state, strict=True):
            for store, values in zip((s.h, s.c), layer, strict=False):
                to_blocks(values, store[self._next])

    def step(self, ids: Any) -> Array:
        """Feed one symbol to each stream.

        Args:
            ids: (B,) ids, or one int where B is 1.

        Returns:
            (V, B) logits of the next symbol; overwritten by the next call.
        """
        if self._next == _STEPS:
            for s in self._windows:
                s.h[0] = s.h[_STEPS]
                s.c[:1] = s.c[_STEPS:]
            self._next = 0
        t, engine = self._next, self._engine
        self._ids[t] = ids
        for layer, s in zip(engine.layers, self._windows, strict=True):
            engine.cell.forward(layer.weights, s, t, t + 1)
        head.logits(engine.head.weights, self._scores, t, self._logits)
        self._next = t + 1
        return self._logits
