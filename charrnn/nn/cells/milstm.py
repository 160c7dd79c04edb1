"""The LSTM with multiplicative integration: its input chooses how the state acts, at the cost of an LSTM.

    x_t = W_ih e_t + b        u_t = W_hh h_{t-1}       the part of the input e_t and the state's, four blocks: i f g o
    a_t = x_t + u_t + x_t u_t                          unit by unit; an LSTM has only the sum

and then as in `lstm`. With a_t = x_t + (1 + x_t) u_t, each symbol has, in the first layer, a recurrent matrix of its
own, W_hh with its rows scaled by 1 + x_t: an "e" can act on the state differently after "th" than after "qu".
Backwards, from the LSTM's da_t:

    dx_t = da_t (1 + u_t)     the gradient of the input's part
    du_t = da_t (1 + x_t)     that of the state's, so that dh_{t-1} = W_hhᵀ du_t

Sources: Wu, Zhang, Zhang, Bengio and Salakhutdinov (2016), "On multiplicative integration with recurrent neural
networks", with all factors 1 and the bias inside x_t; each symbol's own matrix: Sutskever, Martens and Hinton (2011).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from charrnn.nn.buffers import Workspace
from charrnn.nn.cells.cell import Axes
from charrnn.nn.cells.lstm import LSTM
from charrnn.nn.params import Array


class MILSTM(LSTM):
    """LSTM with multiplicative integration; see the module."""

    name, torch_module = "milstm", ""
    equations = (
        "i = sigmoid(x_i + u_i + x_i * u_i)",
        "f = sigmoid(x_f + u_f + x_f * u_f)",
        "g = tanh(x_g + u_g + x_g * u_g)",
        "o = sigmoid(x_o + u_o + x_o * u_o)",
        "c = f * c + i * g",
        "h = o * tanh(c)",
    )
    # Both parts are wanted by themselves, so the input is never fused into the recurrent product. `da` has the
    # gradients of the input's parts, then those of the state's.
    fusable = ""
    da_blocks, recurrent_da, chunk_blocks = 8, 4, 8
    buffers: ClassVar[Mapping[str, Axes]] = {**LSTM.buffers, "one_plus": ("T", 8, "H", "B")}  # 1 + x, then 1 + u
    shared_buffers: ClassVar[Mapping[str, Axes]] = {"u": (4, "H", "B")}

    def __init__(self, params: Mapping[str, Array], **sizes: Any) -> None:
        super().__init__(params, **sizes)
        # Rows of sigmoid gates are halved, and of two halved factors one has to be doubled.
        self.whole = np.repeat(np.array([2, 2, 2, 1], self.dtype), self.hidden_size)[:, None]

    def forward_views(self, ws: Workspace, t: int) -> dict[str, Array]:
        """Those of the LSTM, but `a` is the state's part."""
        views = super().forward_views(ws, t)
        one_plus = ws["one_plus"][t].reshape(2, -1, ws.columns)
        return {**views, "sum": views["a"], "a": ws["u"].reshape(-1, ws.columns),
                "one_plus_x": one_plus[0], "one_plus_u": one_plus[1]}  # fmt: skip

    def step_forward(self, s: Any) -> None:
        """The sum and product of both parts, then the LSTM."""
        np.multiply(s.in_apart, self.whole, out=s.one_plus_x)
        np.add(s.one_plus_x, self.one, out=s.one_plus_x)
        np.multiply(s.a, self.whole, out=s.one_plus_u)
        np.add(s.one_plus_u, self.one, out=s.one_plus_u)
        np.multiply(s.a, s.one_plus_x, out=s.a)
        np.add(s.a, s.in_apart, out=s.sum)
        np.tanh(s.sum, out=s.sum)
        self.step_from_tanh(s)

    def backward_views(self, ws: Workspace, t: int, local: Array, da: Array) -> dict[str, Array]:
        """Those of the LSTM, whose da is made where the gradient of the state's part will be."""
        views = super().backward_views(ws, t, local, da[4:])
        one_plus = ws["one_plus"][t]
        return {**views, "dx": da[:4], "du": da[4:], "one_plus_x": one_plus[:4], "one_plus_u": one_plus[4:]}

    def step_backward(self, s: Any) -> None:
        """The LSTM's da, then the gradients of both parts."""
        super().step_backward(s)
        np.multiply(s.du, s.one_plus_u, out=s.dx)
        np.multiply(s.du, s.one_plus_x, out=s.du)
