"""Which kernels a training takes, by its length and what it ran on before."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from charrnn.blas import kernel_name
from charrnn.config.load import parse_config
from charrnn.data.windows import WindowStream
from charrnn.runs import kernels
from charrnn.runs.kernels import Kernels, operations_of_steps
from charrnn.training import kernels as training_kernels
from charrnn.training.kernels import kernels_of_run, unseen
from tests.checkpoints import make

STREAM = WindowStream(np.zeros(64 * 64 * 10 + 1, np.uint8), 64, 64)  # ten windows


@pytest.fixture(autouse=True)
def _compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stands in for Numba."""
    monkeypatch.setattr(kernels, "why_not", lambda cell: None)
    monkeypatch.setattr(kernels, "keep_machine_code", lambda folder: None)
    monkeypatch.setattr(kernels, "compile_kernels", lambda cell, tick: None)
    monkeypatch.setattr(Kernels, "mark", property(lambda self: f"{kernel_name()} {self.name}"))


@pytest.mark.parametrize(
    ("bounds", "chosen"),
    [
        ("max_steps: 10, epochs: null", "numpy"),
        ("max_steps: 1000000, epochs: null", "compiled"),
        ("epochs: 1", "numpy"),
        ("epochs: 100000", "compiled"),
        ("epochs: null, max_minutes: 10", "compiled"),
        ("epochs: 1, max_minutes: 10", "numpy"),
        ("epochs: 100000, max_minutes: 0.01", "numpy"),
    ],
)
def test_a_run_is_long_by_its_steps_or_its_minutes(bounds: str, chosen: str) -> None:
    settings = f"corpus: {{source: x}}\nmodel: {{hidden_size: 64}}\ntraining: {{kernels: auto, {bounds}}}\n"
    assert kernels_of_run(parse_config(settings, where="test"), 65, STREAM, None, unseen).name == chosen


@pytest.mark.parametrize(
    ("bounds", "steps", "columns"),
    [
        ("max_steps: 30, epochs: null, replicas: 1", 30, 64),
        ("epochs: 3, replicas: 5", 30, 13),  # the largest share counts
        ("epochs: 3, max_steps: 7, replicas: 64", 7, 1),
    ],
)
def test_what_a_run_computes_is_that_of_its_steps_and_columns(
    bounds: str, steps: int, columns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[object, ...]] = []

    def choose(*wanted: object, before: str, tick: object) -> Kernels:
        asked.append((*wanted, before))
        return Kernels("numpy")

    monkeypatch.setattr(training_kernels, "choose_kernels", choose)
    for minutes, most in (("null", math.inf), ("1e-6", 6e-5 * kernels.NUMPY_SPEED)):
        text = f"corpus: {{source: x}}\ntraining: {{kernels: compiled, {bounds}, max_minutes: {minutes}}}\n"
        settings = parse_config(text, where="test")
        assert kernels_of_run(settings, 65, STREAM, None, unseen) == Kernels("numpy")
        each = operations_of_steps(settings.model, 65, 64, columns, learning=True)
        assert asked.pop() == ("compiled", "lstm", pytest.approx(min(steps * each, most)), "")


@pytest.mark.parametrize(("before", "chosen"), [("numpy", "numpy"), ("compiled", "compiled")])
def test_a_run_stays_on_the_kernels_it_began_on(before: str, chosen: str) -> None:
    saved = replace(make(), kernel=f"{kernel_name()} {before}")
    found = kernels_of_run(
        parse_config("corpus: {source: x}\ntraining: {kernels: auto}", where="test"), 65, STREAM, saved, unseen
    )
    assert (found.name, found.notes) == (chosen, ())


def test_a_run_that_changes_its_kernels_says_so() -> None:
    saved = replace(make(), kernel=f"{kernel_name()} numpy")
    config = parse_config("corpus: {source: x}\ntraining: {kernels: compiled}", where="test")
    (note,) = kernels_of_run(config, 65, STREAM, saved, unseen).notes
    assert note.startswith(f"the run was on other kernels ({saved.kernel}, now {kernel_name()} compiled)")
