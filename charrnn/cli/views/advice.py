"""Advice as lines of text."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import replace
from shlex import quote
from typing import TYPE_CHECKING, Any

from charrnn.amounts import counted
from charrnn.cli.output import visible

if TYPE_CHECKING:
    from charrnn.evaluation.diagnosis import Diagnosis
    from charrnn.runs.events import Advice, Advised, Event

SHOWN = 3  # pieces of advice at a time


def advice_line(piece: Advice) -> str:
    """A piece of advice as a line of a log."""
    return f"advice: {with_options(piece)}"


def with_options(piece: Advice) -> str:
    """A piece of advice with the options that follow it."""
    options = " ".join(_option(setting) for setting in piece.settings)
    return piece.text + (f"; try {options}" if options else "")


def _option(setting: str) -> str:
    return setting if setting.startswith("--") else f"--set {setting}"


def in_words(event: Event, words: Mapping[str, str]) -> Event:
    """An event that names options of the command line, as the user gave them, in place of settings.

    Args:
        event: of a run.
        words: path of a setting -> the option with {} for its value, as in ``--minutes {}``.
    """
    from charrnn.runs.events import RunFinished, RunStarted

    def spelled(text: str) -> str:
        for path, option in words.items():
            text = text.replace(f"({path})", f"({option.split()[0]})")
        return text

    def given(setting: str) -> str:
        path, _, value = setting.partition("=")
        return words[path].format(value) if path in words else setting

    if isinstance(event, RunStarted):
        return replace(event, notes=tuple(map(spelled, event.notes)))
    if not isinstance(event, RunFinished):
        return event
    summary = dict(event.summary)
    advice = [{**piece, "settings": [*map(given, piece["settings"])]} for piece in summary.get("advice", ())]
    return replace(event, summary={**summary, "ended": spelled(summary.get("ended") or ""), "advice": advice})


def closing_advice(summary: Mapping[str, Any]) -> list[str]:
    """What a run says at its own end, from its summary: why it ended, what it writes, what to change."""
    from charrnn.runs.events import Advice

    advice = [Advice(**piece) for piece in summary.get("advice", ())]
    lines = [summary["ended"]] if summary.get("ended") else []
    lines += [f"it writes {summary['expectation']}"] if summary.get("expectation") else []
    lines += [advice_line(piece) for piece in advice[:SHOWN]]
    if len(advice) > SHOWN:
        lines.append(f"more advice: charrnn doctor {quote(summary['run_dir'])}")
    return lines


def facts_lines(found: Diagnosis) -> list[str]:
    """How far a run got, why it ended, where it was best and what it writes."""
    best, last = found.best, found.last
    if last is None:
        return ["nothing reported yet"]
    state = found.ended or ("still running" if found.running else "stopped early")
    lines = [f"{counted(last.step, 'step')}, {last.epoch:.1f} epochs; {state}"]
    if best is not None and best.val_loss is not None:
        later = f"; {last.val_loss:.4f} at the end" if last.val_loss is not None and last.step > best.step else ""
        lines.append(f"best at step {best.step:,} (epoch {best.epoch:.1f}): {best.val_loss:.4f} nats{later}")
    return lines + ([f"it writes {found.expectation}"] if found.expectation else [])


def fitting(pieces: Sequence[Advice], width: int, height: int) -> list[str]:
    """The first few pieces in lines of `width` characters, as far as they fit into `height` lines."""
    lines: list[str] = []
    for piece in pieces[:SHOWN]:
        more = textwrap.wrap(visible(advice_line(piece)), width, subsequent_indent="  ")
        if len(lines) + len(more) > height:
            break
        lines += more
    return lines


class NewAdvice:
    """Remembers what was said, so that a log says it once."""

    def __init__(self) -> None:
        self._said: set[str] = set()

    def lines(self, event: Advised) -> list[str]:
        """What is new in it."""
        new = [piece for piece in event.advice if piece.key not in self._said]
        self._said |= {piece.key for piece in new}
        return [advice_line(piece) for piece in new]
