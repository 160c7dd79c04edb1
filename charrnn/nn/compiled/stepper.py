"""One step at a time on compiled kernels: the counterpart of `charrnn.nn.stepper.Stepper`."""

from __future__ import annotations

from typing import Any

import numpy as np

from charrnn.nn.buffers import aligned
from charrnn.nn.compiled import head
from charrnn.nn.compiled.engine import Engine
from charrnn.nn.compiled.jit import code_for
from charrnn.nn.compiled.layout import from_blocks, to_blocks
from charrnn.nn.compiled.window import Window
from charrnn.nn.params import Array

_STEPS = 32  # of the ring, which is then begun again with its last state
# Operations of a step from which a second thread wins more than it costs to be called (30 microseconds).
_WORTH_THREADS = 1e7


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
        weights = sum(layer.weights.recurrent.size + layer.weights.input.size for layer in engine.layers)
        count = engine.threads if 2.0 * weights * columns > _WORTH_THREADS else 1
        self._shares = engine.shares(columns, at_most=count)
        self._streams = [_Streams(engine, share.stop - share.start) for share in self._shares]
        self._logits = np.empty((self.vocab_size, columns), engine.head.dtype)

    @property
    def state(self) -> list[Array]:
        """One (S, H, B) array per layer, copied."""
        each = [streams.state() for streams in self._streams]
        return [np.concatenate(layer, axis=2) for layer in zip(*each, strict=True)]

    @state.setter
    def state(self, state: list[Array]) -> None:
        for share, streams in zip(self._shares, self._streams, strict=True):
            streams.load([layer[:, :, share] for layer in state])

    def step(self, ids: Any) -> Array:
        """Feed one symbol to each stream.

        Args:
            ids: (B,) ids, or one int where B is 1.

        Returns:
            (V, B) logits of the next symbol; overwritten by the next call.
        """
        if len(self._streams) == 1:
            return self._streams[0].step(ids)

        def run(k: int) -> None:
            self._logits[:, self._shares[k]] = self._streams[k].step(ids[self._shares[k]])

        self._engine.on_threads(run, len(self._streams))
        return self._logits


class _Streams:
    """Some of the streams: states in a ring of steps, each step a window of its own."""

    def __init__(self, engine: Engine, columns: int) -> None:
        self._engine, self._next = engine, 0
        dtype, width = engine.head.dtype, engine.head.width
        self._ids = np.zeros((1, columns), np.intp)
        Q = engine.layers[0].rows.units // width
        slots = [_STEPS + 1 if k < engine.cell.states else 0 for k in (0, 1)]
        self._states = [[aligned((n, Q, columns, width), dtype) for n in slots] for _ in engine.layers]
        self._logits = np.empty((engine.head.vocab_size, columns), dtype)
        self._windows = self._make_windows(columns)
        shape = (1, engine.head.panels, columns, 1, width)
        nothing, sums = aligned((0, Q, columns, width), dtype), aligned((columns,), dtype)
        logits, top = aligned(shape, dtype), self._states[-1][0]
        self._scores = [
            head.Scores(top[t : t + 1], self._ids[:0], sums[None][:0], logits, sums, nothing)
            for t in range(1, _STEPS + 1)
        ]
        self._forward = code_for(
            engine.cell.forward,
            [(layer.weights, s, 0, 1) for step in self._windows for layer, s in zip(engine.layers, step, strict=True)],
        )
        self._head = code_for(head.logits, [(engine.head.weights, scores, 0, self._logits) for scores in self._scores])

    def _make_windows(self, columns: int) -> list[list[Window]]:
        """For each step of the ring a window of each layer."""
        engine = self._engine
        dtype, (panels, blocks, width) = engine.head.dtype, engine.layers[0].rows.bias.shape
        Q = engine.layers[0].rows.units // width
        keep, gates = np.ones((2, columns), dtype), aligned((1, panels, columns, blocks, width), dtype)
        nothing, source = aligned((0, Q, columns, width), dtype), aligned((1, Q, columns, width), dtype)
        windows = []
        for t in range(_STEPS):
            ids, x, made = self._ids, aligned((0, Q, columns, width), dtype), []
            for h, c in self._states:
                step = slice(t, t + 2)
                made.append(Window(ids, x, keep, h[step], c[step], gates, nothing, nothing, source))
                ids, x = ids[:0], h[t + 1 : t + 2]
            windows.append(made)
        return windows

    def state(self) -> list[Array]:
        """One (S, H, B) array per layer, copied."""
        shape = (self._engine.cell.states, self._engine.hidden_size, self._ids.shape[1])
        out: list[Array] = [np.empty(shape, self._logits.dtype) for _ in self._states]
        for stores, layer in zip(self._states, out, strict=True):
            for store, values in zip(stores, layer, strict=False):
                from_blocks(store[self._next], values)
        return out

    def load(self, state: list[Array]) -> None:
        """Continue from this state."""
        for stores, layer in zip(self._states, state, strict=True):
            for store, values in zip(stores, layer, strict=False):
                to_blocks(values, store[self._next])

    def step(self, ids: Any) -> Array:
        """(V, B) logits of what follows the ids."""
        if self._next == _STEPS:
            for stores in self._states:
                for store in stores:
                    store[:1] = store[_STEPS:]
            self._next = 0
        t, engine, forward = self._next, self._engine, self._forward
        self._ids[0] = ids
        for layer, s in zip(engine.layers, self._windows[t], strict=True):
            forward(layer.weights, s, 0, 1)
        self._head(engine.head.weights, self._scores[t], 0, self._logits)
        self._next = t + 1
        return self._logits
