"""One HTML file that samples in a browser: the weights inside, a small forward pass in plain JavaScript, no network."""

from __future__ import annotations

import base64
import html
import json
from pathlib import Path

import numpy as np

from charrnn.files import write_atomically
from charrnn.formats.common import metadata, plain_params
from charrnn.runs.checkpoint import Checkpoint


def write(checkpoint: Checkpoint, output: Path) -> list[Path]:
    """Write the file."""
    params, m, meta = plain_params(checkpoint), checkpoint.config.model, metadata(checkpoint)
    facts = {
        "cell": m.cell,
        "hidden": m.hidden_size,
        "layers": m.num_layers,
        "symbols": meta["vocabulary"]["symbols"],
        "encoding": meta["vocabulary"]["encoding"],
        "source": Path(checkpoint.config.corpus.sources[0]).name,  # no folders of ours on a page for others
        "shapes": {name: list(values.shape) for name, values in params.items()},
    }
    flat = np.concatenate([values.ravel() for values in params.values()]).astype("<f4")
    page = Path(__file__).with_name("page.html").read_text(encoding="utf-8")
    title = f"{facts['source']}: {m.cell.upper()}, {m.num_layers} x {m.hidden_size}"
    # `<` never stands in the data, so that no text in it can end the script.
    page = page.replace("__TITLE__", html.escape(title))
    page = page.replace("__FACTS__", json.dumps(facts).replace("<", "\\u003c"))
    page = page.replace("__WEIGHTS__", base64.b64encode(flat.tobytes()).decode())
    write_atomically(output, page.encode())
    return [output]
