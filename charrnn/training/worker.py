"""The process of one replica; `charrnn.training.replicas` alone starts it."""

from __future__ import annotations

import json
import os
import sys

from charrnn.blas import choose_kernel


def main() -> None:
    """Answer commands from standard input until it ends."""
    choose_kernel(threads=1)
    import numpy as np

    from charrnn.nn.cells import find_cell
    from charrnn.training.group import ReplicaSpec
    from charrnn.training.replicas import COMMAND, REPLY, SharedMemory

    spec = json.loads(sys.argv[1])
    handle = spec.pop("handle")
    plan = ReplicaSpec(**spec)
    find_cell(plan.network["cell"], plan.cell_module)
    stream = plan.stream()
    share = SharedMemory(plan, stream.columns, handle).share(plan, stream)
    np.seterr(over="ignore", invalid="ignore", divide="ignore")  # the parent finds it in the results
    while len(command := os.read(0, COMMAND.size)) == COMMAND.size:
        nats = share.run(*COMMAND.unpack(command))
        try:
            os.write(1, REPLY.pack(nats))
        except BrokenPipeError:  # the parent is gone
            return
