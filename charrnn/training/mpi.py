"""One model on many processes or machines: data-parallel training over MPI (extra `[mpi]`).

Each rank computes the gradient of its columns of the batch; one allreduce per step adds them up, and every rank takes
the same optimiser step, so parameters are never sent. What all ranks must agree on follows the gradient in the same
message: the loss, whether any rank was asked to stop, and rank 0's clock. Only rank 0 writes.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np

from charrnn.blas import available_cores, blas_threads
from charrnn.data.windows import WindowStream
from charrnn.errors import DataError, MissingExtraError
from charrnn.nn.network import CharRNN
from charrnn.nn.params import FlatParams
from charrnn.training.group import ReplicaSpec, Share

T = TypeVar("T")

_LAUNCHERS = ("OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "MPI_LOCALNRANKS")
_NATS, _STOP, _SECONDS, _SECONDS_LOW, _EXTRAS = 0, 1, 2, 3, 4  # behind the gradient

_PATIENCE = {True: 1.0, False: 10.0}  # seconds; rank 0 has an error to show, for which the others wait

_world: World | None = None


def launched() -> bool:
    """Whether this process was started by `mpirun` or a similar launcher, together with others."""
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


def end(code: int) -> None:
    """Let all ranks end after an error with this exit code, if there are any.

    Where all have met the same error, each ends by itself. Others wait for a message that will not come, and are
    aborted. That may lose what was printed last, so it is put off for a moment.
    """
    if _world is None or _world.size == 1:
        return
    all_here = _world.comm.Ibarrier()
    late = time.monotonic() + _PATIENCE[_world.rank == 0]
    while not all_here.Test():
        if time.monotonic() > late:
            _world.comm.Abort(code)
        time.sleep(0.01)


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
    """The ranks as a group; see `Group`.

    Args:
        plan: of the whole batch; how many replicas it asks for is not used.
        stream: the windows of the whole batch.
        ranks: of the world.
    """

    count = 1  # another number of ranks may go on with a run: their sum's order is MPI's own, saved or not

    def __init__(self, plan: ReplicaSpec, stream: WindowStream, *, ranks: World) -> None:
        self._world, self.leads = ranks, ranks.rank == 0
        shapes = CharRNN.param_shapes(plan.vocab_size, **plan.sizes)
        size = FlatParams(shapes, np.float32).size
        self._message = np.zeros(size + _EXTRAS, np.float32)
        self._extras = self._message[size:]
        grads = FlatParams(shapes, np.float32, buffer=self._message[:size])
        self._threads_each = max(1, available_cores() // ranks.local_size)
        mine = replace(plan, count=ranks.size, rank=ranks.rank)
        self._share = Share(mine, stream, grads=grads, threads=self._threads_each)
        self.model, self.state = self._share.model, self._share.state
        self._stopping, self._seconds = False, 0.0
        self._threads = contextlib.ExitStack()

    def start(self) -> None:
        """Take this rank's share of the machine's processors."""
        threads = self._threads_each if self.model.engine is None else 1  # beside those of compiled kernels
        self._threads.enter_context(blas_threads(threads))

    def close(self) -> None:
        """Give it back."""
        self._threads.close()

    def run(self, index: int, *, seed: int, step: int, offset: int, stopping: bool, seconds: float) -> float:
        """See `Group`."""
        nats = self._share.run(index, offset, seed, step)
        self._extras[_NATS] = nats
        self._extras[_STOP] = stopping
        mine = seconds if self.leads else 0.0
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
        """See `Group`: what came with the last gradient."""
        return self._stopping, self._seconds

    def gather(self) -> None:
        """See `Group`; and bring rank 0's parameters to all.

        On machines of one kind they are the same already. Others may round a norm or a cosine differently, which would
        add up in the course of a long run.
        """
        self._world.comm.Bcast(self.model.params.flat, root=0)
        columns = self._share.columns
        mine = [np.ascontiguousarray(layer[:, :, columns]) for layer in self.state]
        found = self._world.comm.gather((columns.start, columns.stop, mine), root=0)
        for start, stop, layers in found or ():
            for whole, part in zip(self.state, layers, strict=True):
                whole[:, :, start:stop] = part

    def once(self, compute: Callable[[], T]) -> T:
        """See `Group`."""
        computed: T = self._world.share(compute() if self.leads else None)
        return computed
