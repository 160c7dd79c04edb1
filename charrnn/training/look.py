"""Looks at the network between two steps: a sample, a validation, and a first loss long before one is due."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from charrnn.config.schema import TrainingSettings
from charrnn.evaluation.loss import evaluate
from charrnn.nn.params import IdArray
from charrnn.runs.events import FirstLook
from charrnn.runs.start import TextModel, make_start
from charrnn.sampling.generate import Request, StopConditions, generate_texts
from charrnn.sampling.options import SamplingOptions
from charrnn.training.progress import Counters

if TYPE_CHECKING:
    from charrnn.training.trainer import Trainer

_FIRST_SECONDS = 3.0  # of training before the first look; with what it takes itself, less than five
_LEAST, _BEFORE = 500, 2000  # characters of a first loss, and of the text before them
# Symbols before the validation part that are read at most, where a network may remember all of them. `charrnn eval`
# reads sixteen times as many, which takes a large network minutes; they have changed a loss by up to 0.0007 nats.
MOST_BEFORE = 1 << 19


def is_first_look_due(n: Counters) -> bool:
    """Whether to take the first look now, because after the next step it would be too late."""
    return n.seconds + n.seconds / max(1, n.step) > _FIRST_SECONDS


def first_look(trainer: Trainer) -> FirstLook:
    """A sample, and the loss over the beginning of the validation part: as much as is trained on in a second."""
    n, ids = trainer.counters, trainer.val_ids[: max(_LEAST, int(trainer.counters.chars / trainer.counters.seconds))]
    loss = math.nan
    if len(ids) > 1:
        loss = _loss(trainer, ids, _BEFORE)
    return FirstLook(n.step, loss, len(ids), sample_now(trainer) if trainer.config.training.sample_every else "")


def validation_loss(trainer: Trainer, characters: int | None = None) -> float:
    """Mean nats per character over the validation part, or over its first characters."""
    return _loss(trainer, trainer.val_ids[:characters], MOST_BEFORE)


def _loss(trainer: Trainer, ids: IdArray, most_before: int) -> float:
    before = trainer.stream.ids[-most_before:]
    return evaluate(trainer.model, ids, separator=trainer.separator, before=before).loss


def sample_now(trainer: Trainer) -> str:
    """A sample from the network in its present state, as long as the settings say."""
    t: TrainingSettings = trainer.config.training
    vocabulary = trainer.text.vocabulary
    start = make_start(trainer.model, vocabulary, trainer.opening, trainer.state, trainer.separator)
    writer = TextModel([trainer.model], vocabulary, [start])
    wanted = Request(seed=t.seed, stop=StopConditions(t.sample_length), options=SamplingOptions(0.8))
    (text,) = generate_texts(writer, wanted)
    return text
