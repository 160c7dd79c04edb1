"""Ctrl-C, SIGTERM and SIGHUP as a request to stop, met at the next good moment."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Protocol

from charrnn.errors import CharRNNError, HungUpRun, InterruptedRun, TerminatedRun


class StopFlag(Protocol):
    """An object that checks `stop_requested` between steps."""

    stop_requested: bool


@contextmanager
def stop_signals(target: StopFlag) -> Iterator[list[int]]:
    """Signals ask `target` to stop and are noted in the list; a second Ctrl-C stops at once."""
    caught: list[int] = []

    def handle(number: int, frame: FrameType | None) -> None:
        if caught and number == signal.SIGINT:
            raise KeyboardInterrupt
        caught.append(number)
        target.stop_requested = True

    signals = [signal.SIGINT, signal.SIGTERM, *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else [])]
    previous: dict[int, Any] = {n: signal.signal(n, handle) for n in signals}
    try:
        yield caught
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def stopped_by(caught: list[int], message: str, *, hint: str) -> CharRNNError:
    """The error for the first of these signals, with its exit code."""
    kinds: dict[int, type[CharRNNError]] = {int(signal.SIGTERM): TerminatedRun, 1: HungUpRun}
    return (kinds.get(caught[0], InterruptedRun) if caught else InterruptedRun)(message, hint=hint)
