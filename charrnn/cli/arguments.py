"""Arguments that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Checkpoints = Annotated[
    list[Path] | None,
    typer.Argument(
        metavar="[CKPT...]",
        help="Checkpoint or run directory; default: the newest run. Give several to average their predictions.",
    ),
]
