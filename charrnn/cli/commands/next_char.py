"""`charrnn next`."""

from __future__ import annotations

import math
from typing import Annotated

import typer

from charrnn.cli.arguments import Checkpoints, chosen

EXAMPLE = 'Example: charrnn next checkpoints/quickstart --prompt "The " --top 5'


def next_char(
    checkpoints: Checkpoints = None,
    prompt: Annotated[
        str, typer.Option("--prompt", "--prime", help="Text before the character. Default: the beginning of a text.")
    ] = "",
    top: Annotated[int, typer.Option(min=1, help="Number of characters to show.")] = 10,
    as_json: Annotated[bool, typer.Option("--json", help="Write one JSON object.")] = False,
) -> None:
    """Show the most likely next characters and their probabilities."""
    from charrnn.api import load
    from charrnn.cli.output import write_json
    from charrnn.cli.views.table import print_table

    found = load(*chosen(checkpoints)).next(prompt, top=top)
    if as_json:
        write_json({"prompt": prompt, "next": [c._asdict() for c in found]})
        return
    rows = [(repr(c.text), f"{c.probability:.4f}", f"{-math.log2(max(c.probability, 1e-300)):.2f}") for c in found]
    print_table(
        f"after {prompt!r}" if prompt else "at the beginning of a text", ("character", "probability", "bits"), rows
    )
