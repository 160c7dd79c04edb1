"""What a cell declares: its gates, states, buffers and equations, as data.

A new cell is one file with a class like those of `rnn`, `lstm` and `gru`, and its name in `charrnn.nn.cells`. The class
declares itself in the attributes below and writes out its forward and backward equations; time loops are in
`recurrent`, the weights they multiply by in `kernels`. Exports, inspection and reports read the same attributes, so
that cells are listed nowhere else.

Buffers are declared as tuples of axes, numbers or these letters: H units, B columns, T steps, T+1 steps and the one
before them, R rows of `hx` (h, a one and, where it is fused, the one-hot input), L steps of local derivatives, D steps
of `da` copied at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from charrnn.nn.init import orthogonal_, uniform_
from charrnn.nn.params import Array, Shapes

Axes = tuple[int | str, ...]


class Cell:
    """One layer's gates, states and parameters.

    Attributes:
        name: its name in settings.
        gates: letters in storage order; `weight_hh` is (G*H, H) with the gates' blocks in this order, PyTorch's.
        state_names: "h" first. Every other state is a buffer of its name, with a gradient buffer `d<name>`.
        sigmoid_gates: the gates between 0 and 1; the others are between -1 and 1.
        recurrent_biases: gate -> name of its separate bias inside the recurrent product (H,).
        keep_gate: the gate whose initial bias is the setting `forget_bias`: near 1, it keeps the state.
        equations: one step, as `charrnn.nn.cells.equations` reads them; empty if they cannot be written this way;
            the cell cannot be exported then.
        torch_module: PyTorch's class with the same parameters and equations, in `torch.nn`; "" if there is none.
        recurrent_order, input_order: order of the gates' blocks in the fused weights, chosen so that blocks treated
            alike are adjacent. The fusable ones come first in the former and last in the latter.
        fusable: gates whose input part is added to their recurrent part.
        da_blocks: number of (H, T, B) blocks of `da`; `recurrent_da` is the first of the G blocks that meet `W_hh`.
        chunk_blocks: blocks of one step of `da` as `step_backward` writes them, da's first.
        local_blocks: blocks of one step of local derivatives.
        buffers: name -> axes of buffers kept from forward to backward.
        shared_buffers: name -> axes of buffers that all layers share, one after the other.
        gate_blocks: gate -> its block in the buffer `gates`, for inspection.
    """

    name: ClassVar[str]
    gates: ClassVar[str]
    state_names: ClassVar[tuple[str, ...]] = ("h",)
    sigmoid_gates: ClassVar[str] = ""
    recurrent_biases: ClassVar[Mapping[str, str]] = {}
    keep_gate: ClassVar[str] = ""
    equations: ClassVar[tuple[str, ...]] = ()
    torch_module: ClassVar[str] = ""
    recurrent_order: ClassVar[str]
    input_order: ClassVar[str]
    fusable: ClassVar[str]
    da_blocks: ClassVar[int]
    recurrent_da: ClassVar[int] = 0
    chunk_blocks: ClassVar[int]
    local_blocks: ClassVar[int]
    buffers: ClassVar[Mapping[str, Axes]] = {}
    shared_buffers: ClassVar[Mapping[str, Axes]] = {}
    gate_blocks: ClassVar[Mapping[str, int]] = {}

    def __init__(self, params: Mapping[str, Array], *, hidden_size: int) -> None:
        self.params, self.hidden_size = params, hidden_size
        self.dtype = params["weight_hh"].dtype
        self.half, self.one = self.dtype.type(0.5), self.dtype.type(1.0)

    @classmethod
    def param_shapes(cls, input_size: int, hidden_size: int) -> Shapes:
        """Name -> shape: `weight_ih` (G*H, K), `weight_hh` (G*H, H), `bias` (G*H,), and the recurrent biases (H,)."""
        rows = len(cls.gates) * hidden_size
        shapes: Shapes = {"weight_ih": (rows, input_size), "weight_hh": (rows, hidden_size), "bias": (rows,)}
        return shapes | dict.fromkeys(cls.recurrent_biases.values(), (hidden_size,))

    def init(self, rng: np.random.Generator, *, forget_bias: float) -> None:
        """Orthogonal recurrent blocks, uniform input weights, zero biases except for `forget_bias` in the keep gate.

        A forget bias of 1 lets a cell remember by default. Source: Jozefowicz, Zaremba and Sutskever (2015).
        """
        uniform_(self.params["weight_ih"], rng, fan=self.hidden_size)
        orthogonal_(self.params["weight_hh"], rng)
        for name in ("bias", *self.recurrent_biases.values()):
            self.params[name][...] = 0.0
        if self.keep_gate:
            self.params["bias"][self.gate_rows(self.keep_gate)] = forget_bias

    def block(self, index: int, count: int = 1) -> slice:
        """Rows of `count` blocks of H rows from block `index`."""
        return slice(index * self.hidden_size, (index + count) * self.hidden_size)

    def gate_rows(self, gate: str) -> slice:
        """Rows of a gate in the stored parameters."""
        return self.block(self.gates.index(gate))

    @classmethod
    def state_slots(cls) -> dict[str, int]:
        """Buffers with one slot before each step and one after the last: name -> time axis."""
        return {"hx": 1, "steps": 0} | dict.fromkeys(cls.state_names[1:], 0)

    @classmethod
    def own_axes(cls) -> dict[str, Axes]:
        """Axes of all buffers kept from forward to backward."""
        return {"hx": ("R", "T+1", "B"), **cls.buffers, **dict.fromkeys(cls.state_names[1:], ("T+1", "H", "B"))}

    @classmethod
    def shared_axes(cls) -> dict[str, Axes]:
        """Axes of all buffers that the layers share, one after the other, except for the input's part of the gates."""
        return {
            "dh": ("H", "B"),
            "dh_rec": ("H", "B"),
            "tmp": ("H", "B"),
            "steps": ("T+1", "R", "B"),
            "local": ("L", cls.local_blocks, "H", "B"),
            "da_chunk": ("D", cls.chunk_blocks, "H", "B"),
            **cls.shared_buffers,
            **{f"d{name}": ("H", "B") for name in cls.state_names[1:]},
        }
