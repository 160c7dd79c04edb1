"""The network in PyTorch, for tests marked parity; importing it needs the extra."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.strategies import Case, relative


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


def assert_agrees(case: Case, cell: str, layers: int, *, states: float, gradients: float) -> None:
    """Loss, final states and all gradients of a window are PyTorch's, to the absolute and relative tolerances given."""
    peer = Peer(case, cell, layers)
    loss, after, initial = peer.loss(case)
    loss.backward()
    state = case.fresh_state()
    nats = case.model.loss_and_grad(case.inputs, case.targets, state) / case.inputs.size
    assert nats == pytest.approx(loss.item(), rel=1e-5)
    for ours, theirs in zip(state, after, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=states)
    for name in case.model.params:
        assert relative(case.model.grads[name], peer.gradient(name)) < gradients, name
    for k, gradient in enumerate(case.model.state_grads):
        assert relative(gradient, np.stack([s.grad[k].numpy().T for s in initial])) < gradients
