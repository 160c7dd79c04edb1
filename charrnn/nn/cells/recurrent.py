"""Time loops: a layer running through a window, forward and backward.

A window is run layer by layer. For one layer, with `hx` the column `[h; 1]` or `[h; 1; one-hot input]`:

    forward    a_t = W_rec hx_t (+ a_in_t)             one product per step; then the cell's `step_forward`
    backward   da_t from dh_t: the cell's `step_backward`; then dh_{t-1} = W_hhᵀ da_t
    gradients  dW_rec = da hxᵀ                          one product per window, in `kernels`

`a_in`, the input's part of the pre-activations, is computed for the whole window by one product. A one-hot input of a
small vocabulary is fused into the recurrent product as extra rows instead: 10% faster at H = 256 than adding.

The time loops read and write time-major blocks, contiguous step by step; the products over a window want feature-major
matrices, so `hx` is copied once per window and `da` in chunks that are still in cache: cheaper than strided steps.

Memory per layer, in scalars: `hx` (H+1+K)(T+1)B and the cell's own buffers, such as the 4HTB of an LSTM's gates; shared
by all layers: `steps` as large as `hx`, and at most 4H(T+1)B for `a_in` and for `da` (8 in `milstm`). With T+1 slots
the odd stride avoids cache-set conflicts.
"""

from __future__ import annotations

from collections.abc import MutableMapping
from types import SimpleNamespace
from typing import Any

import numpy as np

from charrnn.nn.buffers import Workspace, columns_by_step, flatten_time, places_from_the_end, set_one_hot
from charrnn.nn.cells.cell import Axes
from charrnn.nn.cells.kernels import FusedCell
from charrnn.nn.matmul import block_rows, blocked
from charrnn.nn.params import Array, IntArray, Shapes

# Local derivatives are computed for several steps at once if they are small (fewer calls), but never for more than
# fits in a core's cache together with their inputs.
_LOCAL_BYTES = 1 << 19
# Steps of `da` copied at once: longer runs of contiguous memory in each row (16 steps: a third of the time of 3).
_CHUNK_BYTES = 1 << 21


class RecurrentCell(FusedCell):
    """A layer: what a cell inherits and the network calls.

    A cell adds `forward_views` and `backward_views`, the arrays that its equations name, and the equations themselves:
    `step_forward`, `gate_derivatives`, `step_backward`. They write to `out=`: the loops allocate nothing.
    """

    def forward_views(self, ws: Workspace, t: int) -> dict[str, Array]:
        """The arrays of step `t` that `step_forward` names; `a` is the output of the recurrent product.

        Passed to all cells: h, h_prev, tmp (H, B), and, if the input is not fused, its part: `in_apart` for gates that
        are not fusable.
        """
        raise NotImplementedError

    def backward_views(self, ws: Workspace, t: int, local: Array, da: Array) -> dict[str, Array]:
        """The arrays of step `t` that `step_backward` names; `da_rec` is the input of the recurrent product.

        Passed to all cells: dh and, for every other state s, ds, (H, B); tmp. `dh_direct`, if named, is added to the
        gradient of the state before.

        Args:
            ws: buffers.
            t: step.
            local: its (blocks, H, B) local derivatives.
            da: its (blocks, H, B) part of `da`.
        """
        raise NotImplementedError

    def step_forward(self, s: Any) -> None:
        """From the pre-activations of a step to its new state."""
        raise NotImplementedError

    def gate_derivatives(self, ws: Workspace, steps: slice, local: Array) -> None:
        """Fill `local` (steps, blocks, H, B) with all factors that do not depend on the incoming gradient."""
        raise NotImplementedError

    def step_backward(self, s: Any) -> None:
        """From dh of a step to its da, and to the gradients of its other states before it."""
        raise NotImplementedError

    def forward(self, x: Array | IntArray, state: Array, ws: Workspace, *, resets: IntArray | None = None) -> Array:
        """Run the layer over a window.

        Args:
            x: (T, B) intp symbol ids, or a (K+1, T, B) window of features whose last row is ones.
            state: (S, H, B), read at the start and overwritten with the state after the window.
            ws: buffers for this T and B.
            resets: (R, 2) pairs (t, b) at which the state before step t of column b is zero, sorted by t.

        Returns:
            (H+1, T, B) view of the hidden states, last row ones; valid until the next window.
        """
        H, hx, steps = self.hidden_size, ws["hx"], ws["steps"]
        self.load_state(state, ws)
        hx[H], steps[:, H] = 1.0, 1.0
        if self.fuses_one_hot:
            set_one_hot(x, hx[H + 1 :])
            set_one_hot(x, steps[:, H + 1 :].transpose(1, 0, 2))
        self._project(x, ws)
        rows = block_rows(*self.w_rec.shape, ws.columns)
        if not ws.forward_steps:
            ws.forward_steps = self.build_forward_steps(ws)
            ws.products = [blocked(s.a, rows) for s in ws.forward_steps]
        w_rec, resets_at = blocked(self.w_rec, rows), columns_by_step(resets)
        for t, (s, product) in enumerate(zip(ws.forward_steps, ws.products, strict=True)):
            if t in resets_at:
                s = self._reset_step(s, ws, t, resets_at[t])
            np.matmul(w_rec, s.hx, out=product)
            self.step(s)
        hx[:H] = steps[:, :H].transpose(1, 0, 2)
        self.save_state(state, ws)
        return hx[: H + 1, 1:]

    def step(self, s: Any) -> None:
        """From the recurrent product of a step to its new state."""
        if s.in_fusable is not None:
            np.add(s.a_fusable, s.in_fusable, out=s.a_fusable)
        self.step_forward(s)

    def backward(
        self,
        dh: Array,
        ws: Workspace,
        grads: MutableMapping[str, Array],
        *,
        x: Array | IntArray,
        dx: Array | None,
        resets: IntArray | None = None,
        squares: Array | None = None,
    ) -> Array:
        """Backpropagate through the window that `forward` ran last in `ws`.

        Args:
            dh: (H, T, B) gradient of the loss with respect to the hidden states, from the layer above.
            ws: the same buffers.
            grads: this layer's gradient views; overwritten.
            x: what `forward` was given.
            dx: (K, T, B) to receive the gradient of the input (may be `dh` itself); None to skip it.
            resets: what `forward` was given.
            squares: (T, B), to which the squared norms of the gradients of the states before each step are added.

        Returns:
            (S, H, B) gradient of the initial state. Source: Werbos (1990).
        """
        T = ws.time_steps
        if not ws.backward_steps:
            ws.backward_steps = self.build_backward_steps(ws)
        resets_at = columns_by_step(resets)
        dh_now, dh_rec, da, da_chunk = ws["dh"], ws["dh_rec"], ws["da"], ws["da_chunk"]
        state_gradients = [dh_rec, *(ws[f"d{name}"] for name in self.state_names[1:])]
        for gradient in state_gradients:
            gradient[...] = 0.0
        w_back = blocked(self.w_back, block_rows(*self.w_back.shape, ws.columns))
        local, chunk = len(ws["local"]), len(da_chunk)
        for t in range(T - 1, -1, -1):
            if (T - 1 - t) % local == 0:
                start = max(0, t + 1 - local)
                self.gate_derivatives(ws, slice(start, t + 1), ws["local"][: t + 1 - start])
            np.add(dh[:, t], dh_rec, out=dh_now)
            s = ws.backward_steps[t]
            self.step_backward(s)
            np.matmul(w_back, s.da_rec, out=s.product)
            if s.dh_direct is not None:
                np.add(dh_rec, s.dh_direct, out=dh_rec)
            if t in resets_at:
                for gradient in state_gradients:
                    gradient[:, resets_at[t]] = 0.0
            if squares is not None:
                squares[t] += np.square(np.stack(state_gradients), dtype=squares.dtype).sum(axis=(0, 1))
            if (T - t) % chunk == 0 or t == 0:
                stop = t + 1 + (T - 1 - t) % chunk
                done = da_chunk[: stop - t, : self.da_blocks].reshape(stop - t, len(da), -1)
                da[:, t:stop] = done.transpose(1, 0, 2)
        self.store_gradients(ws, grads, x, resets)
        if dx is not None:
            np.matmul(self.w_in_back, flatten_time(da[self.block(0, len(self.projected)), :T]), out=flatten_time(dx))
        return np.stack(state_gradients)

    def activations(self, ws: Workspace) -> dict[str, Array]:
        """Name -> (T, H, B) of the states and gates of the window that `forward` ran last."""
        out = {"h": ws["steps"][1:, : self.hidden_size]}
        out |= {name: ws[name][1:] for name in self.state_names[1:]}
        return out | {gate: ws["gates"][:, block] for gate, block in self.gate_blocks.items()}

    def load_state(self, state: Array, ws: Workspace) -> None:
        """Put the (S, H, B) state before the window into the buffers."""
        ws["steps"][0, : self.hidden_size] = state[0]
        for name, values in zip(self.state_names[1:], state[1:], strict=True):
            ws[name][0] = values

    def save_state(self, state: Array, ws: Workspace) -> None:
        """Take the (S, H, B) state after the window out of the buffers."""
        state[0] = ws["steps"][ws.time_steps, : self.hidden_size]
        for values, name in zip(state[1:], self.state_names[1:], strict=True):
            values[...] = ws[name][ws.time_steps]

    def build_forward_steps(self, ws: Workspace) -> list[Any]:
        """The views of each step in the forward direction."""
        H, hx = self.hidden_size, list(ws["steps"])
        fusable = len(self.fusable) * H
        in_fusable, in_apart = self._projected_steps(ws)
        steps = []
        for t in range(ws.time_steps):
            s = SimpleNamespace(hx=hx[t], h_prev=hx[t][:H], h=hx[t + 1][:H], tmp=ws["tmp"])
            vars(s).update(self.forward_views(ws, t), in_fusable=in_fusable[t], in_apart=in_apart[t])
            s.a_fusable = s.a[:fusable]
            steps.append(s)
        return steps

    def build_backward_steps(self, ws: Workspace) -> list[Any]:
        """The views of each step in the backward direction."""
        given = {f"d{name}": ws[f"d{name}"] for name in self.state_names}
        product = blocked(ws["dh_rec"], block_rows(*self.w_back.shape, ws.columns))
        steps = []
        for t, (place, slot) in enumerate(places_from_the_end(ws.time_steps, len(ws["local"]), len(ws["da_chunk"]))):
            s = SimpleNamespace(**given, tmp=ws["tmp"], product=product, dh_direct=None)
            vars(s).update(self.backward_views(ws, t, ws["local"][place], ws["da_chunk"][slot]))
            steps.append(s)
        return steps

    def own_shapes(self, time_steps: int, columns: int) -> Shapes:
        """Buffers kept from forward to backward."""
        return self._sized(self.own_axes(), time_steps, columns)

    def shared_shapes(self, time_steps: int, columns: int) -> Shapes:
        """Buffers that the layers share, one after the other."""
        H, T, B = self.hidden_size, time_steps, columns
        shapes = self._sized(self.shared_axes(), T, B)
        shapes["da"] = (self.da_blocks * H, T + 1, B)
        if self.projected:
            rows = len(self.projected) * H
            shapes["a_in"] = (T, rows, B) if self.gathers else (rows, T + 1, B)
        return shapes

    def chunk_steps(self, time_steps: int, columns: int) -> tuple[int, int]:
        """Steps whose local derivatives are computed in one go, and, a multiple of it, steps of `da` copied in one."""
        step_bytes = self.hidden_size * columns * self.dtype.itemsize
        local = max(1, min(time_steps, _LOCAL_BYTES // (self.local_blocks * step_bytes)))
        times = max(1, min(-(-time_steps // local), _CHUNK_BYTES // (self.da_blocks * step_bytes * local)))
        return local, local * times

    def _sized(self, axes: dict[str, Axes], time_steps: int, columns: int) -> Shapes:
        local, chunk = self.chunk_steps(time_steps, columns)
        size = {"T": time_steps, "T+1": time_steps + 1, "B": columns, "L": local, "D": chunk}
        size |= {"H": self.hidden_size, "R": self.w_rec.shape[1]}
        return {name: tuple(size[n] if isinstance(n, str) else n for n in shape) for name, shape in axes.items()}

    def _project(self, x: Array | IntArray, ws: Workspace) -> None:
        if not self.projected:
            return
        T, a_in, H = ws.time_steps, ws["a_in"], self.hidden_size
        if self.gathers:
            for t in range(T):
                np.take(self.w_in, x[t], axis=1, out=a_in[t], mode="clip")
            return
        source = ws["hx"][H:, :T] if self.fuses_one_hot else x
        np.matmul(self.w_in, flatten_time(source), out=flatten_time(a_in[:, :T]))

    def _projected_steps(self, ws: Workspace) -> tuple[list[Any], list[Any]]:
        """Per step, the rows of `a_in` of the fusable gates, or None if they are fused, and those of the others."""
        T, nothing = ws.time_steps, [None] * ws.time_steps
        if not self.projected:
            return nothing, nothing
        steps = list(ws["a_in"]) if self.gathers else list(ws["a_in"][:, :T].transpose(1, 0, 2))
        apart = (len(self.gates) - len(self.fusable)) * self.hidden_size
        in_fusable = nothing if self.fuses_one_hot else [a[apart:] for a in steps]
        return in_fusable, [a[:apart] for a in steps]

    def _reset_step(self, s: Any, ws: Workspace, t: int, columns: IntArray) -> Any:
        """The views of step `t` with the states of `columns` before it zero."""
        source = s.hx.copy()
        source[: self.hidden_size, columns] = 0.0
        for name in self.state_names[1:]:
            ws[name][t][:, columns] = 0.0
        return SimpleNamespace(**{**vars(s), "hx": source, "h_prev": source[: self.hidden_size]})
