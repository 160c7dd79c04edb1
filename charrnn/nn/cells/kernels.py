"""Parameters <-> the fused, reordered and transposed weights that the time loops multiply by.

    w_rec   (G*H, H + 1 (+ K))   recurrent weights, the bias and, if fused, the one-hot input's weights
    w_in    (P*H, K (+ 1))       the P gates whose input part is projected for a whole window, with their bias
    w_back, w_in_back            their transposes, for the backward pass

Rows of sigmoid gates are halved, so that one tanh serves all gates: sigmoid(a) = (1 + tanh(a/2)) / 2. Parameters stay
in PyTorch's order; `refresh` converts once per window, `store_gradients` converts back.
"""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from typing import Any

import numpy as np

from charrnn.nn.buffers import Workspace, flatten_time, scatter_columns
from charrnn.nn.cells.cell import Cell
from charrnn.nn.params import Array, IntArray


class FusedCell(Cell):
    """A cell with its weights in the order of the time loops.

    Args:
        params: this layer's views (`weight_ih`, `weight_hh`, `bias`, ...), read at every `refresh`.
        input_size, hidden_size: K (for symbols the vocabulary size) and H.
        symbols: the input is symbol ids rather than a window of features.
        fuse_one_hot: one-hot inputs are extra rows of the recurrent product instead of gathered columns.
            None decides by the number of symbols: up to `fuse_limit`.
    """

    # With more symbols, gathering columns is as fast as multiplying by their one-hot rows, and takes less memory: the
    # whole window of an LSTM (H = 256 and 512) takes 6 to 19% less time fused with 65 to 128 symbols, none with 200.
    fuse_limit = 128

    def __init__(
        self,
        params: Mapping[str, Array],
        *,
        input_size: int,
        hidden_size: int,
        symbols: bool,
        fuse_one_hot: bool | None = None,
    ) -> None:
        super().__init__(params, hidden_size=hidden_size)
        self.input_size, self.symbols = input_size, symbols
        self.fuses_one_hot = symbols and (input_size <= self.fuse_limit if fuse_one_hot is None else fuse_one_hot)
        self.gathers = symbols and not self.fuses_one_hot
        self.projected = "".join(g for g in self.input_order if not (self.fuses_one_hot and g in self.fusable))
        H, K = hidden_size, input_size
        self.w_rec = np.zeros((len(self.gates) * H, H + 1 + (K if self.fuses_one_hot else 0)), self.dtype)
        # The bias is the column of the ones row, which comes first if the input is fused into `hx`, and last in a
        # window of features; gathered columns have it added.
        self.w_in = np.zeros((len(self.projected) * H, K + (not self.gathers)), self.dtype)
        self._in_features = slice(1, K + 1) if self.fuses_one_hot else slice(0, K)
        self._in_bias = 0 if self.fuses_one_hot else K
        self.w_back = self.w_in_back = np.empty((0, 0), self.dtype)
        self.d_rec = self.d_in = np.empty((0, 0), self.dtype)

    def refresh(self, *, backward: bool, w_hh: Array | None = None) -> None:
        """Bring the fused weights up to date with the parameters; once per window.

        Args:
            backward: also update the transposes.
            w_hh: recurrent weights to use instead of the parameters (some of them dropped, say).
        """
        H, w_ih = self.hidden_size, self.params["weight_ih"]
        w_hh = self.params["weight_hh"] if w_hh is None else w_hh
        if backward and not self.w_back.size:
            self._make_backward()
        for index, gate in enumerate(self.recurrent_order):
            rows, stored, scale = self.block(index), self.gate_rows(gate), self._scale(gate)
            np.multiply(w_hh[stored], scale, out=self.w_rec[rows, :H])
            if place := self._recurrent_bias(gate):
                np.multiply(self.params[place[0]][place[1]], scale, out=self.w_rec[rows, H])
            if self.fuses_one_hot and gate in self.fusable:
                np.multiply(w_ih[stored], scale, out=self.w_rec[rows, H + 1 :])
            if backward:
                self.w_back[:, rows] = w_hh[stored].T
        for index, gate in enumerate(self.projected):
            rows, stored, scale = self.block(index), self.gate_rows(gate), self._scale(gate)
            bias = self.params["bias"][stored]
            if self.gathers:
                np.add(w_ih[stored], bias[:, None], out=self.w_in[rows])
                np.multiply(self.w_in[rows], scale, out=self.w_in[rows])
                continue
            np.multiply(w_ih[stored], scale, out=self.w_in[rows, self._in_features])
            np.multiply(bias, scale, out=self.w_in[rows, self._in_bias])
            if backward and not self.symbols:
                self.w_in_back[:, rows] = w_ih[stored].T

    def store_gradients(
        self, ws: Workspace, grads: MutableMapping[str, Array], x: Array | IntArray, resets: IntArray | None
    ) -> None:
        """From `da` of a window to the gradients of the parameters, in their order: one product each.

        Args:
            ws: buffers after the time loop backwards.
            grads: this layer's gradient views; overwritten.
            x: as passed to `forward`.
            resets: as passed to `forward`.
        """
        H, T, hx = self.hidden_size, ws.time_steps, ws["hx"]
        da_rec = ws["da"][self.block(self.recurrent_da, len(self.gates)), :T]
        np.matmul(flatten_time(da_rec), flatten_time(hx[:, :T]).T, out=self.d_rec)
        if resets is not None and len(resets):  # those steps did not see the h that is kept in hx
            steps, columns = resets[:, 0], resets[:, 1]
            self.d_rec[:, :H] -= da_rec[:, steps, columns] @ hx[:H, steps, columns].T
        for index, gate in enumerate(self.recurrent_order):
            rows, stored = self.block(index), self.gate_rows(gate)
            grads["weight_hh"][stored] = self.d_rec[rows, :H]
            if place := self._recurrent_bias(gate):
                grads[place[0]][place[1]] = self.d_rec[rows, H]
            if self.fuses_one_hot and gate in self.fusable:
                grads["weight_ih"][stored] = self.d_rec[rows, H + 1 :]
        if self.projected:
            self._store_input_gradients(ws, grads, x)

    def _store_input_gradients(self, ws: Workspace, grads: MutableMapping[str, Array], x: Array | IntArray) -> None:
        H, T = self.hidden_size, ws.time_steps
        da_in = flatten_time(ws["da"][self.block(0, len(self.projected)), :T])
        if self.gathers:
            d_in = scatter_columns(da_in, x.reshape(-1), self.input_size)
        else:
            source = ws["hx"][H:, :T] if self.fuses_one_hot else x
            d_in = np.matmul(da_in, flatten_time(source).T, out=self.d_in)
        for index, gate in enumerate(self.projected):
            rows, stored = self.block(index), self.gate_rows(gate)
            grads["weight_ih"][stored] = d_in[rows, self._in_features]
            grads["bias"][stored] = d_in[rows, self._in_bias]

    def _scale(self, gate: str) -> Any:
        return self.half if gate in self.sigmoid_gates else self.one

    def _recurrent_bias(self, gate: str) -> tuple[str, slice] | None:
        """Name and rows of the bias that belongs to the recurrent product of a gate, if any."""
        if gate in self.recurrent_biases:
            return self.recurrent_biases[gate], slice(None)
        return None if gate in self.projected else ("bias", self.gate_rows(gate))

    def _make_backward(self) -> None:
        self.w_back = np.empty((self.hidden_size, len(self.gates) * self.hidden_size), self.dtype)
        self.d_rec = np.empty_like(self.w_rec)
        if not self.symbols:
            self.w_in_back = np.empty((self.input_size, len(self.projected) * self.hidden_size), self.dtype)
        if not self.gathers:
            self.d_in = np.empty_like(self.w_in)
