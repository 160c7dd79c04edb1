"""The same weights and windows in PyTorch give the same loss, states and gradients."""

from __future__ import annotations

import copy

import numpy as np
import pytest

from charrnn.nn.cells import CELLS
from charrnn.nn.optim import Adam, OptimizerOptions
from tests.strategies import Case, make_case

torch = pytest.importorskip("torch", reason="parity needs the extra [parity]")
pytestmark = pytest.mark.parity


class Peer(torch.nn.Module):
    """The network in PyTorch; its second bias is zero and stays out, except the GRU's candidate's."""

    def __init__(self, case: Case, cell: str, layers: int) -> None:
        super().__init__()
        model = case.model
        kind = {"rnn": torch.nn.RNN, "lstm": torch.nn.LSTM, "gru": torch.nn.GRU}[cell]
        self.cell, self.rnn = cell, kind(model.vocab_size, model.hidden_size, layers)
        self.head = torch.nn.Linear(model.hidden_size, model.vocab_size)
        H = model.hidden_size
        with torch.no_grad():
            for k in range(layers):
                p = model.params.under(f"layers.{k}")
                for ours, theirs in (("weight_ih", "weight_ih"), ("weight_hh", "weight_hh"), ("bias", "bias_ih")):
                    getattr(self.rnn, f"{theirs}_l{k}").copy_(torch.from_numpy(p[ours].copy()))
                second = getattr(self.rnn, f"bias_hh_l{k}")
                second.zero_()
                if cell == "gru":
                    second[2 * H :] = torch.from_numpy(p["bias_hn"].copy())
            self.head.weight.copy_(torch.from_numpy(model.params["head.weight"].copy()))
            self.head.bias.copy_(torch.from_numpy(model.params["head.bias"].copy()))

    def loss(self, case: Case) -> tuple[torch.Tensor, list[np.ndarray], list[torch.Tensor]]:
        stacked = [
            torch.from_numpy(np.stack([s[n].T for s in case.state])).requires_grad_() for n in range(len(case.state[0]))
        ]
        x = torch.nn.functional.one_hot(torch.from_numpy(case.inputs), case.model.vocab_size).float()
        out, last = self.rnn(x, tuple(stacked) if self.cell == "lstm" else stacked[0])
        last = last if self.cell == "lstm" else (last,)
        logits = self.head(out).reshape(-1, case.model.vocab_size)
        loss = torch.nn.functional.cross_entropy(logits, torch.from_numpy(case.targets).reshape(-1))
        states = [np.stack([s[k].detach().numpy().T for s in last]) for k in range(len(case.state))]
        return loss, states, stacked

    def gradient(self, name: str) -> np.ndarray:
        if name.startswith("head."):
            return getattr(self.head, name[5:]).grad.numpy()
        _, layer, kind = name.split(".")
        if kind == "bias_hn":
            return getattr(self.rnn, f"bias_hh_l{layer}").grad.numpy()[-self.rnn.hidden_size :]
        return getattr(self.rnn, f"{'bias_ih' if kind == 'bias' else kind}_l{layer}").grad.numpy()


def relative(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.linalg.norm(a - b) / max(np.linalg.norm(b), 1e-12))


@pytest.mark.parametrize("cell", sorted(CELLS))
@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize("fuse_one_hot", [True, False])
def test_loss_states_and_gradients_agree(cell: str, layers: int, fuse_one_hot: bool) -> None:
    case = make_case(cell, T=24, B=16, V=31, H=32, L=layers, fuse_one_hot=fuse_one_hot, dtype=np.float32)
    peer = Peer(case, cell, layers)
    loss, states, initial = peer.loss(case)
    loss.backward()
    state = case.fresh_state()
    nats = case.model.loss_and_grad(case.inputs, case.targets, state) / case.inputs.size
    assert nats == pytest.approx(loss.item(), rel=1e-5)
    for ours, theirs in zip(state, states, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)
    for name in case.model.params:
        assert relative(case.model.grads[name], peer.gradient(name)) < 1e-4, name
    for k, gradient in enumerate(case.model.state_grads):
        theirs = np.stack([s.grad[k].numpy().T for s in initial])
        assert relative(gradient, theirs) < 1e-4


@pytest.mark.parametrize("cell", sorted(CELLS))
def test_ten_adam_steps_stay_together(cell: str) -> None:
    case = make_case(cell, T=12, B=16, V=31, H=32, L=2, dtype=np.float32)
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
