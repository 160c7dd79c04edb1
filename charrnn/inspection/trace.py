"""A network reading a text, with all its states and gates recorded."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from charrnn.nn.cells import CELLS
from charrnn.nn.network import CharRNN
from charrnn.nn.params import Array, IdArray

_WINDOW = 256


@dataclass(frozen=True)
class Trace:
    """One pass over a text of N symbols.

    Attributes:
        ids: (N,) what was read.
        layers: for each layer, name -> (N, H): states `h` (and `c`), and the cell's gates, after each symbol.
        log_p: (N, V) natural logarithms of the probabilities of the symbol after each.
        sigmoid_gates: names in `layers` between 0 and 1.
        unbounded: names in `layers` without bounds, such as the LSTM's c.
    """

    ids: npt.NDArray[np.intp]
    layers: list[dict[str, Array]]
    log_p: Array
    sigmoid_gates: str = ""
    unbounded: tuple[str, ...] = ()

    def activation(self, name: str, layer: int = -1) -> Array:
        """(N, H) of a state or gate.

        Raises:
            KeyError: the cell has none of that name.
        """
        return self.layers[layer][name]

    def signed(self, name: str, layer: int = -1) -> Array:
        """(N, H) of a state or gate, scaled to -1..1: sigmoid gates are stretched, unbounded states go through tanh."""
        values = self.activation(name, layer)
        if name in self.sigmoid_gates:
            return values * 2.0 - 1.0
        out: Array = np.tanh(values) if name in self.unbounded else values
        return out

    @property
    def nats(self) -> Array:
        """(N-1,) surprise at each symbol but the first."""
        out: Array = -self.log_p[np.arange(len(self.ids) - 1), self.ids[1:]]
        return out


def trace_text(model: CharRNN, ids: IdArray) -> Trace:
    """Read (N,) ids in one go from a zero state."""
    state = model.zero_state(1)
    parts: list[list[dict[str, Array]]] = []
    log_p = []
    for start in range(0, len(ids), _WINDOW):
        window = ids[start : start + _WINDOW].astype(np.intp)[:, None]
        layers, logs = model.trace(window, state)
        parts.append(layers)
        log_p.append(logs[:, :, 0])
    names = parts[0][0]
    joined = [
        {name: np.concatenate([part[layer][name][:, :, 0] for part in parts]) for name in names}
        for layer in range(model.num_layers)
    ]
    cell = CELLS[model.cell_name]
    return Trace(ids.astype(np.intp), joined, np.concatenate(log_p), cell.sigmoid_gates, cell.state_names[1:])
