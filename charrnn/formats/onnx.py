"""ONNX (extra `[onnx]`): one step of the network, with the states going in and coming out.

    inputs   ids (B,) int64; state_<layer>_<name> (B, H) float32, zeros at the beginning
    outputs  logits (B, V); new_state_<layer>_<name> (B, H)

Settings and vocabulary are in the metadata property `charrnn`, as JSON.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from charrnn.errors import MissingExtraError
from charrnn.files import write_output
from charrnn.formats.common import check_equations, metadata, plain_params
from charrnn.nn.cells import CELLS
from charrnn.nn.cells.equations import parse, translate
from charrnn.runs.checkpoint import Checkpoint

_OPSET = 17


def write(checkpoint: Checkpoint, output: Path) -> list[Path]:
    """Write the file.

    Raises:
        MissingExtraError: no onnx.
        SettingsError: a cell without equations.
    """
    check_equations(checkpoint)
    try:
        import onnx
    except ImportError:
        raise MissingExtraError("onnx", "onnx", purpose="this export") from None
    made = _Graph(checkpoint).model()
    prop = made.metadata_props.add()
    prop.key, prop.value = "charrnn", json.dumps(metadata(checkpoint))
    onnx.checker.check_model(made)
    write_output(output, made.SerializeToString())
    return [output]


class _Graph:
    """Nodes in order; names are generated as they are added."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        self._checkpoint, self._nodes, self._constants = checkpoint, [], {}  # type: ignore[var-annotated]
        self._params = plain_params(checkpoint)
        self._count = 0

    def node(self, kind: str, *inputs: str, name: str | None = None, **options: Any) -> str:
        """Add a node; return the name of its output."""
        from onnx import helper

        self._count += 1
        name = name or f"{kind.lower()}_{self._count}"
        self._nodes.append(helper.make_node(kind, list(inputs), [name], **options))
        return name

    def constant(self, name: str, values: Any) -> str:
        """Add an array."""
        from onnx import numpy_helper

        self._constants[name] = numpy_helper.from_array(np.ascontiguousarray(values), name)
        return name

    def linear(self, x: str, weight: str, bias: str | None) -> str:
        """X Wᵀ + b."""
        out = self.node("MatMul", x, self.constant(f"{weight}.T", self._params[weight].T))
        return out if bias is None else self.node("Add", out, self.constant(bias, self._params[bias]))

    def gates(self, x: str, count: int) -> list[str]:
        """The (B, G*H) columns, gate by gate."""
        from onnx import helper

        names = [f"{x}_{k}" for k in range(count)]
        size = self._checkpoint.config.model.hidden_size
        split = self.constant(f"{x}_sizes", np.full(count, size, np.int64))
        self._nodes.append(helper.make_node("Split", [x, split], names, axis=1))
        return names

    def model(self) -> Any:
        """The whole network."""
        from onnx import TensorProto, helper

        m = self._checkpoint.config.model
        states = CELLS[m.cell].state_names
        x, inputs, outputs = "ids", [helper.make_tensor_value_info("ids", TensorProto.INT64, ["B"])], []
        for k in range(m.num_layers):
            names = [f"state_{k}_{name}" for name in states]
            new = [f"new_{name}" for name in names]
            inputs += [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["B", m.hidden_size]) for n in names]
            outputs += [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["B", m.hidden_size]) for n in new]
            x = self.layer(k, x, names, new)
        logits = self.linear(x, "head.weight", None)
        self.node("Add", logits, self.constant("head.bias", self._params["head.bias"]), name="logits")
        V = len(self._checkpoint.vocabulary)  # noqa: N806
        outputs.insert(0, helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["B", V]))
        graph = helper.make_graph(self._nodes, "charrnn_step", inputs, outputs, list(self._constants.values()))
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=8)

    def inputs(self, layer: int, x: str) -> str:
        """The input's part of the pre-activations, with the bias; symbols pick their column."""
        weight, bias = f"layers.{layer}.weight_ih", f"layers.{layer}.bias"
        if layer:
            return self.linear(x, weight, bias)
        table = self.constant("table", self._params[weight].T + self._params[bias])
        return self.node("Gather", table, x, axis=0)

    def layer(self, k: int, x: str, states: list[str], new: list[str]) -> str:
        """One step of layer `k`, by its cell's equations; the name of its new h."""
        m = self._checkpoint.config.model
        cell = CELLS[m.cell]
        from_input = self.gates(self.inputs(k, x), len(cell.gates))
        from_state = self.gates(self.linear(states[0], f"layers.{k}.weight_hh", None), len(cell.gates))
        names = dict(zip(cell.state_names, states, strict=True))
        for gate, own, recurrent in zip(cell.gates, from_input, from_state, strict=True):
            if bias := cell.recurrent_biases.get(gate):
                bias = f"layers.{k}.{bias}"
                recurrent = self.node("Add", recurrent, self.constant(bias, self._params[bias]))
            names |= {f"x_{gate}": own, f"u_{gate}": recurrent, f"a_{gate}": self.node("Add", own, recurrent)}
        for name, expression in parse(cell.equations):
            names[name] = translate(expression, _Nodes(self, names))
        for name, output in zip(cell.state_names, new, strict=True):
            self.node("Identity", names[name], name=output)
        return new[0]


class _Nodes:
    """Writes equations as nodes; an expression is the name of a node's output."""

    _KINDS: ClassVar[dict[str, str]] = {"+": "Add", "-": "Sub", "*": "Mul", "sigmoid": "Sigmoid", "tanh": "Tanh"}

    def __init__(self, graph: _Graph, names: dict[str, str]) -> None:
        self._graph, self._names = graph, names

    def name(self, name: str) -> str:
        """See `Writer`."""
        return self._names[name]

    def number(self, value: float) -> str:
        """See `Writer`."""
        return self._graph.constant(f"constant_{value!r}", np.float32(value))

    def binary(self, operator: str, left: str, right: str) -> str:
        """See `Writer`."""
        return self._graph.node(self._KINDS[operator], left, right)

    def call(self, function: str, argument: str) -> str:
        """See `Writer`."""
        return self._graph.node(self._KINDS[function], argument)
