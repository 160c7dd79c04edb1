"""Who computes the gradient of a batch: this process alone, several on its machine, or ranks on many.

The trainer works with any group, whatever its members. `charrnn.training.replicas` and `charrnn.training.mpi` have the
other two kinds.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeVar

import numpy as np

from charrnn.blas import available_cores, blas_threads
from charrnn.config.schema import Config
from charrnn.data.encode import EncodedText
from charrnn.data.windows import WindowStream
from charrnn.errors import SettingsError
from charrnn.nn.cells import CELLS
from charrnn.nn.dropout import DropoutKey, reset_states
from charrnn.nn.network import CharRNN, State
from charrnn.nn.params import FlatParams, IdArray

T = TypeVar("T")

_LEAST_COLUMNS = 8  # a replica with fewer spends its time on calls, not on products


@dataclass(frozen=True)
class ReplicaSpec:
    """What a member has to know; plain values, so that it can be sent to another process.

    Attributes:
        vocab_size: V.
        sizes: what decides the parameters' shapes.
        network: the network as `CharRNN` takes it, sizes and dropout.
        cell_module: where the cell's class is; imported where it is not known.
        ids_path, ids_dtype, train_size: the encoded text and how much of it is trained on.
        separator: ids that end a document.
        offsets: windows begin elsewhere in each epoch.
        batch_size, seq_length: of the whole batch.
        state_reset: probability that a column begins a window from zero.
        count, rank: number of replicas and which one this is.
        dtype: of parameters, gradients and states; float64 to check a run against its formulas.
        kernels: "numpy", whose replicas are processes, or "compiled", whose replicas are threads.
    """

    vocab_size: int
    sizes: dict[str, Any]
    network: dict[str, Any]
    cell_module: str
    ids_path: str
    ids_dtype: str
    train_size: int
    separator: list[int] | None
    offsets: bool
    batch_size: int
    seq_length: int
    state_reset: float
    count: int
    rank: int = 0
    dtype: str = "float32"
    kernels: str = "numpy"

    def stream(self) -> WindowStream:
        """The windows of the whole batch."""
        ids: IdArray = np.memmap(self.ids_path, np.dtype(self.ids_dtype), mode="r")[: self.train_size]
        separator = None if self.separator is None else np.array(self.separator, ids.dtype)
        return WindowStream(ids, self.batch_size, self.seq_length, separator=separator, offsets=self.offsets)


def replica_spec(
    config: Config, text: EncodedText, train_size: int, separator: IdArray | None, count: int, kernels: str = "numpy"
) -> ReplicaSpec:
    """The plan of a run: its network, its text, its batches, and how many replicas share them."""
    m, t = config.model, config.training
    return ReplicaSpec(
        vocab_size=len(text.vocabulary),
        sizes=m.sizes(),
        network=m.network(),
        cell_module=CELLS[m.cell].__module__,
        ids_path=str(text.path),
        ids_dtype=text.ids.dtype.str,
        train_size=train_size,
        separator=None if separator is None else separator.tolist(),
        offsets=t.random_offsets,
        batch_size=t.batch_size,
        seq_length=t.seq_length,
        state_reset=t.state_reset,
        count=count,
        kernels=kernels,
    )


class Group(Protocol):
    """The processes that train one model together; all take the same steps.

    Attributes:
        model: this process's; after `run`, its `grads` hold the gradient of the whole batch.
        state: one (S, H, B) array per layer, of all columns.
        count: processes whose gradients are summed in a fixed order; saved with the run, because the sum's bits
            depend on it.
        leads: whether this process validates, writes files and prints; exactly one does.
    """

    model: CharRNN
    state: State
    count: int
    leads: bool

    def start(self) -> None:
        """Get ready."""

    def close(self) -> None:
        """Free what `start` took."""

    def run(self, index: int, *, seed: int, step: int, offset: int, stopping: bool, seconds: float) -> float:
        """Compute the gradient of window `index`; returns the sum of nats over all columns.

        Args:
            index: of the window.
            seed: of the run.
            step: optimiser steps done.
            offset: see `WindowStream`.
            stopping: this process was asked to stop.
            seconds: this process took for the step before.

        Raises:
            CharRNNError: a member died.
        """

    def agreed(self, stopping: bool, seconds: float) -> tuple[bool, float]:
        """Whether to stop, and how long the step took: the same for all members."""

    def gather(self) -> None:
        """Bring all columns of the state to the process that leads."""

    def once(self, compute: Callable[[], T]) -> T:
        """Compute something in the leading process for all; it may use the others' processors meanwhile."""


GroupMaker = Callable[[ReplicaSpec, WindowStream], Group]


class Share:
    """One process's columns of every window.

    Args:
        plan: with the number of processes and which one this is.
        stream: the windows of the whole batch.
        state: of all columns; this process writes into its own.
        params: where parameters are; None for memory of its own.
        grads: likewise gradients.
        threads: that compiled kernels share the columns out over.
    """

    def __init__(
        self,
        plan: ReplicaSpec,
        stream: WindowStream,
        state: State | None = None,
        *,
        params: FlatParams | None = None,
        grads: FlatParams | None = None,
        threads: int = 1,
    ) -> None:
        self.columns = columns_of(plan.rank, plan.count, stream.columns)
        self.stream, self._state_reset = stream, plan.state_reset
        self.model = CharRNN(plan.vocab_size, **plan.network, dtype=plan.dtype, params=params)
        if plan.kernels == "compiled":
            self.model.use_compiled(threads=threads)
        if grads is not None:
            self.model.grads = grads
        self.state = self.model.zero_state(stream.columns) if state is None else state
        self._own = [layer[:, :, self.columns] for layer in self.state]

    def run(self, index: int, offset: int, seed: int, step: int) -> float:
        """Put the gradient of these columns of window `index` into `model.grads`; returns their sum of nats."""
        window = self.stream.window(index, self.columns, offset=offset)
        if not window.inputs.shape[1]:
            self.model.grads.flat[...] = 0.0
            return 0.0
        key = DropoutKey(seed, step, self.columns.start)
        reset_states(self._own, self._state_reset, key)
        return self.model.loss_and_grad(
            window.inputs,
            window.targets,
            self._own,
            dropout_key=key,
            resets=window.resets,
            scale=1.0 / (len(window.inputs) * self.stream.columns),
        )


class LocalGroup:
    """This process alone: one replica, or as many threads as replicas where kernels are compiled.

    Args:
        plan: of the run.
        stream: the windows of the batch.
    """

    leads = True

    def __init__(self, plan: ReplicaSpec, stream: WindowStream) -> None:
        self.count = plan.count
        self._share = Share(replace(plan, count=1), stream, threads=plan.count)
        self.model, self.state = self._share.model, self._share.state
        self._limits = contextlib.ExitStack()

    def start(self) -> None:
        """See `Group`."""
        if self.model.engine is not None:  # BLAS's own threads spin after a product, in the others' way
            self._limits.enter_context(blas_threads(1))

    def close(self) -> None:
        """See `Group`."""
        self._limits.close()

    def run(self, index: int, *, seed: int, step: int, offset: int, stopping: bool, seconds: float) -> float:
        """See `Group`."""
        return self._share.run(index, offset, seed, step)

    def agreed(self, stopping: bool, seconds: float) -> tuple[bool, float]:
        """See `Group`."""
        return stopping, seconds

    def gather(self) -> None:
        """See `Group`."""

    def once(self, compute: Callable[[], T]) -> T:
        """See `Group`."""
        if self.model.engine is None:
            return compute()
        with blas_threads(available_cores()):
            return compute()


def group_of(plan: ReplicaSpec, stream: WindowStream) -> Group:
    """The group on this machine that a plan asks for.

    Raises:
        SettingsError: other processes cannot load the cell.
    """
    if plan.count == 1 or plan.kernels == "compiled":
        return LocalGroup(plan, stream)
    if plan.cell_module == "__main__":
        raise SettingsError(
            f"the cell {plan.network['cell']!r} is defined in the program itself, where replicas cannot find it",
            hint="put it into a module of its own, or set training.replicas to 1",
        )
    from charrnn.training.replicas import ReplicaGroup

    return ReplicaGroup(plan, stream)


def choose_replicas(wanted: int | str, columns: int, *, cores: int | None = None) -> int:
    """How many replicas to run: as many as wanted, or one per core, but none with too few columns to be worth it.

    Args:
        wanted: a number, or "auto".
        columns: B.
        cores: there are; None counts them.
    """
    if isinstance(wanted, int):
        return min(wanted, columns)
    return max(1, min(cores or available_cores(), columns // _LEAST_COLUMNS))


def columns_of(rank: int, count: int, columns: int) -> slice:
    """The columns of a replica; shares differ by one at most."""
    return slice(rank * columns // count, (rank + 1) * columns // count)
