"""Read files of weights from anybody (our JSON, safetensors, PyTorch) as arrays, trusting nothing unchecked.

None of these needs the package that writes it.
"""

from __future__ import annotations

import itertools
import math
import os
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import msgspec
import numpy as np
from msgspec import Meta

from charrnn.config.messages import one_line
from charrnn.config.typed_json import Count, Scalar, decode
from charrnn.errors import CheckpointError
from charrnn.files import open_regular, read_regular
from charrnn.formats.common import to_float32
from charrnn.formats.torch_file import NotAStateDictError, read_tensors
from charrnn.nn.params import Array
from charrnn.runs.npz import BROKEN, open_archive

_JSON_BYTES = 1 << 30
_HEADER_BYTES = 1 << 24  # of a safetensors file; an array takes some 100


class Symbols(msgspec.Struct):
    """A vocabulary as stored in our exports."""

    encoding: str
    symbols: list[Annotated[int, Meta(ge=0, lt=0x110000)]]


class ExportFacts(msgspec.Struct):
    """What our exports store besides the weights."""

    config: dict[str, dict[str, Scalar | list[str]]] | None = None
    vocabulary: Symbols | None = None
    opening: list[int] = []


class _JsonExport(ExportFacts, kw_only=True):
    params: dict[str, msgspec.Raw]


class _Entry(msgspec.Struct):
    dtype: str
    shape: Annotated[list[Count], Meta(max_length=8)]
    data_offsets: tuple[Count, Count]


@dataclass(frozen=True)
class ForeignWeights:
    """The content of a file.

    Attributes:
        arrays: name -> float32 array; may hold values that are not finite.
        facts: of our own exports; empty in other files.
    """

    arrays: dict[str, Array]
    facts: ExportFacts


def read_weights(path: Path) -> ForeignWeights:
    """The arrays in a .json, .safetensors or PyTorch file, by its suffix.

    Raises:
        CheckpointError: unreadable, or not such a file.
    """
    readers = {".json": _read_json, ".safetensors": _read_safetensors}
    try:
        return readers.get(path.suffix.lower(), _read_torch)(path)
    except NotAStateDictError as error:
        raise CheckpointError(
            f"{path}: has no readable weights: {error}",
            hint="write one with torch.save(network.state_dict(), FILE)",
        ) from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or one_line(error)
        raise CheckpointError(f"{path}: has no readable weights: {reason}") from None


def read_symbols(path: Path) -> list[str]:
    """The single characters in a JSON list.

    Raises:
        OSError: unreadable.
        ValueError: not such a list.
    """
    return decode(
        read_regular(path, limit=_HEADER_BYTES, follow=True), list[Annotated[str, Meta(max_length=1, min_length=1)]]
    )


def _read_json(path: Path) -> ForeignWeights:
    export = decode(read_regular(path, limit=_JSON_BYTES, follow=True), _JsonExport)
    arrays = {name: _from_lists(name, bytes(raw)) for name, raw in export.params.items()}
    return ForeignWeights(arrays, ExportFacts(export.config, export.vocabulary, export.opening))


def _from_lists(name: str, raw: bytes) -> Array:
    """A list of numbers, or of lists of numbers, as an array."""
    try:
        rows: Any = decode(raw, list[list[float]]) if raw[1:].lstrip()[:1] == b"[" else decode(raw, list[float])
    except ValueError as error:
        raise ValueError(f"{one_line(name)}: {error}") from None
    if any(isinstance(a, list) and len(a) != len(b) for a, b in itertools.pairwise(rows)):
        raise ValueError(f"{one_line(name)}: its rows have different lengths")
    with np.errstate(over="ignore"):
        return np.array(rows, np.float64).astype(np.float32)


def _read_safetensors(path: Path) -> ForeignWeights:
    with open_regular(path, follow=True) as file:
        size = os.fstat(file.fileno()).st_size
        length = int.from_bytes(file.read(8), "little")
        if size < 8 or length > min(_HEADER_BYTES, size - 8):
            raise ValueError("not a safetensors file")
        header = decode(file.read(length), dict[str, msgspec.Raw])
        meta = header.pop("__metadata__", None)
        notes = {} if meta is None else decode(bytes(meta), dict[str, str])
        entries = {name: decode(bytes(raw), _Entry) for name, raw in header.items()}
        _check_places(entries, size - 8 - length)
        arrays = {}
        for name, entry in entries.items():
            if entry.dtype in ("F64", "F32", "F16", "BF16"):  # other types are counters and masks
                start, stop = entry.data_offsets
                file.seek(8 + length + start)
                arrays[name] = to_float32(file.read(stop - start), entry.dtype).reshape(entry.shape)
    return ForeignWeights(arrays, decode(notes["charrnn"], ExportFacts) if "charrnn" in notes else ExportFacts())


def _check_places(entries: dict[str, _Entry], size: int) -> None:
    """Arrays lie one after the other, as the format demands, so that no byte is read twice."""
    place = 0
    for name, entry in sorted(entries.items(), key=lambda item: item[1].data_offsets):
        start, stop = entry.data_offsets
        width = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2}.get(entry.dtype)
        if start != place or not start <= stop <= size:
            raise ValueError(f"{one_line(name)}: is not where its header says")
        if width is not None and math.prod(entry.shape) * width != stop - start:
            raise ValueError(f"{one_line(name)}: its size does not match its shape")
        place = stop


def _read_torch(path: Path) -> ForeignWeights:
    with open_regular(path, follow=True) as file:
        try:
            with open_archive(file) as archive:
                return ForeignWeights(read_tensors(archive, os.fstat(file.fileno()).st_size), ExportFacts())
        except zipfile.BadZipFile as error:
            old = " (files from before PyTorch 1.6 must be saved again)" if _is_old(file) else ""
            raise NotAStateDictError(f"not a PyTorch file{old}, or damaged: {error}") from None
        except BROKEN as error:
            raise NotAStateDictError(f"damaged: {error}") from None


def _is_old(file: Any) -> bool:
    file.seek(0)
    return bool(file.read(2) == b"\x80\x02")  # a pickle, not an archive
