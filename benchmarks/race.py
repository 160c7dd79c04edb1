"""Interleaved timing of contestants: every repeat gives each of them a turn, so that a slow minute slows all."""

from __future__ import annotations

import statistics
import subprocess
import sys
from dataclasses import dataclass, field
from typing import Any

from benchmarks.contestants import Size


class Contestant:
    """A child process that takes steps on request.

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

    def ask(self, command: str | int) -> float:
        """Seconds for that many steps, or megabytes."""
        self._process.stdin.write(f"{command}\n")
        self._process.stdin.flush()
        return float(self._read())

    def warm_up(self, turn_seconds: float) -> None:
        """Wait until it is ready, then find the number of steps that fills a turn."""
        if self._read() != "ready":
            raise RuntimeError("a contestant did not start")
        self.ask(1)
        taken = self.ask(1)
        if taken < turn_seconds / 20:
            taken = self.ask(10) / 10
        self.steps = max(1, round(turn_seconds / taken))

    def turn(self) -> None:
        """One repeat."""
        self.seconds.append(self.ask(self.steps) / self.steps)

    def close(self) -> None:
        """End the child."""
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait()


@dataclass
class Result:
    """Seconds per step of every contestant: median and all repeats."""

    median: dict[str, float]
    repeats: dict[str, list[float]] = field(default_factory=dict)
    memory: dict[str, float] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """For the JSON file."""
        return {"seconds": self.median, "repeats": self.repeats, "megabytes": self.memory}


def race(kinds: dict[str, tuple[str, int]], size: Size, *, repeats: int, turn_seconds: float) -> Result:
    """Run `name -> (kind, count)` on one size, in turns."""
    runners: dict[str, Contestant] = {}
    try:
        for name, (kind, count) in kinds.items():
            runners[name] = Contestant(kind, size, count)
        for contestant in runners.values():
            contestant.warm_up(turn_seconds)
        for _ in range(repeats):
            for contestant in runners.values():
                contestant.turn()
        times = {name: contestant.seconds for name, contestant in runners.items()}
        memory = {name: contestant.ask("memory") for name, contestant in runners.items()}
    finally:
        for contestant in runners.values():
            contestant.close()
    return Result({name: statistics.median(t) for name, t in times.items()}, times, memory)
