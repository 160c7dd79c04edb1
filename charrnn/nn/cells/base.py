"""What a recurrent cell is."""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import ClassVar, Protocol

import numpy as np

from charrnn.nn.buffers import Workspace
from charrnn.nn.params import Array, IntArray, Shapes


class Cell(Protocol):
    """What the model asks of a layer. Shapes: T steps, B columns, H hidden, K input rows, S states.

    Attributes:
        name: its name in settings.
        gates: letters in storage order; `weight_hh` is (G*H, H) with the gates' blocks in this order.
        state_names: "h" first.
    """

    name: ClassVar[str]
    gates: ClassVar[str]
    state_names: ClassVar[tuple[str, ...]]

    @classmethod
    def param_shapes(cls, input_size: int, hidden_size: int) -> Shapes:
        """Name -> shape of the layer's parameters, in storage order."""

    def init(self, rng: np.random.Generator, *, forget_bias: float) -> None:
        """Fill the parameters in place."""

    def own_shapes(self, time_steps: int, columns: int) -> Shapes:
        """Buffers whose content must live from forward to backward."""

    def shared_shapes(self, time_steps: int, columns: int) -> Shapes:
        """Buffers that layers may share, because each is done with them before the next begins."""

    def forward(self, x: Array | IntArray, state: Array, ws: Workspace, *, resets: IntArray | None = None) -> Array:
        """Run a window; see `RecurrentCell.forward`."""

    def backward(
        self,
        dh: Array,
        ws: Workspace,
        grads: MutableMapping[str, Array],
        *,
        x: Array | IntArray,
        dx: Array | None,
        resets: IntArray | None = None,
    ) -> Array:
        """Backpropagate through a window; see `RecurrentCell.backward`."""
