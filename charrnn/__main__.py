"""The program: `charrnn` and `python -m charrnn`."""

import os
import sys


def _working_directory() -> str:
    try:
        return os.getcwd()
    except OSError:  # removed meanwhile
        return ""


# Python puts it first; what lies there, a random.py say, is not taken for Python's own.
if sys.path and not getattr(sys.flags, "safe_path", False) and sys.path[0] in ("", _working_directory()):
    del sys.path[0]


def main() -> None:
    """Run the command line; Ctrl-C while it is still being loaded is answered like any other."""
    try:
        from charrnn.cli.app import main as run

        run()
    except KeyboardInterrupt:
        sys.stderr.write("charrnn: interrupted\n")
        sys.exit(130)


if __name__ == "__main__":
    main()
