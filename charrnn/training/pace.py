"""When a run ends, and how fast it learns at each step, from its settings and counters alone."""

from __future__ import annotations

from charrnn.config.schema import TrainingSettings
from charrnn.nn.schedule import ScheduleOptions, rate_factor
from charrnn.training.progress import Counters


def most_steps(t: TrainingSettings, windows_per_epoch: int) -> int | None:
    """Steps the run takes at most; None where only time bounds it."""
    limits = [] if t.max_steps is None else [t.max_steps]
    if t.epochs is not None:
        limits.append(max(1, round(min(t.epochs * windows_per_epoch, 1e18))))
    return min(limits) if limits else None


def reason_to_end(t: TrainingSettings, n: Counters, total_steps: int | None) -> str | None:
    """Which bound the run has reached: "max_steps", "epochs", "max_minutes", "patience" or none."""
    if total_steps is not None and n.step >= total_steps:
        return "max_steps" if t.max_steps is not None and n.step >= t.max_steps else "epochs"
    if t.max_minutes is not None and n.seconds >= 60.0 * t.max_minutes:
        return "max_minutes"
    if t.patience is not None and n.evals_since_best >= t.patience:
        return "patience"
    return None


def learning_rate(t: TrainingSettings, n: Counters, total_steps: int | None) -> float:
    """The rate of the next step, by its schedule and what rollbacks left of it."""
    progress = 0.0
    if total_steps is not None:
        progress = (n.step - t.warmup_steps) / max(1, total_steps - t.warmup_steps)
    if t.max_minutes is not None:
        progress = max(progress, n.seconds / (60.0 * t.max_minutes))
    options = ScheduleOptions(t.min_lr_ratio, t.lr_decay_steps, t.lr_decay, n.plateaus)
    factor = rate_factor(t.schedule, step=n.step, progress=progress, warmup_steps=t.warmup_steps, options=options)
    return t.learning_rate * n.lr_scale * factor


def is_due(step: int, every: int | None) -> bool:
    """Whether something done every `every` steps is due after `step`; never where `every` is None."""
    return every is not None and step % every == 0
