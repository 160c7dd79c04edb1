"""Check the gradients of a whole network, as its settings describe it, against central differences."""

from __future__ import annotations

import numpy as np

from charrnn.model import CharRNN
from charrnn.nn.dropout import DropoutKey
from charrnn.nn.gradcheck import numerical_gradient, relative_error
from charrnn.settings import ModelSettings


def check_gradients(
    settings: ModelSettings, *, seed: int, entries: int, time_steps: int, columns: int, vocab_size: int
) -> dict[str, float]:
    """Worst relative error per parameter and initial state, in float64, with the dropout of the settings.

    Args:
        settings: the network.
        seed: of weights, window, states and of which entries are tried.
        entries: how many entries of each parameter to try.
        time_steps: T of a random window.
        columns: its B.
        vocab_size: its V.

    Returns:
        Parameter or `state.<layer>` -> relative error.
    """
    rng = np.random.default_rng(seed)
    model = CharRNN(
        vocab_size,
        **settings.network(),
        dtype=np.float64,
    )
    model.init(rng, forget_bias=settings.forget_bias)
    inputs, targets = rng.integers(0, vocab_size, (2, time_steps, columns))
    # Random states: zero ones would hide what multiplies them.
    start = [rng.normal(0.0, 0.5, layer.shape) for layer in model.zero_state(columns)]
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
