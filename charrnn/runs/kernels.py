"""Which kernels a training or another long computation runs on: NumPy's, or those that Numba compiles (extra `[fast]`).

Compiled kernels cost seconds before the first result: the import of Numba, and the first time on a machine their
compilation. So `auto` takes them where they are likely to win all of that back.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from charrnn.blas import available_cores, kernel_name
from charrnn.config.schema import ModelSettings
from charrnn.data.corpora import cache_dir
from charrnn.errors import MissingExtraError, SettingsError
from charrnn.nn.compiled import compile_kernels, is_kept, keep_machine_code, why_not
from charrnn.nn.network import CharRNN
from charrnn.runs.checkpoint import Checkpoint

# What NumPy's kernels do per second, roughly, and seconds that a computation must take with them before others pay:
# where the machine code is there already, and where it is not. Others take a quarter of the time off, at least, but
# 0.7 seconds to load and 5 to 10 to compile.
NUMPY_SPEED = 5e10
_WORTH, _WORTH_COMPILING = 4.0, 40.0
_SHOWN = 1.0  # seconds of compilation that are mentioned
_STEP = 2e6  # operations in whose time NumPy makes its calls for a single step

Tick = Callable[[int, int], None]


def no_tick(done: int, total: int) -> None:
    """Shows nothing."""


@dataclass(frozen=True)
class Kernels:
    """A choice.

    Attributes:
        name: "numpy" or "compiled".
        notes: what a user should know about it.
    """

    name: str
    notes: tuple[str, ...] = ()

    @property
    def mark(self) -> str:
        """For a checkpoint: NumPy's matrix kernel, and the compiled ones where they are chosen."""
        if self.name == "numpy":
            return kernel_name()
        from charrnn.nn.compiled.engine import MARK

        return f"{kernel_name()} {MARK}"


def choose_kernels(
    wanted: str,
    cell: str,
    operations: float,
    *,
    before: str = "",
    tick: Tick = no_tick,
) -> Kernels:
    """The kernels to use; compiled ones are ready to run afterwards.

    Args:
        wanted: "auto", "numpy" or "compiled".
        cell: its name.
        operations: that the computation takes.
        before: the name that a checkpoint gives its kernels, where a run continues; `auto` stays with their kind.
        tick: called with (kernels compiled, kernels in all).

    Raises:
        MissingExtraError: compiled kernels are wanted, but there is no Numba, or it cannot compile them.
        SettingsError: or the cell has none.
    """
    if wanted == "numpy" or (wanted == "auto" and not _pays(cell, operations, before)):
        return Kernels("numpy")
    reason = why_not(cell)
    if reason is None:
        started = time.perf_counter()
        keep_machine_code(kept_code())
        reason = compile_kernels(cell, tick)
        seconds = time.perf_counter() - started
        if reason is None:
            shown = (f"compiled the kernels of the {cell} cell in {seconds:.1f} s",) if seconds > _SHOWN else ()
            return Kernels("compiled", shown)
    if wanted == "auto":
        return Kernels("numpy", (f"NumPy kernels are used: {reason}",))
    if "Numba" not in reason:
        raise SettingsError(f"training.kernels: {reason}", hint="set it to auto or numpy")
    raise MissingExtraError(
        "Numba", "fast", purpose="training.kernels: compiled kernels cannot be used", because=reason
    )


def mark_of(model: CharRNN) -> str:
    """The kernels of a network, for its checkpoints."""
    return Kernels("numpy" if model.engine is None else "compiled").mark


def kept_code() -> Path:
    """Where machine code is kept."""
    return cache_dir() / "kernels"


def operations_per_symbol(settings: ModelSettings, vocab_size: int) -> float:
    """Of a forward step: two for each weight but those that one-hot symbols pick from."""
    shapes = CharRNN.param_shapes(vocab_size, **settings.sizes())
    picked = {"layers.0.weight_ih", "embedding.weight"}
    return 2.0 * sum(math.prod(shape) for name, shape in shapes.items() if name not in picked)


def operations_of_steps(
    settings: ModelSettings, vocab_size: int, steps: float, columns: int, *, learning: bool = False
) -> float:
    """Of `steps` steps of several streams, in which calls may take as much time as arithmetic.

    Args:
        settings: the network's.
        vocab_size: V.
        steps: of each stream.
        columns: streams.
        learning: gradients are computed too.
    """
    each = (3.0 if learning else 1.0) * operations_per_symbol(settings, vocab_size)
    return steps * (_STEP * settings.num_layers + columns * each)


def _pays(cell: str, operations: float, before: str) -> bool:
    if before:
        return "compiled" in before
    seconds = operations / NUMPY_SPEED
    return seconds > (_WORTH if is_kept(kept_code(), cell) else _WORTH_COMPILING)


# --- networks that are not trained ------------------------------------------------------------------------------------


def speed_up_reading(
    checkpoints: Sequence[Checkpoint], models: Sequence[CharRNN], symbols: int, *, tick: Tick = no_tick
) -> None:
    """Put networks on the kernels that read a text sooner, start-up included.

    Args:
        checkpoints: of the networks; one whose settings say `numpy` stays with NumPy.
        models: the networks.
        symbols: of the text.
        tick: see `choose_kernels`.
    """
    for saved, model in zip(checkpoints, models, strict=True):
        _speed_up(saved, model, operations_per_symbol(saved.config.model, model.vocab_size) * symbols, tick)


def speed_up_writing(
    checkpoints: Sequence[Checkpoint], models: Sequence[CharRNN], steps: int, columns: int, *, tick: Tick = no_tick
) -> None:
    """The same for writing text: `steps` steps of `columns` streams.

    A rounding can change a draw, and all that follows. So what is on this machine from earlier runs has no influence on
    the choice: the same command writes the same text again.
    """
    for saved, model in zip(checkpoints, models, strict=True):
        operations = operations_of_steps(saved.config.model, model.vocab_size, steps, columns)
        if operations > _WORTH_COMPILING * NUMPY_SPEED:
            _speed_up(saved, model, operations, tick)


def _speed_up(saved: Checkpoint, model: CharRNN, operations: float, tick: Tick) -> None:
    wanted = "numpy" if saved.config.training.kernels == "numpy" else "auto"
    if choose_kernels(wanted, model.cell_name, operations, tick=tick).name == "compiled":
        model.use_compiled(threads=available_cores())
