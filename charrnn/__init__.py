"""Character-level text generation with recurrent networks in NumPy alone.

The names below are the public API; each is loaded when it is first used, so that `import charrnn` costs nothing.

    import charrnn

    model = charrnn.load("checkpoints/quickstart")
    print("".join(model.sample("The ", length=200, temperature=0.7, seed=1)))
    print(model.evaluate("Names are bound to objects.").bits_per_char)
"""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

_HOMES = {
    "CharRNN": "nn.network",
    "CharRNNError": "errors",
    "Checkpoint": "runs.checkpoint",
    "Config": "config.schema",
    "NgramModel": "evaluation.ngram",
    "SamplerOptions": "sampling.options",
    "SamplingOptions": "sampling.options",
    "Score": "evaluation.loss",
    "Stepper": "nn.stepper",
    "Trainer": "training.trainer",
    "TrainedModel": "api",
    "Vocabulary": "data.vocabulary",
    "encode_text": "data.encode",
    "evaluate": "evaluation.loss",
    "find_checkpoint": "runs.checkpoint",
    "generate_ids": "sampling.draw",
    "generate_text": "sampling.draw",
    "load": "api",
    "load_checkpoint": "runs.checkpoint",
    "load_config": "config.load",
    "save_checkpoint": "runs.checkpoint",
    "surprisals": "evaluation.loss",
}

__all__ = sorted(["__version__", *_HOMES])


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'charrnn' has no attribute {name!r}")
    return getattr(importlib.import_module(f"charrnn.{_HOMES[name]}"), name)
