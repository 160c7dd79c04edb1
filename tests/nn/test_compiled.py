"""Compiled kernels: functions to the last places, networks against NumPy's, the same bits again, machine code kept."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from charrnn.nn.cells import CELLS
from charrnn.nn.dropout import DropoutKey
from charrnn.nn.muon import Matrix, Muon
from charrnn.nn.network import CharRNN
from charrnn.nn.optim import OptimizerOptions
from charrnn.nn.optimizers import OPTIMIZERS
from charrnn.nn.stepper import Stepper, stepper_of
from tests.conftest import ROOT
from tests.strategies import Case, make_case

pytest.importorskip("numba", reason="compiled kernels need the extra [fast]")
pytestmark = pytest.mark.extras

every_cell = pytest.mark.parametrize("cell", sorted(CELLS))
KEY = DropoutKey(seed=3, step=5)


# --- functions --------------------------------------------------------------------------------------------------------

EXACT: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "tanh": np.tanh,
    "sigmoid": lambda x: np.where(x < 0, np.exp(np.minimum(x, 0)), 1.0) / (1.0 + np.exp(-np.abs(x))),
    "exp": lambda x: np.exp(np.minimum(x, 0.0)),  # of what is not positive
}


@pytest.fixture(scope="module")
def functions() -> dict[str, Callable[[np.ndarray, np.ndarray], None]]:
    from tests.nn import vector_functions

    return {name: getattr(vector_functions, name) for name in EXACT}


def units_in_the_last_place(found: np.ndarray, exact: np.ndarray) -> np.ndarray:
    """How far float32 numbers are from float64 ones, in spacings of the former; NaN where either alone is."""
    spacing = np.spacing(np.abs(exact).astype(np.float32)).astype(np.float64)
    distance = np.abs(found.astype(np.float64) - exact) / spacing
    return np.where(np.isnan(found) & np.isnan(exact), 0.0, distance)


def worst(function: Callable[[np.ndarray, np.ndarray], None], name: str, bits: np.ndarray) -> float:
    x = bits.astype(np.uint32).view(np.float32)
    out = np.empty_like(x)
    function(x, out)
    if name == "exp":
        x = np.minimum(x, np.float32(0.0))
        function(x, out)
    with np.errstate(all="ignore"):
        distance = units_in_the_last_place(out, EXACT[name](x.astype(np.float64)))
    assert not np.isnan(distance).any()
    return float(distance.max())


@pytest.mark.parametrize("name", sorted(EXACT))
def test_a_function_is_right_to_four_units_in_the_last_place(name: str, functions: dict[str, Any]) -> None:
    assert worst(functions[name], name, np.arange(0, 1 << 32, 4096)) <= 4.0
    corners = np.array([0.0, -0.0, 1e-45, -1e-45, np.inf, -np.inf, np.nan, 88.7, -88.7, -103.9, -104.1, 9.01] * 16)
    assert worst(functions[name], name, corners.astype(np.float32).view(np.uint32)) <= 4.0


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(EXACT))
def test_a_function_is_right_for_every_number(name: str, functions: dict[str, Any]) -> None:
    pieces = range(0, 1 << 32, 1 << 22)
    assert max(worst(functions[name], name, np.arange(first, first + (1 << 22))) for first in pieces) <= 4.0


@pytest.mark.parametrize("name", sorted(EXACT))
def test_a_function_of_doubles_is_right(name: str, functions: dict[str, Any]) -> None:
    x = np.concatenate((np.linspace(-30.0, 30.0 if name != "exp" else 0.0, 1 << 14), -np.logspace(-300, 2, 1 << 14)))
    out = np.empty_like(x)
    functions[name](x, out)
    np.testing.assert_allclose(out, EXACT[name](x), rtol=2e-15)


# --- networks ---------------------------------------------------------------------------------------------------------


def gradients(case: Case, *, resets: np.ndarray | None = None) -> dict[str, Any]:
    state = case.fresh_state()
    nats = case.model.loss_and_grad(case.inputs, case.targets, state, dropout_key=KEY, resets=resets)
    found = {name: values.copy() for name, values in case.model.grads.items()}
    found |= {f"state.{k}": values for k, values in enumerate(state)}
    found |= {f"before.{k}": values for k, values in enumerate(case.model.state_grads)}
    return {**found, "nats": nats, "loss": case.model.loss(case.inputs, case.targets, case.fresh_state())}


def assert_close(found: dict[str, Any], expected: dict[str, Any], tolerance: float) -> None:
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, rtol=tolerance, atol=tolerance, err_msg=name)


@settings(max_examples=40)
@given(
    cell=st.sampled_from(sorted(CELLS)),
    T=st.integers(1, 19),
    B=st.integers(1, 40),
    V=st.integers(2, 70),
    H=st.integers(1, 70),
    L=st.integers(1, 3),
    threads=st.integers(1, 3),
    dropout=st.sampled_from([0.0, 0.3]),
    embedding=st.sampled_from([{}, {"embedding_size": 3}, {"tie_weights": True}]),
)
def test_whatever_the_sizes_it_is_numpy_s_network(
    cell: str, T: int, B: int, V: int, H: int, L: int, threads: int, dropout: float, embedding: dict[str, Any]
) -> None:
    if "tie_weights" in embedding:
        embedding = {**embedding, "embedding_size": H}
    sizes = dict(T=T, B=B, V=V, H=H, L=L, dropout=dropout, weight_dropout=dropout, noise=0.05, **embedding)
    resets = np.array(sorted({(t, (7 * t) % B) for t in range(0, T, 3)}))
    numpy = gradients(make_case(cell, **sizes), resets=resets)
    compiled = gradients(make_case(cell, way="compiled", threads=threads, **sizes), resets=resets)
    assert_close(compiled, numpy, 1e-9)


@every_cell
def test_single_precision_differs_by_rounding(cell: str) -> None:
    sizes: dict[str, Any] = {"T": 24, "B": 33, "V": 65, "H": 48, "L": 2, "dtype": np.float32, "noise": 0.02}
    assert_close(gradients(make_case(cell, way="compiled", **sizes)), gradients(make_case(cell, **sizes)), 1e-5)


@every_cell
@pytest.mark.parametrize("threads", [1, 2])
def test_the_same_bits_come_out_again(cell: str, threads: int) -> None:
    sizes: dict[str, Any] = {"T": 9, "B": 21, "V": 31, "H": 40, "L": 2, "dropout": 0.3, "dtype": np.float32}
    sizes |= {"threads": threads, "way": "compiled"}
    first, again = gradients(make_case(cell, **sizes)), gradients(make_case(cell, **sizes))
    for name, values in first.items():
        np.testing.assert_array_equal(again[name], values, err_msg=name)


@every_cell
def test_a_number_that_is_none_reaches_the_loss_and_the_gradient(cell: str) -> None:
    for place in ("layers.0.weight_hh", "layers.1.weight_ih", "layers.0.bias", "head.weight"):
        case = make_case(cell, L=2, way="compiled", dtype=np.float32)
        case.model.params[place].flat[0] = np.nan
        with np.errstate(all="ignore"):
            assert np.isnan(case.model.loss_and_grad(case.inputs, case.targets, case.fresh_state())), place
        assert np.isnan(case.model.grads.flat).any()


@every_cell
def test_weights_that_are_changed_are_seen_unless_one_says_they_are_not(cell: str) -> None:
    case = make_case(cell, way="compiled")
    before = case.model.loss(case.inputs, case.targets, case.fresh_state())
    case.model.params["head.bias"][0] += 1.0
    stale = case.model.loss(case.inputs, case.targets, case.fresh_state(), refresh=False)
    np.testing.assert_array_equal(stale, before)
    assert abs(case.model.loss(case.inputs, case.targets, case.fresh_state()) - before).max() > 0.01


@every_cell
@pytest.mark.parametrize("threads", [1, 3])
def test_single_steps_are_numpy_s_over_more_of_them_than_the_ring_has(
    cell: str, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("charrnn.nn.compiled.stepper._WORTH_THREADS", 0.0)
    case = make_case(cell, L=2, B=5, H=20, way="compiled", threads=threads)
    compiled, numpy = stepper_of(case.model, 5), Stepper(case.model, 5)
    compiled.state = numpy.state = case.fresh_state()
    for t in range(70):
        ids = (np.arange(5) * t) % 7
        np.testing.assert_allclose(compiled.step(ids), numpy.step(ids), rtol=1e-9, atol=1e-12)
    for found, expected in zip(compiled.state, numpy.state, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)


def test_machine_code_is_for_calls_of_the_same_types_alone() -> None:
    from charrnn.nn.compiled.jit import code_for
    from tests.nn import vector_functions

    x, y = np.zeros(64), np.full(64, 2.0)
    code_for(vector_functions.tanh, [(y, x), (x, y)])(y, x)
    np.testing.assert_allclose(x, np.tanh(2.0))
    with pytest.raises(TypeError, match="different types"):
        code_for(vector_functions.tanh, [(y, x), (y[::2], x)])


@pytest.mark.parametrize("name", ["adam", "adamw", "muon"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("decay", [0.0, 0.01])
def test_a_compiled_update_has_numpy_s_bits_whatever_the_threads(
    name: str, dtype: type[np.floating], decay: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("charrnn.nn.compiled.updates._LEAST", 100)
    options = OptimizerOptions(weight_decay=decay)
    results = []
    for threads in (0, 1, 2, 3):
        optimizer = OPTIMIZERS[name](1001, np.dtype(dtype), options)
        if isinstance(optimizer, Muon):
            optimizer.matrices = [Matrix(slice(20, 620), (60, 10))]
        if threads:
            engine = make_case("lstm", way="compiled", threads=threads).model.engine
            assert engine is not None
            engine.speed_up(optimizer)
            assert optimizer.compiled is not None
        rng = np.random.default_rng(0)
        p = rng.normal(size=1001).astype(dtype)
        for scale in (1.0, 0.3, 0.7, 0.5):
            optimizer.step(p, rng.normal(size=1001).astype(dtype), 0.01, scale)
        results.append((p, *optimizer.moments.values()))
    for found in results[1:]:
        np.testing.assert_array_equal(found, results[0])


def test_a_network_without_kernels_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("charrnn.nn.compiled.find_spec", lambda name: None)
    with pytest.raises(ValueError, match="Numba is not installed"):
        CharRNN(5, hidden_size=4).use_compiled()


# --- machine code -----------------------------------------------------------------------------------------------------

PROGRAM = """
import sys
from pathlib import Path
from charrnn.nn.compiled import is_kept, keep_machine_code
folder = Path(sys.argv[1])
print(is_kept(folder, 'vector_functions'))
keep_machine_code(folder)
import numpy as np
from tests.nn import vector_functions
x = np.zeros(16, np.float32)
vector_functions.tanh(x, x)
print(sum(vector_functions.tanh.stats.cache_hits.values()), sum(vector_functions.tanh.stats.cache_misses.values()))
"""


def start(folder: Path) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", PROGRAM, str(folder)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


def finished(process: subprocess.Popen[str]) -> list[str]:
    out, err = process.communicate()
    assert process.returncode == 0, err
    assert err == ""
    return out.splitlines()


def test_machine_code_is_kept_for_the_next_process_and_made_again_where_it_is_damaged(tmp_path: Path) -> None:
    assert finished(start(tmp_path)) == ["False", "0 1"]
    assert finished(start(tmp_path)) == ["True", "1 0"]
    for path in tmp_path.rglob("*.nb[ci]"):
        path.write_bytes(path.read_bytes()[:50])
    assert finished(start(tmp_path)) == ["True", "0 1"]
    assert finished(start(tmp_path)) == ["True", "1 0"]


def test_two_processes_may_compile_at_once(tmp_path: Path) -> None:
    for process in [start(tmp_path) for _ in range(2)]:
        finished(process)
    assert finished(start(tmp_path)) == ["True", "1 0"]


def test_a_cache_that_cannot_be_written_is_no_error(tmp_path: Path) -> None:
    place = tmp_path / "file"
    place.write_text("not a folder", encoding="utf-8")
    for _ in range(2):
        assert finished(start(place)) == ["False", "0 1"]
