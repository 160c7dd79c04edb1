"""Muon: matrices take steps of equal length in all directions.

Adam scales each weight on its own, but the gradients of a matrix mostly lie in a few directions. Muon therefore
replaces the mean gradient M = U S Vᵀ by the nearest matrix with orthonormal rows (or columns, if it is taller than
wide), U Vᵀ, which moves weak directions as far as strong ones.

No singular values are computed: the Newton-Schulz iteration

    X ← a X + (b A + c A²) X    with A = X Xᵀ

keeps the singular vectors and moves each singular value s to a s + b s³ + c s⁵. Three iterations bring all but the
smallest to between 0.7 and 1.2, which is enough.

Sources: Jordan et al. (2024), "Muon: an optimizer for hidden layers in neural networks", with these a, b and c; the
length of a step, which makes one learning rate fit both kinds of parameters: Liu et al. (2025), equation 4.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import reduce
from typing import NamedTuple

import numpy as np

from charrnn.nn.optim import Adam, OptimizerOptions
from charrnn.nn.params import Array, FlatParams

_A, _B, _C = 3.4445, -4.7750, 2.0315
_ITERATIONS = 3
_EVERY = 4  # steps: the mean changes slowly, and the products take half as long as the gradient of a small batch
_RMS = 0.2  # of Adam's updates, as measured by Liu et al.

OnThreads = Callable[[Callable[[int], Array], int], list[Array]]


def one_by_one(run: Callable[[int], Array], count: int) -> list[Array]:
    """run(0), run(1), ... on this thread."""
    return [run(k) for k in range(count)]


class Matrix(NamedTuple):
    """Where a matrix is in the flat vector."""

    where: slice
    shape: tuple[int, int]


class Muon(Adam):
    """Adam, but matrices move by the orthogonalised mean of their gradients; see the module.

    Adam's running means are kept for all parameters. A matrix moves at every fourth step, by U Vᵀ of its mean gradient
    times 0.2 sqrt(max(rows, columns)) 2 rate; the 2 is there because four steps in random directions lead twice as far
    as one. Only matrices decay, at every step by the weight decay times the rate: Adam's parameters, among them the
    input weights of the symbols, learned less when they decayed too.

    Args:
        size: number of parameters.
        dtype: of the parameters.
        options: see `OptimizerOptions`.
        matrices: see `matrices_of`.
        threads: number of threads for the products.
        on_threads: see `Engine.on_threads`.
    """

    name = "muon"

    def __init__(
        self,
        size: int,
        dtype: np.dtype[np.floating],
        options: OptimizerOptions | None = None,
        matrices: Sequence[Matrix] = (),
        *,
        threads: int = 1,
        on_threads: OnThreads = one_by_one,
    ) -> None:
        options = options or OptimizerOptions()
        super().__init__(size, dtype, replace(options, weight_decay=0.0))
        self.matrices, self._decay = matrices, options.weight_decay
        self._threads, self._on_threads = threads, on_threads

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
        mean = self.moments["mean"][matrix.where].reshape(matrix.shape)
        out = orthogonalised(mean, threads=self._threads, on_threads=self._on_threads).ravel()
        out *= rate * _RMS * math.sqrt(max(matrix.shape) * _EVERY)
        return out


def orthogonalised(matrix: Array, *, threads: int = 1, on_threads: OnThreads = one_by_one) -> Array:
    """Roughly U Vᵀ of a (rows, columns) matrix U S Vᵀ; zeros remain zeros.

    Args:
        matrix: any.
        threads: split X by columns and A by rows; their number changes the last bits.
        on_threads: see `Engine.on_threads`.
    """
    wide = matrix.shape[0] <= matrix.shape[1]
    x = np.ascontiguousarray(matrix if wide else matrix.T)
    norm = float(np.linalg.norm(x))
    if norm == 0.0:
        return np.zeros_like(matrix)
    x = x / x.dtype.type(norm)  # so that no singular value is above 1
    parts = [np.ascontiguousarray(part) for part in np.array_split(x, min(threads, len(x)), axis=1)]
    for _ in range(_ITERATIONS):
        parts = _iterated(parts, on_threads)
    x = np.concatenate(parts, axis=1)
    return x if wide else x.T


def _iterated(parts: list[Array], on_threads: OnThreads) -> list[Array]:
    """The columns of X after one iteration."""
    count = len(parts)
    a = reduce(np.add, on_threads(lambda k: parts[k] @ parts[k].T, count))
    rows = np.array_split(a, count)
    factor = np.concatenate(on_threads(lambda k: _B * rows[k] + _C * (rows[k] @ a), count))
    return on_threads(lambda k: _A * parts[k] + factor @ parts[k], count)


def matrices_of(params: FlatParams) -> list[Matrix]:
    """The matrices that multiply states: recurrent weights, those between layers, the head's.

    Matrices from which symbols pick columns are left out: most of their gradient is zero at every step.
    """
    return [
        Matrix(params.places[name], (view.shape[0], view.shape[1]))
        for name, view in params.items()
        if view.ndim == 2 and name not in ("layers.0.weight_ih", "embedding.weight")
    ]
