"""Memory and open files do not grow, however long something runs; docs/reliability.md has the figures."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from charrnn.api import TrainedModel
from charrnn.sampling import generate
from tests.checkpoints import make
from tests.conftest import ROOT

LONG = [("steps", 50_000), ("validations", 2000), ("characters", 5_000_000), ("sample", 5_000_000), ("trials", 300)]
MEGABYTES = 2.5  # what the allocator takes in one piece, at some time or other


def growth(what: str, count: int, folder: Path) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "tests.reliability.growth", what, str(count)],
        capture_output=True, text=True, cwd=ROOT, env={**os.environ, "TMPDIR": str(folder)}, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.slow
@pytest.mark.parametrize(("what", "count"), LONG)
def test_nothing_grows(tmp_path: Path, what: str, count: int) -> None:
    found = growth(what, count, tmp_path)
    after_loading = found["mb"][2:]  # the first tenths load what is needed once
    assert max(after_loading) - after_loading[0] < MEGABYTES, found
    assert max(found["files"]) - found["files"][2] <= 2, found


def test_a_stream_keeps_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[generate.Sample] = []

    class Watched(generate.Sample):
        def __init__(self) -> None:
            super().__init__()
            made.append(self)

    monkeypatch.setattr(generate, "Sample", Watched)
    model = TrainedModel([make("gru")])
    assert sum(1 for _ in model.stream(length=300, seed=1)) == 300
    assert [len(sample.characters) for sample in made] == [0]
    assert len(model.generate_many(1, length=300, seed=1)[0].characters) == 300
