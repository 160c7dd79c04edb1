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
    "CharRNN": "model",
    "CharRNNError": "errors",
    "Checkpoint": "checkpoint",
    "Config": "config",
    "NgramModel": "ngram",
    "SamplerOptions": "samplers.options",
    "SamplingOptions": "samplers.options",
    "Score": "evaluation",
    "Stepper": "stepper",
    "Trainer": "training.trainer",
    "TrainedModel": "library",
    "Vocabulary": "vocabulary",
    "encode_text": "encoding",
    "evaluate": "evaluation",
    "find_checkpoint": "checkpoint",
    "generate_ids": "sampling",
    "generate_text": "sampling",
    "load": "library",
    "load_checkpoint": "checkpoint",
    "load_config": "config",
    "save_checkpoint": "checkpoint",
    "surprisals": "evaluation",
}

__all__ = sorted(["__version__", *_HOMES])


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'charrnn' has no attribute {name!r}")
    return getattr(importlib.import_module(f"charrnn.{_HOMES[name]}"), name)
