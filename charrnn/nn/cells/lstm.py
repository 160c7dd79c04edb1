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
from typing import Any, ClassVar, NamedTuple

import numpy as np

from charrnn.nn.buffers import Workspace
from charrnn.nn.cells.recurrent import RecurrentCell
from charrnn.nn.init import orthogonal_, uniform_
from charrnn.nn.params import Array, IntArray, Shapes


class ForwardStep(NamedTuple):
    """Views of one step going forward; `oif` are the three sigmoid blocks of `a`."""

    hx: Array
    a: Array
    a_in: Array | None
    oif: Array
    o: Array
    i: Array
    f: Array
    g: Array
    c_prev: Array
    c: Array
    tanh_c: Array
    h: Array
    tmp: Array


class BackwardStep(NamedTuple):
    """Views of one step going back; `local_*` are the factors of the module's equations without dh and dc."""

    dh: Array
    dc: Array
    local_o: Array
    local_ifg: Array
    local_c: Array
    f: Array
    da_o: Array
    da_ifg: Array
    da: Array
    dh_rec: Array
    tmp: Array


class LSTM(RecurrentCell):
    """Long short-term memory; see the module."""

    name = "lstm"
    gates = "ifgo"
    state_names = ("h", "c")
    halved = "oif"
    # The sigmoids o i f are neighbours, and so are i f g, which all take the gradient of c.
    recurrent_order = input_order = riding = "oifg"
    da_blocks = 4
    local_blocks = 5
    state_slots: ClassVar[Mapping[str, int]] = {**RecurrentCell.state_slots, "c": 0}

    def init(self, rng: np.random.Generator, *, forget_bias: float) -> None:
        """Orthogonal recurrent blocks, uniform input weights, zero bias except the forget gate's `forget_bias`.

        A forget bias of 1 lets the cell remember by default. Source: Jozefowicz, Zaremba and Sutskever (2015).
        """
        uniform_(self.params["weight_ih"], rng, fan=self.hidden_size)
        orthogonal_(self.params["weight_hh"], rng)
        self.params["bias"][...] = 0.0
        self.params["bias"][self.gate_rows("f")] = forget_bias

    def own_shapes(self, time_steps: int, columns: int) -> Shapes:
        """The gates and c, time-major: each step is one contiguous block."""
        H, T, B = self.hidden_size, time_steps, columns
        own = {"gates": (T, 4, H, B), "c": (T + 1, H, B), "tanh_c": (T, H, B)}
        return {**super().own_shapes(T, B), **own}

    def shared_shapes(self, time_steps: int, columns: int) -> Shapes:
        """Adds the gradient of c."""
        return {**super().shared_shapes(time_steps, columns), "dc": (self.hidden_size, columns)}

    def activations(self, ws: Workspace) -> dict[str, Array]:
        """See `RecurrentCell`; c and the gates i f g o."""
        gates = {gate: ws["gates"][:, self.recurrent_order.index(gate)] for gate in self.gates}
        return {**super().activations(ws), "c": ws["c"][1:], **gates}

    def load_state(self, state: Array, ws: Workspace) -> None:
        """See `RecurrentCell`."""
        super().load_state(state, ws)
        ws["c"][0] = state[1]

    def save_state(self, state: Array, ws: Workspace) -> None:
        """See `RecurrentCell`."""
        super().save_state(state, ws)
        state[1] = ws["c"][ws.time_steps]

    def reset_columns(self, s: Any, ws: Workspace, t: int, columns: IntArray, source: Array) -> Any:
        """See `RecurrentCell`."""
        ws["c"][t][:, columns] = 0.0
        return s

    def build_forward_steps(self, ws: Workspace) -> list[Any]:
        """See `RecurrentCell`."""
        H, B = self.hidden_size, ws.columns
        hx, a_in = list(ws["steps"]), self.projected_steps(ws)
        steps = []
        for t, gates in enumerate(ws["gates"]):
            o, i, f, g = gates
            steps.append(
                ForwardStep(
                    hx=hx[t],
                    a=gates.reshape(4 * H, B),
                    a_in=a_in[t],
                    oif=gates[:3],
                    o=o,
                    i=i,
                    f=f,
                    g=g,
                    c_prev=ws["c"][t],
                    c=ws["c"][t + 1],
                    tanh_c=ws["tanh_c"][t],
                    h=hx[t + 1][:H],
                    tmp=ws["tmp"],
                )
            )
        return steps

    def advance(self, s: ForwardStep) -> None:
        """Gates, then c = f c_prev + i g, then h = o tanh(c)."""
        if s.a_in is not None:
            np.add(s.a, s.a_in, out=s.a)
        np.tanh(s.a, out=s.a)
        np.multiply(s.oif, self.half, out=s.oif)  # σ(a) = (1 + tanh(a/2)) / 2, the kernel's rows being halved
        np.add(s.oif, self.half, out=s.oif)
        np.multiply(s.i, s.g, out=s.tmp)
        np.multiply(s.f, s.c_prev, out=s.c)
        np.add(s.c, s.tmp, out=s.c)
        np.tanh(s.c, out=s.tanh_c)
        np.multiply(s.o, s.tanh_c, out=s.h)

    def build_backward_steps(self, ws: Workspace) -> list[Any]:
        """See `RecurrentCell`."""
        H, B = self.hidden_size, ws.columns
        steps = []
        for t, (place, slot) in enumerate(self.chunk_slots(ws)):
            local, da = ws["local"][place], ws["da_chunk"][slot]
            steps.append(
                BackwardStep(
                    dh=ws["dh"],
                    dc=ws["dc"],
                    local_o=local[0],
                    local_ifg=local[1:4],
                    local_c=local[4],
                    f=ws["gates"][t, 2],
                    da_o=da[0],
                    da_ifg=da[1:],
                    da=da.reshape(4 * H, B),
                    dh_rec=self.back_product(ws),
                    tmp=ws["tmp"],
                )
            )
        return steps

    def local_derivatives(self, ws: Workspace, start: int, stop: int) -> None:
        """The factors of da_o, da_i, da_f, da_g and dc that the forward pass alone determines."""
        gates, tanh_c = ws["gates"][start:stop], ws["tanh_c"][start:stop]
        o, i, g = gates[:, 0], gates[:, 1], gates[:, 3]
        local = ws["local"][: stop - start]
        sigmoids, local_g, local_c = local[:, :3], local[:, 3], local[:, 4]
        np.multiply(gates[:, :3], gates[:, :3], out=sigmoids)
        np.subtract(gates[:, :3], sigmoids, out=sigmoids)  # s (1 - s)
        local[:, 0] *= tanh_c
        local[:, 1] *= g
        local[:, 2] *= ws["c"][start:stop]
        np.multiply(g, g, out=local_g)
        np.subtract(self.one, local_g, out=local_g)
        local_g *= i
        np.multiply(tanh_c, tanh_c, out=local_c)
        np.subtract(self.one, local_c, out=local_c)
        local_c *= o

    def begin_backward(self, ws: Workspace) -> None:
        """See `RecurrentCell`."""
        ws["dc"][...] = 0.0

    def reset_gradient(self, ws: Workspace, columns: IntArray) -> None:
        """See `RecurrentCell`."""
        ws["dc"][:, columns] = 0.0

    def retreat(self, s: BackwardStep) -> None:
        """The module's backward equations; i, f and g share dc and so one product."""
        np.multiply(s.dh, s.local_o, out=s.da_o)
        np.multiply(s.dh, s.local_c, out=s.tmp)
        np.add(s.dc, s.tmp, out=s.dc)
        np.multiply(s.dc, s.local_ifg, out=s.da_ifg)
        np.multiply(s.dc, s.f, out=s.dc)
        np.matmul(self.w_back_blocks, s.da, out=s.dh_rec)

    def initial_state_gradient(self, ws: Workspace) -> Array:
        """See `RecurrentCell`."""
        return np.stack((ws["dh_rec"], ws["dc"]))
