"""Each filter against the plain reference, stream by stream."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from charrnn.sampling.filters.chain import FilterChain, RecentIds
from charrnn.sampling.filters.cuts import XTC, Ban, MinP, TopK, TopNSigma, TopP, Typical
from charrnn.sampling.filters.filter import LogitsFilter, StepContext, softmax
from charrnn.sampling.filters.mirostat import Mirostat
from charrnn.sampling.filters.repetition import Dry, Penalties
from charrnn.sampling.filters.scaling import Bias, Temperature
from tests.sampling import reference

NO_IDS = np.zeros(0, np.intp)


@st.composite
def streams(draw: st.DrawFn, min_symbols: int = 1) -> np.ndarray:
    """(V, N) logits; some symbols are out already, some are equally likely, one a stream is in."""
    V, N = draw(st.integers(min_symbols, 12)), draw(st.integers(1, 4))
    one = st.one_of(st.floats(-12, 12), st.integers(-3, 3).map(float), st.just(-math.inf))
    logits = np.array(draw(st.lists(one, min_size=V * N, max_size=V * N))).reshape(V, N)
    first = draw(st.lists(st.floats(-3, 3), min_size=N, max_size=N))
    logits[0] = np.where(np.isfinite(logits).any(axis=0), logits[0], first)
    return logits


def applied(step: LogitsFilter, logits: np.ndarray, uniforms: np.ndarray | None = None) -> np.ndarray:
    out = logits.copy()
    empty = np.zeros((0, logits.shape[1]), np.intp)
    step.apply(out, StepContext(empty, np.zeros(logits.shape[1]) if uniforms is None else uniforms))
    return out


def assert_columns(seen: np.ndarray, expected: list[list[float]]) -> None:
    np.testing.assert_allclose(seen, np.array(expected).T, rtol=1e-9, atol=1e-9)
    assert np.isfinite(seen).any(axis=0).all()


share = st.floats(0.0, 1.0)


@given(streams(), st.integers(0, 14))
def test_top_k(logits: np.ndarray, k: int) -> None:
    assert_columns(applied(TopK(k), logits), [reference.top_k(c, k) for c in logits.T.tolist()])


@given(streams(), share)
def test_top_p(logits: np.ndarray, p: float) -> None:
    assert_columns(applied(TopP(p), logits), [reference.top_p(c, p) for c in logits.T.tolist()])


@given(streams(), share)
def test_min_p(logits: np.ndarray, p: float) -> None:
    assert_columns(applied(MinP(p), logits), [reference.min_p(c, p) for c in logits.T.tolist()])


@given(streams(), share)
def test_typical(logits: np.ndarray, p: float) -> None:
    assert_columns(applied(Typical(p), logits), [reference.typical(c, p) for c in logits.T.tolist()])


@given(streams(), st.floats(0.0, 4.0))
def test_top_n_sigma(logits: np.ndarray, n: float) -> None:
    assert_columns(applied(TopNSigma(n), logits), [reference.top_n_sigma(c, n) for c in logits.T.tolist()])


@given(streams(), share, st.floats(0.01, 1.0), st.lists(st.floats(0.0, 0.999), min_size=4, max_size=4))
def test_xtc(logits: np.ndarray, probability: float, threshold: float, uniforms: list[float]) -> None:
    u = np.array(uniforms[: logits.shape[1]])
    expected = [reference.xtc(c, probability, threshold, x) for c, x in zip(logits.T.tolist(), uniforms, strict=False)]
    assert_columns(applied(XTC(probability, threshold), logits, u), expected)


@given(streams(), st.one_of(st.just(0.0), st.floats(0.01, 50.0)))
def test_temperature(logits: np.ndarray, value: float) -> None:
    assert_columns(applied(Temperature(value), logits), [reference.temperature(c, value) for c in logits.T.tolist()])


@given(streams(), st.floats(0.01, 2.0), st.floats(0.0, 2.0), st.floats(0.1, 3.0))
def test_dynamic_temperature(logits: np.ndarray, low: float, more: float, exponent: float) -> None:
    expected = [reference.dynamic_temperature(c, low, low + more, exponent) for c in logits.T.tolist()]
    assert_columns(applied(Temperature(1.0, (low, low + more), exponent), logits), expected)


def test_a_dynamic_temperature_may_start_at_0() -> None:
    certain, open_ = [50.0, -800.0, -900.0], [1.0, 1.0, 1.0]
    seen = applied(Temperature(dynamic_temperature=(0.0, 2.0)), np.array([certain, open_]).T)
    np.testing.assert_array_equal(seen, np.array([[0.0, -np.inf, -np.inf], [0.0, 0.0, 0.0]]).T)


@pytest.mark.parametrize("value", [1e-320, 5e-324, 1e300])
def test_extreme_temperatures_give_no_warnings(value: float) -> None:
    seen = applied(Temperature(value), np.array([[3.0], [1.0], [-np.inf]]))
    assert seen[0] == 0.0
    assert softmax(seen)[1] == pytest.approx(0.5 if value > 1 else 0.0)


@given(streams(), st.dictionaries(st.integers(0, 11), st.floats(-20, 20), max_size=4), st.sets(st.integers(1, 11)))
def test_bias_and_ban(logits: np.ndarray, bias: dict[int, float], ban: set[int]) -> None:
    V = len(logits)
    logits[0] = 0.0
    pairs = [(i, x) for i, x in bias.items() if i < V]
    banned = [i for i in ban if i < V]
    expected = [[x + dict(pairs).get(i, 0.0) for i, x in enumerate(c)] for c in logits.T.tolist()]
    assert_columns(applied(Bias(pairs), logits), expected)
    expected = [[-math.inf if i in banned else x for i, x in enumerate(c)] for c in logits.T.tolist()]
    assert_columns(applied(Ban(banned), logits), expected)


@st.composite
def pasts(draw: st.DrawFn, symbols: int = 3) -> np.ndarray:
    """(M, N) ids of few symbols, so that much repeats."""
    M, N = draw(st.integers(0, 40)), draw(st.integers(1, 3))
    ids = draw(st.lists(st.integers(0, symbols - 1), min_size=M * N, max_size=M * N))
    return np.array(ids, np.intp).reshape(M, N)


def after(step: LogitsFilter, past: np.ndarray, logits: np.ndarray) -> np.ndarray:
    """Logits after a chain of one filter has been told the past, symbol by symbol."""
    chain = FilterChain([step], past.shape[1], NO_IDS)
    out = logits.copy()
    for ids in past:
        chain.accept(ids)
    chain.apply(out)
    return out


@given(pasts(), st.integers(0, 45), st.floats(0.5, 3.0), st.floats(-2, 2), st.floats(-2, 2), st.integers(0, 99))
def test_penalties(past: np.ndarray, window: int, repeat: float, there: float, often: float, seed: int) -> None:
    logits = np.random.default_rng(seed).normal(0.0, 3.0, (4, past.shape[1]))
    logits[3] = -np.inf
    expected = [
        reference.penalties(logits[:, n].tolist(), past[:, n].tolist(), window, repeat, there, often)
        for n in range(past.shape[1])
    ]
    assert_columns(after(Penalties(window, repeat, there, often), past, logits), expected)


@given(
    pasts(), st.integers(0, 45), st.integers(1, 5), st.floats(0.1, 2.0), st.floats(1.0, 1.5), st.sets(st.integers(0, 2))
)
def test_dry(past: np.ndarray, window: int, allowed: int, multiplier: float, base: float, breakers: set[int]) -> None:
    settings = {
        "multiplier": multiplier, "base": base, "allowed_length": allowed, "window": window,
        "breakers": tuple(breakers),
    }  # fmt: skip
    logits = np.random.default_rng(0).normal(0.0, 3.0, (4, past.shape[1]))
    expected = [
        reference.dry(logits[:, n].tolist(), past[:, n].tolist(), **settings)  # type: ignore[arg-type]
        for n in range(past.shape[1])
    ]
    named = {f"dry_{name}": value for name, value in settings.items()}
    assert_columns(after(Dry(**named), past, logits), expected)  # type: ignore[arg-type]


def test_a_huge_dry_penalty_stays_finite() -> None:
    step = Dry(dry_multiplier=5.0, dry_base=100.0, dry_allowed_length=1, dry_window=1000)
    seen = after(step, np.zeros((1000, 1), np.intp), np.zeros((1, 1)))
    assert np.isfinite(seen).all()
    assert seen[0, 0] < -1e5


@given(streams(2), st.floats(0.1, 5.0), st.floats(0.01, 1.0), st.integers(0, 99))
def test_mirostat(logits: np.ndarray, tau: float, eta: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    N = logits.shape[1]
    step = Mirostat(tau, eta)
    chain = FilterChain([step], N, np.array([0, 1]))  # the prime moves nothing
    bounds = [2 * tau] * N
    for _ in range(8):
        out = logits.copy()
        chain.apply(out)
        expected = [reference.mirostat(c, b) for c, b in zip(logits.T.tolist(), bounds, strict=True)]
        assert_columns(out, expected)
        ids = np.array([rng.choice(np.flatnonzero(softmax(out)[:, n] > 0)) for n in range(N)])
        for n in range(N):
            surprise = -math.log2(reference.probabilities(expected[n])[ids[n]])
            bounds[n] -= eta * (surprise - tau)
        chain.accept(ids)
        np.testing.assert_allclose(step.bound, bounds, rtol=1e-9, atol=1e-9)


def test_mirostat_survives_what_it_thought_impossible() -> None:
    chain = FilterChain([Mirostat(2000.0, 0.1), Temperature(1000.0)], 1, NO_IDS)
    out = np.array([[0.0], [-900.0]])
    chain.apply(out)
    chain.accept(np.array([1]))
    chain.apply(out)
    assert np.isfinite(out).any()


@pytest.mark.parametrize("window", [1, 2, 7, 30])
def test_the_memory_holds_the_last_ids(window: int) -> None:
    memory, told = RecentIds(window, 2), []
    for ids in np.random.default_rng(0).integers(0, 99, (100, 2)):
        memory.add(ids)
        told.append(ids.tolist())
        assert memory.rows.tolist() == told[-window:]


# Worked out by hand; llama.cpp's own tests expect the same of its samplers.
CASES: dict[str, tuple[LogitsFilter, list[float], list[int], list[float]]] = {
    "xtc, threshold 0.09": (XTC(1.0, 0.09), [0.4, 0.3, 0.2, 0.1], [], [0, 0, 0, 1]),
    "xtc, threshold 0.19": (XTC(1.0, 0.19), [0.4, 0.3, 0.2, 0.1], [], [0, 0, 2 / 3, 1 / 3]),
    "xtc, threshold 0.39": (XTC(1.0, 0.39), [0.4, 0.3, 0.2, 0.1], [], [0.4, 0.3, 0.2, 0.1]),
    "typical, sure": (Typical(0.5), [0.97, 0.01, 0.01, 0.01], [], [1, 0, 0, 0]),
    "typical, open": (Typical(0.5), [0.4, 0.2, 0.2, 0.2], [], [0, 1 / 3, 1 / 3, 1 / 3]),
    "one sigma": (TopNSigma(1.0), [0.1, 0.2, 0.3, 0.4], [], [0, 0, 3 / 7, 4 / 7]),
    "min-p 0.74": (MinP(0.74), [0.1, 0.2, 0.3, 0.4], [], [0, 0, 3 / 7, 4 / 7]),
    "min-p 0.76": (MinP(0.76), [0.1, 0.2, 0.3, 0.4], [], [0, 0, 0, 1]),
    "presence": (Penalties(9, 1.0, math.log(2), 0.0), [0.25] * 4, [0, 0], [1 / 7, 2 / 7, 2 / 7, 2 / 7]),
    "frequency": (Penalties(9, 1.0, 0.0, math.log(2)), [0.25] * 4, [0, 0], [1 / 13, 4 / 13, 4 / 13, 4 / 13]),
    "dry": (
        Dry(dry_multiplier=math.log(2), dry_base=1.1, dry_allowed_length=2, dry_window=9), [0.25] * 4, [0, 1, 2, 0, 1],
        [2 / 7, 2 / 7, 1 / 7, 2 / 7],
    ),
    "dry, too short": (
        Dry(dry_multiplier=1.0, dry_base=1.1, dry_allowed_length=4, dry_window=9), [0.2] * 5, [0, 1, 2, 3, 4, 0, 1],
        [0.2] * 5,
    ),
    "dry, broken": (
        Dry(dry_multiplier=1.0, dry_base=1.1, dry_allowed_length=2, dry_window=9, dry_breakers=[0]), [0.2] * 5,
        [1, 0, 3, 4, 1, 0], [0.2] * 5,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_known_results(name: str) -> None:
    step, before, past, expected = CASES[name]
    seen = after(step, np.array(past, np.intp)[:, None], np.log(np.array(before))[:, None])
    np.testing.assert_allclose(softmax(seen)[:, 0], expected, atol=1e-12)
