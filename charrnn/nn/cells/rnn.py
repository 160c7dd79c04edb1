"""The vanilla recurrent cell.

    a_t = W_ih x_t + b + W_hh h_{t-1}
    h_t = tanh(a_t)

Backwards:

    da_t     = dh_t (1 - h_t²)
    dh_{t-1} = W_hhᵀ da_t

Source: Elman (1990).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from charrnn.nn.buffers import Workspace
from charrnn.nn.cells.recurrent import RecurrentCell
from charrnn.nn.init import orthogonal_, uniform_
from charrnn.nn.params import Array, Shapes


class ForwardStep(NamedTuple):
    """Views of one step going forward."""

    hx: Array
    a: Array
    a_in: Array | None
    h: Array


class BackwardStep(NamedTuple):
    """Views of one step going back."""

    dh: Array
    local: Array
    da: Array
    dh_rec: Array


class RNN(RecurrentCell):
    """tanh cell; see the module."""

    name = "rnn"
    gates = "h"
    recurrent_order = input_order = riding = "h"
    da_blocks = local_blocks = 1

    def init(self, rng: np.random.Generator, *, forget_bias: float) -> None:
        """Orthogonal recurrent weights, uniform input weights, no bias; `forget_bias` is not used."""
        uniform_(self.params["weight_ih"], rng, fan=self.hidden_size)
        orthogonal_(self.params["weight_hh"], rng)
        self.params["bias"][...] = 0.0

    def shared_shapes(self, time_steps: int, columns: int) -> Shapes:
        """The pre-activation of one step is enough: the derivative needs only h."""
        return {**super().shared_shapes(time_steps, columns), "a": (self.hidden_size, columns)}

    def build_forward_steps(self, ws: Workspace) -> list[Any]:
        """See `RecurrentCell`."""
        hx = list(ws["steps"])
        a_in = self.projected_steps(ws)
        return [ForwardStep(hx[t], ws["a"], a_in[t], hx[t + 1][: self.hidden_size]) for t in range(ws.time_steps)]

    def advance(self, s: ForwardStep) -> None:
        """From a to h, by the tanh."""
        if s.a_in is not None:
            np.add(s.a, s.a_in, out=s.a)
        np.tanh(s.a, out=s.h)

    def build_backward_steps(self, ws: Workspace) -> list[Any]:
        """See `RecurrentCell`."""
        local, da = ws["local"], ws["da_chunk"]
        product = self.back_product(ws)
        return [BackwardStep(ws["dh"], local[k, 0], da[slot, 0], product) for k, slot in self.chunk_slots(ws)]

    def local_derivatives(self, ws: Workspace, start: int, stop: int) -> None:
        """1 - h²."""
        h = ws["hx"][: self.hidden_size, start + 1 : stop + 1].transpose(1, 0, 2)
        local = ws["local"][: stop - start, 0]
        np.multiply(h, h, out=local)
        np.subtract(self.one, local, out=local)

    def retreat(self, s: BackwardStep) -> None:
        """The module's backward equations."""
        np.multiply(s.dh, s.local, out=s.da)
        np.matmul(self.w_back_blocks, s.da, out=s.dh_rec)
