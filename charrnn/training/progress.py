"""What a run counts and remembers besides its arrays, saved with every checkpoint; and the flag that stops it."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import msgspec

from charrnn.errors import CheckpointError
from charrnn.runs.checkpoint import Checkpoint

# Names in checkpoints of earlier versions.
_RENAMED = {
    "bad_evaluations": "evals_since_best",
    "pending_nats": "nats_since_report",
    "pending_chars": "chars_since_report",
    "pending_seconds": "seconds_since_report",
    "rate_scale": "lr_scale",
}


@dataclass
class StopFlag:
    """A request to stop, checked after every step."""

    stop_requested: bool = False


@dataclass
class Counters:
    """Numbers of one run.

    Attributes:
        step: optimiser steps done.
        epoch, window: the next window to train on.
        chars: characters trained on.
        seconds: of training, without evaluation, sampling and saving.
        best_val_loss: lowest validation loss in nats; None before the first.
        evals_since_best: evaluations since the best.
        train_loss, val_loss: the last ones reported, nats.
        nats_since_report, chars_since_report, seconds_since_report: since the last report.
        replicas: processes the gradient is summed over; part of the state, because the sum's order is.
        plateaus: decays of the learning rate because the validation loss had stopped falling.
        rollbacks: returns to an older checkpoint after a divergence.
        lr_scale: factor that those put on the learning rate.
        rollback_step: of the checkpoint that a divergence goes back to: never one that only a stop has made.
        optimizer_steps: updates, as the optimiser counts them.
        text_sha256: of the text's bytes.
        started_in: the folder from which relative sources of the text are found; "" where none is relative.
        history_bytes, samples_bytes: of the run's logs when it was saved.
    """

    step: int = 0
    epoch: int = 0
    window: int = 0
    chars: int = 0
    seconds: float = 0.0
    best_val_loss: float | None = None
    evals_since_best: int = 0
    train_loss: float | None = None
    val_loss: float | None = None
    nats_since_report: float = 0.0
    chars_since_report: int = 0
    seconds_since_report: float = 0.0
    replicas: int = 1
    plateaus: int = 0
    rollbacks: int = 0
    lr_scale: float = 1.0
    rollback_step: int | None = None
    optimizer_steps: int = 0
    text_sha256: str = ""
    started_in: str = ""
    history_bytes: int = 0
    samples_bytes: int = 0

    @classmethod
    def of(cls, checkpoint: Checkpoint) -> Counters:
        """Those a checkpoint was saved with.

        Raises:
            CheckpointError: not what a trainer writes.
        """
        try:
            found = {_RENAMED.get(name, name): value for name, value in checkpoint.counters.items()}
            counters = msgspec.convert(found, cls)
        except msgspec.ValidationError as error:
            raise CheckpointError(f"counters are damaged: {error}") from None
        numbers = [value for value in asdict(counters).values() if isinstance(value, int | float)]
        sound = all(0 <= value <= (1 << 53 if isinstance(value, int) else 1e50) for value in numbers)
        if not sound or not 1 <= counters.replicas <= 256:
            raise CheckpointError("counters are damaged: a count is out of range")
        return counters
