"""Which kernels a computation runs on, and what is said about it."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from charrnn.config.load import parse_config
from charrnn.errors import MissingExtraError, SettingsError
from charrnn.nn.compiled import keep_machine_code
from charrnn.nn.network import CharRNN
from charrnn.runs import kernels
from charrnn.runs.kernels import (
    choose_kernels,
    kept_code,
    operations_of_steps,
    operations_per_symbol,
    speed_up_reading,
    speed_up_writing,
)
from charrnn.runs.start import text_model
from charrnn.sampling.generate import Request, StopConditions, generate_texts
from tests.checkpoints import make
from tests.conftest import ROOT, Run, assert_one_line_error

LONG = 1e15  # operations: hours


@pytest.fixture
def compiler(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Stands in for Numba; the cells it was asked to compile."""
    asked: list[str] = []
    monkeypatch.setattr(kernels, "why_not", lambda cell: None)
    monkeypatch.setattr(kernels, "keep_machine_code", lambda folder: None)
    monkeypatch.setattr(kernels, "compile_kernels", lambda cell, tick: asked.append(cell))
    return asked


@pytest.mark.parametrize(
    ("wanted", "operations", "before", "chosen"),
    [
        ("auto", LONG, "", "compiled"),
        ("auto", 1e6, "", "numpy"),
        ("numpy", LONG, "", "numpy"),
        ("numpy", LONG, "x/y compiled/512", "numpy"),
        ("compiled", 1e6, "", "compiled"),
        ("compiled", 1e6, "x/y", "compiled"),
        ("auto", LONG, "x/y", "numpy"),  # a run stays with what it began with
        ("auto", 1e6, "x/y compiled/512", "compiled"),
    ],
)
def test_the_choice(compiler: list[str], wanted: str, operations: float, before: str, chosen: str) -> None:
    found = choose_kernels(wanted, "gru", operations, before=before)
    assert (found.name, found.notes) == (chosen, ())
    assert compiler == (["gru"] if chosen == "compiled" else [])


def test_kept_machine_code_lowers_the_bar(compiler: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    operations = 10 * kernels.NUMPY_SPEED  # ten seconds
    monkeypatch.setattr(kernels, "is_kept", lambda folder, cell: False)
    assert choose_kernels("auto", "gru", operations).name == "numpy"
    monkeypatch.setattr(kernels, "is_kept", lambda folder, cell: True)
    assert choose_kernels("auto", "gru", operations).name == "compiled"


@pytest.mark.parametrize("reason", ["Numba is not installed", "Numba 0.5 is older than 0.61"])
def test_without_numba_auto_takes_numpy_and_says_why(monkeypatch: pytest.MonkeyPatch, reason: str) -> None:
    monkeypatch.setattr(kernels, "why_not", lambda cell: reason)
    assert choose_kernels("auto", "gru", LONG) == kernels.Kernels("numpy", (f"NumPy kernels are used: {reason}",))
    with pytest.raises(MissingExtraError) as caught:
        choose_kernels("compiled", "gru", LONG)
    assert (caught.value.exit_code, reason in caught.value.message) == (6, True)
    assert caught.value.hint == 'pip install "charrnn[fast]"'


def test_a_numba_that_cannot_compile_is_as_none(compiler: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "compile_kernels", lambda cell, tick: "Numba cannot compile them here (X: y)")
    assert choose_kernels("auto", "gru", LONG).name == "numpy"
    with pytest.raises(MissingExtraError, match="cannot compile"):
        choose_kernels("compiled", "gru", LONG)


def test_a_cell_of_one_s_own_needs_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("charrnn.nn.compiled.find_spec", lambda name: None if "cells" in name else object())
    monkeypatch.setattr("importlib.metadata.version", lambda name: "0.61.2")
    assert choose_kernels("auto", "mine", LONG).notes == (
        "NumPy kernels are used: the cell mine has no compiled version",
    )
    with pytest.raises(SettingsError, match="no compiled version"):
        choose_kernels("compiled", "mine", LONG)


def test_an_old_numba_is_told_by_its_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("charrnn.nn.compiled.find_spec", lambda name: object())
    monkeypatch.setattr("importlib.metadata.version", lambda name: "0.9.1")
    assert choose_kernels("auto", "gru", LONG).notes == ("NumPy kernels are used: Numba 0.9.1 is older than 0.61",)


def test_a_long_compilation_is_mentioned(compiler: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = iter([10.0, 12.5])
    monkeypatch.setattr("time.perf_counter", lambda: next(ticks))
    assert choose_kernels("auto", "gru", LONG).notes == ("compiled the kernels of the gru cell in 2.5 s",)


def test_operations_are_two_for_each_weight_that_multiplies() -> None:
    model = parse_config("corpus: {source: x}\nmodel: {hidden_size: 10, num_layers: 2}\n", where="test").model
    weights = 4 * 10 * 10 * 3 + 4 * 10 * 2 + 7 * 10 + 7
    assert operations_per_symbol(model, 7) == 2 * weights
    assert operations_of_steps(model, 7, 100, 8) > 100 * 8 * 2 * weights
    more = operations_of_steps(model, 7, 100, 8, learning=True) - operations_of_steps(model, 7, 100, 8)
    assert more == 2 * 100 * 8 * 2 * weights


# --- networks that are not trained ------------------------------------------------------------------------------------


@pytest.fixture
def taken(compiler: list[str], monkeypatch: pytest.MonkeyPatch) -> list[CharRNN]:
    """The networks that were put on compiled kernels; no machine code is kept from earlier runs."""
    out: list[CharRNN] = []
    monkeypatch.setattr(CharRNN, "use_compiled", lambda model, threads: out.append(model))
    monkeypatch.setattr(kernels, "is_kept", lambda folder, cell: False)
    return out


def test_a_long_text_is_read_and_written_on_compiled_kernels(taken: list[CharRNN]) -> None:
    saved = make()
    model = saved.build_model()
    speed_up_reading([saved], [model], 1000)
    speed_up_writing([saved], [model], 1000, 1)
    assert taken == []
    speed_up_reading([saved], [model], 10**13)
    assert taken == [model]
    speed_up_writing([saved], [model], 10**9, 1)
    assert taken == [model, model]


def test_what_is_written_does_not_depend_on_the_machine_code_that_is_kept(
    taken: list[CharRNN], monkeypatch: pytest.MonkeyPatch
) -> None:
    saved = make()
    model = saved.build_model()
    steps = int(10 * kernels.NUMPY_SPEED / operations_of_steps(saved.config.model, model.vocab_size, 1, 1))
    monkeypatch.setattr(kernels, "is_kept", lambda folder, cell: True)
    speed_up_writing([saved], [model], steps, 1)  # ten seconds, which are enough for reading
    assert taken == []


def test_a_model_whose_settings_say_numpy_stays_there(taken: list[CharRNN]) -> None:
    saved = make()
    training = msgspec.structs.replace(saved.config.training, kernels="numpy")
    saved = replace(saved, config=msgspec.structs.replace(saved.config, training=training))
    speed_up_reading([saved], [saved.build_model()], 10**13)
    speed_up_writing([saved], [saved.build_model()], 10**9, 1)
    assert taken == []


@pytest.mark.extras
def test_samples_of_both_kernels_are_alike_and_come_out_again() -> None:
    pytest.importorskip("numba", reason="compiled kernels need the extra [fast]")
    saved = make()
    numpy, compiled = saved.build_model(), saved.build_model()
    keep_machine_code(kept_code())
    compiled.use_compiled(threads=2)
    request = Request(seed=3, stop=StopConditions(80), num_samples=3)
    first, again, expected = (
        generate_texts(text_model([saved], [model]), request) for model in (compiled, compiled, numpy)
    )
    assert first == again == expected


def test_the_command_line_names_the_extra(
    charrnn_here: Run, config_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("charrnn.nn.compiled.find_spec", lambda name: None)
    done = charrnn_here("train", "-c", config_file, "--set", "training.kernels=compiled")
    assert_one_line_error(done, 6, "Numba is not installed", 'pip install "charrnn[fast]"')


LOADED = """
import sys
from charrnn.cli import app
code = app.run(sys.argv[1:])
print("numba" in sys.modules, file=sys.stderr)
raise SystemExit(code)
"""


def test_commands_that_are_short_load_no_numba(charrnn_here: Run, config_file: Path, tmp_path: Path) -> None:
    assert charrnn_here("train", "-c", config_file, "-q", "--run-dir", tmp_path / "run").returncode == 0
    text = tmp_path / "short.txt"
    text.write_text("the cat sat on the mat. the dog ran.", encoding="utf-8")
    for command in (
        ["--help"],
        ["sample", str(tmp_path / "run"), "--length", "50"],
        ["eval", str(tmp_path / "run"), "--text", str(text)],
    ):
        done = subprocess.run(
            [sys.executable, "-c", LOADED, *command], capture_output=True, text=True, cwd=ROOT, check=False
        )
        assert done.returncode == 0, done.stderr
        assert done.stderr.splitlines()[-1] == "False", command
