"""Import a PyTorch state_dict, a safetensors file or our own JSON as a checkpoint.

A foreign network may have one-hot symbols or an embedding in front, which is multiplied into the first layer. Arrays
are found by their shapes and by the names that PyTorch gives recurrent layers.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from charrnn.config.load import config_from_dict
from charrnn.config.messages import one_line
from charrnn.data.decoding import TextRules
from charrnn.data.vocabulary import Vocabulary, describe_symbol
from charrnn.errors import CharRNNError, CheckpointError, DataError, SettingsError
from charrnn.formats.reading import ExportFacts, read_symbols, read_weights
from charrnn.nn.cells import CELLS
from charrnn.nn.network import CharRNN
from charrnn.nn.params import Array, IntArray
from charrnn.runs.checkpoint import LARGEST, Checkpoint, checked_opening, usable
from charrnn.runs.text import read_text

# A cell that PyTorch has, by its number of gates.
_GATES = {len(cell.gates): cell for cell in CELLS.values() if cell.torch_module}


@dataclass(frozen=True)
class ArrayNames:
    """Names given by the user; None: detect them."""

    rnn: str | None = None
    head: str | None = None
    embedding: str | None = None


@dataclass(frozen=True)
class NumberedSymbols:
    """A vocabulary and how a foreign network numbers it.

    Attributes:
        vocabulary: the symbols in our order.
        numbers: (V,) the network's number of each.
    """

    vocabulary: Vocabulary
    numbers: IntArray


def import_model(
    path: Path,
    vocabulary: Vocabulary | NumberedSymbols | None,
    *,
    source: str,
    names: ArrayNames | None = None,
    nonlinearity: str | None = None,
    note: Callable[[str], None] = lambda text: None,
) -> Checkpoint:
    """A checkpoint with the weights in a file.

    Args:
        path: a PyTorch state_dict (.pt, .pth), .safetensors, or .json made by `charrnn export`.
        vocabulary: of the network; None takes that of our own exports.
        source: the checkpoint's name for its corpus, if the file does not have one.
        names: see `ArrayNames`.
        nonlinearity: of a vanilla network, which its weights do not show; None: taken to be tanh, with a note.
        note: called with what a user should know.

    Raises:
        CheckpointError: not such a file, or a network of an unsupported kind.
    """
    found = read_weights(path)
    arrays, facts = found.arrays, found.facts
    try:
        if facts.vocabulary is not None and vocabulary is None:
            vocabulary = Vocabulary.from_meta(msgspec.to_builtins(facts.vocabulary))
        if vocabulary is None:
            raise CheckpointError("contains no vocabulary", hint="give its vocabulary with `vocab` FILE")
        symbols = vocabulary.vocabulary if isinstance(vocabulary, NumberedSymbols) else vocabulary
        if "layers.0.weight_ih" in arrays:
            _refuse_names(names or ArrayNames())
        else:
            arrays, facts = _ours(arrays, len(symbols), names or ArrayNames()), ExportFacts()
        if isinstance(vocabulary, NumberedSymbols):
            arrays = _renumbered(arrays, vocabulary.numbers)
        loaded = _checkpoint(arrays, symbols, source, facts)
        _check_nonlinearity(nonlinearity, loaded.config.model.cell, None if facts.config else note)
        return loaded
    except SettingsError as error:  # of the settings in the file
        raise CheckpointError(f"{path}: {error.message}", hint=error.hint) from None
    except CharRNNError as error:
        raise type(error)(f"{path}: {error.message}", hint=error.hint) from None


def _refuse_names(names: ArrayNames) -> None:
    """A file whose arrays have our names has nothing to choose."""
    if given := [field for field, name in asdict(names).items() if name is not None]:
        raise CheckpointError(
            f"`{given[0]}` {getattr(names, given[0])}: its arrays are named by charrnn, so there is nothing to choose",
            hint=f"leave out {' and '.join(f'`{field}`' for field in given)}",
        )


def _check_nonlinearity(given: str | None, cell: str, note: Callable[[str], None] | None) -> None:
    """Refuse one that the network does not have; `note` says that it is taken to be tanh, where that may be wrong."""
    if given is not None and cell != "rnn":
        raise CheckpointError(
            f"`nonlinearity` {given}: it is for an nn.RNN, and this network is of cell {cell}",
            hint="leave out `nonlinearity`",
        )
    if given not in (None, "tanh"):
        raise CheckpointError(f"a vanilla network with {given} cannot be imported: ours has tanh")
    if given is None and cell == "rnn" and note is not None:
        note("assumed to use tanh, which weights do not show; a network with relu would predict something else")


def _renumbered(arrays: dict[str, Array], numbers: IntArray) -> dict[str, Array]:
    """The arrays with their symbols in our order."""
    out = dict(arrays)
    for name in ("head.weight", "head.bias", "embedding.weight"):
        if name in out and len(out[name]) == len(numbers):
            out[name] = out[name][numbers]
    first = out.get("layers.0.weight_ih")
    if first is not None and "embedding.weight" not in out and first.shape[1:] == numbers.shape:
        out["layers.0.weight_ih"] = first[:, numbers]
    return out


def read_vocabulary(path: Path) -> NumberedSymbols:
    """A vocabulary from a JSON list of characters in the order of their ids, or the sorted characters of a text.

    Raises:
        CheckpointError: unreadable, or not single characters, each once.
    """
    try:
        if path.suffix.lower() != ".json":
            vocabulary = Vocabulary.of(read_text(path, TextRules("utf-8"))[1])
            return NumberedSymbols(vocabulary, np.arange(len(vocabulary)))
        values = [ord(symbol) for symbol in read_symbols(path)]
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error.strerror or error}") from None
    except DataError as error:
        raise CheckpointError(error.message, hint=error.hint) from None
    except ValueError as error:
        raise CheckpointError(f"{path}: not a JSON list of single characters: {error}") from None
    if not values:
        raise CheckpointError(f"{path}: it contains no characters")
    if twice := [v for v, count in Counter(values).items() if count > 1]:
        raise CheckpointError(
            f"{path}: {describe_symbol(twice[0], 'utf-8')} appears twice",
            hint="list every character once, in the order of the network's ids",
        )
    return NumberedSymbols(Vocabulary(sorted(values), "utf-8"), np.argsort(values))


def _ours(arrays: dict[str, Array], vocab_size: int, names: ArrayNames) -> dict[str, Array]:
    """PyTorch's arrays under our names, with one bias and without an embedding."""
    arrays = _Used(arrays)
    prefix = _prefix(arrays, names.rnn)
    out: dict[str, Array] = {}
    layer = 0
    while f"{prefix}weight_ih_l{layer}" in arrays:
        out |= _layer(arrays, prefix, layer)
        layer += 1
    head, bias = _head(arrays, vocab_size, names.head)
    first = out["layers.0.weight_ih"]
    table = _embedding(arrays, first.shape[1], vocab_size, head, names.embedding)
    if table is not None:
        with np.errstate(over="ignore", invalid="ignore"):  # found by its result
            out["layers.0.weight_ih"] = first @ table.T
    out["head.weight"] = arrays[head]
    out["head.bias"] = arrays[bias] if bias in arrays else np.zeros(vocab_size, np.float32)
    _refuse_unused(set(arrays) - arrays.taken - _not_chosen(arrays, head, names))
    return out


def _refuse_unused(names: set[str]) -> None:
    if names:
        more = f" and {len(names) - 1} more" if len(names) > 1 else ""
        raise CheckpointError(
            f"{one_line(min(names))}{more}: not part of a network that can be imported, which has an embedding or "
            "one-hot symbols, recurrent layers and one linear layer",
            hint="remove from the file what the network does not use; what it does use cannot be left out",
        )


def _not_chosen(arrays: dict[str, Array], head: str, names: ArrayNames) -> set[str]:
    """Names of the other networks and output layers in a file from which one was named."""
    out: set[str] = set()
    if names.rnn is not None:
        others = {name[: -len("weight_ih_l0")] for name in arrays if name.endswith("weight_ih_l0")}
        out |= {name for name in arrays if any(other and name.startswith(other) for other in others)}
    if names.head is not None:
        for name in [n for n, v in arrays.items() if n.endswith("weight") and v.shape == arrays[head].shape]:
            out |= {name, f"{name[:-6]}bias"}
    return out


class _Used(dict[str, Array]):
    """Arrays that know which of them were taken."""

    def __init__(self, arrays: dict[str, Array]) -> None:
        super().__init__(arrays)
        self.taken: set[str] = set()

    def __getitem__(self, name: str) -> Array:
        self.taken.add(name)
        return super().__getitem__(name)

    def get(self, name: str, default: Any = None) -> Any:
        """As of a dict."""
        return self[name] if name in self.keys() else default


def _prefix(arrays: dict[str, Array], given: str | None) -> str:
    found = sorted({name[: -len("weight_ih_l0")] for name in arrays if name.endswith("weight_ih_l0")})
    if given is not None:
        found = [p for p in found if p in (given, given + ".")]
    if len(found) != 1:
        raise CheckpointError(
            f"found {len(found)} recurrent networks" + (f" ({', '.join(map(one_line, found[:5]))})" if found else ""),
            hint="a state_dict with ...weight_ih_l0 is needed; name one of several with `rnn`",
        )
    strange = [n for n in arrays if n.startswith(found[0]) and re.search(r"_reverse$|weight_hr_l\d+$", n)]
    if strange:
        raise CheckpointError(f"{one_line(strange[0])}: bidirectional networks and projections cannot be imported")
    return found[0]


def _layer(arrays: dict[str, Array], prefix: str, k: int) -> dict[str, Array]:
    H, gates = _sizes(arrays, f"{prefix}weight_hh_l{k}")  # noqa: N806
    w_ih, w_hh = arrays[f"{prefix}weight_ih_l{k}"], arrays[f"{prefix}weight_hh_l{k}"]
    zero = np.zeros(len(w_hh), np.float32)
    first, second = (arrays.get(f"{prefix}bias_{part}_l{k}", zero).copy() for part in ("ih", "hh"))
    if w_ih.ndim != 2 or len(w_ih) != len(w_hh) or {first.shape, second.shape} != {zero.shape}:
        raise CheckpointError(f"{one_line(prefix)}: the arrays of layer {k} do not fit together")
    out = {"weight_ih": w_ih, "weight_hh": w_hh}
    for gate, name in _GATES[gates].recurrent_biases.items():  # this bias stays inside the recurrent product
        rows = slice(_GATES[gates].gates.index(gate) * H, (_GATES[gates].gates.index(gate) + 1) * H)
        out[name] = second[rows].copy()
        second[rows] = 0.0
    return {f"layers.{k}.{name}": values for name, values in (out | {"bias": first + second}).items()}


def _head(arrays: dict[str, Array], vocab_size: int, given: str | None) -> tuple[str, str]:
    """Names of the output layer's weight and bias."""
    if given is not None:
        weight = given if given in arrays else f"{given}.weight"
        if weight not in arrays:
            raise CheckpointError(f"`head` {given}: no such array")
    else:
        hidden = {v.shape[-1] for name, v in arrays.items() if "weight_hh_l" in name and v.ndim == 2}
        found = [
            name for name, v in arrays.items()
            if name.endswith("weight") and v.ndim == 2 and v.shape[0] == vocab_size and v.shape[1] in hidden
        ]  # fmt: skip
        # An embedding may have the shape of an output layer, but it has no bias, and rarely another name.
        found = [name for name in found if f"{name[:-6]}bias" in arrays] or found
        found = [name for name in found if "emb" not in name.lower()] or found
        if len(found) != 1:
            raise CheckpointError(
                f"found {len(found)} linear layers from the hidden size to {vocab_size} symbols",
                hint="name the output layer with `head`, and check the vocabulary's size",
            )
        weight = found[0]
    return weight, f"{weight.removesuffix('weight')}bias"


def _embedding(arrays: dict[str, Array], size: int, vocab_size: int, head: str, given: str | None) -> Array | None:
    """The (V, E) table in front of the first layer; None for one-hot symbols."""
    if given is not None:
        name = given if given in arrays else f"{given}.weight"
        if name not in arrays or arrays[name].shape != (vocab_size, size):
            raise CheckpointError(f"`embedding` {given}: no array of {vocab_size} x {size}")
        return arrays[name]
    found = [
        name for name, v in arrays.items() if v.shape == (vocab_size, size) and name != head and "weight_" not in name
    ]
    if not found and size == vocab_size:
        return None
    if len(found) != 1:
        raise CheckpointError(
            f"the first layer takes {size} numbers, but {len(found)} tables of {vocab_size} x {size} were found",
            hint="check the vocabulary's size, or name the table with `embedding`",
        )
    return arrays[found[0]]


def _checkpoint(arrays: dict[str, Array], vocabulary: Vocabulary, source: str, facts: ExportFacts) -> Checkpoint:
    H, gates = _sizes(arrays, "layers.0.weight_hh")  # noqa: N806
    layers = len([name for name in arrays if name.endswith("weight_hh")])
    model = {"cell": _GATES[gates].name, "hidden_size": H, "num_layers": layers}
    settings: dict[str, Any] = {"corpus": {"source": source, "encoding": vocabulary.encoding}, "model": model}
    config = config_from_dict(facts.config or settings, where="its settings")
    shapes = CharRNN.param_shapes(len(vocabulary), **config.model.sizes())
    _refuse_unused(set(arrays) - set(shapes))
    params = {}
    for name, shape in shapes.items():
        if name not in arrays or arrays[name].shape != shape:
            found = arrays[name].shape if name in arrays else "nothing"
            raise CheckpointError(f"{name}: found {found}, {len(vocabulary)} symbols need {shape}")
        if not usable(arrays[name]):
            raise CheckpointError(f"{name}: holds numbers that are not finite, or beyond {LARGEST:g}")
        params[name] = np.ascontiguousarray(arrays[name], np.float32)
    return Checkpoint(config, vocabulary, params, opening=checked_opening(facts.opening, len(vocabulary)))


def _sizes(arrays: dict[str, Array], name: str) -> tuple[int, int]:
    """Hidden size and number of gates, by the shape of recurrent weights."""
    w_hh = arrays.get(name)
    if w_hh is None or w_hh.ndim != 2 or not w_hh.size or len(w_hh) % w_hh.shape[1]:
        raise CheckpointError(f"{one_line(name)}: missing, or of a shape that does not fit")
    gates = len(w_hh) // w_hh.shape[1]
    if gates not in _GATES:
        known = ", ".join(f"{count} ({cell.name})" for count, cell in sorted(_GATES.items()))
        raise CheckpointError(f"{one_line(name)}: has {gates} gates, but a cell has one of {known}")
    return w_hh.shape[1], gates
