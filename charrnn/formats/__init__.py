"""Export to other formats, one file per format.

An exporter is `write(checkpoint, output) -> list of files`; its docstring names the extra it needs, if any. To add one,
write a file with such a function and add a line here.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path

from charrnn.errors import SettingsError, shown
from charrnn.runs.checkpoint import Checkpoint

EXPORTERS = {"html": "html", "json": "json", "onnx": "onnx", "safetensors": "safetensors", "torch": "torch"}
SUFFIXES = {"html": ".html", "json": ".json", "onnx": ".onnx", "safetensors": ".safetensors", "torch": ".pt"}


def format_of(path: Path, given: str | None = None) -> str:
    """The format of a file.

    Args:
        path: the file.
        given: a format; None goes by the file's suffix.

    Raises:
        SettingsError: the suffix stands for another format than the given one; or for none, and none is given.
    """
    meant = next((name for name, suffix in SUFFIXES.items() if suffix == path.suffix.lower()), None)
    if given is None and meant is None:
        known = ", ".join(SUFFIXES.values())
        raise SettingsError(f"{path}: no format has this suffix", hint=f"known: {known}; or say which format it is")
    if given in SUFFIXES and meant not in (None, given):
        raise SettingsError(
            f"{path}: the name is that of a file in format {meant}, not {given}",
            hint=f"call it {path.with_suffix(SUFFIXES[given]).name}, or choose format {meant}",
        )
    return given or str(meant)


def exporter(name: str) -> Callable[[Checkpoint, Path], list[Path]]:
    """The exporter of that name.

    Raises:
        SettingsError: there is none; `EXPORTERS` has their names.
    """
    if name not in EXPORTERS:
        raise SettingsError(f"{shown(name)}: no such format", hint=f"known: {', '.join(EXPORTERS)}")
    write: Callable[[Checkpoint, Path], list[Path]] = import_module(f"charrnn.formats.{EXPORTERS[name]}").write
    return write
