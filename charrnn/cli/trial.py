"""The process of one trial, `python -m charrnn.cli.trial SPEC`; `charrnn.sweep` alone starts it.

It is `charrnn train` on its own processors, and it does not outlive the sweep: when the sweep's process is gone, it
saves and ends as on SIGTERM.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time

_LOOK_SECONDS = 0.5


def main() -> None:
    """Run the command line in the specification."""
    spec = json.loads(sys.argv[1])
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, spec["cores"])
    threading.Thread(target=_watch, args=(spec["parent"],), daemon=True).start()
    from charrnn.blas import choose_kernel

    choose_kernel()
    from charrnn.cli.app import run

    sys.exit(run(spec["words"]))


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_LOOK_SECONDS)
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    main()
