"""What a training run reports, as it happens. The trainer yields these events; others show them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class RunStarted:
    """The run is about to take its first step.

    Attributes:
        run_dir: where it writes.
        parameters: number of scalars to learn; None if unknown (to `charrnn watch`).
        vocab_size: number of symbols.
        train_chars, val_chars: size of the splits.
        columns: streams in a batch; fewer than `training.batch_size` for short texts.
        total_steps: steps the run will take; None if only time bounds it.
        max_seconds: of training the run may take; None if only steps bound it.
        step: steps already done before this run was resumed.
        notes: what a user should know about the text, this machine or the run.
        seconds: of training already done before this run was resumed.
    """

    run_dir: Path
    parameters: int | None
    vocab_size: int
    train_chars: int
    val_chars: int
    columns: int
    total_steps: int | None
    max_seconds: float | None
    step: int
    notes: tuple[str, ...]
    seconds: float = 0.0


@dataclass(frozen=True)
class StepReport:
    """A row of the history.

    Attributes:
        step: optimiser steps done.
        epoch: passes over the training text done, with fraction.
        chars: characters trained on.
        train_loss: nats per character, mean over the steps since the last report, each before its update.
        val_loss: nats per character over the validation split; None if it was not measured now.
        grad_norm: of the last step's gradient of the mean loss, before clipping and without weight decay.
        learning_rate: of the last step's update.
        chars_per_second: training speed since the last report.
        seconds: of training so far, without evaluation, sampling and saving.
    """

    step: int
    epoch: float
    chars: int
    train_loss: float
    val_loss: float | None
    grad_norm: float
    learning_rate: float
    chars_per_second: float
    seconds: float


@dataclass(frozen=True)
class Evaluated:
    """The validation split was read.

    Attributes:
        val_loss: nats per character.
        best: it is the lowest so far.
    """

    step: int
    val_loss: float
    best: bool


@dataclass(frozen=True)
class SampleMade:
    """A sample of what the model writes now."""

    step: int
    text: str


@dataclass(frozen=True)
class FirstLook:
    """What the network does seconds after its start, before the first validation and sample that the settings ask for.

    Attributes:
        val_loss: nats per character over the first characters of the validation split; NaN where there is none.
        characters: how many those are.
        text: a sample; "" where the settings want none.
    """

    step: int
    val_loss: float
    characters: int
    text: str


@dataclass(frozen=True)
class CheckpointSaved:
    """A checkpoint is on the disk."""

    step: int
    path: Path


@dataclass(frozen=True)
class RolledBack:
    """A loss or gradient was NaN or infinite; the run went back to its last checkpoint.

    Attributes:
        step: where it happened.
        to_step: of the checkpoint.
        lr_scale: what the learning rate of the settings is multiplied by from here on.
        reason: what was not finite.
    """

    step: int
    to_step: int
    lr_scale: float
    reason: str


@dataclass(frozen=True)
class Note:
    """What a user should know about the run as it goes on."""

    text: str


@dataclass(frozen=True)
class Advice:
    """One thing to change in the run, or in the next one.

    Attributes:
        key: a name for it that does not change between versions.
        text: what was seen and what it means, in one sentence without a full stop.
        settings: what to change, as in "model.dropout=0.2".
    """

    key: str
    text: str
    settings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Advised:
    """What can be said about the run now has changed.

    Attributes:
        advice: all of it, most important first.
    """

    step: int
    advice: tuple[Advice, ...]


@dataclass(frozen=True)
class RunFinished:
    """The run is over.

    Attributes:
        reason: "epochs", "max_steps", "max_minutes", "patience" or "stopped" (by a signal).
        summary: what `charrnn train --json` prints.
    """

    reason: str
    summary: dict[str, Any]


Event = (
    RunStarted | StepReport | Evaluated | SampleMade | FirstLook | CheckpointSaved | RolledBack | Note | Advised
    | RunFinished
)  # fmt: skip
