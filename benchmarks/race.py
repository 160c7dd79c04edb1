"""Timing of contestants in turns: every round gives each of them one, so that a slow minute slows all.

Whoever waits is stopped by a signal, with all the processes it has started: threads of matrix libraries spin for a
while after their last product (OpenBLAS's for 40 ms), and would take the processor from whoever has the next turn. A
turn begins with steps that do not count, which bring caches and threads back to work.
"""

from __future__ import annotations

import os
import signal
import statistics
import subprocess
import sys
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

from benchmarks.child import family
from benchmarks.contestants import Size

_UNTIMED = 0.25  # of a turn, before what is timed


class Contestant:
    """A child process that takes steps on request, and is stopped in between.

    Args:
        kind: see `benchmarks.contestants.make`.
        size: of the network.
        count: replicas or threads.
    """

    def __init__(self, kind: str, size: Size, count: int) -> None:
        numbers = [size.L, size.H, size.B, size.T, size.V, count]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.child", kind, size.cell, *map(str, numbers)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.steps = 1
        self.seconds: list[float] = []

    def _read(self) -> str:
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"a contestant ended with code {self._process.wait()}")
        return line.strip()

    def _signal(self, name: str) -> None:
        if hasattr(signal, name):  # not on Windows
            for pid in family(self._process.pid):
                os.kill(pid, getattr(signal, name))

    def _ask(self, command: str | int) -> float:
        self._process.stdin.write(f"{command}\n")
        self._process.stdin.flush()
        return float(self._read())

    def ask(self, *commands: str | int) -> float:
        """Seconds for that many steps, or megabytes: the answer to the last of some commands."""
        self._signal("SIGCONT")
        answers = [self._ask(command) for command in commands]
        self._signal("SIGSTOP")
        return answers[-1]

    def get_ready(self) -> None:
        """Wait until it is ready, then stop it."""
        if self._read() != "ready":
            raise RuntimeError("a contestant did not start")
        self._signal("SIGSTOP")

    def warm_up(self, turn_seconds: float) -> None:
        """Find the number of steps that fills a turn."""
        taken = self.ask(1, 1)
        if taken < turn_seconds / 20:
            taken = self.ask(10) / 10
        self.steps = max(1, round(turn_seconds / taken))

    def turn(self) -> None:
        """One repeat."""
        untimed = max(1, round(_UNTIMED * self.steps))
        self.seconds.append(self.ask(untimed, self.steps) / self.steps)

    def close(self) -> None:
        """End the child."""
        if self._process.poll() is None:
            self._signal("SIGCONT")
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait()


@dataclass
class Result:
    """Seconds per step of every contestant: median and all repeats."""

    median: dict[str, float]
    repeats: dict[str, list[float]] = field(default_factory=dict)
    memory: dict[str, float] = field(default_factory=dict)

    def times(self, fast: str, slow: str) -> float:
        """How many times as fast one contestant is as another: the median over rounds."""
        pairs = zip(self.repeats[fast], self.repeats[slow], strict=True)
        return statistics.median(theirs / own for own, theirs in pairs)

    def as_dict(self) -> dict[str, Any]:
        """For the JSON file."""
        return {"seconds": self.median, "repeats": self.repeats, "megabytes": self.memory}


def race(kinds: dict[str, tuple[str, int]], size: Size, *, repeats: int, turn_seconds: float) -> Result:
    """Run `name -> (kind, count)` on one size, in turns; every other round in the opposite order."""
    runners: dict[str, Contestant] = {}
    with ExitStack() as stack:
        for name, (kind, count) in kinds.items():
            runners[name] = Contestant(kind, size, count)
            stack.callback(runners[name].close)
        contestants = list(runners.values())
        for contestant in contestants:
            contestant.get_ready()
        for contestant in contestants:
            contestant.warm_up(turn_seconds)
        for _ in range(repeats):
            for contestant in contestants:
                contestant.turn()
            contestants.reverse()
        times = {name: contestant.seconds for name, contestant in runners.items()}
        memory = {name: contestant.ask("memory") for name, contestant in runners.items()}
    return Result({name: statistics.median(t) for name, t in times.items()}, times, memory)
