"""The network at the sizes that are shipped, where a window has several chunks, blocks and pieces.

Against `reference_network` in float64, and (marked parity) against PyTorch in float32, for every file of `configs/`.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from charrnn.config.load import load_config
from charrnn.config.schema import Config
from charrnn.nn import head, matmul
from charrnn.nn.cells import CELLS
from charrnn.nn.dropout import DropoutKey
from tests.conftest import ROOT
from tests.strategies import Case, make_case, relative
from tests.training.reference_network import Network
from tests.training.reference_rules import unit_mask, weight_mask

CONFIGS = sorted((ROOT / "configs").glob("*.yaml"))
QUICK = ("quickstart", "tiny-shakespeare-fast", "rnn")  # a second each in the plain network
V = 103
KEY = DropoutKey(seed=3, step=5)


@functools.cache
def shipped(path: Path) -> Config:
    return load_config(path)


def case_of(path: Path, dtype: type, **options: Any) -> Case:
    m, t = shipped(path).model, shipped(path).training
    sizes = {"T": t.seq_length, "B": t.batch_size, "H": m.hidden_size, "L": m.num_layers}
    return make_case(m.cell, **{"V": V, **sizes, "dtype": dtype, "noise": 0.02, **options})


def chunks(case: Case) -> int:
    """Chunks in which a window's gradients are gathered."""
    T, B = case.inputs.shape
    return -(-T // case.model.layers[0].chunk_steps(T, B)[1])


def pieces(case: Case) -> int:
    """Pieces in which the head works off a window."""
    T, B = case.inputs.shape
    return -(-T // max(1, head._PIECE // (case.model.vocab_size * B)))


def test_the_sizes_are_those_that_need_several() -> None:
    """Otherwise the tests below would say nothing about chunks, blocks and pieces."""
    cases = [case_of(path, np.float32) for path in CONFIGS]
    assert all(chunks(case) > 1 for case in cases)
    assert any(pieces(case) > 1 for case in cases)
    for case in cases:
        H, B = case.model.hidden_size, case.inputs.shape[1]
        blocks = matmul.block_rows(H, len(case.model.layers[0].gates) * H, B)
        assert blocks < H or H % 16 or B > 32


RESETS = [(0, 1), (1, 0), (17, 2), (18, 0), (18, 3), (30, 1)]  # also next to where chunks meet


@pytest.mark.parametrize("name", QUICK)
@pytest.mark.parametrize("options", [{}, {"dropout": 0.2, "weight_dropout": 0.3}], ids=str)
def test_gradients_equal_those_of_the_plain_network(name: str, options: dict[str, Any]) -> None:
    path = ROOT / "configs" / f"{name}.yaml"
    compare(case_of(path, np.float64, **options), resets=RESETS, key=KEY if options else None)


def test_more_symbols_than_ride_and_a_head_in_pieces() -> None:
    case = make_case("gru", T=40, B=32, V=240, H=96, L=2, dtype=np.float64)
    assert not case.model.layers[0].fuses_one_hot
    assert pieces(case) > 1
    assert chunks(case) > 1
    compare(case, resets=RESETS, key=None)


@pytest.mark.parametrize("cell", sorted(CELLS))
@pytest.mark.parametrize("way", ["fused", "gathered"])
@pytest.mark.parametrize(
    "options",
    [
        {"dropout": 0.2, "weight_dropout": 0.3},
        {"dropout": 0.4, "variational_dropout": True, "embedding_size": 5},
        {"embedding_size": 6, "tie_weights": True},
    ],
    ids=lambda options: "-".join(options),
)
def test_small_networks_too(cell: str, way: str, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Of odd sizes, their windows cut into unequal chunks; in milliseconds, for `make mutants`."""
    case = make_case(cell, T=11, B=3, H=6, L=2, way=way, **options)
    for layer in case.model.layers:
        monkeypatch.setattr(layer, "chunk_steps", lambda T, B: (min(T, 2), min(T, 4)))
    case.model.loss_and_grad(case.inputs, case.targets, case.fresh_state())  # of which nothing is to be left
    table = "head.weight" if "tie_weights" in options else "embedding.weight" if "embedding_size" in options else None
    compare(case, resets=[(0, 1), (3, 0), (4, 2), (10, 1)], key=KEY, table=table)


def compare(case: Case, *, resets: list[tuple[int, int]], key: DropoutKey | None, table: str | None = None) -> None:
    """Loss, gradients and states; `table` is the name of the embedding, if there is one."""
    model, (T, B) = case.model, case.inputs.shape
    assert chunks(case) > 1
    masks: dict[str, Any] = {}
    if key is not None:
        drawn, layers = {"seed": key.seed, "step": key.step}, range(model.num_layers)
        masks["unit_masks"] = [
            unit_mask((model.hidden_size, T, B), model.dropout, model.variational_dropout, **drawn, layer=k)
            for k in layers
        ]
        shapes = [model.params[f"layers.{k}.weight_hh"].shape for k in layers]
        masks["weight_masks"] = [weight_mask(shapes[k], model.weight_dropout, **drawn, layer=k) for k in layers]
    plain, expected_state = Network(model.cell_name, model.num_layers, table, model.vocab_size), case.fresh_state()
    nats, grads, before = plain.loss_and_grad(
        dict(model.params), case.inputs, case.targets, expected_state, resets=resets, **masks
    )
    state = case.fresh_state()
    found = model.loss_and_grad(case.inputs, case.targets, state, dropout_key=key, resets=np.array(resets))
    assert found == pytest.approx(nats, rel=1e-12)
    for name, expected in grads.items():
        assert relative(model.grads[name], expected) < 1e-11, name
    for ours, theirs in zip([*state, *model.state_grads], [*expected_state, *before], strict=True):
        assert relative(ours, theirs) < 1e-10


@pytest.mark.parametrize("cell", sorted(CELLS))
@pytest.mark.parametrize("T", [1, 7, 17])
@pytest.mark.parametrize(("local", "chunk"), [(1, 1), (2, 2), (2, 6), (3, 9), (5, 5), (17, 17)])
def test_chunks_do_not_change_gradients(
    cell: str, T: int, local: int, chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Windows cut into chunks of all kinds give the bits of windows that are not cut."""
    case = make_case(cell, T=T, B=3, H=8, L=2)
    case.model.loss_and_grad(case.inputs, case.targets, case.fresh_state())
    whole = case.model.grads.flat.copy()
    assert case.model.layers[0].chunk_steps(T, 3) == (T, T)
    cut = make_case(cell, T=T, B=3, H=8, L=2)
    for layer in cut.model.layers:
        monkeypatch.setattr(layer, "chunk_steps", lambda T, B: (local, chunk))
    cut.model.loss_and_grad(cut.inputs, cut.targets, cut.fresh_state())
    np.testing.assert_array_equal(cut.model.grads.flat, whole)


@pytest.mark.parametrize("cell", sorted(CELLS))
def test_chunks_fit_their_bytes(cell: str) -> None:
    from charrnn.nn.cells import recurrent

    layer = make_case(cell, H=64, dtype=np.float32).model.layers[0]
    step = 64 * 32 * 4
    local, chunk = layer.chunk_steps(1000, 32)
    assert 1 < local < chunk < 1000
    assert chunk % local == 0
    assert local * layer.local_blocks * step <= recurrent._LOCAL_BYTES < (local + 1) * layer.local_blocks * step
    assert chunk * layer.da_blocks * step <= recurrent._CHUNK_BYTES < (chunk + local) * layer.da_blocks * step
    assert layer.chunk_steps(3, 32) == (3, 3)
    assert layer.chunk_steps(5, 1 << 20) == (1, 1)


@pytest.mark.parity
@pytest.mark.parametrize("path", CONFIGS, ids=lambda p: p.stem)
def test_gradients_equal_those_of_pytorch(path: Path) -> None:
    pytest.importorskip("torch", reason="parity needs the extra [parity]")
    from tests.torch_peer import assert_agrees

    case = case_of(path, np.float32)
    assert_agrees(case, case.model.cell_name, case.model.num_layers, states=5e-5, gradients=2e-4)
