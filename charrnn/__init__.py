"""Character-level text generation with recurrent networks in plain NumPy.

The names below are the public API; each is loaded when it is first used, so that `import charrnn` costs nothing.
`__init__.pyi` names them for editors and type checkers.

    import charrnn

    model = charrnn.train("tiny-shakespeare", max_minutes=1)
    print(model.generate("ROMEO:"))

Later:

    import charrnn

    model = charrnn.load("checkpoints/quickstart")
    print(model.generate("The ", length=300, temperature=0.7, seed=1))
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
    "GeneratedChar": "sampling.generate",
    "NextChar": "api",
    "NgramModel": "evaluation.ngram",
    "Sample": "sampling.generate",
    "SamplerOptions": "sampling.options:SamplingOptions",  # its name before
    "SamplingOptions": "sampling.options",
    "Score": "evaluation.loss",
    "Stepper": "nn.stepper",
    "TrainedModel": "api",
    "Trainer": "training.trainer",
    "Vocabulary": "data.vocabulary",
    "encode_text": "data.encode",
    "evaluate": "evaluation.loss",
    "find_checkpoint": "runs.checkpoint",
    "generate_ids": "sampling.generate",
    "generate_text": "sampling.generate",
    "load": "api",
    "load_checkpoint": "runs.checkpoint",
    "load_config": "config.load",
    "save_checkpoint": "runs.checkpoint",
    "surprisals": "evaluation.loss",
    "train": "api",
    "train_events": "api",
}

__all__ = sorted(["__version__", *_HOMES])


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'charrnn' has no attribute {name!r}")
    home, _, other = _HOMES[name].partition(":")
    return getattr(importlib.import_module(f"charrnn.{home}"), other or name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
