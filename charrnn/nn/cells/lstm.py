"""The long short-term memory cell.

    a_t = W_ih x_t + b + W_hh h_{t-1}                  four blocks: i f g o
    i, f, o = σ(a_i), σ(a_f), σ(a_o)      g = tanh(a_g)
    c_t = f c_{t-1} + i g
    h_t = o tanh(c_t)

Backwards, with dc arriving from step t+1:

    da_o     = dh tanh(c) o (1 - o)
    dc      += dh o (1 - tanh²(c))
    da_g     = dc i (1 - g²)
    da_i     = dc g i (1 - i)
    da_f     = dc c_{t-1} f (1 - f)
    dc_{t-1} = dc f
    dh_{t-1} = W_hhᵀ da

Sources: Hochreiter and Schmidhuber (1997); forget gate: Gers, Schmidhuber and Cummins (2000).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from charrnn.nn.buffers import Workspace
from charrnn.nn.cells.cell import Axes
from charrnn.nn.cells.recurrent import RecurrentCell
from charrnn.nn.params import Array


class LSTM(RecurrentCell):
    """Long short-term memory; see the module."""

    name, torch_module = "lstm", "LSTM"
    gates, state_names = "ifgo", ("h", "c")
    sigmoid_gates, keep_gate = "oif", "f"
    equations = (
        "i = sigmoid(a_i)",
        "f = sigmoid(a_f)",
        "g = tanh(a_g)",
        "o = sigmoid(a_o)",
        "c = f * c + i * g",
        "h = o * tanh(c)",
    )
    # The sigmoids o i f are adjacent, and so are i f g, which all take the gradient of c.
    recurrent_order = input_order = fusable = "oifg"
    da_blocks, chunk_blocks, local_blocks = 4, 4, 5
    buffers: ClassVar[Mapping[str, Axes]] = {"gates": ("T", 4, "H", "B"), "tanh_c": ("T", "H", "B")}
    gate_blocks: ClassVar[Mapping[str, int]] = {"i": 1, "f": 2, "g": 3, "o": 0}

    def forward_views(self, ws: Workspace, t: int) -> dict[str, Array]:
        """The gates; c before and after the step."""
        gates, c = ws["gates"][t], ws["c"]
        o, i, f, g = gates
        a = gates.reshape(-1, ws.columns)
        return {"a": a, "oif": gates[:3], "o": o, "i": i, "f": f, "g": g,
                "c_prev": c[t], "c": c[t + 1], "tanh_c": ws["tanh_c"][t]}  # fmt: skip

    def step_forward(self, s: Any) -> None:
        """Gates, then c = f c_prev + i g, then h = o tanh(c)."""
        np.tanh(s.a, out=s.a)
        self.step_from_tanh(s)

    def step_from_tanh(self, s: Any) -> None:
        """The same from the tanh of the pre-activations."""
        np.multiply(s.oif, self.half, out=s.oif)  # σ(a) = (1 + tanh(a/2)) / 2; the weights' rows are halved
        np.add(s.oif, self.half, out=s.oif)
        np.multiply(s.i, s.g, out=s.tmp)
        np.multiply(s.f, s.c_prev, out=s.c)
        np.add(s.c, s.tmp, out=s.c)
        np.tanh(s.c, out=s.tanh_c)
        np.multiply(s.o, s.tanh_c, out=s.h)

    def backward_views(self, ws: Workspace, t: int, local: Array, da: Array) -> dict[str, Array]:
        """Local derivatives of the gates o, i f g and of c; their parts of da."""
        return {"local_o": local[0], "local_ifg": local[1:4], "local_c": local[4], "f": ws["gates"][t, 2],
                "da_o": da[0], "da_ifg": da[1:], "da_rec": da.reshape(-1, ws.columns)}  # fmt: skip

    def gate_derivatives(self, ws: Workspace, steps: slice, local: Array) -> None:
        """The factors of da_o, da_i, da_f, da_g and dc that the forward pass alone determines."""
        gates, tanh_c = ws["gates"][steps], ws["tanh_c"][steps]
        o, i, g = gates[:, 0], gates[:, 1], gates[:, 3]
        sigmoids, local_g, local_c = local[:, :3], local[:, 3], local[:, 4]
        np.multiply(gates[:, :3], gates[:, :3], out=sigmoids)
        np.subtract(gates[:, :3], sigmoids, out=sigmoids)  # s (1 - s)
        local[:, 0] *= tanh_c
        local[:, 1] *= g
        local[:, 2] *= ws["c"][steps]
        np.multiply(g, g, out=local_g)
        np.subtract(self.one, local_g, out=local_g)
        local_g *= i
        np.multiply(tanh_c, tanh_c, out=local_c)
        np.subtract(self.one, local_c, out=local_c)
        local_c *= o

    def step_backward(self, s: Any) -> None:
        """The module's backward equations; i, f and g share dc and so one product."""
        np.multiply(s.dh, s.local_o, out=s.da_o)
        np.multiply(s.dh, s.local_c, out=s.tmp)
        np.add(s.dc, s.tmp, out=s.dc)
        np.multiply(s.dc, s.local_ifg, out=s.da_ifg)
        np.multiply(s.dc, s.f, out=s.dc)
