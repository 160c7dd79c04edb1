"""The running mean of the weights."""

from __future__ import annotations

import numpy as np

from charrnn.nn.ema import WeightEMA


def test_the_mean_of_the_weights_is_the_formula() -> None:
    rng = np.random.default_rng(0)
    weights = rng.normal(size=5)
    average = WeightEMA(weights, 0.9)
    expected = weights.copy()
    for step in range(1, 200):
        weights = rng.normal(size=5)
        keep = min(0.9, (1 + step) / (10 + step))
        expected = keep * expected + (1 - keep) * weights
        average.update(weights, step)
    np.testing.assert_allclose(average.mean, expected, atol=1e-12)
    before = weights.copy()
    average.swap(weights)
    np.testing.assert_allclose(weights, expected, atol=1e-12)
    average.swap(weights)
    np.testing.assert_array_equal(weights, before)
