"""A run's whole state in one `.npz` of plain arrays (format 1).

    format          the number 1
    meta            JSON: version, config, vocabulary, counters, kernel, opening
    params/<name>   every parameter
    optim/<moment>  flat optimiser moments
    state/<layer>/<name>  (H, B) recurrent state before the next window; name is h or c
    rng             [seed, step]: every random draw is derived from these
    cursor          [epoch, window]: the next window to train on

A checkpoint alone is enough to sample, evaluate or resume. Nothing in it is executed or trusted unchecked: see
`charrnn.runs.npz`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from charrnn.config.load import config_from_dict, config_to_dict, with_older_values
from charrnn.config.schema import Config
from charrnn.config.typed_json import decode
from charrnn.data.vocabulary import Vocabulary
from charrnn.errors import CheckpointError, SettingsError
from charrnn.files import atomic_writer
from charrnn.nn.cells import CELLS
from charrnn.nn.network import CharRNN
from charrnn.runs.npz import read_arrays, write_arrays
from charrnn.runs.reading import run_meant

FORMAT = 1
_LONGEST_OPENING = 4096
LARGEST = 1e15  # of a parameter: products of two matrices of them stay within float32


@dataclass
class Checkpoint:
    """The checked content of a file.

    Attributes:
        config: the settings of the run.
        vocabulary: symbols and ids.
        params: name -> array.
        moments: optimiser moments, (N,) each.
        state: one (S, H, B) array per layer; empty if the run had no state to keep.
        counters: step, epoch, chars, seconds, losses and the trainer's other counters.
        cursor: (epoch, window) of the next window.
        kernel: the matrix kernel the run used; results differ in the last bits between kernels.
        version: of charrnn that wrote it.
        opening: ids from the end of the training part, which a sample reads first; see `charrnn.runs.start`.
        file: that it was read from; "" if none.

    Example:
        >>> saved = charrnn.load_checkpoint(Path("tiny/last.npz"))
        >>> saved.config.model.cell, saved.counters["step"], saved.build_model().hidden_size
        ('gru', 200, 24)
    """

    config: Config
    vocabulary: Vocabulary
    params: dict[str, np.ndarray]
    moments: dict[str, np.ndarray] = field(default_factory=dict)
    state: list[np.ndarray] = field(default_factory=list)
    counters: dict[str, Any] = field(default_factory=dict)
    cursor: tuple[int, int] = (0, 0)
    kernel: str = ""
    version: str = ""
    opening: tuple[int, ...] = ()
    file: str = field(default="", compare=False)

    def build_model(self, *, dropout: bool = False) -> CharRNN:
        """The network with these parameters; without dropout unless it is to be trained further."""
        model = CharRNN(len(self.vocabulary), **self.config.model.network(dropout=dropout))
        for name, values in self.params.items():
            model.params[name][...] = values
        return model


def save_checkpoint(path: str | Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint; a crash leaves the previous file or the new one.

    Raises:
        OSError: the file cannot be written; the previous one is kept.

    Example:
        >>> charrnn.save_checkpoint(Path("copy.npz"), charrnn.load_checkpoint(Path("tiny/last.npz")))
    """
    c = checkpoint
    meta = {
        "version": c.version,
        "config": config_to_dict(c.config),
        "vocabulary": c.vocabulary.to_meta(),
        "counters": c.counters,
        "kernel": c.kernel,
        "opening": [int(k) for k in c.opening],
    }
    arrays: dict[str, np.ndarray] = {
        "format": np.array(FORMAT),
        "meta": np.array(json.dumps(meta)),
        "rng": np.array([c.config.training.seed, c.counters.get("step", 0)], dtype=np.uint64),
        "cursor": np.array(c.cursor, dtype=np.int64),
    }
    arrays |= {f"params/{name}": values for name, values in c.params.items()}
    arrays |= {f"optim/{name}": values for name, values in c.moments.items()}
    names = CELLS[c.config.model.cell].state_names
    for layer, states in enumerate(c.state):
        arrays |= {f"state/{layer}/{name}": values for name, values in zip(names, states, strict=True)}
    with atomic_writer(Path(path)) as file:
        write_arrays(file, arrays)


def load_checkpoint(path: str | Path) -> Checkpoint:
    """Read and check a checkpoint.

    Raises:
        CheckpointError: missing, not a checkpoint, damaged, of a newer format, or inconsistent with its settings.

    Example:
        >>> charrnn.load_checkpoint(Path("nowhere.npz"))
        Traceback (most recent call last):
        charrnn.errors.CheckpointError: nowhere.npz...
    """
    path = Path(path)
    arrays = read_arrays(path)
    form = arrays.get("format")
    if form is None or form.shape != () or form.dtype.kind not in "iu":
        raise CheckpointError(f"{path}: not a charrnn checkpoint (no format number)")
    if int(form) != FORMAT:
        raise CheckpointError(
            f"{path}: checkpoint format {int(form)}; this charrnn reads format {FORMAT}",
            hint="use the version of charrnn that wrote it, or a later one",
        )
    try:
        return replace(_assemble(arrays), file=str(path))
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error.message}", hint=error.hint) from None


def _assemble(arrays: dict[str, np.ndarray]) -> Checkpoint:
    meta = _meta(arrays)
    try:
        config = config_from_dict(with_older_values(meta.config), where="its settings")
    except SettingsError as error:
        raise CheckpointError(error.message, hint=error.hint) from None
    vocabulary = Vocabulary.from_meta(msgspec.to_builtins(meta.vocabulary))
    shapes = CharRNN.param_shapes(len(vocabulary), **config.model.sizes())
    params = {name: _expect(arrays, f"params/{name}", shape) for name, shape in shapes.items()}
    for name, values in params.items():
        if not usable(values):
            raise CheckpointError(f"params/{name} holds values beyond {LARGEST:g}, too large to compute with")
    size = sum(values.size for values in params.values())
    moments = {
        name.removeprefix("optim/"): _expect(arrays, name, (size,)) for name in arrays if name.startswith("optim/")
    }
    state = _state(arrays, config)
    known = {"format", "meta", "rng", "cursor", *(f"params/{n}" for n in params), *(f"optim/{n}" for n in moments)}
    if extra := sorted(name for name in set(arrays) - known if not name.startswith("state/")):
        raise CheckpointError(f"holds {extra[0]!r}, which no checkpoint of this model has")
    cursor = arrays.get("cursor")
    if cursor is None or cursor.shape != (2,) or cursor.dtype != np.int64:
        raise CheckpointError("cursor is missing or damaged")
    place = (int(cursor[0]), int(cursor[1]))
    return Checkpoint(
        config, vocabulary, params, moments, state, dict(meta.counters), place, meta.kernel, meta.version,
        checked_opening(meta.opening, len(vocabulary)),
    )  # fmt: skip


def checked_opening(ids: Sequence[int], size: int) -> tuple[int, ...]:
    """The ids of an opening.

    Raises:
        CheckpointError: too many, or some that a vocabulary of this size does not have.
    """
    if len(ids) > _LONGEST_OPENING or not all(0 <= k < size for k in ids):
        raise CheckpointError("the opening is damaged: it is too long, or holds ids that the model does not have")
    return tuple(ids)


def _state(arrays: dict[str, np.ndarray], config: Config) -> list[np.ndarray]:
    """One (S, H, B) array per layer, or nothing if the run kept no state."""
    if not any(name.startswith("state/") for name in arrays):
        return []
    names, m = CELLS[config.model.cell].state_names, config.model
    first = _expect(arrays, f"state/0/{names[0]}", None)
    if first.ndim != 2 or first.shape[0] != m.hidden_size:
        raise CheckpointError(f"state/0/{names[0]} has shape {first.shape}, its settings need ({m.hidden_size}, B)")
    return [
        np.stack([_expect(arrays, f"state/{layer}/{name}", first.shape) for name in names])
        for layer in range(m.num_layers)
    ]


class _Meta(msgspec.Struct):
    """The types keep a hostile JSON text from growing in memory."""

    version: str
    kernel: str
    config: dict[str, dict[str, str | int | float | bool | list[str] | None]]
    vocabulary: _Symbols
    counters: dict[str, str | int | float | None]
    opening: list[int] = []  # later than the rest of format 1; older readers pass over it


class _Symbols(msgspec.Struct):
    encoding: str
    symbols: list[int]


def _meta(arrays: dict[str, np.ndarray]) -> _Meta:
    array = arrays.get("meta")
    if array is None or array.shape != () or array.dtype.kind != "U":
        raise CheckpointError("not a charrnn checkpoint (no meta)")
    try:
        return decode(str(array), _Meta)
    except ValueError as error:
        raise CheckpointError(f"meta is damaged: {error}") from None


def usable(params: np.ndarray) -> bool:
    """Whether parameters are finite and small enough to compute with."""
    return bool(np.isfinite(params).all() and (not params.size or max(params.max(), -params.min()) <= LARGEST))


def _expect(arrays: dict[str, np.ndarray], name: str, shape: tuple[int, ...] | None) -> np.ndarray:
    array = arrays.get(name)
    if array is None:
        raise CheckpointError(f"{name} is missing")
    if array.dtype != np.float32:
        raise CheckpointError(f"{name} is {array.dtype}, not float32")
    if shape is not None and array.shape != shape:
        raise CheckpointError(f"{name} has shape {array.shape}, its settings need {shape}")
    return array


def no_run(folder: Path) -> CheckpointError:
    """There is no run in the folder where runs are."""
    return CheckpointError(f"no run under {folder}/", hint="train one: charrnn train my.txt")


def find_checkpoint(path: str | Path | None, *, runs_dir: Path = Path("checkpoints")) -> Path:
    """The file meant by CKPT on the command line: a file, a run's `best.npz` or else `last.npz`, or the newest run's.

    Raises:
        CheckpointError: there is none.

    Example:
        >>> charrnn.find_checkpoint(Path("tiny")).name
        'best.npz'
    """
    if path is None:
        runs = [f.parent for pattern in ("*/last.npz", "*/*/last.npz") for f in runs_dir.glob(pattern)]  # sweeps too
        if not runs:
            raise no_run(runs_dir)
        path = max(runs, key=lambda run: (run / "last.npz").lstat().st_mtime_ns)
    path = Path(path)
    if path.is_dir():
        found = [path / name for name in ("best.npz", "last.npz") if (path / name).is_file()]
        if not found:
            hint = run_meant(path, "give the directory of a run; charrnn runs lists them", runs_dir=runs_dir)
            raise CheckpointError(f"{path}: the directory holds neither best.npz nor last.npz", hint=hint)
        return found[0]
    return path
