"""Arguments that several commands share."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from charrnn.cli import completion
from charrnn.cli.output import tell

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
OneRun = Annotated[
    Path | None,
    typer.Argument(metavar="[RUN]", autocompletion=completion.runs, help="Run directory; default: the newest run."),
]
RunDirectories = Annotated[
    list[Path] | None,
    typer.Argument(
        metavar="[RUN...]", autocompletion=completion.runs, help="Run directories; default: the newest run."
    ),
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


def chosen_run(run: Path | None) -> Path:
    """The run directory that is meant; see `chosen`."""
    return chosen_runs(None if run is None else [run])[0]


def chosen_runs(runs: Sequence[Path] | None) -> list[Path]:
    """The run directories that are meant; see `chosen`."""
    return list(runs or ()) or [path.parent for path in chosen(None)]


def chosen(checkpoints: Sequence[Path | None] | None, *, quiet: bool = False) -> list[Path]:
    """The checkpoint files that are meant; for none the newest run's, which is then named on standard error."""
    from charrnn.runs.checkpoint import find_checkpoint

    given = [path for path in checkpoints or () if path is not None]
    if given:
        return [find_checkpoint(path) for path in given]
    found = find_checkpoint(None)
    if not quiet:
        tell(f"newest run: {found}")
    return [found]
