"""Durations and counts read as people say them."""

from __future__ import annotations

import math
import re
from pathlib import Path

import pytest

from charrnn.amounts import counted, duration
from tests.conftest import ROOT


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"), (0.04, "0 s"), (0.37, "0.4 s"), (0.96, "1 s"), (12.4, "12 s"), (59.7, "1 min"), (65, "1 min 5 s"),
        (180, "3 min"), (3599.6, "1 h"), (7384, "2 h 3 min"), (360_000, "100 h"), (math.nan, "?"), (math.inf, "?"),
    ],
)  # fmt: skip
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_counts() -> None:
    assert [counted(n, "step") for n in (0, 1, 2.5, 1200)] == ["0 steps", "1 step", "2.5 steps", "1,200 steps"]


def test_no_other_module_formats_durations() -> None:
    parts = re.compile(r"divmod\([^)]*60\)|[^.\d]60\s*:|:0?2d?\}:\{|seconds?[^=\n]{0,12} / 60\b.*\bminutes?\"")
    found = [
        f"{path.name}: {line.strip()}"
        for path in Path(ROOT / "charrnn").rglob("*.py")
        for line in path.read_text(encoding="utf-8").splitlines()
        if path.name != "amounts.py" and parts.search(line)
    ]
    assert found == []
