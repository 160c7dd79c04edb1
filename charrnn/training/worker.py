"""The process of one replica, `python -m charrnn.training.worker SPEC`; `charrnn.training.replicas` alone starts it."""

from __future__ import annotations

import json
import os
import sys

from charrnn.blas import choose_kernel


def main() -> None:
    """Answer commands from standard input until it ends."""
    choose_kernel(threads=1)
    import numpy as np

    from charrnn.training.replicas import COMMAND, REPLY, Replica, ReplicaSpec, SharedMemory

    spec = json.loads(sys.argv[1])
    handle = spec.pop("handle")
    plan = ReplicaSpec(**spec)
    stream = plan.stream()
    replica = Replica(plan, SharedMemory(plan, stream.columns, handle), stream)
    np.seterr(over="ignore", invalid="ignore", divide="ignore")  # the parent finds it in the results
    while len(command := os.read(0, COMMAND.size)) == COMMAND.size:
        nats = replica.run(*COMMAND.unpack(command))
        try:
            os.write(1, REPLY.pack(nats))
        except BrokenPipeError:  # the parent is gone
            return


if __name__ == "__main__":
    main()
