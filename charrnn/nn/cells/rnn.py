"""The vanilla recurrent cell.

    a_t = W_ih x_t + b + W_hh h_{t-1}
    h_t = tanh(a_t)

Backwards:

    da_t     = dh_t (1 - h_t²)
    dh_{t-1} = W_hhᵀ da_t

Source: Elman (1990).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from charrnn.nn.buffers import Workspace
from charrnn.nn.cells.cell import Axes
from charrnn.nn.cells.recurrent import RecurrentCell
from charrnn.nn.params import Array


class RNN(RecurrentCell):
    """tanh cell; see the module."""

    name, torch_module = "rnn", "RNN"
    gates = recurrent_order = input_order = fusable = "h"
    equations = ("h = tanh(a_h)",)
    da_blocks = chunk_blocks = local_blocks = 1
    shared_buffers: ClassVar[Mapping[str, Axes]] = {"a": ("H", "B")}  # of one step: the derivative needs only h

    def forward_views(self, ws: Workspace, t: int) -> dict[str, Array]:
        """The pre-activation of any step."""
        return {"a": ws["a"]}

    def step_forward(self, s: Any) -> None:
        """The state from the pre-activation."""
        np.tanh(s.a, out=s.h)

    def backward_views(self, ws: Workspace, t: int, local: Array, da: Array) -> dict[str, Array]:
        """Buffers for 1 - h² and da."""
        return {"local": local[0], "da": da[0], "da_rec": da[0]}

    def gate_derivatives(self, ws: Workspace, steps: slice, local: Array) -> None:
        """1 - h²."""
        h = ws["hx"][: self.hidden_size, steps.start + 1 : steps.stop + 1].transpose(1, 0, 2)
        np.multiply(h, h, out=local[:, 0])
        np.subtract(self.one, local[:, 0], out=local[:, 0])

    def step_backward(self, s: Any) -> None:
        """Compute da = dh (1 - h²)."""
        np.multiply(s.dh, s.local, out=s.da)
