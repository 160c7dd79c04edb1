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

Sources: Cho et al. (2014); this placing of the reset gate: cuDNN's and PyTorch's documentation.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from charrnn.nn.buffers import Workspace
from charrnn.nn.cells.recurrent import RecurrentCell
from charrnn.nn.init import orthogonal_, uniform_
from charrnn.nn.params import Array, IntArray, Shapes


class ForwardStep(NamedTuple):
    """Views of one step going forward; `a` holds the pre-activations of r and z and the finished q."""

    hx: Array
    a: Array
    in_n: Array
    in_rz: Array | None
    rz: Array
    r: Array
    z: Array
    q: Array
    n: Array
    h_minus_n: Array
    h_prev: Array
    h: Array
    tmp: Array


class BackwardStep(NamedTuple):
    """Views of one step going back: `da` has the blocks n r z q and, fifth, dh z."""

    dh: Array
    local: Array
    da: Array
    da_rec: Array
    dh_z: Array
    dh_rec: Array
    product: Array


class GRU(RecurrentCell):
    """Gated recurrent unit; see the module."""

    name = "gru"
    gates = "rzn"
    halved = "rz"
    # `da` is n r z q: the input meets its first three blocks, the recurrent weights the last three.
    recurrent_order = "rzn"
    input_order = "nrz"
    riding = "rz"  # the candidate's input part must stay apart from q
    da_blocks = 4
    recurrent_da = 1
    local_blocks = 5

    @classmethod
    def param_shapes(cls, input_size: int, hidden_size: int) -> Shapes:
        """Adds `bias_hn` (H,), the bias inside the reset gate's reach."""
        return {**super().param_shapes(input_size, hidden_size), "bias_hn": (hidden_size,)}

    def init(self, rng: np.random.Generator, *, forget_bias: float) -> None:
        """Orthogonal recurrent blocks, uniform input weights, zero biases; `forget_bias` is the update gate's.

        z near 1 keeps the old state, as a forget gate near 1 does.
        """
        uniform_(self.params["weight_ih"], rng, fan=self.hidden_size)
        orthogonal_(self.params["weight_hh"], rng)
        self.params["bias"][...] = 0.0
        self.params["bias"][self.gate_rows("z")] = forget_bias
        self.params["bias_hn"][...] = 0.0

    def recurrent_bias(self, gate: str) -> str | None:
        """The candidate's own recurrent bias, whatever rides."""
        return "bias_hn" if gate == "n" else super().recurrent_bias(gate)

    def own_shapes(self, time_steps: int, columns: int) -> Shapes:
        """Blocks r z q n and h_{t-1} - n, time-major: each step is one contiguous block."""
        own = {"gates": (time_steps, 5, self.hidden_size, columns)}
        return {**super().own_shapes(time_steps, columns), **own}

    def shared_shapes(self, time_steps: int, columns: int) -> Shapes:
        """The chunk has a fifth block, dh z, so that one product makes all five."""
        shapes = super().shared_shapes(time_steps, columns)
        return {**shapes, "da_chunk": (shapes["da_chunk"][0], 5, self.hidden_size, columns)}

    def build_forward_steps(self, ws: Workspace) -> list[Any]:
        """See `RecurrentCell`."""
        H, B = self.hidden_size, ws.columns
        hx, a_in = list(ws["steps"]), self.projected_steps(ws)
        steps = []
        for t, gates in enumerate(ws["gates"]):
            r, z, q, n, h_minus_n = gates
            steps.append(
                ForwardStep(
                    hx=hx[t],
                    a=gates[:3].reshape(3 * H, B),
                    in_n=a_in[t][:H],
                    in_rz=None if self.rides else a_in[t][H:],
                    rz=gates[:2].reshape(2 * H, B),
                    r=r,
                    z=z,
                    q=q,
                    n=n,
                    h_minus_n=h_minus_n,
                    h_prev=hx[t][:H],
                    h=hx[t + 1][:H],
                    tmp=ws["tmp"],
                )
            )
        return steps

    def activations(self, ws: Workspace) -> dict[str, Array]:
        """See `RecurrentCell`; the gates r z and the candidate n."""
        gates = ws["gates"]
        return {**super().activations(ws), "r": gates[:, 0], "z": gates[:, 1], "n": gates[:, 3]}

    def reset_columns(self, s: Any, ws: Workspace, t: int, columns: IntArray, source: Array) -> Any:
        """See `RecurrentCell`."""
        return s._replace(h_prev=source[: self.hidden_size])

    def advance(self, s: ForwardStep) -> None:
        """Gates and candidate, then h = n + z (h_prev - n)."""
        if s.in_rz is not None:
            np.add(s.rz, s.in_rz, out=s.rz)
        np.tanh(s.rz, out=s.rz)
        np.multiply(s.rz, self.half, out=s.rz)  # σ(a) = (1 + tanh(a/2)) / 2, the kernel's rows being halved
        np.add(s.rz, self.half, out=s.rz)
        np.multiply(s.r, s.q, out=s.n)
        np.add(s.n, s.in_n, out=s.n)
        np.tanh(s.n, out=s.n)
        np.subtract(s.h_prev, s.n, out=s.h_minus_n)
        np.multiply(s.z, s.h_minus_n, out=s.tmp)
        np.add(s.tmp, s.n, out=s.h)

    def build_backward_steps(self, ws: Workspace) -> list[Any]:
        """See `RecurrentCell`."""
        H, B = self.hidden_size, ws.columns
        steps = []
        for place, slot in self.chunk_slots(ws):
            local, da = ws["local"][place], ws["da_chunk"][slot]
            da_rec = da[1:4].reshape(3 * H, B)
            steps.append(BackwardStep(ws["dh"], local, da, da_rec, da[4], ws["dh_rec"], self.back_product(ws)))
        return steps

    def local_derivatives(self, ws: Workspace, start: int, stop: int) -> None:
        """Everything but dh in da_n, da_r, da_z, dq and dh z."""
        gates = ws["gates"][start:stop]
        r, z, q, n, h_minus_n = (gates[:, k] for k in range(5))
        local = ws["local"][: stop - start]
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

    def retreat(self, s: BackwardStep) -> None:
        """All five gradients are dh times a factor; then the recurrent product."""
        np.multiply(s.dh, s.local, out=s.da)
        np.matmul(self.w_back_blocks, s.da_rec, out=s.product)
        np.add(s.dh_rec, s.dh_z, out=s.dh_rec)
