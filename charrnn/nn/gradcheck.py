"""Numerical against analytic gradients, in float64.

Central differences over five points,

    f'(x) = (8 (f(x+ε) - f(x-ε)) - (f(x+2ε) - f(x-2ε))) / 12ε + O(ε⁴)

allow a large ε, where the loss's own rounding (1e-16 / ε) no longer hides small gradients. Source: Abramowitz and
Stegun (1964), 25.3.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from charrnn.nn.dropout import DropoutKey
from charrnn.nn.network import CharRNN
from charrnn.nn.params import Array


def numerical_gradient(
    loss: Callable[[], float], values: Array, indices: np.ndarray, *, epsilon: float = 1e-3
) -> np.ndarray:
    """Central differences of `loss()` with respect to `values.flat[indices]`, float64; `values` is restored.

    Args:
        loss: computes the loss from the current `values`.
        values: any shape, float64, changed in place and restored.
        indices: (N,) flat positions to try.
        epsilon: distance between evaluations.

    Raises:
        ValueError: the values are not float64 (float32 rounding would drown the difference), or not contiguous.
    """
    if values.dtype != np.float64:
        raise ValueError(f"gradient checks need float64, not {values.dtype}")
    flat = values.reshape(-1)
    if not np.shares_memory(flat, values):
        raise ValueError("the values to check must be contiguous")
    out = np.empty(len(indices))
    for k, index in enumerate(indices):
        original, values_at = flat[index], []
        for offset in (-2, -1, 1, 2):
            flat[index] = original + offset * epsilon
            values_at.append(loss())
        flat[index] = original
        far_below, below, above, far_above = values_at
        out[k] = (8 * (above - below) - (far_above - far_below)) / (12 * epsilon)
    return out


def relative_error(analytic: np.ndarray, numerical: np.ndarray) -> float:
    """Worst |a - n| / max(|a|, |n|) over the components of one parameter; two zeros agree.

    Components below a ten-thousandth of the largest, or below 1e-6, are measured against that instead: the rounding of
    the loss adds noise of about 5e-13 to every difference, which says nothing about them.
    """
    scale = np.maximum(np.abs(analytic), np.abs(numerical))
    floor = max(1e-4 * float(scale.max(initial=0.0)), 1e-6)
    return float((np.abs(analytic - numerical) / np.maximum(scale, floor)).max(initial=0.0))


def check_gradients(
    network: Mapping[str, Any],
    *,
    forget_bias: float,
    seed: int,
    entries: int,
    seq_length: int,
    batch_size: int,
    vocab_size: int,
) -> dict[str, float]:
    """Worst relative error per parameter and initial state, in float64, dropout included.

    Args:
        network: keywords of `CharRNN`.
        forget_bias: of the initial weights.
        seed: of weights, window, states and the choice of entries.
        entries: number of entries of each parameter to try.
        seq_length: T of a random window.
        batch_size: its B.
        vocab_size: its V.

    Returns:
        Parameter or `state.<layer>` -> relative error.
    """
    rng = np.random.default_rng(seed)
    model = CharRNN(
        vocab_size,
        **network,
        dtype=np.float64,
    )
    model.init(rng, forget_bias=forget_bias)
    inputs, targets = rng.integers(0, vocab_size, (2, seq_length, batch_size))
    # Random states: zeros would hide the weights that multiply them.
    start = [rng.normal(0.0, 0.5, layer.shape) for layer in model.zero_state(batch_size)]
    key = DropoutKey(seed, 0)

    def loss() -> float:
        state = [layer.copy() for layer in start]
        return float(model.loss_and_grad(inputs, targets, state, dropout_key=key) / inputs.size)

    loss()
    analytic = {name: model.grads[name].copy() for name in model.params}
    analytic |= {f"state.{k}": gradient.copy() for k, gradient in enumerate(model.state_grads)}
    values = dict(model.params) | {f"state.{k}": layer for k, layer in enumerate(start)}
    errors = {}
    for name, array in values.items():
        tried = rng.choice(array.size, min(entries, array.size), replace=False)
        numerical = numerical_gradient(loss, array, tried)
        errors[name] = relative_error(analytic[name].reshape(-1)[tried], numerical)
    return errors
