"""What all formats need: the network as if its symbols were one-hot, and the facts stored with the weights."""

from __future__ import annotations

from typing import Any

import numpy as np

from charrnn import __version__
from charrnn.config.load import config_to_dict
from charrnn.errors import SettingsError
from charrnn.nn.cells import CELLS
from charrnn.nn.params import Array
from charrnn.runs.checkpoint import Checkpoint

_DTYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2"}


def to_float32(data: bytes, kind: str) -> Array:
    """(N,) numbers of a kind (F64, F32, F16, BF16) in little-endian order; values that are too large become infinite.

    Raises:
        ValueError: not a whole number of them.
    """
    values = np.frombuffer(data, _DTYPES[kind])
    if kind == "BF16":  # the upper half of a float32
        return (values.astype(np.uint32) << 16).view(np.float32)
    with np.errstate(over="ignore"):
        return values.astype(np.float32, copy=False)


def plain_params(checkpoint: Checkpoint) -> dict[str, Array]:
    """Parameters by name; an embedding is multiplied into the first layer's input weights, (G*H, V)."""
    model = checkpoint.build_model()
    params = {name: np.array(values) for name, values in model.params.items() if name != "embedding.weight"}
    params["layers.0.weight_ih"] = np.array(model.input_weights())
    return params


def check_equations(checkpoint: Checkpoint) -> None:
    """Refuse a cell that does not declare its equations.

    Raises:
        SettingsError: it does not.
    """
    name = checkpoint.config.model.cell
    if not CELLS[name].equations:
        raise SettingsError(
            f"the cell {name!r} cannot be exported: its class has no `equations`", hint="export to json or safetensors"
        )


def metadata(checkpoint: Checkpoint) -> dict[str, Any]:
    """Settings, vocabulary and origin as plain values."""
    config = config_to_dict(checkpoint.config)
    config["model"] |= {"embedding_size": None, "tie_weights": False}  # see `plain_params`
    return {
        "format": "charrnn",
        "version": __version__,
        "config": config,
        "vocabulary": checkpoint.vocabulary.to_meta(),
        "counters": {k: v for k, v in checkpoint.counters.items() if k in ("step", "epoch", "chars", "best_val_loss")},
    }


def torch_names(checkpoint: Checkpoint) -> dict[str, Array]:
    """Parameters as PyTorch's `nn.RNN`, `nn.LSTM` or `nn.GRU` (called `rnn`) and a linear `head` have them.

    PyTorch has two biases where one is enough; ours is its first, and its second is 0 except for recurrent biases.

    Raises:
        SettingsError: PyTorch has no such cell.
    """
    params, m = plain_params(checkpoint), checkpoint.config.model
    cell = CELLS[m.cell]
    if not cell.torch_module:
        raise SettingsError(f"PyTorch has no cell like {m.cell!r}", hint="export to json or html instead")
    out: dict[str, Array] = {}
    for k in range(m.num_layers):
        layer = {name.removeprefix(f"layers.{k}."): v for name, v in params.items() if name.startswith(f"layers.{k}.")}
        out[f"rnn.weight_ih_l{k}"], out[f"rnn.weight_hh_l{k}"] = layer["weight_ih"], layer["weight_hh"]
        out[f"rnn.bias_ih_l{k}"] = layer["bias"]
        second = np.zeros_like(layer["bias"])
        for gate, name in cell.recurrent_biases.items():
            start = cell.gates.index(gate) * m.hidden_size
            second[start : start + m.hidden_size] = layer[name]
        out[f"rnn.bias_hh_l{k}"] = second
    return out | {"head.weight": params["head.weight"], "head.bias": params["head.bias"]}
