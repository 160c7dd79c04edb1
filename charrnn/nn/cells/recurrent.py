"""What all cells share: time loops, products, weight gradients.

A window is run layer by layer. For one layer, with `hx` the column `[h; 1]` or `[h; 1; one-hot input]`:

    forward    a_t = W_rec hx_t (+ a_in_t)          one product a step; then the cell's own gates, `advance`
    backward   da_t from dh_t, dh_{t-1} = W_hhᵀ da_t   the cell's own derivatives, `retreat`
    gradients  dW_rec = da hxᵀ                       one product a window

`a_in`, the input's part of the pre-activations, is made for the whole window by one product. A one-hot input of a small
vocabulary rides as extra rows of the recurrent product instead: 10% faster at H = 256 than adding.

The time loops read and write time-major blocks, contiguous step by step; the products over a window want feature-major
matrices, so `hx` is copied once a window and `da` in chunks that are still in cache: cheaper than strided steps.

Memory per layer, in scalars: `hx` (H+1+R)(T+1)B, `gates` GHTB and what the cell adds; shared by all layers: `steps` as
large as `hx`, `a_in` and `da`, each at most 4H(T+1)B. With T+1 slots the odd stride avoids cache-set conflicts.
"""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from typing import Any, ClassVar

import numpy as np

from charrnn.nn.buffers import (
    Workspace,
    columns_by_step,
    flatten_time,
    places_from_the_end,
    scatter_columns,
    set_one_hot,
)
from charrnn.nn.matmul import block_rows, blocked
from charrnn.nn.params import Array, IntArray, Shapes

# Local derivatives are computed for several steps at once where they are small (fewer calls), but never for more than
# stays in a core's cache together with what they are made from.
_LOCAL_BYTES = 1 << 19
# Steps of `da` copied at once: longer runs of contiguous memory in each row (16 steps: a third of the time of 3).
_CHUNK_BYTES = 1 << 21


class RecurrentCell:
    """The part of a layer that does not depend on its gates.

    Class attributes beside those of `Cell`:
        halved: the sigmoid gates; their kernel rows are halved, so that one tanh serves all gates:
            sigmoid(a) = (1 + tanh(a/2)) / 2.
        recurrent_order, input_order: order of the gates' blocks in the kernels, chosen so that blocks treated alike
            are neighbours.
        riding: gates whose input part may ride in the recurrent product.
        da_blocks: number of H-row blocks of `da`; `recurrent_da` is the first of the G blocks that meet `W_hh`.

    Args:
        params: this layer's views (`weight_ih`, `weight_hh`, `bias`, ...), read at every `refresh`.
        input_size, hidden_size: K (for symbols the vocabulary size) and H.
        symbols: the input is symbol ids rather than a window of features.
        ride: one-hot inputs ride in the recurrent product; or their columns are gathered. None: by number of symbols.
    """

    name: ClassVar[str]
    gates: ClassVar[str]
    state_names: ClassVar[tuple[str, ...]] = ("h",)
    halved: ClassVar[str] = ""
    recurrent_order: ClassVar[str]
    input_order: ClassVar[str]
    riding: ClassVar[str]
    da_blocks: ClassVar[int]
    recurrent_da: ClassVar[int] = 0
    local_blocks: ClassVar[int]

    # Above this many symbols gathering columns is cheaper than multiplying by their one-hot rows (1.2 ns an element
    # against V/60 ns, measured at H = 256 and 512).
    ride_limit: ClassVar[int] = 128
    # Buffers with a slot before each step and one after the last: name -> time axis.
    state_slots: ClassVar[Mapping[str, int]] = {"hx": 1, "steps": 0}

    def __init__(
        self,
        params: Mapping[str, Array],
        *,
        input_size: int,
        hidden_size: int,
        symbols: bool,
        ride: bool | None = None,
    ) -> None:
        self.params = params
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.symbols = symbols
        self.rides = symbols and (input_size <= self.ride_limit if ride is None else ride)
        self.gathers = symbols and not self.rides
        self.dtype = params["weight_hh"].dtype
        self.half = self.dtype.type(0.5)
        self.one = self.dtype.type(1.0)
        self.projected = "".join(g for g in self.input_order if not (self.rides and g in self.riding))
        self._make_kernels()

    @classmethod
    def param_shapes(cls, input_size: int, hidden_size: int) -> Shapes:
        """Name -> shape: `weight_ih` (G*H, K), `weight_hh` (G*H, H), `bias` (G*H,)."""
        rows = len(cls.gates) * hidden_size
        return {"weight_ih": (rows, input_size), "weight_hh": (rows, hidden_size), "bias": (rows,)}

    def init(self, rng: np.random.Generator, *, forget_bias: float) -> None:
        """Fill the parameters in place."""
        raise NotImplementedError

    def block(self, index: int, count: int = 1) -> slice:
        """Rows of `count` gates' blocks from `index`."""
        return slice(index * self.hidden_size, (index + count) * self.hidden_size)

    def gate_rows(self, gate: str) -> slice:
        """Rows of a gate in the stored parameters."""
        return self.block(self.gates.index(gate))

    def recurrent_bias(self, gate: str) -> str | None:
        """Name of the bias that belongs to the recurrent product of `gate`, if any."""
        return "bias" if gate not in self.projected else None

    def _bias_rows(self, name: str, gate: str) -> slice:
        return self.gate_rows(gate) if len(self.params[name]) == len(self.gates) * self.hidden_size else slice(None)

    def _make_kernels(self) -> None:
        H, K = self.hidden_size, self.input_size
        self.w_rec = np.zeros((len(self.gates) * H, H + 1 + (K if self.rides else 0)), self.dtype)
        # The bias is the column of the ones row, which comes first where the input rides in `hx`, last in a window of
        # features; a gathered column has it added.
        self.w_in = np.zeros((len(self.projected) * H, K + (not self.gathers)), self.dtype)
        self._in_features = slice(1, K + 1) if self.rides else slice(0, K)
        self._in_bias = 0 if self.rides else K
        self.w_back = self.w_in_back = self.w_back_blocks = np.empty((0, 0), self.dtype)
        self.d_rec = self.d_in = np.empty((0, 0), self.dtype)

    def _make_backward_kernels(self) -> None:
        self.w_back = np.empty((self.hidden_size, len(self.gates) * self.hidden_size), self.dtype)
        self.d_rec = np.empty_like(self.w_rec)
        if not self.symbols:
            self.w_in_back = np.empty((self.input_size, len(self.projected) * self.hidden_size), self.dtype)
        if not self.gathers:
            self.d_in = np.empty_like(self.w_in)

    def refresh(self, *, backward: bool, w_hh: Array | None = None) -> None:
        """Bring the kernels up to date with the parameters; once a window.

        Args:
            backward: also the transposes.
            w_hh: recurrent weights to use instead of the parameters (some of them dropped, say).
        """
        H, w_ih = self.hidden_size, self.params["weight_ih"]
        w_hh = self.params["weight_hh"] if w_hh is None else w_hh
        if backward and not self.w_back.size:
            self._make_backward_kernels()
        for index, gate in enumerate(self.recurrent_order):
            rows, stored = self.block(index), self.gate_rows(gate)
            scale = self.half if gate in self.halved else self.one
            np.multiply(w_hh[stored], scale, out=self.w_rec[rows, :H])
            if name := self.recurrent_bias(gate):
                np.multiply(self.params[name][self._bias_rows(name, gate)], scale, out=self.w_rec[rows, H])
            if self.rides and gate in self.riding:
                np.multiply(w_ih[stored], scale, out=self.w_rec[rows, H + 1 :])
            if backward:
                self.w_back[:, rows] = w_hh[stored].T
        for index, gate in enumerate(self.projected):
            rows, stored = self.block(index), self.gate_rows(gate)
            scale = self.half if gate in self.halved else self.one
            bias = self.params["bias"][stored]
            if self.gathers:
                np.add(w_ih[stored], bias[:, None], out=self.w_in[rows])
                np.multiply(self.w_in[rows], scale, out=self.w_in[rows])
                continue
            np.multiply(w_ih[stored], scale, out=self.w_in[rows, self._in_features])
            np.multiply(bias, scale, out=self.w_in[rows, self._in_bias])
            if backward and not self.symbols:
                self.w_in_back[:, rows] = w_ih[stored].T

    def own_shapes(self, time_steps: int, columns: int) -> Shapes:
        """Buffers that live from forward to backward; a cell adds its own."""
        return {"hx": (self.w_rec.shape[1], time_steps + 1, columns)}

    def shared_shapes(self, time_steps: int, columns: int) -> Shapes:
        """Buffers that one layer after the other may use."""
        H, T, B = self.hidden_size, time_steps, columns
        shapes: Shapes = {"dh": (H, B), "dh_rec": (H, B), "tmp": (H, B)}
        shapes["steps"] = (T + 1, self.w_rec.shape[1], B)
        local, chunk = self.chunk_steps(T, B)
        shapes["local"] = (local, self.local_blocks, H, B)
        shapes["da_chunk"] = (chunk, self.da_blocks, H, B)
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

    def back_product(self, ws: Workspace) -> Array:
        """`dh_rec` as the blocks that a product with `w_back_blocks` fills."""
        return blocked(ws["dh_rec"], block_rows(*self.w_back.shape, ws.columns))

    def projected_steps(self, ws: Workspace) -> list[Any]:
        """Per-step views of `a_in`, or None for each step where everything rides."""
        T = ws.time_steps
        if not self.projected:
            return [None] * T
        if self.gathers:
            return list(ws["a_in"])
        return list(ws["a_in"][:, :T].transpose(1, 0, 2))

    def chunk_slots(self, ws: Workspace) -> list[tuple[int, ...]]:
        """For each step its places in `local` and in `da_chunk`."""
        return places_from_the_end(ws.time_steps, len(ws["local"]), len(ws["da_chunk"]))

    def build_forward_steps(self, ws: Workspace) -> list[Any]:
        """Views for `advance`, one tuple a step."""
        raise NotImplementedError

    def build_backward_steps(self, ws: Workspace) -> list[Any]:
        """Views for `retreat`, one tuple a step."""
        raise NotImplementedError

    def advance(self, s: Any) -> None:
        """From the pre-activations of a step to its new state."""
        raise NotImplementedError

    def local_derivatives(self, ws: Workspace, start: int, stop: int) -> None:
        """Fill `local` for the steps start..stop with all factors that do not depend on the incoming gradient."""
        raise NotImplementedError

    def retreat(self, s: Any) -> None:
        """From `dh` of a step to its `da` and to `dh_rec`, the gradient of the state before it."""
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
        H = self.hidden_size
        hx, steps = ws["hx"], ws["steps"]
        self.load_state(state, ws)
        hx[H], steps[:, H] = 1.0, 1.0
        if self.rides:
            set_one_hot(x, hx[H + 1 :])
            set_one_hot(x, steps[:, H + 1 :].transpose(1, 0, 2))
        self._project(x, ws)
        rows = block_rows(*self.w_rec.shape, ws.columns)
        if not ws.forward_steps:
            ws.forward_steps = self.build_forward_steps(ws)
            ws.products = [blocked(s.a, rows) for s in ws.forward_steps]
        w_rec, resets_at = blocked(self.w_rec, rows), columns_by_step(resets)
        for t, (s, product) in enumerate(zip(ws.forward_steps, ws.products, strict=True)):
            source = s.hx
            if t in resets_at:
                source = s.hx.copy()
                source[:H, resets_at[t]] = 0.0
                s = self.reset_columns(s, ws, t, resets_at[t], source)
            np.matmul(w_rec, source, out=product)
            self.advance(s)
        hx[:H] = steps[:, :H].transpose(1, 0, 2)
        self.save_state(state, ws)
        return hx[: H + 1, 1:]

    def activations(self, ws: Workspace) -> dict[str, Array]:
        """Name -> (T, H, B) of the states and gates of the window that `forward` ran last; a cell adds its gates."""
        return {"h": ws["steps"][1:, : self.hidden_size]}

    def load_state(self, state: Array, ws: Workspace) -> None:
        """Put the (S, H, B) state before the window into the buffers; a cell adds its states other than h."""
        ws["steps"][0, : self.hidden_size] = state[0]

    def save_state(self, state: Array, ws: Workspace) -> None:
        """Take the (S, H, B) state after the window out of the buffers."""
        state[0] = ws["steps"][ws.time_steps, : self.hidden_size]

    def reset_columns(self, s: Any, ws: Workspace, t: int, columns: IntArray, source: Array) -> Any:
        """Zero the other states of `columns` before step t; return `s`, its h (if it has one) taken from `source`."""
        return s

    def _project(self, x: Array | IntArray, ws: Workspace) -> None:
        if not self.projected:
            return
        T, a_in, H = ws.time_steps, ws["a_in"], self.hidden_size
        if self.gathers:
            for t in range(T):
                np.take(self.w_in, x[t], axis=1, out=a_in[t], mode="clip")
            return
        source = ws["hx"][H:, :T] if self.rides else x
        np.matmul(self.w_in, flatten_time(source), out=flatten_time(a_in[:, :T]))

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
        dh_rec[...] = 0.0
        self.w_back_blocks = blocked(self.w_back, block_rows(*self.w_back.shape, ws.columns))
        self.begin_backward(ws)
        local, chunk = len(ws["local"]), len(da_chunk)
        for t in range(T - 1, -1, -1):
            if (T - 1 - t) % local == 0:
                self.local_derivatives(ws, max(0, t + 1 - local), t + 1)
            np.add(dh[:, t], dh_rec, out=dh_now)
            self.retreat(ws.backward_steps[t])
            if t in resets_at:
                dh_rec[:, resets_at[t]] = 0.0
                self.reset_gradient(ws, resets_at[t])
            if squares is not None:
                squares[t] += np.square(self.initial_state_gradient(ws)).sum(axis=(0, 1))
            if (T - t) % chunk == 0 or t == 0:
                stop = t + 1 + (T - 1 - t) % chunk
                done = da_chunk[: stop - t, : self.da_blocks].reshape(stop - t, len(da), -1)
                da[:, t:stop] = done.transpose(1, 0, 2)
        self._weight_gradients(ws, grads, x, resets)
        if dx is not None:
            np.matmul(self.w_in_back, flatten_time(da[self.block(0, len(self.projected)), :T]), out=flatten_time(dx))
        return self.initial_state_gradient(ws)

    def begin_backward(self, ws: Workspace) -> None:
        """Zero the gradients of states other than h."""

    def reset_gradient(self, ws: Workspace, columns: IntArray) -> None:
        """Zero, for `columns`, the gradients of states other than h."""

    def initial_state_gradient(self, ws: Workspace) -> Array:
        """(S, H, B) gradient of the state before the window."""
        gradient: Array = ws["dh_rec"][None].copy()
        return gradient

    def _weight_gradients(
        self, ws: Workspace, grads: MutableMapping[str, Array], x: Array | IntArray, resets: IntArray | None
    ) -> None:
        H, T, hx = self.hidden_size, ws.time_steps, ws["hx"]
        da_rec = ws["da"][self.block(self.recurrent_da, len(self.gates)), :T]
        np.matmul(flatten_time(da_rec), flatten_time(hx[:, :T]).T, out=self.d_rec)
        if resets is not None and len(resets):  # those steps did not see the h that stands in hx
            steps, columns = resets[:, 0], resets[:, 1]
            self.d_rec[:, :H] -= da_rec[:, steps, columns] @ hx[:H, steps, columns].T
        for index, gate in enumerate(self.recurrent_order):
            rows, stored = self.block(index), self.gate_rows(gate)
            grads["weight_hh"][stored] = self.d_rec[rows, :H]
            if name := self.recurrent_bias(gate):
                grads[name][self._bias_rows(name, gate)] = self.d_rec[rows, H]
            if self.rides and gate in self.riding:
                grads["weight_ih"][stored] = self.d_rec[rows, H + 1 :]
        if self.projected:
            self._input_gradients(ws, grads, x)

    def _input_gradients(self, ws: Workspace, grads: MutableMapping[str, Array], x: Array | IntArray) -> None:
        H, T = self.hidden_size, ws.time_steps
        da_in = flatten_time(ws["da"][self.block(0, len(self.projected)), :T])
        if self.gathers:
            d_in = scatter_columns(da_in, x.reshape(-1), self.input_size)
        else:
            source = ws["hx"][H:, :T] if self.rides else x
            d_in = np.matmul(da_in, flatten_time(source).T, out=self.d_in)
        for index, gate in enumerate(self.projected):
            rows, stored = self.block(index), self.gate_rows(gate)
            grads["weight_ih"][stored] = d_in[rows, self._in_features]
            grads["bias"][stored] = d_in[rows, self._in_bias]
