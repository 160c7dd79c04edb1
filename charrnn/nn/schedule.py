"""Learning-rate schedules: functions from a step to a factor in [0, 1] of the peak rate.

A schedule is `factor(progress, step, options)`, where progress in [0, 1] is the share of the run that is done: of its
steps after warm-up, or of its time where that bounds it. step counts from the end of warm-up. Warm-up is a second
factor, rising linearly over the first `warmup_steps` steps (Goyal et al. 2017, section 2.2).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class ScheduleOptions:
    """What a schedule may use besides the step.

    Attributes:
        min_lr_ratio: share of the peak rate left at the end (cosine, linear).
        lr_decay_steps: steps between two decays (step), or for one factor of decay (exponential).
        lr_decay: factor of each decay.
        plateaus: number of times that the validation loss has stopped falling (plateau).
    """

    min_lr_ratio: float = 0.01
    lr_decay_steps: int = 1000
    lr_decay: float = 0.5
    plateaus: int = 0


def constant(progress: float, step: int, options: ScheduleOptions) -> float:
    """The peak rate throughout."""
    return 1.0


def step_decay(progress: float, step: int, options: ScheduleOptions) -> float:
    """Multiply by `lr_decay` once every `lr_decay_steps` steps."""
    return options.lr_decay ** (step // options.lr_decay_steps)


def exponential(progress: float, step: int, options: ScheduleOptions) -> float:
    """Decay smoothly, by `lr_decay` over each `lr_decay_steps` steps."""
    return float(options.lr_decay ** (step / options.lr_decay_steps))


def cosine(progress: float, step: int, options: ScheduleOptions) -> float:
    """Half a cosine from 1 down to `min_lr_ratio` (Loshchilov and Hutter 2017, equation 5, without restarts)."""
    return options.min_lr_ratio + (1.0 - options.min_lr_ratio) * 0.5 * (1.0 + math.cos(math.pi * progress))


def linear(progress: float, step: int, options: ScheduleOptions) -> float:
    """A straight line from 1 down to `min_lr_ratio`."""
    return 1.0 + (options.min_lr_ratio - 1.0) * progress


def plateau(progress: float, step: int, options: ScheduleOptions) -> float:
    """Multiply by `lr_decay` whenever the validation loss has stopped falling."""
    return float(options.lr_decay**options.plateaus)


SCHEDULES: dict[str, Callable[[float, int, ScheduleOptions], float]] = {
    "constant": constant,
    "step": step_decay,
    "exponential": exponential,
    "cosine": cosine,
    "linear": linear,
    "plateau": plateau,
}


def rate_factor(
    name: str, *, step: int, progress: float, warmup_steps: int, options: ScheduleOptions | None = None
) -> float:
    """Factor of the peak learning rate at `step` (counted from 0).

    Args:
        name: a key of `SCHEDULES`.
        step: optimiser steps done so far.
        progress: share of the run that is done, in [0, 1].
        warmup_steps: steps over which the factor first rises; 0 for none.
        options: see `ScheduleOptions`.

    Raises:
        KeyError: no schedule of that name.
    """
    past = max(0, step - warmup_steps)
    factor = SCHEDULES[name](min(max(progress, 0.0), 1.0), past, options or ScheduleOptions())
    if step < warmup_steps:
        factor *= (step + 1) / warmup_steps
    return factor
