"""Fifty small breakages, others every day: the tests notice them or docs/testing.md says why not."""

from __future__ import annotations

import datetime

import pytest

from tests import mutants
from tests.conftest import ROOT


def test_every_module_under_mutation_and_its_tests_are_there() -> None:
    for module, paths in mutants.TESTS.items():
        assert (ROOT / "charrnn" / module).is_file(), module
        assert all((ROOT / "tests" / path).exists() for path in paths), module


def test_a_mutant_is_named_by_the_line_that_it_changes() -> None:
    diff = "--- a.py\n+++ a.py\n@@ -1 +1 @@\n def f():\n-    if a > b:  # why\n+    if a >= b:  # why\n     pass\n"
    assert mutants.changed(diff) == "if a >= b:"


@pytest.mark.slow
def test_fifty_mutants_of_the_day_are_noticed() -> None:
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
    assert sum(len(score.status) for score in scores) == 50
    assert not unnoticed, f"drawn by {today}:\n" + "\n".join(unnoticed)
