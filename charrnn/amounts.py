"""Numbers in words: durations, and counts of things."""

from __future__ import annotations

import math


def duration(seconds: float) -> str:
    """Seconds as 0.4 s, 12 s, 1 min 5 s or 2 h 3 min; a question mark for what is not known."""
    if not math.isfinite(seconds):
        return "?"
    if 0.05 <= seconds < 0.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    first, second = ((hours, "h"), (minutes, "min")) if hours else ((minutes, "min"), (rest, "s"))
    return " ".join(f"{value:,} {unit}" for value, unit in (first, second) if value) or "0 s"


def counted(number: float, noun: str) -> str:
    """1 epoch, 12 epochs, 2.5 epochs."""
    return f"{number:{',.0f' if number == round(number) else '.3g'}} {noun}" + ("" if number == 1 else "s")
