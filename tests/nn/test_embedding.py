"""The factors of the input weights, alone; in a network: test_regularisation."""

from __future__ import annotations

import numpy as np
import pytest

from charrnn.nn.embedding import Embedding


def test_the_factors_begin_as_they_should_and_pass_their_gradient_on() -> None:
    rng = np.random.default_rng(0)
    embedding = Embedding(np.full((6, 4), 9.0), np.full((30, 4), 9.0))
    embedding.init(rng, fan=16, own_table=False)
    assert 0.2 < np.abs(embedding.weight).max() <= 0.25
    assert (embedding.table == 9.0).all()
    embedding.init(rng, fan=16, own_table=True)
    assert embedding.table.std() == pytest.approx(0.5, rel=0.25)  # 1 / sqrt(E)
    embedding.refresh()
    np.testing.assert_allclose(embedding.product, embedding.weight @ embedding.table.T, rtol=1e-12)
    embedding.gradient[...] = rng.normal(size=(6, 30))
    d_weight, d_table = np.full((6, 4), 9.0), np.ones((30, 4))
    embedding.backward(d_weight, d_table)
    np.testing.assert_allclose(d_weight, embedding.gradient @ embedding.table, rtol=1e-12)
    np.testing.assert_allclose(d_table, 1.0 + embedding.gradient.T @ embedding.weight, rtol=1e-12)
    single = Embedding(np.zeros((6, 4), np.float32), np.zeros((30, 4), np.float32))
    assert single.product.dtype == single.gradient.dtype == np.float32
