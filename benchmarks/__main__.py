"""`python -m benchmarks [SUITE...]`: measure, print tables, write a JSON file."""

from __future__ import annotations

import argparse
import json
import platform
import signal
import sys
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks import (
    against_torch,
    control,
    encoding,
    evaluation,
    learning,
    live,
    memory,
    mixture,
    mpi,
    startup,
    sweeps,
)
from benchmarks.against_torch import CORES

CELLS = ("lstm", "gru", "rnn")

SUITES = {
    "training": against_torch.training,
    "sampling": against_torch.sampling,
    "textbook": against_torch.textbook,
    "turns": against_torch.turns,
    "control": control.measure,
    "startup": startup.measure,
    "encoding": encoding.measure,
    "live": live.measure,
    "sweeps": sweeps.measure,
    "mpi": mpi.measure,
    "memory": memory.measure,
    "learning": learning.measure,
    "evaluation": evaluation.measure,
    "mixture": mixture.measure,
}


def main() -> None:
    """Parse the command line and run the suites."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("suites", nargs="*", help=f"any of {', '.join(SUITES)}; default: all")
    parser.add_argument("--repeats", type=int, default=7, help="number of turns per contestant; the median is shown")
    parser.add_argument("--turn", type=float, default=0.4, help="seconds per turn")
    parser.add_argument("--quick", action="store_true", help="three turns of 0.2 seconds")
    parser.add_argument(
        "--sizes", nargs="+", metavar="LxH", help="for training and sampling, instead of the usual ones"
    )
    parser.add_argument("--cells", nargs="+", choices=CELLS, default=list(CELLS))
    parser.add_argument("--text", default="tiny-shakespeare", help="corpus or file for some suites, such as learning")
    parser.add_argument("--output", type=Path, default=Path("benchmarks.json"), help="JSON file with every figure")
    args = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))  # so that stopped processes end too
    if args.quick:
        args.repeats, args.turn = 3, 0.2
    if unknown := set(args.suites) - set(SUITES):
        parser.error(f"no suite {', '.join(sorted(unknown))}")
    console = Console(width=None if sys.stdout.isatty() else 120)
    results: dict[str, Any] = {"machine": f"{platform.machine()}, {CORES} cores", "python": platform.python_version()}
    for name in args.suites or SUITES:
        tables, results[name] = SUITES[name](args)
        for table in tables:
            console.print(table)
        args.output.write_text(json.dumps(results, indent=1) + "\n")  # what is measured stays, whatever comes next


if __name__ == "__main__":
    main()
