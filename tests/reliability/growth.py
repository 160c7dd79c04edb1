"""Memory and open files of a long run: `python -m tests.reliability.growth WHAT COUNT` prints them as JSON.

WHAT is steps, validations, characters (through the API), sample (through the command) or trials (of a sweep). A thread
looks at the process several times a second, so that nothing has to be put into the loops themselves.
"""

from __future__ import annotations

import itertools
import json
import os
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any

SENTENCES = "the cat sat on the mat. the dog ran to the cat. a cat and a dog met on the mat. "
SETTINGS = """
corpus: {source: text.txt}
model: {cell: gru, hidden_size: 8}
training: {batch_size: 4, seq_length: 8, epochs: null, max_steps: 20, eval_every: null, checkpoint_every: 5000,
  sample_every: null, sample_length: 20, log_every: 100, replicas: 1}
"""
SWEEP = """
base: run.yaml
set: {training.max_steps: 2, model.hidden_size: 2}
seeds: COUNT
"""


@dataclass
class Gauge:
    """What a thread saw: (seconds, resident kB, open files), from the first to the last quarter of a second."""

    points: list[tuple[float, int, int]] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Gauge:
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        started, page = time.monotonic(), os.sysconf("SC_PAGE_SIZE") // 1024
        while not self._stop.wait(0.25):
            resident = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * page
            self.points.append((time.monotonic() - started, resident, len(os.listdir("/proc/self/fd"))))

    def summary(self) -> dict[str, Any]:
        """Means of memory and most open files in each tenth of the time."""
        edges = [len(self.points) * k // 10 for k in range(11)]
        tenths = [self.points[a:b] for a, b in itertools.pairwise(edges)]
        return {
            "seconds": round(self.points[-1][0], 1),
            "mb": [round(fmean(p[1] for p in part) / 1024, 2) for part in tenths if part],
            "files": [max(p[2] for p in part) for part in tenths if part],
        }


def _train(count: int, *overrides: str) -> None:
    from charrnn.cli.app import run

    settings = [word for item in (f"training.max_steps={count}", *overrides) for word in ("--set", item)]
    assert run(["train", "-c", "run.yaml", "--run-dir", "r", "--overwrite", "-q", *settings]) == 0


def _characters(count: int) -> None:
    import charrnn

    made = sum(len(piece) for piece in charrnn.load("r").stream(length=count, seed=1))
    assert made == count


def _sample(count: int) -> None:
    from charrnn.cli.app import run

    keep, null = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    code = run(["sample", "r", "--length", str(count), "--seed", "1"])
    os.dup2(keep, 1)
    assert code == 0


def _sweep(count: int) -> None:
    from charrnn.cli.app import run

    Path("sweep.yaml").write_text(SWEEP.replace("COUNT", str(count)), encoding="utf-8")
    assert run(["sweep", "sweep.yaml", "--dir", "s", "--jobs", "2", "-q"]) == 0
    assert len(list(Path("s").glob("*/summary.json"))) == count


def main() -> None:
    """Do it in an empty folder and print the figures."""
    what, count = sys.argv[1], int(sys.argv[2])
    with tempfile.TemporaryDirectory() as name:
        os.chdir(name)
        os.environ["CHARRNN_HOME"] = name
        Path("text.txt").write_text(SENTENCES * 30, encoding="utf-8")
        Path("run.yaml").write_text(SETTINGS, encoding="utf-8")
        if what in ("characters", "sample"):
            _train(20)
        with Gauge() as gauge:
            if what == "steps":
                _train(count)
            elif what == "validations":
                _train(count, "training.eval_every=1", "training.log_every=1")
            else:
                {"characters": _characters, "sample": _sample, "trials": _sweep}[what](count)
        os.chdir("/")
    print(json.dumps({"what": what, "count": count, **gauge.summary()}))


if __name__ == "__main__":
    main()
