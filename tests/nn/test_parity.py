"""The same weights and windows in PyTorch give the same loss, states and gradients."""

from __future__ import annotations

import copy

import numpy as np
import pytest

from charrnn.nn.cells import CELLS
from charrnn.nn.optim import Adam, OptimizerOptions
from tests.strategies import make_case

torch = pytest.importorskip("torch", reason="parity needs the extra [parity]")
from tests.torch_peer import Peer, assert_agrees  # noqa: E402  (not before PyTorch is known to be there)

pytestmark = pytest.mark.parity
every_peer = pytest.mark.parametrize("cell", sorted(name for name, cell in CELLS.items() if cell.torch_module))


@every_peer
@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize("way", ["fused", "gathered", "compiled"])
def test_loss_states_and_gradients_agree(cell: str, layers: int, way: str) -> None:
    case = make_case(cell, T=24, B=16, V=31, H=32, L=layers, way=way, dtype=np.float32, noise=0.1)
    assert_agrees(case, cell, layers, states=1e-5, gradients=1e-4)


@every_peer
@pytest.mark.parametrize("way", ["fused", "compiled"])
def test_ten_adam_steps_stay_together(cell: str, way: str) -> None:
    case = make_case(cell, T=12, B=16, V=31, H=32, L=2, dtype=np.float32, way=way)
    peer = Peer(case, cell, 2)
    # Our one bias moves as PyTorch's two would together only if their second one is held.
    held = [p for n, p in peer.rnn.named_parameters() if n.startswith("bias_hh")]
    theirs = torch.optim.Adam(peer.parameters(), lr=1e-2, betas=(0.9, 0.99), eps=1e-8)
    ours = Adam(case.model.params.size, case.model.dtype, OptimizerOptions(beta1=0.9, beta2=0.99))
    for _ in range(10):
        theirs.zero_grad()
        loss, _, _ = peer.loss(case)
        loss.backward()
        for bias in held:
            bias.grad[: (2 * peer.rnn.hidden_size if cell == "gru" else None)] = 0.0
        theirs.step()
        nats = case.model.loss_and_grad(case.inputs, case.targets, case.fresh_state()) / case.inputs.size
        ours.step(case.model.params.flat, case.model.grads.flat, 1e-2)
        assert nats == pytest.approx(loss.item(), rel=1e-4)
    last = copy.deepcopy(peer)
    assert last.loss(case)[0].item() == pytest.approx(
        case.model.loss_and_grad(case.inputs, case.targets, case.fresh_state()) / case.inputs.size, rel=1e-4
    )
