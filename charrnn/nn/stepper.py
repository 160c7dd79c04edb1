"""One step at a time, for sampling: preallocated, without the window's machinery.

It runs the cells' own `step_forward`. In a workspace of one step, the slots before and after the step are the same
memory, so the state is updated in place.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from charrnn.nn.buffers import Workspace
from charrnn.nn.cells import CELLS, RecurrentCell
from charrnn.nn.network import CharRNN, State
from charrnn.nn.params import Array

if TYPE_CHECKING:
    from charrnn.nn.compiled.stepper import CompiledStepper


class Stepper:
    """Feeds symbols one by one to B streams.

    Args:
        model: its parameters are read once; later changes are not seen.
        columns: B; one stream runs on matrix-vector products.

    Example:
        >>> model = CharRNN(vocab_size=65, hidden_size=8)
        >>> Stepper(model).step(3).shape
        (65, 1)
    """

    def __init__(self, model: CharRNN, columns: int = 1) -> None:
        self.columns, self.vocab_size, self.hidden_size = columns, model.vocab_size, model.hidden_size
        # The model's own kernels may be compiled ones, so what is read here is brought up to date here.
        model.input_weights()
        model.head.refresh(backward=False)
        self._layers: list[tuple[RecurrentCell, Workspace, Any]] = []
        for index in range(model.num_layers):
            cell = CELLS[model.cell_name](
                model.layer_params(index),
                input_size=model.hidden_size if index else model.vocab_size,
                hidden_size=model.hidden_size,
                symbols=index == 0,
                fuse_one_hot=False,
            )
            cell.refresh(backward=False)
            ws = _single_step_workspace(cell, columns)
            ws["steps"][:, cell.hidden_size] = 1.0
            self._layers.append((cell, ws, cell.build_forward_steps(ws)[0]))
        # (V, R): the input's part of the first layer's pre-activations, one contiguous row per symbol.
        self._table = np.ascontiguousarray(self._layers[0][0].w_in.T)
        self._head = model.head.fused.copy()
        self._logits = np.empty((model.vocab_size, columns), model.dtype)
        self._first_in = self._layers[0][1]["a_in"][0]
        inputs = [None, *(ws["a_in"][:, 0] for _, ws, _ in self._layers[1:])]
        belows = [None, *(s.hx for _, _, s in self._layers[:-1])]
        self._plan = [
            (cell, s, a_in, below) for (cell, _, s), a_in, below in zip(self._layers, inputs, belows, strict=True)
        ]
        self._top = self._layers[-1][2].hx
        self.state = model.zero_state(columns)

    @property
    def state(self) -> State:
        """One (S, H, B) array per layer, copied."""
        out = []
        for cell, ws, _ in self._layers:
            state = np.empty((len(cell.state_names), self.hidden_size, self.columns), cell.dtype)
            cell.save_state(state, ws)
            out.append(state)
        return out

    @state.setter
    def state(self, state: State) -> None:
        for (cell, ws, _), values in zip(self._layers, state, strict=True):
            cell.load_state(values, ws)

    def step(self, ids: Any) -> Array:
        """Feed one symbol to each stream.

        Args:
            ids: (B,) ids, or one int where B is 1.

        Returns:
            (V, B) logits of the next symbol; overwritten by the next call.
        """
        np.copyto(self._first_in.T, self._table[ids])
        for cell, s, a_in, below in self._plan:
            if a_in is not None:
                np.matmul(cell.w_in, below, out=a_in)
            np.matmul(cell.w_rec, s.hx, out=s.a)
            cell.step(s)
        return np.matmul(self._head, self._top, out=self._logits)


def stepper_of(model: CharRNN, columns: int = 1) -> Stepper | CompiledStepper:
    """The stepper of a network's kernels."""
    if model.engine is None:
        return Stepper(model, columns)
    from charrnn.nn.compiled.stepper import CompiledStepper

    model.refresh(backward=False)  # the embedding's product, where there is one
    return CompiledStepper(model.engine, columns)


def _single_step_workspace(cell: RecurrentCell, columns: int) -> Workspace:
    shapes = {**cell.own_shapes(1, columns), **cell.shared_shapes(1, columns)}
    one_slot = cell.state_slots() | ({} if cell.gathers else {"a_in": 1})
    arrays = {}
    for name, shape in shapes.items():
        axis = one_slot.get(name)
        single = tuple(1 if k == axis else n for k, n in enumerate(shape))
        memory = np.zeros(single, cell.dtype)
        strides = tuple(0 if k == axis else n for k, n in enumerate(memory.strides))
        arrays[name] = np.lib.stride_tricks.as_strided(memory, shape, strides)
    return Workspace(arrays, 1, columns)
