"""What the parameters alone show."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from charrnn.nn.cells import CELLS
from charrnn.nn.params import Array

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class RecurrentSpectrum:
    """One gate's recurrent matrix.

    Attributes:
        layer: from 0.
        gate: letter.
        singular_values: (H,) largest first.
        spectral_radius: largest absolute eigenvalue; above 1 a linear network would explode.
    """

    layer: int
    gate: str
    singular_values: Floats
    spectral_radius: float


def spectra(params: Mapping[str, Array], cell: str, num_layers: int) -> list[RecurrentSpectrum]:
    """The spectrum of every gate of every layer."""
    out = []
    for layer in range(num_layers):
        blocks: list[Any] = np.split(params[f"layers.{layer}.weight_hh"].astype(np.float64), len(CELLS[cell].gates))
        for gate, block in zip(CELLS[cell].gates, blocks, strict=True):
            radius = float(np.abs(np.linalg.eigvals(block)).max())
            values: Floats = np.linalg.svd(block, compute_uv=False)
            out.append(RecurrentSpectrum(layer, gate, values, radius))
    return out


def norms(params: Mapping[str, Array]) -> list[dict[str, Any]]:
    """Name, shape, root mean square and largest absolute value of every parameter."""
    return [
        {
            "name": name,
            "shape": list(values.shape),
            "rms": float(np.sqrt(np.square(values.astype(np.float64)).mean())),
            "largest": float(np.abs(values).max()),
        }
        for name, values in params.items()
    ]


def embed_symbols(weight_ih: Array) -> tuple[Floats, Floats]:
    """The input vectors of the symbols in two dimensions, by principal components.

    Args:
        weight_ih: (G*H, V) of the first layer; column v is what symbol v adds to the pre-activations.

    Returns:
        (V, 2) coordinates, and the (2,) shares of the variance that they show.
    """
    points = weight_ih.T.astype(np.float64)
    points = points - points.mean(axis=0)
    left, values, _ = np.linalg.svd(points, full_matrices=False)
    coordinates = np.zeros((len(points), 2))
    shown = min(2, len(values))
    coordinates[:, :shown] = left[:, :shown] * values[:shown]
    shares = np.zeros(2)
    total = float(np.square(values).sum())
    if total > 0:
        shares[:shown] = np.square(values[:shown]) / total
    return coordinates, shares
