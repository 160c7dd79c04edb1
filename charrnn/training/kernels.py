"""Chooses the kernels of a run by its settings, its length, and the kernels it ran on before."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace

import numpy as np

from charrnn.config.schema import Config
from charrnn.data.windows import WindowStream
from charrnn.nn.network import CharRNN
from charrnn.runs.checkpoint import Checkpoint
from charrnn.runs.kernels import NUMPY_SPEED, Kernels, Tick, choose_kernels, operations_of_steps
from charrnn.training.group import choose_replicas
from charrnn.training.pace import most_steps

Compiling = Callable[[], AbstractContextManager[Tick]]


@contextmanager
def unseen() -> Iterator[Tick]:
    """Shows nothing."""
    yield lambda done, total: None


def kernels_of_run(
    config: Config, vocab_size: int, stream: WindowStream, resume_from: Checkpoint | None, compiling: Compiling
) -> Kernels:
    """The kernels to train on, with a note where they are not those that a run had before.

    Args:
        config: the settings.
        vocab_size: V.
        stream: the windows.
        resume_from: the checkpoint that the run continues.
        compiling: a context that shows the progress of their compilation.

    Raises:
        MissingExtraError: see `choose_kernels`.
        SettingsError: likewise.
        MemoryError: there is no room for the network, which is found out before anything is compiled.
    """
    t, m = config.training, config.model
    _check_room(config, vocab_size)
    steps = most_steps(t, stream.windows_per_epoch)
    operations, replicas = math.inf, choose_replicas(t.replicas, stream.columns)
    if steps is not None:
        each = operations_of_steps(m, vocab_size, t.seq_length, -(-stream.columns // replicas), learning=True)
        operations = float(steps) * each
    if t.max_minutes is not None:
        operations = min(operations, 60.0 * t.max_minutes * NUMPY_SPEED)
    before = resume_from.kernel if resume_from else ""
    with compiling() as tick:
        chosen = choose_kernels(t.kernels, m.cell, operations, before=before, tick=tick)
    if before in ("", chosen.mark):
        return chosen
    changed = f"the run was on other kernels ({before}, now {chosen.mark}): the last bits of its numbers will differ"
    return replace(chosen, notes=(*chosen.notes, changed))


def _check_room(config: Config, vocab_size: int) -> None:
    shapes = CharRNN.param_shapes(vocab_size, **config.model.sizes())
    np.empty((2, sum(math.prod(shape) for shape in shapes.values())), np.float32)  # parameters and gradients
