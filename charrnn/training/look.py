"""Looks at the network between two steps: a sample, a validation, and a first loss long before one is due."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from charrnn.config.schema import TrainingSettings
from charrnn.evaluation.loss import evaluate
from charrnn.evaluation.reading import Reader
from charrnn.nn.params import IdArray
from charrnn.runs.events import FirstLook
from charrnn.runs.start import OPENING, TextModel, make_start
from charrnn.sampling.generate import Request, StopConditions, generate_texts
from charrnn.sampling.options import SamplingOptions

if TYPE_CHECKING:
    from charrnn.training.trainer import Trainer

_FIRST_SECONDS = 3.0  # of training before the first look
_LOOK_SECONDS = 1.5  # that it takes at most
_LEAST, _BEFORE = 500, 2000  # characters of a first loss, and of the text before them
_TIMED = 4  # characters by which reading is timed
_OPERATIONS = 2e10  # per second: a guess at how long a step takes before there has been one
# Symbols before the validation part that are read at most, where a network may remember all of them. `charrnn eval`
# reads sixteen times as many, which takes a large network minutes; they have changed a loss by up to 0.0007 nats.
MOST_BEFORE = 1 << 19


def is_first_look_due(trainer: Trainer) -> bool:
    """Whether to take the first look now, because after the next step it would be too late."""
    n, t = trainer.counters, trainer.config.training
    guess = 6.0 * trainer.model.params.size * trainer.stream.columns * t.seq_length / _OPERATIONS
    return n.seconds + (n.seconds / n.step if n.step else guess) > _FIRST_SECONDS


def first_look(trainer: Trainer) -> FirstLook:
    """A sample, and the loss over the beginning of the validation part: as much as is trained on in a second.

    Of a network that reads slowly, less of both.
    """
    n, length = trainer.counters, trainer.config.training.sample_length
    per_second, wanted = _reading_speed(trainer), _BEFORE + _LEAST + OPENING + length
    share = min(1.0, _LOOK_SECONDS * per_second / wanted)
    most = _LEAST if share < 1 else max(_LEAST, int(n.chars / max(n.seconds, 1e-9)))
    ids, loss = trainer.val_ids[: max(2, int(share * most))], math.nan
    if len(ids) > 1:
        loss = _loss(trainer, ids, max(1, int(share * _BEFORE)))
    text = sample_now(trainer, share) if trainer.config.training.sample_every else ""
    return FirstLook(n.step, loss, len(ids), text)


def _reading_speed(trainer: Trainer) -> float:
    """Characters that the network reads per second, one after the other."""
    reader, state = Reader(trainer.model, trainer.stream.ids), trainer.model.zero_state(1)
    length, seconds = min(_TIMED, len(reader.ids) - 1), []
    for _ in range(3):  # the first has to make its arrays
        started = trainer.clock()
        reader.read(np.zeros(1, np.int64), length, state)
        seconds.append(trainer.clock() - started)
    return length / max(min(seconds), 1e-9)


def validation_loss(trainer: Trainer, characters: int | None = None) -> float:
    """Mean nats per character over the validation part, or over its first characters."""
    return _loss(trainer, trainer.val_ids[:characters], MOST_BEFORE)


def _loss(trainer: Trainer, ids: IdArray, most_before: int) -> float:
    before = trainer.stream.ids[-most_before:]
    return evaluate(trainer.model, ids, separator=trainer.separator, before=before).loss


def sample_now(trainer: Trainer, share: float = 1.0) -> str:
    """A sample from the network in its present state: as long as the settings say, or that share of it."""
    t: TrainingSettings = trainer.config.training
    vocabulary, separator = trainer.text.vocabulary, trainer.separator
    opening = trainer.opening[-max(1, int(share * len(trainer.opening))) :]
    start = make_start(trainer.model, vocabulary, opening, trainer.state, separator)
    writer = TextModel([trainer.model], vocabulary, [start])
    stop = StopConditions(max(1, int(share * t.sample_length)))
    (text,) = generate_texts(writer, Request(seed=t.seed, stop=stop, options=SamplingOptions(0.8)))
    return text
