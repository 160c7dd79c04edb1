"""JSON: everything in one text file; numbers are written so that float32 comes back exactly."""

from __future__ import annotations

import json
from pathlib import Path

from charrnn.files import write_output
from charrnn.formats.common import metadata, plain_params
from charrnn.runs.checkpoint import Checkpoint


def write(checkpoint: Checkpoint, output: Path) -> list[Path]:
    """Write the file."""
    params = {name: values.tolist() for name, values in plain_params(checkpoint).items()}
    write_output(output, json.dumps({**metadata(checkpoint), "params": params}).encode())
    return [output]
