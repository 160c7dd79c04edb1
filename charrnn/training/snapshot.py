"""A run as a checkpoint and back: its state, which settings may change when it continues, and its closing summary."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import Any

import numpy as np

from charrnn import __version__
from charrnn.config.load import changed_settings, keep_older_values
from charrnn.config.schema import Config
from charrnn.data.vocabulary import Vocabulary
from charrnn.data.windows import WindowStream
from charrnn.errors import CheckpointError, DataError, DivergenceError, SettingsError
from charrnn.evaluation.health import check_health
from charrnn.nn.network import CharRNN, State
from charrnn.nn.params import Array, IdArray
from charrnn.runs.checkpoint import Checkpoint, usable
from charrnn.runs.directory import RunDirectory
from charrnn.runs.kernels import mark_of
from charrnn.training.progress import Counters

# What may change between a run and its continuation; everything else makes it another run.
MAY_CHANGE = frozenset({"corpus.source"}) | frozenset(  # the text itself is known by its hash
    f"training.{name}"
    for name in (
        *("epochs", "max_steps", "max_minutes", "patience", "learning_rate"),
        *("on_divergence", "max_rollbacks", "rollback_lr_factor"),
        *("kernels", "tensorboard", "log_every", "eval_every", "checkpoint_every", "sample_every", "sample_length"),
    )
)


def capture(
    config: Config, vocabulary: Vocabulary, model: CharRNN, moments: dict[str, Array], state: State, counters: Counters
) -> Checkpoint:
    """A checkpoint of the whole run; arrays are not copied.

    Raises:
        DivergenceError: a number in it is not finite.
    """
    if not (usable(model.params.flat) and all(np.isfinite(v).all() for v in (*moments.values(), *state))):
        raise DivergenceError(
            f"step {counters.step}: a parameter or moment is no longer a usable number; nothing was saved",
            step=counters.step,
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
        kernel=mark_of(model),
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
        raise CheckpointError("the checkpoint's recurrent state does not match the batch size")
    for name, values in saved.params.items():
        model.params[name][...] = values
    for name, moment in moments.items():
        moment[...] = saved.moments[name]
    for layer, values in zip(state, saved.state, strict=True):
        layer[...] = values


def check_resumable(saved: Config, wanted: Config) -> Config:
    """The settings to resume with: the requested ones, if they do not make it a different run.

    Raises:
        SettingsError: names the settings that differ and those that may.
    """
    wanted = keep_older_values(saved, wanted)
    if refused := [name for name in changed_settings(saved, wanted) if name not in MAY_CHANGE]:
        raise SettingsError(
            f"{refused[0]}: cannot change when a run is resumed"
            + (f" (nor can {', '.join(refused[1:])})" if refused[1:] else ""),
            hint=f"these may change: {', '.join(sorted(MAY_CHANGE))}",
        )
    return wanted


def check_text(saved: Checkpoint, vocabulary: Vocabulary, sha256: str) -> None:
    """Refuse to continue on another text.

    Raises:
        DataError: it is another.
    """
    if saved.vocabulary != vocabulary or Counters.of(saved).text_sha256 != sha256:
        raise DataError(
            "the text is not the one this run was trained on",
            hint="put the old text back, start another run with `run_dir`, or give this run's weights to a new one "
            "with `init_from`",
        )


def health_summary(model: CharRNN, ids: IdArray, n: Counters, seed: int) -> dict[str, Any]:
    """What is added to the summary of a run that has come to its end: see `Health`; `notes` are for the user."""
    loss = n.train_loss if n.val_loss is None else n.val_loss
    if loss is None:
        return {}
    health = check_health(model, ids, loss=loss, seed=seed)
    return {} if health is None else {**asdict(health), "notes": list(health.notes(n.step))}


def summarise(n: Counters, stream: WindowStream, model: CharRNN, run_dir: RunDirectory) -> dict[str, Any]:
    """What `charrnn train --json` prints: places, losses in nats, `bits_per_char` of the last loss, seconds, counts."""
    loss = n.train_loss if n.val_loss is None else n.val_loss
    return {
        "run_dir": str(run_dir.path),
        "checkpoint": str(run_dir.last),
        "best_checkpoint": str(run_dir.best) if run_dir.best.exists() else None,
        "steps": n.step,
        "epochs": round(n.epoch + n.window / stream.windows_per_epoch, 6),
        "chars": n.chars,
        "overlap_chars_per_epoch": stream.repeated,
        "seconds": n.seconds,
        "text_sha256": n.text_sha256,
        "chars_per_second": n.chars / n.seconds if n.seconds else 0.0,
        "train_loss": n.train_loss,
        "val_loss": n.val_loss,
        "best_val_loss": n.best_val_loss,
        "bits_per_char": None if loss is None else loss / math.log(2),
        "perplexity": None if loss is None else math.exp(min(loss, 700.0)),
        "parameters": model.params.size,
        "vocab_size": model.vocab_size,
    }
