"""`charrnn train`."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from contextlib import closing
from enum import Enum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from charrnn.config.schema import Config
    from charrnn.runs.directory import RunDirectory
    from charrnn.runs.events import RunFinished

EXAMPLE = "Example: charrnn train --config configs/quickstart.yaml --set model.cell=gru --set training.max_minutes=2"


class ProgressKind(str, Enum):
    """How progress is shown."""

    auto = "auto"
    rich = "rich"
    tqdm = "tqdm"
    plain = "plain"
    none = "none"


def train(
    config: Annotated[
        Path, typer.Option("--config", "-c", help="Settings file (YAML), or the name of a built-in one.")
    ],
    overrides: Annotated[
        list[str] | None, typer.Option("--set", metavar="A.B=V", help="Override a setting; repeatable.")
    ] = None,
    run_dir: Annotated[
        Path | None, typer.Option("--run-dir", help="Directory for the run. Default: checkpoints/<config name>.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue the run in the run directory.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the run in the run directory.")] = False,
    init_from: Annotated[
        Path | None,
        typer.Option("--init-from", metavar="CKPT", help="Start a new run from these weights; new symbols are added."),
    ] = None,
    progress: Annotated[
        ProgressKind,
        typer.Option("--progress", help="Progress display; auto is rich on a terminal, plain lines elsewhere."),
    ] = ProgressKind.auto,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show nothing but errors.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Write a JSON summary to standard output at the end.")
    ] = False,
) -> None:
    """Train a network on a text as set in a settings file. Under mpirun, ranks share each batch (docs/scaling.md)."""
    from charrnn.cli.output import write_json
    from charrnn.runs.directory import RunDirectory
    from charrnn.training.session import leads

    if not leads():
        _follow()
        return
    settings, name = _settings(config, overrides or [])
    folder = RunDirectory(run_dir or Path("checkpoints") / name)
    train_here(
        settings, folder, resume=resume, overwrite=overwrite, init_from=init_from, quiet=quiet, progress=progress.value,
        announce=write_json if as_json else lambda summary: None,
    )  # fmt: skip


def train_here(
    settings: Config,
    folder: RunDirectory,
    *,
    resume: bool,
    overwrite: bool,
    init_from: Path | None = None,
    quiet: bool,
    progress: str,
    announce: Callable[[dict[str, Any]], None] = lambda summary: None,
) -> None:
    """Train in this process, shown as `progress` says; see `charrnn.training.session.train` for the rest.

    Args:
        settings: of the run.
        folder: its directory.
        resume: continue the run in it.
        overwrite: replace the run in it.
        init_from: checkpoint whose weights a new run starts with.
        quiet: show nothing.
        progress: one of `ProgressKind`.
        announce: called with the summary.

    Raises:
        CharRNNError: as the session does; InterruptedRun and its like after a signal.
    """
    from charrnn.cli.signals import stop_signals
    from charrnn.cli.views.training import byte_progress, train_view
    from charrnn.runs.events import RunFinished
    from charrnn.training.progress import StopFlag
    from charrnn.training.session import train

    stop, finished = StopFlag(), None
    events = train(
        settings, folder, resume=resume, overwrite=overwrite, init_from=init_from, stop=stop,
        bar=partial(byte_progress, quiet=quiet),
    )  # fmt: skip
    with closing(events):
        started = next(events)  # until then there is nothing to save, so Ctrl-C stops at once
        with stop_signals(stop) as caught, train_view("none" if quiet else progress) as show:
            show(started)
            for event in events:
                show(event)
                if isinstance(event, RunFinished):
                    finished = event
    if finished:
        announce(finished.summary)
        if finished.reason == "stopped":
            raise _stopped(caught, finished, folder)


def _settings(config: Path, overrides: list[str]) -> tuple[Config, str]:
    from charrnn.config.builtin import settings_path
    from charrnn.config.load import load_config

    path = settings_path(str(config))
    return load_config(path, overrides), path.stem


def _follow() -> None:
    """Train along with the leading process, the only one that writes files and prints."""
    from charrnn.cli.signals import stop_signals
    from charrnn.errors import DivergenceError
    from charrnn.runs.events import RunFinished
    from charrnn.training.progress import StopFlag
    from charrnn.training.session import follow

    stop = StopFlag()
    try:
        with stop_signals(stop):
            for event in follow(stop=stop):
                if isinstance(event, RunFinished) and event.reason == "stopped":
                    raise typer.Exit(143)
    except DivergenceError as error:  # the leader has it too, reports it and ends all ranks: let it print first
        time.sleep(10)
        raise typer.Exit(error.exit_code) from None


def _stopped(caught: list[int], finished: RunFinished, folder: RunDirectory) -> Exception:
    from charrnn.cli.signals import stopped_by

    sys.stdout.flush()
    return stopped_by(
        caught,
        f"stopped after step {finished.summary['steps']}; saved in {folder.last}",
        hint=f"continue with the same command and --resume (run directory {folder.path})",
    )
