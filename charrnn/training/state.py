"""The whole state of a run, out of its parts into a checkpoint and back."""

from __future__ import annotations

from dataclasses import asdict

import numpy as np

from charrnn import __version__
from charrnn.blas import kernel_name
from charrnn.checkpoint import Checkpoint
from charrnn.errors import CheckpointError, DivergenceError
from charrnn.model import CharRNN, State
from charrnn.nn.params import Array
from charrnn.settings import Config
from charrnn.training.counters import Counters
from charrnn.vocabulary import Vocabulary


def capture(
    config: Config, vocabulary: Vocabulary, model: CharRNN, moments: dict[str, Array], state: State, counters: Counters
) -> Checkpoint:
    """A checkpoint of all of it; arrays are not copied.

    Raises:
        DivergenceError: a number in it is not finite.
    """
    for values in (model.params.flat, *moments.values(), *state):
        if not np.isfinite(values).all():
            raise DivergenceError(
                f"step {counters.step}: a parameter or moment is no longer a finite number; nothing was saved",
                hint="lower training.learning_rate or set training.grad_clip",
            )
    return Checkpoint(
        config=config,
        vocabulary=vocabulary,
        params=dict(model.params),
        moments=moments,
        state=state,
        counters=asdict(counters),
        cursor=(counters.epoch, counters.window),
        kernel=kernel_name(),
        version=__version__,
    )


def restore(saved: Checkpoint, model: CharRNN, moments: dict[str, Array], state: State) -> None:
    """Put parameters, moments (and the mean of the weights, where one is kept) and recurrent state back.

    Raises:
        CheckpointError: it holds other moments or another number of columns.
    """
    if set(saved.moments) != set(moments):
        raise CheckpointError("the checkpoint does not hold the moments of this optimiser")
    if [layer.shape for layer in saved.state] != [layer.shape for layer in state]:
        raise CheckpointError("the checkpoint's recurrent state is not of this batch size")
    for name, values in saved.params.items():
        model.params[name][...] = values
    for name, moment in moments.items():
        moment[...] = saved.moments[name]
    for layer, values in zip(state, saved.state, strict=True):
        layer[...] = values
