"""Whole samples: what is really drawn, order, neutrality, independence of the neighbours."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from charrnn.nn.network import CharRNN
from charrnn.nn.stepper import Stepper
from charrnn.sampling.draw import Sampler
from charrnn.sampling.filters.chain import build_chain
from charrnn.sampling.filters.filter import softmax
from charrnn.sampling.generate import generate_ids
from charrnn.sampling.options import SamplingOptions, order_of
from tests.sampling import reference
from tests.strategies import make_case

PRIME = np.array([1, 2, 3, 1, 2], np.uint8)
V = 9
# All filters on, each mild enough that several symbols stay.
ALL = SamplingOptions(
    temperature=1.3, top_k=8, top_p=0.97, min_p=0.01, typical=0.98, top_n_sigma=3.0, mirostat_tau=2.0,
    repetition_penalty=1.1, presence_penalty=0.1, frequency_penalty=0.02, dry_multiplier=0.5, dry_allowed_length=2,
    dry_breakers=(7,), xtc_probability=0.3, xtc_threshold=0.15, logit_bias=((4, 0.5), (8, -math.inf)), ban=(6,),
)  # fmt: skip


def peaked_model() -> CharRNN:
    """Its distributions are far from even."""
    model = make_case("gru", V=V, H=16, dtype=np.float32).model
    model.params.flat *= 4.0
    return model


def draw(model: CharRNN, options: SamplingOptions, *, length: int = 60, count: int = 1, seed: int = 5) -> np.ndarray:
    made = generate_ids(model, PRIME, length=length, seed=seed, num_samples=count, options=options)
    return np.stack([ids.copy() for ids in made], axis=1)


def first_logits(model: CharRNN) -> list[float]:
    stepper = Stepper(model)
    for symbol in PRIME:
        logits = stepper.step(int(symbol))
    return [float(x) for x in logits[:, 0]]


def expected_after(options: SamplingOptions, logits: list[float]) -> list[float]:
    """Probabilities of the first draw by the reference, for the settings that the test below uses."""
    past = PRIME.tolist()
    x = [-math.inf if i in options.banned() else y for i, y in enumerate(logits)]
    x = [y + dict(options.logit_bias).get(i, 0.0) for i, y in enumerate(x)]
    x = reference.penalties(
        x, past, 64, options.repetition_penalty, options.presence_penalty, options.frequency_penalty
    )
    x = reference.dry(
        x, past, multiplier=options.dry_multiplier, base=options.dry_base,
        allowed_length=options.dry_allowed_length, window=1024,
    )  # fmt: skip
    x = reference.top_n_sigma(x, options.top_n_sigma)
    x = reference.top_k(x, options.top_k)
    x = reference.typical(x, options.typical)
    x = reference.top_p(x, options.top_p)
    x = reference.min_p(x, options.min_p)
    if options.dynamic_temperature:
        x = reference.dynamic_temperature(x, *options.dynamic_temperature, options.dynamic_exponent)
    if options.mirostat_tau:
        x = reference.mirostat(x, 2 * options.mirostat_tau)
    p, q = options.xtc_probability, reference.probabilities(reference.xtc(x, 1.0, options.xtc_threshold, 0.0))
    return [(1 - p) * a + p * b for a, b in zip(reference.probabilities(x), q, strict=True)]


@pytest.mark.parametrize(
    "settings",
    [
        {"min_p": 0.3},
        {"typical": 0.6},
        {"top_n_sigma": 1.0},
        {"top_k": 4, "top_p": 0.8, "xtc_probability": 0.0},
        {"xtc_probability": 0.4, "xtc_threshold": 0.12},
        {"repetition_penalty": 1.5, "presence_penalty": 0.3, "frequency_penalty": 0.4},
        {"dry_multiplier": 1.2, "dry_allowed_length": 1},
        {"dynamic_temperature": (0.2, 3.0), "dynamic_exponent": 0.7},
        {"mirostat_tau": 1.0},
        {"logit_bias": ((0, 1.5), (3, -math.inf)), "ban": (2,)},
        {"min_p": 0.1, "logit_bias": ((5, 1.0),), "dynamic_temperature": (1.5, 1.5), "frequency_penalty": 0.2},
    ],
    ids=lambda s: "+".join(s),
)
def test_draws_follow_the_reference(settings: dict[str, object]) -> None:
    model, options, n = make_case("lstm", V=V, H=8, seed=3).model, SamplingOptions(**settings), 6000  # type: ignore[arg-type]
    p = np.array(expected_after(options, first_logits(model)))
    seen = np.bincount(draw(model, options, length=1, count=n)[:, 0], minlength=V)
    possible = p > 0
    assert not seen[~possible].any()
    chi = float(((seen[possible] - n * p[possible]) ** 2 / (n * p[possible])).sum())
    # 99.9% of the chi-square distribution: Wilson and Hilferty's approximation.
    freedom = max(int(possible.sum()) - 1, 1)
    assert chi < freedom * (1 - 2 / (9 * freedom) + 3.09 * math.sqrt(2 / (9 * freedom))) ** 3


@pytest.mark.parametrize(
    "plain",
    [SamplingOptions(), SamplingOptions(0.0), SamplingOptions(0.7, top_k=5), SamplingOptions(1.4, top_p=0.8),
     SamplingOptions(0.9, top_k=4, top_p=0.6)],
)  # fmt: skip
def test_neutral_filters_change_no_bit(plain: SamplingOptions) -> None:
    model = peaked_model()
    assert plain.is_plain()
    idle = dataclasses.replace(plain, dry_multiplier=1.0, dry_allowed_length=500)
    assert not idle.is_plain()
    np.testing.assert_array_equal(draw(model, plain, count=3), draw(model, idle, count=3))
    # The same through the chain: every weight that is drawn from has the same bits.
    rng = np.random.default_rng(0)
    logits, uniforms = rng.normal(0.0, 3.0, (V, 50)), rng.random(50)
    filtered = logits.copy()
    build_chain(plain, V, 50, PRIME).apply(filtered)
    through = Sampler(V, 50, SamplingOptions()).draw(filtered, uniforms)
    np.testing.assert_array_equal(through, Sampler(V, 50, plain).draw(logits, uniforms))


def test_a_filter_that_is_on_but_meets_nothing_changes_no_bit() -> None:
    model = peaked_model()
    idle = SamplingOptions(
        dry_multiplier=1.0, dry_allowed_length=500, xtc_probability=1.0, xtc_threshold=1.0, min_p=1e-300,
        top_n_sigma=1e5, mirostat_tau=1e5, top_k=V, dynamic_temperature=(1.0, 1.0),
    )  # fmt: skip
    assert len(idle.active()) == 7
    np.testing.assert_array_equal(draw(model, idle, count=2), draw(model, SamplingOptions(), count=2))


def test_the_short_way_is_left_only_when_needed() -> None:
    assert SamplingOptions(order=("temperature", "top_k"), temperature=0.5).is_plain()
    assert SamplingOptions(dry_multiplier=1.0, dry_window=0).is_plain()
    assert SamplingOptions(presence_penalty=1.0, penalty_window=0).is_plain()
    assert not SamplingOptions(order=("temperature", "top_p"), temperature=0.5, top_p=0.5).is_plain()
    assert not SamplingOptions(ban=(1,)).is_plain()
    assert not SamplingOptions(dynamic_temperature=(0.5, 1.5)).is_plain()
    assert not ALL.is_plain()
    assert set(ALL.active()) == set(order_of())


def test_streams_do_not_depend_on_their_neighbours() -> None:
    model = peaked_model()
    five = draw(model, ALL, count=5)
    np.testing.assert_array_equal(five[:2], draw(model, ALL, count=2))
    np.testing.assert_array_equal(five[:1], draw(model, ALL, count=1))
    assert (five[0] != five[1]).any()


def test_no_bit_of_a_stream_depends_on_its_neighbours() -> None:
    rng = np.random.default_rng(2)
    chains = [build_chain(ALL, V, 4, PRIME) for _ in range(2)]
    for _ in range(30):
        logits, uniforms = rng.normal(0.0, 2.0, (2, V, 4)), rng.random((2, 4))
        ids = rng.integers(0, 6, (2, 4))
        logits[1, :, 1], uniforms[1, 1], ids[1, 1] = logits[0, :, 1], uniforms[0, 1], ids[0, 1]
        for chain, x, u, drawn in zip(chains, logits, uniforms, ids, strict=True):
            chain.apply(x, u)
            chain.accept(drawn)
        np.testing.assert_array_equal(logits[0, :, 1], logits[1, :, 1])


def test_the_draws_use_the_same_numbers_with_and_without_xtc() -> None:
    model = peaked_model()
    idle = SamplingOptions(xtc_probability=1e-12)
    np.testing.assert_array_equal(draw(model, idle), draw(model, SamplingOptions()))


def test_the_order_is_respected() -> None:
    logits = np.log(np.array([[0.5], [0.3], [0.15], [0.05]]))

    def left(order: tuple[str, ...], **settings: object) -> list[int]:
        out = logits.copy()
        build_chain(SamplingOptions(order=order, **settings), 4, 1, PRIME[:1]).apply(out)  # type: ignore[arg-type]
        return np.flatnonzero(softmax(out)[:, 0]).tolist()

    # Hot logits are flatter, so a nucleus taken after the temperature is larger.
    assert left(("top_p", "temperature"), top_p=0.6, temperature=5.0) == [0, 1]
    assert left(("temperature", "top_p"), top_p=0.6, temperature=5.0) == [0, 1, 2]
    # A bias helps a symbol into the first two, or comes too late for that.
    assert left(("bias", "top_k"), top_k=2, logit_bias=((3, 5.0),)) == [0, 3]
    assert left(("top_k", "bias"), top_k=2, logit_bias=((3, 5.0),)) == [0, 1]
    # Bans come first whatever the order.
    assert left(("top_k", "bias"), top_k=1, ban=(0,)) == [1]


def test_greedy_obeys_bans_and_penalties() -> None:
    model = peaked_model()
    plain = draw(model, SamplingOptions(temperature=0.0))[0]
    often = int(np.bincount(plain).argmax())
    banned = draw(model, SamplingOptions(temperature=0.0, ban=(often,)))[0]
    assert often not in banned
    varied = draw(model, SamplingOptions(temperature=0.0, frequency_penalty=5.0))[0]
    assert len(set(varied.tolist())) > len(set(plain.tolist()))


def test_dry_ends_a_loop() -> None:
    model = peaked_model()

    def longest_repeat(ids: list[int]) -> int:
        n = 1
        while any(ids[i : i + n] == ids[j : j + n] for j in range(len(ids) - n) for i in range(j)):
            n += 1
        return n - 1

    looped = draw(model, SamplingOptions(temperature=0.0), length=120)[0].tolist()
    dried = draw(model, SamplingOptions(temperature=0.0, dry_multiplier=20.0, dry_allowed_length=3), length=120)[
        0
    ].tolist()
    assert longest_repeat(looped) > 40
    assert longest_repeat(dried) < 20


def test_mirostat_holds_the_surprise() -> None:
    model = make_case("gru", V=40, H=16).model
    model.params.flat *= 3.0
    stepper, chain = Stepper(model), build_chain(SamplingOptions(mirostat_tau=2.0), 40, 1, PRIME)
    chooser, rng, surprises = Sampler(40, 1, SamplingOptions()), np.random.default_rng(0), []
    logits = stepper.step(1)
    for _ in range(1500):
        scores = logits.astype(np.float64)
        chain.apply(scores)
        ids = chooser.draw(scores, rng.random(1))
        surprises.append(-np.log2(softmax(scores)[ids[0], 0]))
        chain.accept(ids)
        logits = stepper.step(int(ids[0]))
    assert np.mean(surprises[200:]) == pytest.approx(2.0, abs=0.1)
