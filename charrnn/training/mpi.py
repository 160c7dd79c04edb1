"""One model on many processes or machines: data-parallel training over MPI (extra `[mpi]`).

Each rank computes the gradient of its columns of the batch; one allreduce a step adds them up, and every rank takes the
same optimiser step, so parameters never travel. What all ranks must agree on travels in the same message behind the
gradient: the loss, whether anybody was asked to stop, and rank 0's clock. Rank 0 alone writes.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

from charrnn.blas import blas_threads
from charrnn.errors import DataError, MissingExtraError
from charrnn.nn.dropout import DropoutKey
from charrnn.nn.network import CharRNN, State
from charrnn.nn.params import FlatParams
from charrnn.training.replicas import ReplicaSpec, available_cores, columns_of

T = TypeVar("T")

_LAUNCHERS = ("OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "MPI_LOCALNRANKS")
_NATS, _STOP, _SECONDS, _SECONDS_LOW, _EXTRAS = 0, 1, 2, 3, 4  # behind the gradient

_world: World | None = None


def launched() -> bool:
    """Whether this process was started by `mpirun` or one of its kind, with others."""
    names: tuple[str, ...] = _LAUNCHERS
    if "PMIX_RANK" in os.environ:  # srun --mpi=pmix; without it, a job's tasks know nothing of each other
        names = (*names, "SLURM_STEP_NUM_TASKS")
    return any(os.environ.get(name, "1") not in ("", "0", "1") for name in names)


def world() -> World:
    """All ranks; MPI is initialised by the first call.

    Raises:
        MissingExtraError: no mpi4py.
    """
    global _world
    if _world is None:
        _world = World()
    return _world


def abort(code: int) -> None:
    """End all ranks with this exit code, if there are any: they wait for a message that will not come."""
    if _world is not None and _world.size > 1:
        _world.comm.Abort(code)


class World:
    """The ranks.

    Attributes:
        comm: mpi4py's communicator.
        rank, size: which one this is, and of how many.
        local_size: ranks on this machine.
    """

    def __init__(self) -> None:
        try:
            from mpi4py import MPI
        except (ImportError, RuntimeError):  # RuntimeError: no MPI library
            raise MissingExtraError("mpi4py", "mpi", purpose="training over MPI") from None
        self.comm: Any = MPI.COMM_WORLD
        self.sum: Any = MPI.SUM
        self.rank, self.size = int(self.comm.Get_rank()), int(self.comm.Get_size())
        self.local_size = int(self.comm.Split_type(MPI.COMM_TYPE_SHARED).Get_size())

    def share(self, value: object) -> Any:
        """Rank 0's value, on every rank."""
        return self.comm.bcast(value, root=0)

    def check_same(self, value: str, what: str) -> None:
        """All ranks have the same.

        Raises:
            DataError: they do not.
        """
        if len(set(self.comm.allgather(value))) > 1:
            raise DataError(f"{what} is not the same on all ranks", hint="put the same files on every machine")


class MpiGroup:
    """The ranks as a group of replicas; see `ReplicaGroup`, whose place it takes.

    Args:
        plan: of the whole batch; its count and rank are not used.
        ranks: of the world.
        columns: B of the whole batch.
    """

    def __init__(self, plan: ReplicaSpec, ranks: World, columns: int) -> None:
        self._world, self.rank = ranks, ranks.rank
        self._stream = plan.stream()
        self._columns = columns_of(ranks.rank, ranks.size, columns)
        self._count = columns
        self.model = CharRNN(plan.vocab_size, **plan.network)
        size = self.model.params.size
        self._message = np.zeros(size + _EXTRAS, np.float32)
        self.model.grads = FlatParams(self.model.params.shapes, np.float32, buffer=self._message[:size])
        self._extras = self._message[size:]
        self.state: State = self.model.zero_state(columns)
        self._stopping, self._seconds = False, 0.0
        threads = max(1, available_cores() // ranks.local_size)
        self._threads = blas_threads(threads)

    def start(self) -> None:
        """Take this rank's share of the machine's processors."""
        self._threads.__enter__()

    def close(self) -> None:
        """Give it back."""
        self._threads.__exit__(None, None, None)

    def run(self, index: int, *, seed: int, step: int, offset: int, stopping: bool, seconds: float) -> float:
        """Train on window `index`: sum of nats over all columns; `model.grads` has the gradient of the mean.

        Args:
            index: of the window.
            seed: of the run.
            step: optimiser steps done.
            offset: see `WindowStream`.
            stopping: this rank was asked to stop.
            seconds: that this rank took for the step before.
        """
        window = self._stream.window(index, self._columns, offset=offset)
        nats = 0.0
        if window.inputs.shape[1]:
            nats = self.model.loss_and_grad(
                window.inputs,
                window.targets,
                [layer[:, :, self._columns] for layer in self.state],
                dropout_key=DropoutKey(seed, step, self._columns.start),
                resets=window.resets,
                scale=1.0 / (len(window.inputs) * self._count),
            )
        else:
            self._message[...] = 0.0
        self._extras[_NATS] = nats
        self._extras[_STOP] = stopping
        mine = seconds if self.rank == 0 else 0.0
        self._extras[_SECONDS] = mine
        self._extras[_SECONDS_LOW] = mine - float(np.float32(mine))
        self._world.comm.Allreduce(self._in_place(), self._message, op=self._world.sum)
        self._stopping = bool(self._extras[_STOP] > 0)
        self._seconds = float(self._extras[_SECONDS]) + float(self._extras[_SECONDS_LOW])
        return float(self._extras[_NATS])

    @staticmethod
    def _in_place() -> Any:
        from mpi4py import MPI

        return MPI.IN_PLACE

    def agreed(self, stopping: bool, seconds: float) -> tuple[bool, float]:
        """Whether to stop, and how long the step took: what came with the last gradient, the same on every rank."""
        return self._stopping, self._seconds

    def gather(self) -> None:
        """Bring all columns of the recurrent state to rank 0, and its parameters to all.

        On machines of one kind they are the same already. Others may round a norm or a cosine otherwise, which would
        add up in the course of a long run.
        """
        self._world.comm.Bcast(self.model.params.flat, root=0)
        mine = [np.ascontiguousarray(layer[:, :, self._columns]) for layer in self.state]
        found = self._world.comm.gather((self._columns.start, self._columns.stop, mine), root=0)
        for start, stop, layers in found or ():
            for whole, part in zip(self.state, layers, strict=True):
                whole[:, :, start:stop] = part

    def once(self, compute: Callable[[], T]) -> T:
        """What rank 0 computes, on every rank."""
        computed: T = self._world.share(compute() if self.rank == 0 else None)
        return computed
