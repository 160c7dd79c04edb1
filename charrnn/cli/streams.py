"""Standard output and error of a real process, whatever has become of them.

Standard error is for people: where it is closed, full or gone, nobody reads it, and no work ends for that. Standard
output is data: what cannot be written there is an error.
"""

from __future__ import annotations

import contextlib
import os
import sys
from typing import Any, TextIO, cast


class LenientStream:
    """A text stream that becomes the null device once it can no longer be written.

    Args:
        stream: what is written to until then.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write, if anybody is there to read."""
        try:
            return self._stream.write(text)
        except (OSError, ValueError):  # ValueError: closed
            self._mute()
            return len(text)

    def flush(self) -> None:
        """Likewise."""
        try:
            self._stream.flush()
        except (OSError, ValueError):
            self._mute()

    def _mute(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            mute(self._stream)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def mute(stream: TextIO) -> None:
    """Let what a stream's file gets from now on, its own buffer included, go nowhere.

    Raises:
        OSError, ValueError: it has no file.
    """
    null = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(null, stream.fileno())
    finally:
        os.close(null)


def open_standard_streams() -> None:
    """Make standard input, output and error usable for the rest of this process."""
    # A closed one would be given to the next file that is opened: a checkpoint, say, with messages written into it.
    # Output is opened for reading, so that writing to it still fails.
    for number, flags in ((0, os.O_RDONLY), (1, os.O_RDONLY), (2, os.O_WRONLY)):
        try:
            os.fstat(number)
        except OSError:
            os.dup2(handle := os.open(os.devnull, flags), number)
            if handle != number:
                os.close(handle)
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(number, "w" if number else "r", encoding="utf-8", closefd=False))
    sys.stderr = cast(TextIO, LenientStream(sys.stderr))


def settle() -> bool:
    """Flush standard output before the process ends; returns whether all of it was written."""
    try:
        sys.stdout.flush()
    except (OSError, ValueError):
        with contextlib.suppress(OSError, ValueError):
            mute(sys.stdout)  # or Python tries again, complains, and ends with a code of its own
        return False
    return True
