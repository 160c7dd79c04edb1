"""Child processes: Python in this interpreter's environment, with nothing imported from the working directory."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

from charrnn.blas import THREADS

# `python -m` puts the working directory before everything else; a random.py there would be taken for Python's own.
# With -c it is there too, but nothing is imported before it is replaced: `sys` is built in.
_START = "import sys; sys.path[:] = sys.argv.pop(1).split({!r}); from {} import main; main()"
_BETWEEN = "\n"


def child_command(module: str, *arguments: str) -> list[str]:
    """The command line of a process that calls `module.main()`, with this process's module search path.

    Args:
        module: dotted name.
        arguments: its `sys.argv[1:]`.
    """
    return [sys.executable, "-c", _START.format(_BETWEEN, module), _BETWEEN.join(search_path()), *arguments]


def search_path() -> list[str]:
    """Where this process finds its modules, without the working directory but with this package's own."""
    own = str(Path(__file__).resolve().parents[2])
    installed = sysconfig.get_paths()  # may be where the user is
    known = {own, *(installed[name] for name in ("stdlib", "platstdlib", "purelib", "platlib"))}
    try:
        here = Path.cwd()
    except OSError:  # removed meanwhile
        here = Path()
    kept = [e for e in sys.path if e in known or (e and Path(e).is_absolute() and Path(e) != here)]
    return kept if own in kept else [*kept, own]


def child_environment(threads: int) -> dict[str, str]:
    """This process's environment with `threads` for BLAS; nothing is imported from the working directory either."""
    found = {**os.environ, **dict.fromkeys(THREADS, str(threads)), "OMP_NUM_THREADS": "1", "PYTHONSAFEPATH": "1"}
    if "PYTHONPATH" in found:  # an empty part of it means the working directory
        parts = [p for p in found["PYTHONPATH"].split(os.pathsep) if p and Path(p).is_absolute()]
        found["PYTHONPATH"] = os.pathsep.join(parts)
    return found


def detached(*handles: int | str) -> dict[str, Any]:
    """Options of `Popen` for a process that Ctrl-C in the terminal does not reach: that is this process's to handle.

    Args:
        handles: of memory that it gets too; names need not be passed on.
    """
    if (flag := getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", None)) is not None:  # Windows
        return {"creationflags": flag}
    return {"start_new_session": True, "pass_fds": [handle for handle in handles if isinstance(handle, int)]}
