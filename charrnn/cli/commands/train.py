"""`charrnn train`."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from enum import Enum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from charrnn.cli.arguments import CONFIG, Overrides
from charrnn.cli.completion import runs
from charrnn.cli.text_options import Corpus, at_home, naming_corpus

if TYPE_CHECKING:
    from charrnn.config.schema import Config
    from charrnn.runs.directory import RunDirectory
    from charrnn.runs.events import RunFinished

EXAMPLE = "Example: charrnn train --config quickstart --set model.cell=gru --set training.max_minutes=2"


class ProgressKind(str, Enum):
    """How progress is shown."""

    auto = "auto"
    rich = "rich"
    tqdm = "tqdm"
    plain = "plain"
    none = "none"


def train(
    run: Annotated[
        Path | None,
        typer.Argument(
            metavar="[RUN]",
            callback=at_home,
            autocompletion=runs,
            help="With --resume: the run directory to continue, with its own settings.",
        ),
    ] = None,
    config: Annotated[Path | None, CONFIG] = None,
    overrides: Overrides = None,
    run_dir: Annotated[
        Path | None,
        typer.Option("--run-dir", callback=at_home, help="Directory for the run. Default: checkpoints/<config name>."),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue the run RUN, or the one in the run directory.")
    ] = False,
    corpus: Corpus = None,
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
    """Train a network on a text. Under mpirun, ranks share each batch (docs/scaling.md)."""
    from charrnn.cli.output import write_json
    from charrnn.runs.directory import RunDirectory
    from charrnn.training.session import leads

    if not leads():
        _follow()
        return
    settings, path = _chosen(run, config, overrides or [], run_dir, resume=resume, corpus=corpus or [])
    folder = RunDirectory(path)
    with naming_corpus(corpus):
        train_here(
            settings, folder, resume=resume, overwrite=overwrite, init_from=init_from, quiet=quiet,
            progress=progress.value, announce=write_json if as_json else lambda summary: None,
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
    from charrnn.cli.output import ReaderGoneError
    from charrnn.cli.signals import stop_signals
    from charrnn.cli.views.progress import byte_progress
    from charrnn.cli.views.training import train_view
    from charrnn.errors import StorageError
    from charrnn.runs.events import RunFinished
    from charrnn.training.progress import StopFlag
    from charrnn.training.session import train

    stop, finished = StopFlag(), None
    events = train(
        settings, folder, resume=resume, overwrite=overwrite, init_from=init_from, stop=stop,
        bar=partial(byte_progress, quiet=quiet),
    )  # fmt: skip
    with contextlib.closing(events):
        started = next(events)  # until then there is nothing to save, and Ctrl-C ends at once
        with stop_signals(stop) as caught, train_view("none" if quiet else progress) as show:
            show(started)
            for event in events:
                show(event)
                if isinstance(event, RunFinished):
                    finished = event
    if finished and finished.reason == "stopped":
        with contextlib.suppress(ReaderGoneError, StorageError):  # it was stopped, whoever may hear of it
            announce(finished.summary)
        raise _stopped(caught, finished, folder)
    if finished:
        announce(finished.summary)


def _settings(config: Path, overrides: list[str]) -> tuple[Config, str]:
    from charrnn.config.builtin import settings_path
    from charrnn.config.load import load_config

    path = settings_path(str(config))
    return load_config(path, overrides), path.stem


def _chosen(
    run: Path | None,
    config: Path | None,
    overrides: list[str],
    run_dir: Path | None,
    *,
    resume: bool,
    corpus: list[str],
) -> tuple[Config, Path]:  # fmt: skip
    """Settings and directory of the run selected by the arguments."""
    from charrnn.errors import SettingsError

    if run is not None and run_dir is not None:
        raise SettingsError(f"{run}: give the run's directory once, here or as --run-dir")
    if run is not None and not resume:
        raise SettingsError(
            f"{run}: a run can only be named to continue it", hint="add --resume, or use --config and --run-dir"
        )
    if corpus and not resume:
        raise SettingsError("--corpus is for the text of a resumed run", hint="set corpus.source for a new run")
    folder = run or run_dir
    if config is not None:
        settings, name = _settings(config, overrides)
        folder = folder or Path("checkpoints") / name
    elif resume and folder is not None:
        settings = _saved_settings(folder, overrides)
    else:
        raise SettingsError("no settings given", hint="give --config FILE, or --resume RUN to continue a run")
    return _with_corpus(settings, corpus), folder


def _saved_settings(folder: Path, overrides: list[str]) -> Config:
    """The settings that a run was last saved with, with the overrides applied."""
    from charrnn.config.load import dump_config, parse_config
    from charrnn.errors import SettingsError
    from charrnn.runs.checkpoint import load_checkpoint
    from charrnn.runs.directory import RunDirectory

    last = RunDirectory(folder).last
    if not last.is_file():
        raise SettingsError(f"{folder}: no run to resume (no last.npz)", hint="start it with --config")
    return parse_config(dump_config(load_checkpoint(last).config), where=str(last), overrides=overrides)


def _with_corpus(settings: Config, corpus: list[str]) -> Config:
    if not corpus:
        return settings
    import msgspec

    from charrnn.runs.text import moved

    return msgspec.structs.replace(settings, corpus=moved(settings.corpus, corpus))


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

    return stopped_by(
        caught,
        f"stopped after step {finished.summary['steps']}; saved in {folder.last}",
        hint=f"continue with the same command and --resume (run directory {folder.path})",
    )
