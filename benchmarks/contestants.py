"""The contestants: charrnn, PyTorch and a textbook NumPy network, taking the same training step on the same ids.

Each contestant runs in its own process (see `benchmarks.child`), so that thread pools do not interfere.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

Step = Callable[[], None]


@dataclass(frozen=True)
class Size:
    """One network and batch: L layers of H units, B columns, T steps, V symbols."""

    cell: str
    L: int
    H: int
    B: int = 64
    T: int = 64
    V: int = 65

    @property
    def name(self) -> str:
        """The size as shown in the tables."""
        batch = "" if (self.B, self.T) == (64, 64) else f" B={self.B} T={self.T}"
        return f"{self.L}x{self.H}{batch}"

    @property
    def flops_per_char(self) -> float:
        """Of a training step with a one-hot input by gather: forward, and twice that backward."""
        gates = {"rnn": 1, "lstm": 4, "gru": 3}[self.cell]
        weights = self.L * gates * self.H**2 + (self.L - 1) * gates * self.H**2 + self.H * self.V
        return 3 * 2 * weights


def _keep_machine_code() -> None:
    """Compile once for all contestants, as the program itself does."""
    from charrnn.nn.compiled import keep_machine_code
    from charrnn.runs.kernels import kept_code

    keep_machine_code(kept_code())


def ids_of(size: Size) -> np.ndarray:
    """The same ids for all contestants."""
    return np.random.default_rng(0).integers(0, size.V, size.B * (4 * size.T) + 1).astype(np.uint8)


def charrnn_step(size: Size, kernels: str, replicas: int) -> Step:
    """Forward, backward, clip and Adam, through the trainer's own replicas: processes, or threads where compiled."""
    from charrnn.nn.cells import CELLS
    from charrnn.nn.clip import clip_by_norm, global_norm
    from charrnn.nn.optim import Adam
    from charrnn.training.group import ReplicaSpec, group_of

    if kernels == "compiled":
        _keep_machine_code()
    path = Path(tempfile.mkdtemp()) / "ids"
    ids = ids_of(size)
    ids.tofile(path)
    sizes = {"cell": size.cell, "hidden_size": size.H, "num_layers": size.L}
    plan = ReplicaSpec(
        vocab_size=size.V, sizes=sizes, network=sizes, cell_module=CELLS[size.cell].__module__, offsets=False,
        ids_path=str(path), ids_dtype=ids.dtype.str, train_size=len(ids), separator=None, batch_size=size.B,
        seq_length=size.T, state_reset=0.0, count=replicas, kernels=kernels,
    )  # fmt: skip
    group = group_of(plan, plan.stream())
    group.model.init(np.random.default_rng(0))
    group.start()
    optimizer = Adam(group.model.params.size, group.model.dtype)
    if group.model.engine is not None:
        group.model.engine.speed_up(optimizer)
    done = 0

    def step() -> None:
        nonlocal done
        group.run(done % 4, seed=0, step=done, offset=0, stopping=False, seconds=0.0)
        grad = group.model.grads.flat
        optimizer.step(group.model.params.flat, grad, 1e-3, clip_by_norm(grad, 1.0, global_norm(grad)))
        done += 1

    return step


def torch_step(size: Size, threads: int) -> Step:
    """The same in PyTorch, one-hot input, the module's own fused layers."""
    import torch

    torch.set_num_threads(threads)
    torch.manual_seed(0)
    kind = {"rnn": torch.nn.RNN, "lstm": torch.nn.LSTM, "gru": torch.nn.GRU}[size.cell]
    rnn, head = kind(size.V, size.H, size.L), torch.nn.Linear(size.H, size.V)
    parameters = [*rnn.parameters(), *head.parameters()]
    adam = torch.optim.Adam(parameters, lr=1e-3)
    streams = torch.from_numpy(ids_of(size)[:-1].reshape(size.B, -1).T.astype(np.int64))
    targets = torch.from_numpy(ids_of(size)[1:].reshape(size.B, -1).T.astype(np.int64))
    state: Any = None
    done = 0

    def step() -> None:
        nonlocal state, done
        window = slice(done % 4 * size.T, (done % 4 + 1) * size.T)
        x = torch.nn.functional.one_hot(streams[window], size.V).float()
        out, state = rnn(x, state)
        state = tuple(s.detach() for s in state) if isinstance(state, tuple) else state.detach()
        loss = torch.nn.functional.cross_entropy(head(out).reshape(-1, size.V), targets[window].reshape(-1))
        adam.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        adam.step()
        done += 1

    return step


def charrnn_sampler(size: Size, kernels: str, threads: int) -> Step:
    """One character for each of `size.B` streams: step, temperature, draw."""
    from charrnn.nn.network import CharRNN
    from charrnn.sampling.generate import generate_ids
    from charrnn.sampling.options import SamplingOptions

    model = CharRNN(size.V, cell=size.cell, hidden_size=size.H, num_layers=size.L, fuse_one_hot=False)
    model.init(np.random.default_rng(0))
    if kernels == "compiled":
        _keep_machine_code()
        model.use_compiled(threads=threads)
    options = SamplingOptions(temperature=0.8)
    ids = generate_ids(
        model, np.zeros(1, np.uint8), length=1 << 40, seed=0, num_samples=size.B, options=options
    )  # fmt: skip

    def step() -> None:
        next(ids).tolist()

    return step


def torch_sampler(size: Size, threads: int) -> Step:
    """The same in PyTorch, as users commonly write it."""
    import torch

    torch.set_num_threads(threads)
    kind = {"rnn": torch.nn.RNN, "lstm": torch.nn.LSTM, "gru": torch.nn.GRU}[size.cell]
    rnn, head = kind(size.V, size.H, size.L), torch.nn.Linear(size.H, size.V)
    state: Any = None
    ids = torch.zeros(size.B, dtype=torch.int64)

    @torch.inference_mode()
    def step() -> None:
        nonlocal state, ids
        out, state = rnn(torch.nn.functional.one_hot(ids, size.V).float()[None], state)
        probabilities = torch.softmax(head(out[0]) / 0.8, dim=-1)
        ids = torch.multinomial(probabilities, 1)[:, 0]
        ids.tolist()  # the text is wanted

    return step


def gemm_step(size: Size, threads: int) -> Step:
    """Large float32 products with as much arithmetic as a step: the machine's own peak."""
    n = 1024
    a, b, c = (np.random.default_rng(0).random((n, n), np.float32) for _ in range(3))
    count = max(1, round(size.flops_per_char * size.B * size.T / (2 * n**3)))
    scale = size.flops_per_char * size.B * size.T / (2 * n**3) / count

    def step() -> None:
        for _ in range(count):
            np.matmul(a, b, out=c)

    step.scale = scale  # type: ignore[attr-defined]
    return step


def textbook_step(size: Size) -> Step:
    """A plain LSTM, GRU or RNN as tutorials write it: step by step, a new array for everything."""
    from benchmarks.textbook import Textbook

    network = Textbook(size.cell, size.L, size.H, size.V, size.B)
    streams, targets = (ids_of(size)[k : k + size.B * 4 * size.T].reshape(size.B, -1).T for k in (0, 1))
    done = 0

    def step() -> None:
        nonlocal done
        window = slice(done % 4 * size.T, (done % 4 + 1) * size.T)
        network.train(streams[window], targets[window])
        done += 1

    return step


def make(kind: str, size: Size, count: int) -> Step:
    """A contestant's step: charrnn on one of its kernels with `count` replicas, torch or gemm with `count` threads."""
    if kind in ("numpy", "compiled"):
        return charrnn_step(size, kind, count)
    if kind == "torch":
        return torch_step(size, count)
    if kind in ("numpy-sample", "compiled-sample"):
        return charrnn_sampler(size, kind.partition("-")[0], count)
    if kind == "torch-sample":
        return torch_sampler(size, count)
    if kind == "gemm":
        return gemm_step(size, count)
    return textbook_step(size)
