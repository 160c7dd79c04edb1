"""Fifty small breakages, others every day, nine of ten of which the tests notice."""

from __future__ import annotations

import datetime

import pytest

from tests import mutants
from tests.conftest import ROOT


def test_every_module_under_mutation_and_its_tests_are_there() -> None:
    for module, paths in mutants.TESTS.items():
        assert (ROOT / "charrnn" / module).is_file(), module
        for path in paths:
            file, _, test = path.partition("::")
            assert (ROOT / "tests" / file).exists(), module
            assert not test or f"def {test}(" in (ROOT / "tests" / file).read_text(encoding="utf-8"), test


def test_a_mutant_is_named_by_the_line_that_it_changes() -> None:
    diff = "--- a.py\n+++ a.py\n@@ -1 +1 @@\n def f():\n-    if a > b:  # why\n+    if a >= b:  # why\n     pass\n"
    assert mutants.changed(diff) == "if a >= b:"


def test_samples_come_with_their_confidence() -> None:
    low, high = mutants.interval(45, 50)
    assert (round(low, 3), round(high, 3)) == (0.786, 0.957)
    assert mutants.interval(0, 0) == (0.0, 1.0)
    score = mutants.Score("nn/clip.py", 40, dict.fromkeys("abcdefgh", "killed") | {"i": "timeout", "j": "survived"}, {})
    assert score.row() == "| `nn/clip.py` | 40 | 10 | 8 | 1 | 1 | 0 | 90% (60-98%) |"


@pytest.mark.slow
def test_nine_of_ten_mutants_of_the_day_are_noticed() -> None:
    """As closely as fifty can tell: where nine of ten are noticed, ten or more are not on one day of forty."""
    pytest.importorskip("mutmut")
    today = datetime.datetime.now(tz=datetime.timezone.utc).date().isoformat()
    scores = mutants.sample(50, today)
    known = (ROOT / "docs" / "testing.md").read_text(encoding="utf-8")
    unnoticed = [
        f"{name} ({score.status[name]})\n{diff}"
        for score in scores
        for name, diff in score.survivors.items()
        if f"`{mutants.changed(diff)}`" not in known
    ]
    print(*(score.row() for score in scores), *unnoticed, sep="\n")
    assert sum(len(score.status) for score in scores) == 50
    assert len(unnoticed) < 10, f"drawn by {today}"
