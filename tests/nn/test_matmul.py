"""Products in blocks of rows."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from charrnn.nn import matmul
from charrnn.nn.buffers import places_from_the_end
from charrnn.nn.matmul import block_rows, blocked
from charrnn.nn.network import CharRNN


@given(rows=st.integers(1, 4096), inner=st.integers(1, 4096), columns=st.integers(1, 256))
def test_blocks_divide_the_rows_and_stay_small(rows: int, inner: int, columns: int) -> None:
    block = block_rows(rows, inner, columns)
    assert rows % block == 0
    assert block == rows or block * inner * columns <= 1_000_000


def test_sizes_that_were_measured_are_cut() -> None:
    assert block_rows(512, 129, 32) == 32
    assert block_rows(384, 194, 64) == 32
    assert block_rows(1024, 322, 64) == 1024  # here copying pays
    assert block_rows(512, 129, 1) == 512  # matrix-vector products have no copy to save


@pytest.mark.parametrize("rows", [1, 4, 16])
def test_a_product_in_blocks_is_the_product(rows: int) -> None:
    rng = np.random.default_rng(0)
    a, b, out = rng.standard_normal((16, 7)), rng.standard_normal((7, 5)), np.empty((16, 5))
    np.matmul(blocked(a, rows), b, out=blocked(out, rows))
    np.testing.assert_allclose(out, a @ b, rtol=1e-12)


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
def test_gradients_are_the_same_with_and_without_blocks(cell: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def gradient() -> np.ndarray:
        model = CharRNN(9, cell=cell, hidden_size=32, num_layers=2, dtype=np.float64)
        model.init(np.random.default_rng(0))
        ids = np.random.default_rng(1).integers(0, 9, (7, 4))
        model.loss_and_grad(ids[:-1], ids[1:], model.zero_state(4))
        return model.grads.flat.copy()

    assert block_rows(32, 32, 4) == 32
    with_blocks = gradient()
    monkeypatch.setattr(matmul, "_SMALL", 0)
    assert block_rows(128, 32, 4) == 128
    np.testing.assert_allclose(gradient(), with_blocks, rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize(("T", "local", "chunk"), [(7, 2, 4), (7, 3, 3), (1, 1, 1), (8, 4, 8), (5, 1, 2)])
def test_chunks_cover_every_step_once(T: int, local: int, chunk: int) -> None:
    slots = places_from_the_end(T, local, chunk)
    for t in range(T):
        assert slots[t][0] < local
        assert slots[t][1] < chunk
        if t and slots[t][1]:
            assert slots[t - 1][1] == slots[t][1] - 1
