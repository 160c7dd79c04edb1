"""What the benchmarks time is what a run does; the times themselves are none of the tests' business."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks import contestants
from benchmarks.contestants import Size, charrnn_step
from charrnn.nn.network import CharRNN


@pytest.mark.parametrize("kernels", ["numpy", pytest.param("compiled", marks=pytest.mark.extras)])
def test_a_contestant_trains(kernels: str, monkeypatch: pytest.MonkeyPatch) -> None:
    models: list[CharRNN] = []
    init = CharRNN.init
    monkeypatch.setattr(contestants, "_keep_machine_code", lambda: None)
    monkeypatch.setattr(CharRNN, "init", lambda self, rng: (models.append(self), init(self, rng)))
    step = charrnn_step(Size("gru", 1, 8, 4, 6, 11), kernels, 1)
    before = models[0].params.flat.copy()
    step()
    after = models[0].params.flat.copy()
    assert 0 < np.abs(after - before).max() < 2e-3
    step()
    assert (models[0].params.flat != after).any()
