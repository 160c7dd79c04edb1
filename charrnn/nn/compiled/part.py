"""One thread's columns of a window: its buffers, and the kernels one after the other."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from charrnn.nn.buffers import Arena, aligned
from charrnn.nn.compiled import head, packing
from charrnn.nn.compiled.layout import CompiledCell, from_blocks, to_blocks
from charrnn.nn.compiled.panels import HeadPanels, LayerPanels
from charrnn.nn.compiled.window import Gradients, Window
from charrnn.nn.dropout import Dropping, fill_mask
from charrnn.nn.params import Array, FlatParams, IntArray, Shapes

_LOGITS = 1 << 16  # at once, so that they stay in cache


class Part:
    """Runs windows of some columns.

    Args:
        cell: kernels.
        layers, head: panels; shared with other parts.
        hidden_size: H.
    """

    def __init__(self, cell: CompiledCell, layers: Sequence[LayerPanels], head: HeadPanels, hidden_size: int) -> None:
        self.cell, self.layers, self.head = cell, layers, head
        self.hidden_size, self.dtype = hidden_size, head.dtype
        self._arena = Arena(self.dtype, on_growth=lambda: None)
        self._windows: list[Window] = []
        self._inputs: IntArray = np.empty((0, 0), np.intp)
        self.gradients: FlatParams | None = None

    # --- buffers ----------------------------------------------------------------------------------------------------

    def _window(self, index: int, ids: IntArray, x: Array, keep: Array) -> Window:
        T, B = keep.shape[0] - 1, keep.shape[1]
        rows = self.layers[index].rows
        panels, blocks, width = rows.bias.shape
        Q, view = rows.units // width, self._arena.view
        two = self.cell.states > 1
        return Window(
            ids=ids,
            x=x,
            keep=keep,
            h=view(f"{index}.h", (T + 1, Q, B, width)),
            c=view(f"{index}.c", (T + 1 if two else 0, Q, B, width)),
            gates=view(f"{index}.gates", (T, panels, B, blocks, width)),
            dh=view("dh", (T, Q, B, width)),
            carried=view("carried", (2, Q, B, width)),
            source=view("source", (1, Q, B, width)),
        )

    def _gradients(self) -> FlatParams:
        if self.gradients is None:
            shapes: Shapes = {}
            for index, layer in enumerate(self.layers):
                shapes |= {f"{index}.{name}": shape for name, shape in layer.shapes().items()}
            shapes |= {f"head.{name}": shape for name, shape in self.head.shapes().items()}
            size = sum(map(math.prod, shapes.values()))
            self.gradients = FlatParams(shapes, self.dtype, buffer=aligned((size,), self.dtype))
        return self.gradients

    # --- a window ---------------------------------------------------------------------------------------------------

    def forward(
        self, inputs: IntArray, state: Sequence[Array], *, resets: IntArray | None, dropping: Dropping | None
    ) -> Array:
        """Run all layers; (T, Q, B, W) states of the top one, as the head sees them.

        Args:
            inputs: (T, B) ids.
            state: (S, H, B) a layer, overwritten with that after the window.
            resets: see `CharRNN.loss`.
            dropping: the masks' key.
        """
        T, B = inputs.shape
        ids = np.ascontiguousarray(inputs, np.intp)
        keep = self._arena.view("keep", (T + 1, B))
        keep[...] = 1.0
        if resets is not None and len(resets):
            keep[resets[:, 0], resets[:, 1]] = 0.0
        x: Array = self._arena.view("none", (0, 1, B, self.layers[0].rows.bias.shape[2]))
        self._windows = []
        for index, (layer, values) in enumerate(zip(self.layers, state, strict=True)):
            s = self._window(index, ids, x, keep)
            self._windows.append(s)
            stores = [s.h, s.c][: self.cell.states]
            for store, value in zip(stores, values, strict=True):
                to_blocks(value, store[0])
            self.cell.forward(layer.weights, s, 0, T)
            for store, value in zip(stores, values, strict=True):
                from_blocks(store[T], value)
            ids = ids[:0]
            x = s.h[1:] if dropping is None else self._dropped(index, s, dropping)
        return x

    def _mask(self, index: int, steps: int, columns: int) -> Array:
        return self._arena.view(f"{index}.mask", (self.hidden_size, steps, columns))

    def _dropped(self, index: int, s: Window, dropping: Dropping) -> Array:
        mask = self._mask(index, len(s.gates), s.keep.shape[1])
        fill_mask(mask, dropping.rate, dropping.key, index, variational=dropping.variational)
        out = self._arena.view(f"{index}.dropped", s.dh.shape)
        out[...] = 0.0
        packing.drop(s.h, 1, mask, out)
        return out

    def _scores(self, top: Array, targets: IntArray) -> head.Scores:
        (T, B), view, panels = targets.shape, self._arena.view, self.head.panels
        width = top.shape[3]
        steps = max(1, min(T, _LOGITS // (panels * width * B)))
        return head.Scores(
            h=top,
            targets=np.ascontiguousarray(targets, np.intp),
            nats=view("nats", (T, B)),
            logits=view("logits", (steps, panels, B, 1, width)),
            sums=view("sums", (B,)),
            dh=view("dh", top.shape),
        )

    def loss(self, top: Array, targets: IntArray) -> Array:
        """(T, B) nats, overwritten by the next window."""
        scores = self._scores(top, targets)
        head.loss(self.head.weights, scores)
        return scores.nats

    def backward(
        self, top: Array, targets: IntArray, scale: float, *, dropping: Dropping | None
    ) -> tuple[float, list[Array]]:
        """After `forward`: fill `gradients`; the sum of nats, and the (S, H, B) gradients of the states before."""
        found = self._gradients()
        found.flat[...] = 0.0
        scores = self._scores(top, targets)
        head.loss_and_grad(self.head.weights, scores, head_gradients_of(found), self.dtype.type(scale))
        before: list[Array] = []
        for index in reversed(range(len(self.layers))):
            s = self._windows[index]
            if dropping is not None:
                packing.drop(s.dh, 0, self._mask(index, len(s.gates), s.keep.shape[1]), s.dh)
            s.carried[...] = 0.0
            self.cell.backward(self.layers[index].weights, s, gradients_of(found, index))
            gradient = np.empty((self.cell.states, self.hidden_size, s.keep.shape[1]), self.dtype)
            for values, out in zip(s.carried, gradient, strict=False):
                from_blocks(values, out)
            before.insert(0, gradient * s.keep[0])
        return float(scores.nats.sum(dtype=np.float64)), before

    @property
    def nbytes(self) -> int:
        """Bytes of all buffers."""
        return self._arena.nbytes + (0 if self.gradients is None else self.gradients.flat.nbytes)


def gradients_of(found: FlatParams, index: int) -> Gradients:
    """A layer's views."""
    return Gradients(*(found[f"{index}.{name}"] for name in Gradients._fields))


def head_gradients_of(found: FlatParams) -> head.Head:
    """The head's views; there is no gradient of panels that are the same weights again."""
    weight = found["head.weight"]
    return head.Head(weight, found["head.bias"], weight, found["head.rest"])
