"""A layer's and the head's parameters as panels; their gradients as parameters again."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping

import numpy as np

from charrnn.nn.buffers import aligned
from charrnn.nn.compiled import packing
from charrnn.nn.compiled.head import NO_SYMBOL, Head
from charrnn.nn.compiled.layout import Rows
from charrnn.nn.compiled.vector import lanes
from charrnn.nn.compiled.window import Gradients, Weights
from charrnn.nn.params import Array, IntArray, Shapes

Share = tuple[int, int]  # which thread, of how many

_FEW = 0.25  # of a vector: symbols that get no panel


class LayerPanels:
    """The panels of one layer.

    Args:
        params: the layer's, read at every `pack`.
        rows: of its cell.
        symbols: the input is symbols rather than the states of the layer below.

    Attributes:
        weights: for the kernels.
    """

    def __init__(self, params: Mapping[str, Array], rows: Rows, *, symbols: bool) -> None:
        self.params, self.rows, self.symbols = params, rows, symbols
        self.dtype = params["weight_hh"].dtype
        self._bias_names = [name for name in params if not name.startswith("weight")]
        self._width = rows.bias.shape[2]
        none = aligned((0, 0, 2, self._width), self.dtype)
        made = {name: aligned(shape, self.dtype) for name, shape in self.shapes().items()}
        self.weights = Weights(**made, input_back=none, recurrent_back=none)

    def shapes(self) -> Shapes:
        """Those of `Gradients`."""
        panels, blocks, width = self.rows.bias.shape
        return {
            "table": (self.params["weight_ih"].shape[1] if self.symbols else 0, panels, blocks, width),
            "bias": (panels, blocks, width),
            "input": (panels, 0 if self.symbols else self.rows.units, self.rows.input.shape[1], width),
            "recurrent": (panels, self.rows.units, self.rows.recurrent.shape[1], width),
        }

    def prepare_backward(self) -> None:
        """Make room for what only gradients need."""
        if len(self.weights.recurrent_back):
            return
        pairs = self.rows.units // (2 * self._width)
        shapes = [(pairs, rows.size, 2, self._width) for rows in (self.rows.input, self.rows.recurrent)]
        back = self.weights.input_back if self.symbols else aligned(shapes[0], self.dtype)
        self.weights = self.weights._replace(input_back=back, recurrent_back=aligned(shapes[1], self.dtype))

    def pack(self, share: Share, *, backward: bool, recurrent: Array | None = None) -> None:
        """Fill a thread's share of the panels.

        Args:
            share: which panels.
            backward: also what gradients need.
            recurrent: weights to use instead of the parameters.
        """
        w, rows, w_ih = self.weights, self.rows, self.params["weight_ih"]
        w_hh = self.params["weight_hh"] if recurrent is None else recurrent
        bias = np.concatenate([self.params[name] for name in self._bias_names])
        packing.pack(w_hh, rows.recurrent, w.recurrent, share)
        if self.symbols:
            packing.pack_table(w_ih, bias, rows.input, rows.bias, w.table, share)
        else:
            packing.pack(w_ih, rows.input, w.input, share)
            if share[0] == 0:
                w.bias[rows.bias >= 0] = bias[rows.bias[rows.bias >= 0]]
        if backward:
            packing.pack_transposed(w_hh, rows.recurrent, w.recurrent_back, share)
            if not self.symbols:
                packing.pack_transposed(w_ih, rows.input, w.input_back, share)

    def unpack(self, d: Gradients, grads: MutableMapping[str, Array], share: Share) -> None:
        """Write a thread's share of the gradients of the weights."""
        packing.unpack(d.recurrent, self.rows.recurrent, grads["weight_hh"], share)
        if self.symbols:
            packing.unpack_table(d.table, self.rows.input, grads["weight_ih"], share)
        else:
            packing.unpack(d.input, self.rows.input, grads["weight_ih"], share)

    def unpack_bias(self, d: Gradients, grads: MutableMapping[str, Array]) -> None:
        """Write the gradients of the biases, which with symbols are those of all symbols together."""
        sums = d.table.sum(axis=0) if self.symbols else d.bias
        bias = np.empty(sum(grads[name].size for name in self._bias_names), self.dtype)
        bias[self.rows.bias[self.rows.bias >= 0]] = sums[self.rows.bias >= 0]
        for name in self._bias_names:
            grads[name][...], bias = bias[: grads[name].size], bias[grads[name].size :]


class HeadPanels:
    """The panels of the output layer.

    Args:
        params: the head's, read at every `pack`.
        units: H, filled up.

    Attributes:
        weights: for the kernels.
        panels: V / W, filled up.
    """

    def __init__(self, params: Mapping[str, Array], units: int) -> None:
        self.params, self.units = params, units
        self.vocab_size, self.dtype = len(params["bias"]), params["bias"].dtype
        self.width = lanes(self.dtype.itemsize)
        whole, rest = divmod(self.vocab_size, self.width)
        self.panels, self._rest = whole + (rest > 0), rest if rest <= self.width * _FEW else 0
        rows: IntArray = np.arange((self.panels - (self._rest > 0)) * self.width)
        rows[self.vocab_size :] = -1
        self.rows = rows.reshape(-1, 1, self.width)
        none = aligned((0, 0, 2, self.width), self.dtype)
        self.weights = Head(**{name: aligned(shape, self.dtype) for name, shape in self.shapes().items()}, back=none)
        self.weights.bias[...] = NO_SYMBOL

    def shapes(self) -> Shapes:
        """Those of the gradients."""
        return {
            "weight": (len(self.rows), self.units, 1, self.width),
            "bias": (self.panels, 1, self.width),
            "rest": (self._rest, self.units // self.width, self.width),
        }

    def prepare_backward(self) -> None:
        """Make room for what only gradients need."""
        if not len(self.weights.back):
            shape = (self.units // (2 * self.width), self.rows.size, 2, self.width)
            self.weights = self.weights._replace(back=aligned(shape, self.dtype))

    def pack(self, share: Share, *, backward: bool) -> None:
        """Fill a thread's share of the panels."""
        weight, w = self.params["weight"], self.weights
        packing.pack(weight, self.rows, w.weight, share)
        if share[0] == 0:
            w.bias.reshape(-1)[: self.vocab_size] = self.params["bias"]
            w.rest.reshape(self._rest, self.units)[:, : weight.shape[1]] = weight[self.vocab_size - self._rest :]
        if backward:
            packing.pack_transposed(weight, self.rows, w.back, share)

    def unpack(self, d: Head, grads: MutableMapping[str, Array], share: Share) -> None:
        """Write a thread's share of the gradients."""
        weight = grads["weight"]
        packing.unpack(d.weight, self.rows, weight, share)
        if share[0] == 0:
            grads["bias"][...] = d.bias.reshape(-1)[: self.vocab_size]
            weight[self.vocab_size - self._rest :] = d.rest.reshape(self._rest, self.units)[:, : weight.shape[1]]
