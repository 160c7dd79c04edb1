"""JSON: everything in one text file; numbers are written so that float32 comes back exactly."""

from __future__ import annotations

import json
from pathlib import Path

from charrnn.atomic import write_atomically
from charrnn.checkpoint import Checkpoint
from charrnn.export.common import metadata, plain_params


def write(checkpoint: Checkpoint, output: Path) -> list[Path]:
    """Write the file."""
    params = {name: values.tolist() for name, values in plain_params(checkpoint).items()}
    write_atomically(output, json.dumps({**metadata(checkpoint), "params": params}).encode())
    return [output]
