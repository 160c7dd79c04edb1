"""A network's windows on compiled kernels: parameters are packed once per window, columns split among threads.

    parameters -> panels        once per window, a share by each thread
    each thread: its columns    layer by layer forward, head, layer by layer backward, in buffers of its own
    gradients                   summed in the order of the threads, so that a number of threads has its own bits

A kernel runs a whole layer without the interpreter's lock, so threads do what processes do for the NumPy kernels.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, MutableMapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TypeVar

import numpy as np

from charrnn.nn.compiled.layout import CompiledCell, Rows
from charrnn.nn.compiled.panels import HeadPanels, LayerPanels
from charrnn.nn.compiled.part import Part, gradients_of, head_gradients_of
from charrnn.nn.compiled.updates import UPDATES
from charrnn.nn.compiled.vector import BITS
from charrnn.nn.dropout import Dropping
from charrnn.nn.optim import Optimizer
from charrnn.nn.params import Array, IntArray

R = TypeVar("R")

MARK = f"compiled/{BITS}"  # for a checkpoint: another width of vectors adds up in another order


class Engine:
    """The compiled counterpart of a network's layers and head.

    Args:
        cell: its kernels.
        layers: each layer's parameters, read at every `refresh`.
        head: the head's.
        threads: over which columns are shared out.
    """

    def __init__(
        self,
        cell: CompiledCell,
        layers: Sequence[Mapping[str, Array]],
        head: Mapping[str, Array],
        *,
        threads: int = 1,
    ) -> None:
        self.cell, self.threads = cell, threads
        self.hidden_size = hidden_size = head["weight"].shape[1]
        rows = Rows(cell, hidden_size, head["weight"].dtype)
        self.layers = [LayerPanels(params, rows, symbols=index == 0) for index, params in enumerate(layers)]
        self.head = HeadPanels(head, rows.units)
        self._parts = [Part(cell, self.layers, self.head, hidden_size) for _ in range(threads)]
        self._pool: ThreadPoolExecutor | None = None

    def refresh(self, *, backward: bool, recurrent: Sequence[Array] = ()) -> None:
        """Pack the parameters.

        Args:
            backward: also what gradients need.
            recurrent: each layer's recurrent weights to use instead of the parameters.
        """
        if backward:
            for layer in self.layers:
                layer.prepare_backward()
            self.head.prepare_backward()

        def pack(k: int) -> None:
            share = (k, self.threads)
            for index, layer in enumerate(self.layers):
                layer.pack(share, backward=backward, recurrent=recurrent[index] if recurrent else None)
            self.head.pack(share, backward=backward)

        self.on_threads(pack, self.threads)

    def loss(self, inputs: IntArray, targets: IntArray, state: Sequence[Array], *, resets: IntArray | None) -> Array:
        """(T, B) nats; see `CharRNN.loss`."""
        nats = np.empty(inputs.shape, self.head.dtype)
        shares = self.shares(inputs.shape[1])

        def run(k: int) -> None:
            columns, part = shares[k], self._parts[k]
            mine = [layer[:, :, columns] for layer in state]
            top = part.forward(inputs[:, columns], mine, resets=resets_of(resets, columns), dropping=None)
            nats[:, columns] = part.loss(top, targets[:, columns])

        self.on_threads(run, len(shares))
        return nats

    def loss_and_grad(
        self,
        inputs: IntArray,
        targets: IntArray,
        state: Sequence[Array],
        *,
        resets: IntArray | None,
        scale: float,
        dropping: Dropping | None,
        grads: Sequence[MutableMapping[str, Array]],
    ) -> tuple[float, list[Array]]:
        """The sum of nats and the gradients of the states before the window.

        Args:
            inputs: as in `CharRNN.loss_and_grad`.
            targets: likewise.
            state: likewise.
            resets: likewise.
            scale: likewise.
            dropping: rate and key of dropout; None for none.
            grads: of each layer and of the head; overwritten.
        """
        shares = self.shares(inputs.shape[1])

        def run(k: int) -> tuple[float, list[Array]]:
            columns, part = shares[k], self._parts[k]
            mine, drop = [layer[:, :, columns] for layer in state], dropping
            if drop is not None:
                drop = replace(drop, key=replace(drop.key, first_column=drop.key.first_column + columns.start))
            top = part.forward(inputs[:, columns], mine, resets=resets_of(resets, columns), dropping=drop)
            return part.backward(top, targets[:, columns], scale, dropping=drop)

        found = self.on_threads(run, len(shares))
        self._unpack(len(shares), grads)
        before = [np.concatenate(layer, axis=2) for layer in zip(*(gradients for _, gradients in found), strict=True)]
        return sum(nats for nats, _ in found), before

    def speed_up(self, optimizer: Optimizer) -> None:
        """Let the optimiser take its steps compiled and on these threads, if there is a compiled version of it."""
        if optimizer.name in UPDATES:
            optimizer.compiled = UPDATES[optimizer.name](self)

    def _unpack(self, count: int, grads: Sequence[MutableMapping[str, Array]]) -> None:
        """Sum the gradients of the parts and write them as those of the parameters."""
        gradients = [part.gradients for part in self._parts[:count]]
        total = gradients[0]
        assert total is not None
        bounds = np.arange(count + 1) * total.size // count

        def add(k: int) -> None:
            mine = slice(bounds[k], bounds[k + 1])
            for other in gradients[1:]:
                assert other is not None
                total.flat[mine] += other.flat[mine]

        def unpack(k: int) -> None:
            for index, layer in enumerate(self.layers):
                layer.unpack(gradients_of(total, index), grads[index], (k, count))
            self.head.unpack(head_gradients_of(total), grads[-1], (k, count))

        if count > 1:
            self.on_threads(add, count)
        self.on_threads(unpack, count)
        for index, layer in enumerate(self.layers):
            layer.unpack_bias(gradients_of(total, index), grads[index])

    def shares(self, columns: int, at_most: int | None = None) -> list[slice]:
        """Columns of each thread; they differ by one at most."""
        count = max(1, min(self.threads if at_most is None else at_most, columns))
        return [slice(k * columns // count, (k + 1) * columns // count) for k in range(count)]

    def on_threads(self, run: Callable[[int], R], count: int) -> list[R]:
        """run(0), run(1), ... at once; this thread takes the first."""
        if count == 1:
            return [run(0)]
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self.threads - 1, "charrnn")
        others = [self._pool.submit(run, k) for k in range(1, count)]
        first = run(0)
        return [first, *(other.result() for other in others)]

    @property
    def nbytes(self) -> int:
        """Bytes of all buffers."""
        return sum(part.nbytes for part in self._parts)


def resets_of(resets: IntArray | None, columns: slice) -> IntArray | None:
    """Those of some columns, counted from the first of these."""
    if resets is None or not len(resets):
        return None
    mine = resets[(resets[:, 1] >= columns.start) & (resets[:, 1] < columns.stop)].copy()
    mine[:, 1] -= columns.start
    out: IntArray = mine
    return out
