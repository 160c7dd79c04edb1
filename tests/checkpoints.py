"""Checkpoints of networks that nobody has trained."""

from __future__ import annotations

from typing import Any

import numpy as np

from charrnn.config.load import config_from_dict, parse_config
from charrnn.data.vocabulary import Vocabulary
from charrnn.nn.network import CharRNN
from charrnn.runs.checkpoint import Checkpoint

TEXT = "abcdefg .\né</script>"


def make(cell: str = "lstm") -> Checkpoint:
    config = parse_config(
        f"corpus: {{source: a}}\nmodel: {{cell: {cell}, hidden_size: 4, num_layers: 2}}", where="test"
    )
    vocabulary = Vocabulary.of("abé😀\n")
    model = CharRNN(len(vocabulary), cell=cell, hidden_size=4, num_layers=2)
    rng = np.random.default_rng(0)
    model.init(rng)
    state = [rng.normal(size=s.shape).astype(np.float32) for s in model.zero_state(3)]
    moments = {"mean": np.ones(model.params.size, np.float32)}
    return Checkpoint(config, vocabulary, dict(model.params), moments, state, {"step": 7}, (2, 5), "kernel", "0.1.0")


def a_checkpoint(cell: str = "gru", layers: int = 2, encoding: str = "utf-8", **model: Any) -> Checkpoint:
    vocabulary = Vocabulary.of(TEXT if encoding == "utf-8" else TEXT.encode())
    settings = {"cell": cell, "hidden_size": 12, "num_layers": layers, **model}
    config = config_from_dict({"corpus": {"source": "x", "encoding": encoding}, "model": settings}, where="test")
    network = CharRNN(len(vocabulary), **config.model.sizes())
    network.init(np.random.default_rng(3))
    network.params.flat += np.random.default_rng(4).normal(0, 0.2, network.params.size).astype(np.float32)
    return Checkpoint(config, vocabulary, dict(network.params))
