"""safetensors (extra `[safetensors]`): arrays by our names, settings and vocabulary as JSON in the metadata."""

from __future__ import annotations

import json
from pathlib import Path

from charrnn.errors import MissingExtraError
from charrnn.files import write_output
from charrnn.formats.common import metadata, plain_params
from charrnn.runs.checkpoint import Checkpoint


def write(checkpoint: Checkpoint, output: Path) -> list[Path]:
    """Write the file.

    Raises:
        MissingExtraError: no safetensors.
    """
    try:
        from safetensors.numpy import save
    except ImportError:
        raise MissingExtraError("safetensors", "safetensors", purpose="this export") from None
    write_output(output, save(plain_params(checkpoint), {"charrnn": json.dumps(metadata(checkpoint))}))
    return [output]
