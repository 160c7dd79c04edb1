"""Arguments that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from charrnn.cli import completion

Checkpoints = Annotated[
    list[Path] | None,
    typer.Argument(
        metavar="[CKPT...]",
        autocompletion=completion.runs,
        help="Checkpoint or run directory; default: the newest run. Give several to average their predictions.",
    ),
]
OneCheckpoint = Annotated[
    Path | None,
    typer.Argument(
        metavar="[CKPT]",
        autocompletion=completion.runs,
        help="Checkpoint or run directory; default: the newest run.",
    ),
]
RunDirectories = Annotated[
    list[Path], typer.Argument(metavar="RUN...", autocompletion=completion.runs, help="Run directories.")
]
CONFIG = typer.Option(
    "--config",
    "-c",
    metavar="FILE",
    autocompletion=completion.recipes,
    help="Settings file (YAML), or the name of built-in settings.",
)
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="A.B=V", autocompletion=completion.overrides, help="Override a setting; repeatable."),
]
