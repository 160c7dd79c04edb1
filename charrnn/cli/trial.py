"""The process of one trial, started only by `charrnn.sweep`.

It is `charrnn train` on its own processors. Its error goes into the trial's record, and it does not outlive the sweep:
when the sweep's process is gone, it saves and ends as on SIGTERM.
"""

from __future__ import annotations

import _thread
import contextlib
import json
import os
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path


def train_words(config: str, overrides: Sequence[str], run_dir: str) -> list[str]:
    """The arguments of `charrnn` that train a trial; overrides are ``section.name=value`` each."""
    settings = [word for item in overrides for word in ("--set", item)]
    return ["train", "--config", config, *settings, "--run-dir", run_dir]


def main() -> None:
    """Do the job in the specification."""
    spec = json.loads(sys.argv[1])
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, spec["cores"])
    threading.Thread(target=_watch, daemon=True).start()
    from charrnn.blas import choose_kernel

    choose_kernel()
    from charrnn.cli.app import attempt
    from charrnn.cli.streams import open_standard_streams
    from charrnn.sweep.directory import add_to_record
    from charrnn.sweep.plan import as_options

    open_standard_streams()
    job = spec["job"]
    words = train_words(job["config"], as_options(job["overrides"]), job["run_dir"])
    outcome = attempt([*words, "--resume" if job["resume"] else "--overwrite", "--progress", "plain"])
    if outcome.message:
        with contextlib.suppress(OSError):
            add_to_record(Path(job["run_dir"]), error=outcome.message)
    sys.exit(outcome.code)


def _watch() -> None:
    while os.read(0, 1):
        pass
    if callable(signal.getsignal(signal.SIGTERM)):
        _thread.interrupt_main(signal.SIGTERM)
    else:
        os._exit(128 + signal.SIGTERM)  # nothing has begun that would have to be saved
