"""Export to other formats, one file per format.

An exporter is `write(checkpoint, output) -> list of files`; its docstring names the extra it needs, if any. To add one,
write a file with such a function and add a line here.
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
