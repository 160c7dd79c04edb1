"""Advice as lines of text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from charrnn.evaluation.diagnosis import Diagnosis
    from charrnn.runs.events import Advice

SHOWN = 3  # pieces of advice at a time


def advice_line(piece: Advice) -> str:
    """A piece of advice as a line of a log."""
    return f"advice: {with_options(piece)}"


def with_options(piece: Advice) -> str:
    """A piece of advice with the options that follow it."""
    options = " ".join(f"--set {setting}" for setting in piece.settings)
    return piece.text + (f"; try {options}" if options else "")


def closing_advice(summary: Mapping[str, Any]) -> list[str]:
    """What a run says at its own end, from its summary: why it ended, what it writes, what to change."""
    from charrnn.runs.events import Advice

    advice = [Advice(**piece) for piece in summary.get("advice", ())]
    lines = [summary["ended"]] if summary.get("ended") else []
    lines += [f"it writes {summary['expectation']}"] if summary.get("expectation") else []
    lines += [advice_line(piece) for piece in advice[:SHOWN]]
    if len(advice) > SHOWN:
        lines.append(f"more advice: charrnn doctor {summary['run_dir']}")
    return lines


def facts_lines(found: Diagnosis) -> list[str]:
    """How far a run got, why it ended, where it was best and what it writes."""
    best, last = found.best, found.last
    if last is None:
        return ["nothing reported yet"]
    lines = [f"{last.step:,} steps, {last.epoch:.1f} epochs; {found.ended or 'running, or stopped before its end'}"]
    if best is not None and best.val_loss is not None:
        later = f"; {last.val_loss:.4f} at the end" if last.val_loss is not None and last.step > best.step else ""
        lines.append(f"best at step {best.step:,} (epoch {best.epoch:.1f}): {best.val_loss:.4f} nats{later}")
    return lines + ([f"it writes {found.expectation}"] if found.expectation else [])


def advised(pieces: Sequence[Advice]) -> list[str]:
    """The first few, for a display."""
    return [advice_line(piece) for piece in pieces[:SHOWN]]
