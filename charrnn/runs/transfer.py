"""Old weights in a new run: symbols in both vocabularies keep what was learned about them."""

from __future__ import annotations

import numpy as np

from charrnn.config.schema import Config
from charrnn.data.vocabulary import Vocabulary
from charrnn.errors import SettingsError
from charrnn.nn.network import CharRNN
from charrnn.runs.checkpoint import Checkpoint

# Parameters with an axis of symbols.
_SYMBOL_AXIS = {"layers.0.weight_ih": 1, "embedding.weight": 0, "head.weight": 0, "head.bias": 0}
_MUST_AGREE = (
    "model.cell", "model.hidden_size", "model.num_layers", "model.embedding_size", "model.tie_weights",
    "corpus.encoding",
)  # fmt: skip


def check_transferable(saved: Config, wanted: Config) -> None:
    """Refuse weights of another shape.

    Raises:
        SettingsError: names the setting that differs.
    """
    for path in _MUST_AGREE:
        section, name = path.split(".")
        old, new = (getattr(getattr(config, section), name) for config in (saved, wanted))
        if old != new:
            raise SettingsError(
                f"{path}: {new}, but the weights to start from have {old}",
                hint=f"use `overrides` {path}={old}, or other weights",
            )


def transplant(source: Checkpoint, model: CharRNN, vocabulary: Vocabulary) -> int:
    """Copy the weights of `source` into an initialised `model`; new symbols keep their initial weights.

    Args:
        source: a checkpoint of the same cell and sizes.
        model: of `vocabulary`.
        vocabulary: holds all symbols of the source's.

    Returns:
        The number of symbols that are new.
    """
    places = vocabulary.lookup(source.vocabulary.values).astype(np.intp)
    for name, values in source.params.items():
        target = model.params[name]
        axis = _SYMBOL_AXIS.get(name)
        if name == "layers.0.weight_ih" and model.embedding is not None:
            axis = None  # its columns are the embedding's, not symbols
        if axis is None:
            target[...] = values
        else:
            np.moveaxis(target, axis, 0)[places] = np.moveaxis(values, axis, 0)
    return len(vocabulary) - len(source.vocabulary)
