"""Ctrl-C, SIGTERM, SIGHUP and Windows' SIGBREAK as a request to stop, obeyed at the next safe point."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Protocol

from charrnn.errors import CharRNNError, HungUpRun, InterruptedRun, TerminatedRun

_PATIENCE = 2.0  # seconds that a stop may take before a person wonders whether it was heard


class StopFlag(Protocol):
    """An object that checks `stop_requested` between steps."""

    stop_requested: bool


@contextmanager
def stop_signals(target: StopFlag, slow: Callable[[], None] | None = None) -> Iterator[list[int]]:
    """Signals ask `target` to stop and are noted in the list; a second Ctrl-C stops at once.

    Args:
        target: is asked to stop.
        slow: called, in a thread, where the first signal has ended nothing after two seconds.
    """
    caught: list[int] = []
    timer = threading.Timer(_PATIENCE, slow or (lambda: None))
    timer.daemon = True

    def handle(number: int, frame: FrameType | None) -> None:
        if caught and number == signal.SIGINT:
            raise KeyboardInterrupt
        caught.append(number)
        target.stop_requested = True
        if len(caught) == 1:
            timer.start()

    numbers = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK") if hasattr(signal, name)]
    # What is ignored already stays so: SIGHUP under nohup, SIGINT of a script's background jobs.
    heard = [n for n in numbers if signal.getsignal(n) not in (signal.SIG_IGN, None)]
    previous: dict[int, Any] = {n: signal.signal(n, handle) for n in heard}
    try:
        yield caught
    finally:
        timer.cancel()
        for number, handler in previous.items():
            signal.signal(number, handler)


def stopped_by(caught: list[int], message: str, *, hint: str) -> CharRNNError:
    """The error for the first of these signals, with its exit code."""
    kinds: dict[int, type[CharRNNError]] = {int(signal.SIGTERM): TerminatedRun, 1: HungUpRun}
    return (kinds.get(caught[0], InterruptedRun) if caught else InterruptedRun)(message, hint=hint)
