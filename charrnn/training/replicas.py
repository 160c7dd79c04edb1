"""Batch replicas: the columns of a batch shared out over processes that work on the same memory.

Each replica computes the gradient of its columns; the parent, itself replica 0, adds them in a fixed order, so that a
given number of replicas gives the same bits every time. Parameters, gradients and recurrent states live in one mapped
file that has no name any more, so nothing is left behind however a process ends. A worker waits on its pipe from the
parent; when the parent is gone, the pipe ends and so does the worker.

Processes rather than threads: two threads of one interpreter lose at small sizes to the lock, and BLAS's own threads
wait for each other at every product (two replicas of 32 columns: 1.4 times the speed of BLAS on two threads at
H = 256).
"""

from __future__ import annotations

import contextlib
import json
import math
import mmap
import os
import struct
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from charrnn.config.schema import Config
from charrnn.data.encode import EncodedText
from charrnn.data.windows import Window, WindowStream
from charrnn.errors import CharRNNError
from charrnn.nn.cells import CELLS
from charrnn.nn.dropout import DropoutKey
from charrnn.nn.network import CharRNN, State
from charrnn.nn.params import Array, FlatParams, IdArray

T = TypeVar("T")

COMMAND = struct.Struct("<qqqq")  # window, offset, seed, step
REPLY = struct.Struct("<d")  # nats

_LEAST_COLUMNS = 8  # a replica with fewer spends its time on calls, not on products


@dataclass(frozen=True)
class ReplicaSpec:
    """What a worker has to know, as JSON on its command line.

    Attributes:
        vocab_size: V.
        sizes: what decides the parameters' shapes.
        network: the network as `CharRNN` takes it, sizes and dropout.
        ids_path, ids_dtype, train_size: the encoded text and how much of it is trained on.
        separator: ids that end a document.
        offsets: windows begin elsewhere in each epoch.
        batch_size, seq_length: of the whole batch.
        count, rank: number of replicas and which one this is.
    """

    vocab_size: int
    sizes: dict[str, Any]
    network: dict[str, Any]
    ids_path: str
    ids_dtype: str
    train_size: int
    separator: list[int] | None
    offsets: bool
    batch_size: int
    seq_length: int
    count: int
    rank: int = 0

    def stream(self) -> WindowStream:
        """The windows of the whole batch."""
        ids: IdArray = np.memmap(self.ids_path, np.dtype(self.ids_dtype), mode="r")[: self.train_size]
        separator = None if self.separator is None else np.array(self.separator, ids.dtype)
        return WindowStream(ids, self.batch_size, self.seq_length, separator=separator, offsets=self.offsets)


def replica_spec(
    config: Config, text: EncodedText, train_size: int, separator: IdArray | None, count: int
) -> ReplicaSpec:
    """The plan of a run: its network, its text, its batches, and how many replicas share them."""
    m, t = config.model, config.training
    return ReplicaSpec(
        vocab_size=len(text.vocabulary),
        sizes=m.sizes(),
        network=m.network(),
        ids_path=str(text.path),
        ids_dtype=text.ids.dtype.str,
        train_size=train_size,
        separator=None if separator is None else separator.tolist(),
        offsets=t.random_offsets,
        batch_size=t.batch_size,
        seq_length=t.seq_length,
        count=count,
    )


def available_cores() -> int:
    """Processors this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def choose_replicas(wanted: int | str, columns: int, *, cores: int | None = None) -> int:
    """How many replicas to run: as many as wanted, or one a core, but none without columns enough to be worth it.

    Args:
        wanted: a number, or "auto".
        columns: B.
        cores: there are; None counts them.
    """
    if isinstance(wanted, int):
        return min(wanted, columns)
    if sys.platform == "win32":  # the nameless file that carries the memory is a POSIX idea
        return 1
    return max(1, min(cores or available_cores(), columns // _LEAST_COLUMNS))


def columns_of(rank: int, count: int, columns: int) -> slice:
    """The columns of a replica; shares differ by one at most."""
    return slice(rank * columns // count, (rank + 1) * columns // count)


class SharedMemory:
    """One mapping that holds parameters, every replica's gradient and the recurrent state of all columns.

    Args:
        plan: sizes.
        columns: B of the whole batch.
        handle: of the file to map; None makes a new one, without a name.
    """

    def __init__(self, plan: ReplicaSpec, columns: int, handle: int | None = None) -> None:
        shapes = CharRNN.param_shapes(plan.vocab_size, **plan.sizes)
        size = sum(math.prod(shape) for shape in shapes.values())
        num_layers = plan.sizes["num_layers"]
        state = (len(CELLS[plan.sizes["cell"]].state_names), plan.sizes["hidden_size"], columns)
        total = 4 * (size * (1 + plan.count) + num_layers * math.prod(state))
        if handle is None:
            folder = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # memory, where there is such a place
            with tempfile.TemporaryFile(dir=folder) as file:
                file.truncate(total)
                handle = os.dup(file.fileno())
        self.handle = handle
        self._map = mmap.mmap(handle, total)
        flat: Array = np.frombuffer(self._map, np.float32)
        parts = np.split(flat, [size * (k + 1) for k in range(plan.count + 1)])
        self.params = FlatParams(shapes, np.float32, buffer=parts[0])
        self.grads = [FlatParams(shapes, np.float32, buffer=part) for part in parts[1:-1]]
        self.state: State = list(parts[-1].reshape(num_layers, *state))


class Replica:
    """One process's share of every window.

    Args:
        plan: with this replica's rank.
        memory: mapped from the parent's file.
        stream: the windows of the whole batch.
    """

    def __init__(self, plan: ReplicaSpec, memory: SharedMemory, stream: WindowStream) -> None:
        self.columns = columns_of(plan.rank, plan.count, stream.columns)
        self.stream = stream
        self.model = CharRNN(plan.vocab_size, **plan.network, params=memory.params)
        self.model.grads = memory.grads[plan.rank]
        self.state = [layer[:, :, self.columns] for layer in memory.state]

    def run(self, index: int, offset: int, seed: int, step: int) -> float:
        """Gradient of this share of window `index` into its own slot; the share's sum of nats."""
        window: Window = self.stream.window(index, self.columns, offset=offset)
        return self.model.loss_and_grad(
            window.inputs,
            window.targets,
            self.state,
            dropout_key=DropoutKey(seed, step, self.columns.start),
            resets=window.resets,
            scale=1.0 / (len(window.inputs) * self.stream.columns),
        )


class ReplicaGroup:
    """The parent's side: starts the workers, hands out windows, adds up gradients.

    Args:
        plan: with rank 0.
        stream: the windows of the whole batch.

    Attributes:
        model: replica 0's, whose `grads` hold the sum after `run`.
        state: one (S, H, B) array a layer, of all columns.
    """

    def __init__(self, plan: ReplicaSpec, stream: WindowStream) -> None:
        self._memory = SharedMemory(plan, stream.columns)
        self._first = Replica(plan, self._memory, stream)
        self.count, self.model, self.state = plan.count, self._first.model, self._memory.state
        self._plan = plan
        self._workers: list[_Worker] = []

    def start(self) -> None:
        """Start the workers; they are ready when they have answered their first window."""
        self._workers = [_Worker(self._plan, rank, self._memory.handle) for rank in range(1, self.count)]

    rank = 0

    def run(
        self, index: int, *, seed: int, step: int, offset: int = 0, stopping: bool = False, seconds: float = 0.0
    ) -> float:
        """Train on window `index`: sum of nats over all columns; `model.grads` has the gradient of the mean.

        Raises:
            CharRNNError: a worker died.
        """
        # `stopping` and `seconds` are for groups whose members decide for themselves: see `charrnn.training.mpi`.
        for worker in self._workers:
            worker.send(index, offset, seed, step)
        nats = self._first.run(index, offset, seed, step)
        total = self.model.grads.flat
        for worker, grads in zip(self._workers, self._memory.grads[1:], strict=True):
            nats += worker.receive()
            np.add(total, grads.flat, out=total)
        return nats

    def agreed(self, stopping: bool, seconds: float) -> tuple[bool, float]:
        """Whether to stop, and how long the step took, as all members see it."""
        return stopping, seconds

    def gather(self) -> None:
        """Bring all columns of the recurrent state together; here they are."""

    def once(self, compute: Callable[[], T]) -> T:
        """What one member computes for all."""
        return compute()

    def close(self) -> None:
        """End the workers."""
        for worker in self._workers:
            worker.close()
        self._workers = []


class _Worker:
    def __init__(self, plan: ReplicaSpec, rank: int, handle: int) -> None:
        self.rank = rank
        spec = json.dumps({**plan.__dict__, "rank": rank, "handle": handle})
        root = str(Path(__file__).resolve().parents[2])
        path = os.pathsep.join(p for p in (root, os.environ.get("PYTHONPATH")) if p)
        self._process: subprocess.Popen[bytes] = subprocess.Popen(
            [sys.executable, "-m", "charrnn.training.worker", spec],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            pass_fds=(handle,),
            # A session of its own: Ctrl-C in the terminal is the parent's to handle.
            start_new_session=True,
            env={**os.environ, "PYTHONPATH": path, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
        )

    def send(self, *command: int) -> None:
        pipe: Any = self._process.stdin
        try:
            os.write(pipe.fileno(), COMMAND.pack(*command))
        except BrokenPipeError:
            raise self._died() from None

    def receive(self) -> float:
        pipe: Any = self._process.stdout
        data = os.read(pipe.fileno(), REPLY.size)
        if len(data) != REPLY.size:
            raise self._died()
        nats: float = REPLY.unpack(data)[0]
        return nats

    def _died(self) -> CharRNNError:
        code = self._process.wait()
        how = f"by signal {-code}" if code < 0 else f"with exit code {code}"
        return CharRNNError(
            f"replica {self.rank} ended {how}",
            hint="the last checkpoint is intact: continue with --resume; if memory is short, set training.replicas: 1",
        )

    def close(self) -> None:
        for pipe in (self._process.stdin, self._process.stdout):
            with contextlib.suppress(OSError):
                if pipe:
                    pipe.close()
        try:
            self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
