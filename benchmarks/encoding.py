"""Encode a text of 1 GB: speed and peak memory, in a separate process."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from rich.table import Table

SIZE = 10**9


def write_text(path: Path) -> None:
    """A gigabyte of words with a few accents and symbols from outside Latin."""
    import numpy as np

    rng = np.random.default_rng(0)
    words = ["the", "recurrent", "network", "naïve", "größe", "learns", "to", "write,", "слово", "and", "文", "\n"]
    piece = " ".join(np.array(words)[rng.integers(0, len(words), 200_000)]).encode()
    with path.open("wb") as file:
        for _ in range(SIZE // len(piece)):
            file.write(piece)


def child(text: str, cache: str) -> None:
    """Encode and report the cost."""
    import resource

    from charrnn.data.encode import encode_text

    started = time.perf_counter()
    encoded = encode_text([Path(text)], "utf-8", Path(cache))
    seconds = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        json.dumps({"seconds": seconds, "bytes": encoded.size_bytes, "characters": len(encoded.ids), "peak_mb": peak})
    )


def measure(args: argparse.Namespace) -> tuple[list[Table], dict[str, Any]]:
    """One run: the text is large enough to need no repeats."""
    with tempfile.TemporaryDirectory() as folder:
        text = Path(folder) / "text"
        write_text(text)
        command = [sys.executable, "-m", "benchmarks.encoding", str(text), folder]
        result = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    table = Table("text", "seconds", "MB/s", "peak MB", title="Encoding")
    speed = result["bytes"] / result["seconds"] / 1e6
    table.add_row(
        f"{result['bytes'] / 1e9:.2f} GB", f"{result['seconds']:.1f}", f"{speed:.0f}", f"{result['peak_mb']:.0f}"
    )
    return [table], result


if __name__ == "__main__":
    child(*sys.argv[1:])
