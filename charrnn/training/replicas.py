"""Batch replicas: the columns of a batch split among processes that work on the same memory.

Each replica computes the gradient of its columns; the parent, itself replica 0, adds them in a fixed order, so that a
given number of replicas gives the same bits every time. Parameters, gradients and recurrent states live in anonymous
shared memory, so nothing is left behind however a process ends. A worker waits on its pipe from the parent; when the
parent is gone, the pipe closes and the worker ends.

Processes rather than threads: two threads of one interpreter lose at small sizes to the lock, and BLAS's own threads
wait for each other at every product (two replicas of 32 columns: 1.4 times the speed of BLAS on two threads at
H = 256).
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import struct
import subprocess
import weakref
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

from charrnn.blas import available_cores, blas_threads
from charrnn.data.windows import WindowStream
from charrnn.errors import CharRNNError
from charrnn.nn.cells import CELLS
from charrnn.nn.network import CharRNN, State
from charrnn.nn.params import Array, FlatParams
from charrnn.training.group import ReplicaSpec, Share
from charrnn.training.memory import Handle, attach, reserve
from charrnn.training.processes import child_command, child_environment, detached

T = TypeVar("T")

COMMAND = struct.Struct("<qqqq")  # window, offset, seed, step
REPLY = struct.Struct("<d")  # nats


class SharedMemory:
    """One mapping that holds parameters, every replica's gradient and the recurrent state of all columns.

    Args:
        plan: sizes.
        columns: B of the whole batch.
        handle: of the memory; None reserves it.

    Raises:
        MemoryError, StorageError: there is not enough.
    """

    def __init__(self, plan: ReplicaSpec, columns: int, handle: Handle | None = None) -> None:
        shapes = CharRNN.param_shapes(plan.vocab_size, **plan.sizes)
        size = sum(math.prod(shape) for shape in shapes.values())
        num_layers = plan.sizes["num_layers"]
        state = (len(CELLS[plan.sizes["cell"]].state_names), plan.sizes["hidden_size"], columns)
        dtype = np.dtype(plan.dtype)
        total = dtype.itemsize * (size * (1 + plan.count) + num_layers * math.prod(state))
        self.handle = reserve(total) if handle is None else handle
        if isinstance(self.handle, int):
            weakref.finalize(self, os.close, self.handle)
        self._map = attach(self.handle, total)
        flat: Array = np.frombuffer(self._map, dtype)
        parts = np.split(flat, [size * (k + 1) for k in range(plan.count + 1)])
        self.params = FlatParams(shapes, dtype, buffer=parts[0])
        self.grads = [FlatParams(shapes, dtype, buffer=part) for part in parts[1:-1]]
        self.state: State = list(parts[-1].reshape(num_layers, *state))

    def share(self, plan: ReplicaSpec, stream: WindowStream) -> Share:
        """The columns of the replica that `plan` names, on this memory."""
        return Share(plan, stream, self.state, params=self.params, grads=self.grads[plan.rank])


class ReplicaGroup:
    """The parent's side: starts the workers, hands out windows, adds up gradients; see `Group`.

    Args:
        plan: with rank 0.
        stream: the windows of the whole batch.
    """

    leads = True

    def __init__(self, plan: ReplicaSpec, stream: WindowStream) -> None:
        self._memory = SharedMemory(plan, stream.columns)
        self._first = self._memory.share(plan, stream)
        self.count, self.model, self.state = plan.count, self._first.model, self._memory.state
        self._plan = plan
        self._workers: list[_Worker] = []
        self._threads = contextlib.ExitStack()

    def start(self) -> None:
        """Start the workers; they are ready when they have answered their first window."""
        self._threads.enter_context(blas_threads(1))  # BLAS's own would be in the replicas' way
        for rank in range(1, self.count):
            try:
                self._workers.append(_Worker(self._plan, rank, self._memory.handle))
            except OSError as error:
                raise CharRNNError(
                    f"replica {rank} cannot be started: {error.strerror or error}", hint="set training.replicas: 1"
                ) from None

    def close(self) -> None:
        """End the workers."""
        for worker in self._workers:
            worker.close()
        self._workers = []
        self._threads.close()

    def run(self, index: int, *, seed: int, step: int, offset: int, stopping: bool, seconds: float) -> float:
        """See `Group`."""
        for worker in self._workers:
            worker.send(index, offset, seed, step)
        nats = self._first.run(index, offset, seed, step)
        total = self.model.grads.flat
        for worker, grads in zip(self._workers, self._memory.grads[1:], strict=True):
            nats += worker.receive()
            np.add(total, grads.flat, out=total)
        return nats

    def agreed(self, stopping: bool, seconds: float) -> tuple[bool, float]:
        """See `Group`; the parent decides."""
        return stopping, seconds

    def gather(self) -> None:
        """See `Group`; all columns are here."""

    def once(self, compute: Callable[[], T]) -> T:
        """See `Group`; the workers wait, so BLAS may have their cores."""
        with blas_threads(available_cores()):
            return compute()


class _Worker:
    def __init__(self, plan: ReplicaSpec, rank: int, handle: Handle) -> None:
        self.rank = rank
        spec = json.dumps({**plan.__dict__, "rank": rank, "handle": handle})
        self._process: subprocess.Popen[bytes] = subprocess.Popen(
            child_command("charrnn.training.worker", spec),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=child_environment(threads=1),
            **detached(handle),
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
            hint="the last checkpoint is intact: resume the run; if memory is short, set training.replicas: 1",
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
