"""Muon: matrices take steps of equal length in all directions.

Adam scales each weight by itself. A matrix, though, is a map, and its gradients lie in few directions of it; a mean
gradient M = U S Vᵀ is therefore replaced by the nearest matrix with orthonormal rows, U Vᵀ, which moves the weak
directions as far as the strong ones.

No singular values are computed: the Newton-Schulz iteration

    X ← a X + (b A + c A²) X    with A = X Xᵀ

keeps the singular vectors and moves each singular value s to a s + b s³ + c s⁵. Three iterations bring all but the
smallest near 1, which is enough.

Sources: Jordan et al. (2024), "Muon: an optimizer for hidden layers in neural networks", with these a, b and c; the
length of a step, which makes one learning rate fit both kinds of parameters: Liu et al. (2025), equation 4.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from charrnn.nn.optim import Adam, OptimizerOptions
from charrnn.nn.params import Array, FlatParams

_A, _B, _C = 3.4445, -4.7750, 2.0315
_ITERATIONS = 3
_EVERY = 4  # steps: the mean changes slowly, and the products take half as long as the gradient of a small batch
_RMS = 0.2  # of an update of Adam, as Liu et al. measured it


class Matrix(NamedTuple):
    """Where a matrix is in the flat vector."""

    where: slice
    shape: tuple[int, int]


class Muon(Adam):
    """Adam, but matrices move by the orthogonalised mean of their gradients; see the module.

    Adam's running means are kept for all parameters. A matrix moves at every fourth step, by U Vᵀ of its mean gradient
    times 0.2 sqrt(max(rows, columns)) 2 rate. Twice as far, because four steps in random directions lead that far.
    Matrices alone shrink, at every step by the weight decay times the rate: Adam's parameters, among them what each
    symbol adds to the first layer, learned less when they shrank as well.

    Args:
        size: number of parameters.
        dtype: of the parameters.
        options: see `OptimizerOptions`.
        matrices: see `matrices_of`.
    """

    name = "muon"

    def __init__(
        self,
        size: int,
        dtype: np.dtype[np.floating],
        options: OptimizerOptions | None = None,
        matrices: Sequence[Matrix] = (),
    ) -> None:
        options = options or OptimizerOptions()
        super().__init__(size, dtype, replace(options, weight_decay=0.0))
        self.matrices, self._decay = matrices, options.weight_decay

    def step(self, params: Array, grad: Array, learning_rate: float, scale: float = 1.0) -> None:
        """See `Optimizer.step`."""
        before = [params[matrix.where].copy() for matrix in self.matrices]
        super().step(params, grad, learning_rate, scale)
        kept = 1.0 - learning_rate * self._decay
        moving = self.steps_done % _EVERY == 0
        for matrix, weights in zip(self.matrices, before, strict=True):
            weights *= kept
            if moving:
                weights -= self._move(matrix, learning_rate)
            params[matrix.where] = weights

    def _move(self, matrix: Matrix, rate: float) -> Array:
        out = orthogonalised(self.moments["mean"][matrix.where].reshape(matrix.shape)).ravel()
        out *= rate * _RMS * math.sqrt(max(matrix.shape) * _EVERY)
        return out


def orthogonalised(matrix: Array) -> Array:
    """Roughly U Vᵀ of a (rows, columns) matrix U S Vᵀ; zeros remain zeros."""
    wide = matrix.shape[0] <= matrix.shape[1]
    x = np.ascontiguousarray(matrix if wide else matrix.T)
    norm = float(np.linalg.norm(x))
    if norm == 0.0:
        return np.zeros_like(matrix)
    x = x / x.dtype.type(norm)  # so that no singular value is above 1
    for _ in range(_ITERATIONS):
        a = x @ x.T
        x = _A * x + (_B * a + _C * (a @ a)) @ x
    out: Array = x if wide else x.T
    return out


def matrices_of(params: FlatParams) -> list[Matrix]:
    """The matrices that states are multiplied by: recurrent weights, those between layers, the head's.

    Those that symbols choose columns of are none of them: most of their gradient is zero at every step.
    """
    return [
        Matrix(params.places[name], (view.shape[0], view.shape[1]))
        for name, view in params.items()
        if view.ndim == 2 and name not in ("layers.0.weight_ih", "embedding.weight")
    ]
