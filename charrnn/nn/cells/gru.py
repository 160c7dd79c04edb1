"""The gated recurrent unit, with the reset gate applied after the recurrent product.

    a_r, a_z = W_ih x_t + b + W_hh h_{t-1}             two blocks
    r, z = σ(a_r), σ(a_z)
    q = W_hn h_{t-1} + b_hn
    n = tanh(W_in x_t + b_n + r q)
    h_t = (1 - z) n + z h_{t-1}

Backwards, with dq = da_n r the gradient of the candidate's recurrent part:

    da_n     = dh (1 - z) (1 - n²)
    da_r     = da_n q r (1 - r)
    da_z     = dh (h_{t-1} - n) z (1 - z)
    dq       = da_n r
    dh_{t-1} = dh z + W_hhᵀ [da_r; da_z; dq]

Sources: Cho et al. (2014); this position of the reset gate: cuDNN's and PyTorch's documentation.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from charrnn.nn.buffers import Workspace
from charrnn.nn.cells.cell import Axes
from charrnn.nn.cells.recurrent import RecurrentCell
from charrnn.nn.params import Array


class GRU(RecurrentCell):
    """Gated recurrent unit; see the module."""

    name, torch_module = "gru", "GRU"
    gates = "rzn"
    sigmoid_gates, keep_gate = "rz", "z"  # z near 1 keeps the old state, as a forget gate near 1 does
    recurrent_biases: ClassVar[Mapping[str, str]] = {"n": "bias_hn"}  # scaled by the reset gate
    equations = (
        "r = sigmoid(a_r)",
        "z = sigmoid(a_z)",
        "n = tanh(x_n + r * u_n)",
        "h = n + z * (h - n)",
    )
    # `da` is n r z q: the input meets its first three blocks, the recurrent weights the last three. The candidate's
    # input part must stay apart from q.
    recurrent_order, input_order, fusable = "rzn", "nrz", "rz"
    da_blocks, recurrent_da, local_blocks = 4, 1, 5
    chunk_blocks = 5  # with dh z, so that one product computes all five
    buffers: ClassVar[Mapping[str, Axes]] = {"gates": ("T", 5, "H", "B")}  # r z q n and h_{t-1} - n
    gate_blocks: ClassVar[Mapping[str, int]] = {"r": 0, "z": 1, "n": 3}

    def forward_views(self, ws: Workspace, t: int) -> dict[str, Array]:
        """The gates; `a` holds the pre-activations of r and z and the finished q."""
        gates = ws["gates"][t]
        r, z, q, n, h_minus_n = gates
        a = gates[:3].reshape(-1, ws.columns)
        rz = gates[:2].reshape(-1, ws.columns)
        return {"a": a, "rz": rz, "r": r, "z": z, "q": q, "n": n, "h_minus_n": h_minus_n}

    def step_forward(self, s: Any) -> None:
        """Gates and candidate, then h = n + z (h_prev - n)."""
        np.tanh(s.rz, out=s.rz)
        np.multiply(s.rz, self.half, out=s.rz)  # σ(a) = (1 + tanh(a/2)) / 2; the weights' rows are halved
        np.add(s.rz, self.half, out=s.rz)
        np.multiply(s.r, s.q, out=s.n)
        np.add(s.n, s.in_apart, out=s.n)
        np.tanh(s.n, out=s.n)
        np.subtract(s.h_prev, s.n, out=s.h_minus_n)
        np.multiply(s.z, s.h_minus_n, out=s.tmp)
        np.add(s.tmp, s.n, out=s.h)

    def backward_views(self, ws: Workspace, t: int, local: Array, da: Array) -> dict[str, Array]:
        """The blocks n r z q of da and, fifth, dh z."""
        return {"local": local, "da": da, "da_rec": da[1:4].reshape(-1, ws.columns), "dh_direct": da[4]}

    def gate_derivatives(self, ws: Workspace, steps: slice, local: Array) -> None:
        """Everything but dh in da_n, da_r, da_z, dq and dh z."""
        gates = ws["gates"][steps]
        r, z, q, n, h_minus_n = (gates[:, k] for k in range(5))
        local_n, local_r, local_z, local_q, local_h = (local[:, k] for k in range(5))
        np.multiply(gates[:, :2], gates[:, :2], out=local[:, 1:3])
        np.subtract(gates[:, :2], local[:, 1:3], out=local[:, 1:3])  # s (1 - s)
        np.multiply(n, n, out=local_n)
        np.subtract(self.one, local_n, out=local_n)
        np.subtract(self.one, z, out=local_h)
        local_n *= local_h
        local_r *= q
        local_r *= local_n
        local_z *= h_minus_n
        np.multiply(local_n, r, out=local_q)
        np.copyto(local_h, z)

    def step_backward(self, s: Any) -> None:
        """All five gradients are dh times a factor."""
        np.multiply(s.dh, s.local, out=s.da)
