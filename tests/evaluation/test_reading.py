"""Reading side by side: the nats of one reading in one go, whatever the network does with its state."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from charrnn.evaluation import reading
from charrnn.evaluation.loss import evaluate, mixed_surprisals, surprisals
from charrnn.evaluation.reading import Reader, _Leads, state_before
from charrnn.nn.cells import CELLS
from charrnn.nn.network import CharRNN
from charrnn.runs.checkpoint import load_checkpoint
from tests.conftest import SENTENCES, Run

V = 6
SET, CLEAR = 4, 5


def network(cell: str = "gru", hidden_size: int = 8, num_layers: int = 1, seed: int = 0) -> CharRNN:
    model = CharRNN(V, cell=cell, hidden_size=hidden_size, num_layers=num_layers)
    model.init(np.random.default_rng(seed))
    model.params.flat[...] *= 1.0 if cell == "rnn" else 2.0  # twice as large, a vanilla network is chaotic
    return model


def latch(strength: float = 3.0) -> CharRNN:
    """A network with a unit that keeps for ever what `SET` or `CLEAR` made it, and on which its predictions depend.

    With the default strength it predicts so badly while the unit is set that it looks frozen.
    """
    model = network("rnn")
    p = model.params
    p["layers.0.weight_hh"][0] = p["layers.0.weight_ih"][0] = p["layers.0.bias"][0] = 0.0
    p["layers.0.weight_hh"][0, 0] = 6.0
    p["layers.0.bias"][0] = 0.01  # from zeros it comes to be set
    p["layers.0.weight_ih"][0, [SET, CLEAR]] = 20.0, -20.0
    p["head.weight"][:, 0] = np.linspace(-strength, strength, V)
    return model


def symbols(size: int, *, flips: tuple[int, ...] = (), seed: int = 0) -> np.ndarray:
    """Symbols below `SET`; at the places `flips` SET and CLEAR in turn."""
    ids = np.random.default_rng(seed).integers(0, SET, size).astype(np.uint8)
    ids[list(flips)] = [(SET, CLEAR)[k % 2] for k in range(len(flips))]
    return ids


def one_go(model: CharRNN, ids: np.ndarray, resets: list[int] = ()) -> np.ndarray:  # type: ignore[assignment]
    """(N - 1,) nats, by one call of the network's own loss."""
    at = np.array([[t, 0] for t in resets]) if len(resets) else None
    both = ids.astype(np.intp)[:, None]
    return model.loss(both[:-1], both[1:], model.zero_state(1), resets=at)[:, 0].copy()


def read(model: CharRNN, ids: np.ndarray, **more: object) -> np.ndarray:
    found = list(surprisals(model, ids, **more))  # type: ignore[arg-type]
    places = np.concatenate([p for p, _ in found])
    np.testing.assert_array_equal(places, np.arange(1, len(ids)))
    return np.concatenate([v for _, v in found])


@pytest.mark.parametrize("cell", sorted(CELLS))
@pytest.mark.parametrize(
    "size", [2, 3, 100, 2048, 2049, 2050, *(pytest.param(n, marks=pytest.mark.extras) for n in (9000, 40_003))]
)
def test_every_symbol_but_the_first_once_and_as_in_one_go(cell: str, size: int) -> None:
    model, ids = network(cell, num_layers=2), symbols(size)
    expected = one_go(model, ids)
    np.testing.assert_allclose(read(model, ids), expected, atol=5e-3)
    assert evaluate(model, ids).loss == pytest.approx(float(expected.mean(dtype=np.float64)), abs=1e-5)


# Where a part begins from another state than its predecessor's end, one flip is enough to be wrong to the end.
FLIPS = [(0,), (0, 20_000), (0, 3000, 3100, 20_000, 39_000), (1500, 39_990)]


@pytest.mark.parametrize("flips", FLIPS)
def test_a_network_that_never_forgets_is_read_as_in_one_go(flips: tuple[int, ...]) -> None:
    model, ids = latch(), symbols(40_000, flips=flips)
    expected = one_go(model, ids)
    np.testing.assert_allclose(read(model, ids), expected, atol=1e-4)
    assert evaluate(model, ids).loss == pytest.approx(float(expected.mean(dtype=np.float64)), abs=1e-6)


def test_without_reading_again_it_would_be_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Reader, "_settle", lambda *_: True)
    model, ids = latch(), symbols(40_000, flips=(0, 20_000))
    assert abs(evaluate(model, ids).loss - float(one_go(model, ids).mean())) > 0.1


def test_a_chaotic_network_is_read_in_one_go() -> None:
    """Roundings of its state change all it predicts later; those of the output layer's sums do not.

    BLAS may add up the last, narrower product of the output layer in another order.
    """
    model, ids = network("rnn", num_layers=2, seed=3), symbols(20_000)
    model.params.flat[...] *= 3.0
    wide = np.repeat(ids.astype(np.intp)[:, None], 3, axis=1)
    rounded = model.loss(wide[:-1], wide[1:], model.zero_state(3))[:, 0]
    expected = read(model, ids, streams=1)
    assert np.abs(rounded - expected).max() > 1.0
    np.testing.assert_allclose(read(model, ids), expected, atol=1e-5)


@pytest.mark.parametrize("section", [2500, 4096, 10_000])
def test_a_long_text_is_read_in_sections(section: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "_SECTION", section)
    model, ids = latch(), symbols(30_000, flips=(0, 9000, 9200, 21_000))
    np.testing.assert_allclose(read(model, ids), one_go(model, ids), atol=1e-4)


@pytest.mark.parametrize(
    ("model", "size"),
    [(model, size) for model in (network("gru"), network("lstm", num_layers=2), latch()) for size in (1, 2, 50, 5000)]
    + [(network("gru"), 30_000), pytest.param(network("lstm", num_layers=2), 30_000, marks=pytest.mark.extras)],
)
def test_a_text_begins_where_the_text_before_it_ends(model: CharRNN, size: int) -> None:
    before, ids = symbols(size, flips=(size // 2,), seed=1), symbols(6000)
    expected = one_go(model, np.concatenate((before, ids)))[size:]
    np.testing.assert_allclose(read(model, ids, before=before), expected, atol=5e-3)
    assert np.abs(read(model, ids)[:5] - expected[:5]).max() > 0.01  # from zeros it does begin otherwise


@pytest.mark.parametrize(
    ("size", "flips", "strength"),
    [
        *((5000, flips, 3.0) for flips in [(4900,), (4400,), (100, 3000), (7,)]),
        (20_000, (7,), 3.0),
        (70_000, (7, 9), 0.3),
    ],
)
def test_what_the_text_before_said_long_ago_is_known(size: int, flips: tuple[int, ...], strength: float) -> None:
    """Readings from zeros all come to have the latch set, from other states not: that must be noticed."""
    model, before, ids = latch(strength), symbols(size, flips=flips, seed=1), symbols(3000)
    state = model.zero_state(1)
    both = np.append(before, 0).astype(np.intp)[:, None]
    model.loss(both[:-1], both[1:], state)
    np.testing.assert_allclose(state_before(model, ids, before)[0], state[0], atol=1e-4)


def test_of_a_very_long_text_before_only_the_end_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    model, before, ids = latch(), symbols(40_000, flips=(9, 15_000), seed=1), symbols(3000)
    found = []
    for most in (20_000, 26_000):
        monkeypatch.setattr(reading, "_MOST", most)
        found.append(float(state_before(model, ids, before)[0][0, 0, 0]))
    assert found == pytest.approx([1.0, -1.0], abs=1e-2)  # from zeros the latch comes to be set


@pytest.mark.parametrize("bias", [1e10, np.inf, np.nan])
def test_a_network_that_predicts_with_huge_losses_or_none_is_read_all_the_same(bias: float) -> None:
    model = network()
    model.params["head.bias"][0] = bias
    before, ids = symbols(20_000), symbols(500, seed=1)
    with np.errstate(all="ignore"):
        assert state_before(model, ids, before)[0].shape == model.zero_state(1)[0].shape


def test_a_network_that_freezes_from_zero_is_not_read_so() -> None:
    """A unit that falls into a state with useless predictions, unless it is kept out of it from the start."""
    model = latch()
    model.params["layers.0.bias"][0] = -3.0  # from zeros, cleared
    model.params["layers.0.weight_hh"][0, 0] = 12.0
    model.params["layers.0.weight_ih"][0, [SET, CLEAR]] = 40.0, 0.0
    model.params["head.weight"][:, 0] = 0.0
    model.params["head.bias"][:] = [0, 0, 0, 0, -5, 5]
    model.params["head.weight"][[4, 5], 0] = 5.0, -5.0
    before, ids = symbols(200_000, flips=(3,), seed=1), symbols(5000)
    expected = one_go(model, np.concatenate((before, ids)))[len(before) :]
    np.testing.assert_allclose(read(model, ids, before=before), expected, atol=1e-4)
    assert read(model, ids).mean() > expected.mean() + 2


def after(model: CharRNN, ids: np.ndarray, state: np.ndarray | None = None) -> np.ndarray:
    """(1, H, 1) the state after `ids`."""
    layers = model.zero_state(1) if state is None else [state.copy()]
    model.refresh(backward=False)
    model.advance(ids.astype(np.intp)[:, None], layers)
    return layers[0]


def test_readings_of_the_text_before_begin_block_by_block_and_half_of_them_negated(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model, before, reach = network("rnn"), symbols(700, seed=1), 64
    model.params["layers.0.weight_hh"][...] = 0.998 * np.eye(8)  # forgets slowly: no two readings are the same
    model.params["layers.0.weight_ih"][...] *= 0.02
    read = before[-(reach + 8 * 64 + 1) :]  # the last has no successor to predict
    expected = [after(model, read[64 * k :]) for k in range(4)]
    expected += [after(model, read[64 * k :], -after(model, read[: 64 * k])) for k in range(1, 5)]
    ends: list[np.ndarray] = []
    for answer in (False, True):
        monkeypatch.setattr(
            _Leads, "_come_together", lambda self, state, answer=answer: ends.append(state[0]) or answer
        )
        leads = _Leads(model, symbols(100), before, None)
        found = leads.read(reach)
        np.testing.assert_allclose(ends[-1], np.concatenate(expected, axis=2), atol=1e-5)
        assert (found is not None) is answer
    assert found is not None
    np.testing.assert_allclose(found[0], expected[0], atol=1e-5)
    assert np.abs(np.diff(ends[0], axis=2)).max(axis=(0, 1)).min() > 5e-4


def test_readings_are_compared_by_their_last_block(monkeypatch: pytest.MonkeyPatch) -> None:
    model, before = network("rnn"), symbols(700, seed=1)
    model.params["layers.0.weight_hh"][...] = 0.995 * np.eye(8)
    model.params["layers.0.weight_ih"][...] *= 0.02
    leads, apart = _Leads(model, symbols(100), before, None), []
    read = leads._before.read

    def noted(*arguments: object) -> np.ndarray:
        nats = read(*arguments)  # type: ignore[arg-type]
        apart.append(float(np.ptp(nats, axis=1).mean()))
        return nats

    monkeypatch.setattr(leads._before, "read", noted)
    monkeypatch.setattr(_Leads, "_come_together", lambda self, state: False)
    leads.read(64)
    *_, before_last, last = apart
    assert len(apart) == 4
    assert 0 < last < min(before_last, apart[1])
    monkeypatch.setattr(reading, "_AGREED", (last + min(before_last, apart[1])) / 2)
    assert leads.read(64) is not None
    monkeypatch.setattr(reading, "_AGREED", last / 2)
    assert leads.read(64) is None


@pytest.mark.parametrize(
    ("predictions", "apart", "answer", "blocks"),
    [
        (640, [9e-4, 9e-4, 2.9e-4], True, 3),  # the same in the end, before they were too far apart
        (640, [9e-4] * 10, False, 4),  # 4 blocks of 9e-4 are more than 10 of 3e-4
        (130, [5e-4, 1e-4], True, 2),
        (100, [2.9e-4], True, 1),
        (5000, [3.1e-4] * 79, False, 64),  # not within 4096
        (0, [], True, 0),
    ],
)
def test_readings_of_the_next_text_come_together_soon_or_not(
    predictions: int, apart: list[float], answer: bool, blocks: int
) -> None:
    asked: list[tuple[list[int], int]] = []

    def read(begins: np.ndarray, length: int, state: object) -> np.ndarray:
        asked.append((begins.tolist(), length))
        middle = np.full((length, 1), 2.0)
        return np.concatenate((middle, middle + apart[len(asked) - 1], middle), axis=1)

    leads = _Leads(network(), symbols(9), symbols(9), None)
    leads._ids = SimpleNamespace(ids=np.zeros(predictions + 1), read=read)  # type: ignore[assignment]
    assert leads._come_together([np.zeros((1, 8, 3))]) is answer
    assert asked == [([64 * k] * 3, min(64, predictions - 64 * k)) for k in range(blocks)]


SEPARATOR = np.array([0, 1], np.uint8)


@pytest.mark.parametrize("shift", [-1, 0, 1, 2])
def test_documents_begin_from_zero_wherever_the_parts_are_cut(shift: int) -> None:
    whole = symbols(12_000, flips=(10, 4000, 6500))
    whole = whole[~(whole == 0)]  # no separators but these
    cut = len(whole) // 2
    ends = [cut - 500, cut + shift, cut + 3000]
    for end in ends:
        whole[end - 2 : end] = SEPARATOR
    expected = one_go(latch(), whole, resets=ends)
    found = read(latch(), whole[cut:], separator=SEPARATOR, before=whole[:cut])
    np.testing.assert_allclose(found, expected[cut:], atol=1e-4)


def test_the_mean_of_several_models_is_read_so_too() -> None:
    models, ids = [latch(), network("gru")], symbols(20_000, flips=(0, 12_000))
    before = symbols(3000, flips=(2900,), seed=1)
    whole = np.concatenate((before, ids))
    likelihood = np.mean([np.exp(-one_go(m, whole)[3000:].astype(np.float64)) for m in models], axis=0)
    np.testing.assert_allclose(mixed_surprisals(models, ids, before=before), -np.log(likelihood), atol=1e-3)


def test_little_more_than_the_text_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """At the default interval, 500 steps of 64 x 64 symbols, under 3% of the work: a third of training's each."""
    model, ids, before = network("gru"), symbols(111_540), symbols(100_000, seed=1)
    read_symbols, loss = 0, model.loss

    def counted(inputs: np.ndarray, *arguments: object, **more: object) -> np.ndarray:
        nonlocal read_symbols
        read_symbols += inputs.size
        return loss(inputs, *arguments, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(model, "loss", counted)
    evaluate(model, ids, before=before)
    assert len(ids) < read_symbols < 1.2 * len(ids)
    assert read_symbols / 3 / (500 * 64 * 64) < 0.03


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("reading")
    (folder / "text.txt").write_text(SENTENCES * 200, encoding="utf-8")
    (folder / "c.yaml").write_text(
        f"corpus: {{source: {folder / 'text.txt'}, test_fraction: 0.1}}\nmodel: {{cell: gru, hidden_size: 24}}\n"
        "training: {batch_size: 8, seq_length: 16, epochs: null, max_steps: 60, eval_every: 30, sample_every: null,\n"
        "  learning_rate: 0.02, warmup_steps: 2, replicas: 1}\n"
    )
    return folder


def test_validation_and_eval_are_one_reading_of_the_whole_text(run: Path, charrnn_here: Run) -> None:
    done = charrnn_here("train", "-c", run / "c.yaml", "--run-dir", run / "run", "--json", "-q")
    summary = json.loads(done.stdout)
    model = load_checkpoint(run / "run" / "last.npz")
    text = (run / "text.txt").read_text()
    ids = model.vocabulary.encode(text)
    nats, n = one_go(model.build_model(), ids), len(text)
    spans = {"train": (0, int(n * 0.8)), "val": (int(n * 0.8), int(n * 0.9)), "test": (int(n * 0.9), n)}
    losses = {name: float(nats[start : stop - 1].mean(dtype=np.float64)) for name, (start, stop) in spans.items()}
    assert summary["val_loss"] == pytest.approx(losses["val"], abs=1e-5)
    for name, loss in losses.items():
        words = ("eval", run / "run" / "last.npz", "--split", name, "--json", "--no-baselines")
        report = json.loads(charrnn_here(*words).stdout)
        assert report["loss"] == pytest.approx(loss, abs=1e-5)
    lines = json.loads(charrnn_here("eval", run / "run" / "last.npz", "--per-line", "--json").stdout)
    assert sum(line["nats"] for line in lines["lines"]) == pytest.approx(losses["val"] * (n // 10 - 1), rel=1e-3)
