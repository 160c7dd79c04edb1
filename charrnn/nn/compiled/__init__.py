"""Compiled kernels: the cells' time loops as machine code, made by Numba (extra `[fast]`) where they run.

`charrnn.nn.cells` is the reference; this package computes the same, up to rounding. Start with `cells/lstm.py`; its
building blocks are in `vector`, `functions` and `product`, and `engine` runs a network with it.

Nothing here imports Numba until a network is to use it: `CharRNN.use_compiled`.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.metadata
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from charrnn.nn.compiled.engine import Engine
    from charrnn.nn.compiled.layout import CompiledCell
    from charrnn.nn.params import Array

OLDEST = (0, 61)
_LOCAL_SETTINGS = ".numba_config.yaml"

machine_code: Path | None = None  # the folder where it is kept; None: nowhere


def why_not(cell: str) -> str | None:
    """Why a cell's compiled kernels cannot be used, in words; None where they can, as far as one sees from outside."""
    if find_spec("numba") is None:
        return "Numba is not installed"
    version = importlib.metadata.version("numba")
    if tuple(int(part) for part in version.split(".")[:2]) < OLDEST:
        return f"Numba {version} is older than {'.'.join(map(str, OLDEST))}"
    if find_spec(f"{__name__}.cells.{cell}") is None:
        return f"the cell {cell} has no compiled version"
    return None


def compiled_cell(name: str) -> CompiledCell:
    """The compiled version of a cell; nothing is compiled yet."""
    found: CompiledCell = importlib.import_module(f"{__name__}.cells.{name}").CELL
    return found


def make_engine(cell: str, layers: Sequence[Mapping[str, Array]], head: Mapping[str, Array], *, threads: int) -> Engine:
    """See `Engine`.

    Raises:
        ValueError: the kernels cannot be used.
    """
    if reason := why_not(cell):
        raise ValueError(reason)
    _load_numba()
    from charrnn.nn.compiled.engine import Engine

    return Engine(compiled_cell(cell), layers, head, threads=threads)


def compile_kernels(cell: str, tick: Callable[[int, int], None] = lambda done, total: None) -> str | None:
    """Compile all kernels of a cell, or load them; why that failed, or None.

    Args:
        cell: its name.
        tick: called with (kernels done, kernels in all).
    """
    try:
        _load_numba()
        from charrnn.nn.compiled.warmup import run_all

        run_all(compiled_cell(cell), tick)
    except Exception as error:  # Numba and LLVM raise what they like, and NumPy's kernels can do the work
        first = (str(error).strip().splitlines() or [""])[0]
        return f"Numba cannot compile them here ({type(error).__name__}: {first[:100]})"
    return None


def keep_machine_code(folder: Path | None) -> None:
    """Where compiled kernels are kept for the next process; None: nowhere."""
    global machine_code
    machine_code = folder


def _load_numba() -> None:
    """Import Numba without the settings that it reads from a file in the working directory, which may be anybody's."""
    if "numba" in sys.modules:
        return
    exists = os.path.exists
    try:
        os.path.exists = lambda path: path != _LOCAL_SETTINGS and exists(path)
        config: Any = importlib.import_module("numba.core.config")
    finally:
        os.path.exists = exists
    config._config_fname = ""  # it is looked for again at every compilation


def is_kept(folder: Path, cell: str) -> bool:
    """Whether machine code of a cell, made from these sources, is in a folder; found out without Numba."""
    return any(folder.glob(f"{sources_hash()}/*/*/{cell}.*.nbi"))


def sources_hash() -> str:
    """Of all that machine code is made from."""
    found = hashlib.sha256(importlib.metadata.version("numba").encode() if find_spec("numba") else b"")
    for path in sorted(Path(__file__).parent.rglob("*.py")):
        found.update(path.read_bytes())
    return found.hexdigest()[:16]
