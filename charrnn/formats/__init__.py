"""Ways out of charrnn: other formats, one a file.

An exporter is `write(checkpoint, output) -> list of files`; it may say in its docstring which extra it needs. Adding
one is a file with such a function, and a line here.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path

from charrnn.runs.checkpoint import Checkpoint

EXPORTERS = {"html": "html", "json": "json", "onnx": "onnx", "safetensors": "safetensors", "torch": "torch"}
SUFFIXES = {"html": ".html", "json": ".json", "onnx": ".onnx", "safetensors": ".safetensors", "torch": ".pt"}


def exporter(name: str) -> Callable[[Checkpoint, Path], list[Path]]:
    """The exporter of that name; a key of `EXPORTERS`."""
    write: Callable[[Checkpoint, Path], list[Path]] = import_module(f"charrnn.formats.{EXPORTERS[name]}").write
    return write
