"""Checkpoints of networks that nobody has trained."""

from __future__ import annotations

import collections
import dataclasses
from typing import Any

import msgspec
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


def of_documents(checkpoint: Checkpoint) -> Checkpoint:
    """The same network as if trained on documents, whose separator is the character that it writes most often."""
    from charrnn.api import TrainedModel

    often = collections.Counter(TrainedModel([checkpoint]).generate("ab", length=60, temperature=0.0)).most_common(1)
    corpus = msgspec.structs.replace(checkpoint.config.corpus, document_separator=often[0][0])
    config = msgspec.structs.replace(checkpoint.config, corpus=corpus)
    opening = tuple(int(k) for k in checkpoint.vocabulary.encode("ab" + often[0][0]))
    return dataclasses.replace(checkpoint, config=config, opening=opening)
