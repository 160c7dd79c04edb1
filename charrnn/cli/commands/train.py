"""`charrnn train`."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from charrnn.config.schema import Config
    from charrnn.data.encode import EncodedText
    from charrnn.data.vocabulary import Vocabulary
    from charrnn.runs.checkpoint import Checkpoint
    from charrnn.runs.directory import RunDirectory
    from charrnn.runs.events import Event
    from charrnn.training.mpi import World
    from charrnn.training.trainer import Trainer

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
        Path | None, typer.Option("--run-dir", help="Where to write; default checkpoints/<config name>.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue the run in the run directory.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the run in the run directory.")] = False,
    init_from: Annotated[
        Path | None,
        typer.Option("--init-from", metavar="CKPT", help="Start a new run with these weights; new symbols are added."),
    ] = None,
    progress: Annotated[
        ProgressKind, typer.Option("--progress", help="Display: auto is rich on a terminal, plain lines elsewhere.")
    ] = ProgressKind.auto,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show nothing but errors.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Write a JSON summary to standard output at the end.")
    ] = False,
) -> None:
    """Train a network on a text, as a settings file says. Under mpirun, ranks share each batch (docs/scaling.md)."""
    from charrnn.cli.output import write_json
    from charrnn.errors import SettingsError
    from charrnn.runs.directory import RunDirectory
    from charrnn.training.mpi import launched, world

    if launched() and world().rank:
        _follow(world())
        return
    settings, name = _settings(config, overrides or [])
    if resume and init_from is not None:
        raise SettingsError(
            "--resume and --init-from cannot be combined: one continues a run, the other starts a new one"
        )
    if settings.training.tensorboard:
        from charrnn.training.tensorboard import check_installed

        check_installed()
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
    """Train in this process, shown as `progress` says.

    Args:
        settings: of the run.
        folder: its directory.
        resume: go on with the run in it.
        overwrite: replace the run in it.
        init_from: checkpoint whose weights a new run starts with.
        quiet: show nothing.
        progress: one of `ProgressKind`.
        announce: is given the summary.

    Raises:
        CharRNNError: as the trainer does; InterruptedRun and its like after a signal.
    """
    from charrnn.cli.signals import stop_signals
    from charrnn.cli.views.training import train_view
    from charrnn.runs.events import RunFinished
    from charrnn.training.mpi import launched, world

    ranks = world() if launched() else None
    finished = None
    with _new_directory_only_if_used(folder.path), folder.lock():
        trainer = _prepare(
            settings, folder, resume=resume, overwrite=overwrite, init_from=init_from, quiet=quiet, ranks=ranks
        )
        display = train_view("none" if quiet else progress)
        with stop_signals(trainer) as caught, display as show, _tensorboard(settings, folder) as log:
            for event in trainer.run():
                show(event)
                log(event)
                if isinstance(event, RunFinished):
                    finished = event
    if finished:
        announce(finished.summary)
    if finished and finished.reason == "stopped":
        raise _stopped(caught, trainer)


def _settings(config: Path, overrides: list[str]) -> tuple[Config, str]:
    from charrnn.config.builtin import settings_path
    from charrnn.config.load import load_config

    path = settings_path(str(config))
    return load_config(path, overrides), path.stem


def _prepare(
    settings: Config,
    folder: RunDirectory,
    *,
    resume: bool,
    overwrite: bool,
    init_from: Path | None,
    quiet: bool,
    ranks: World | None,
) -> Trainer:
    """The trainer of a new run or of one to go on with; the run directory is locked already."""
    from charrnn.errors import SettingsError
    from charrnn.runs.checkpoint import find_checkpoint, load_checkpoint
    from charrnn.runs.transfer import check_transferable
    from charrnn.training.snapshot import check_resumable
    from charrnn.training.trainer import Trainer

    if not resume:
        source = None if init_from is None else load_checkpoint(find_checkpoint(init_from))
        if source is not None:
            check_transferable(source.config, settings)
        text = encode(settings, quiet=quiet, known=source.vocabulary if source else None)
        if not overwrite:
            folder.check_free()
        _lead(ranks, settings, text, init_from=source, resume_from=None)
        trainer = Trainer(settings, text, folder, init_from=source, ranks=ranks)
        folder.open_new(settings, overwrite=overwrite)
        return trainer
    if not folder.last.is_file():
        raise SettingsError(f"{folder.path}: there is no run to resume (no last.npz)", hint="start it without --resume")
    saved = load_checkpoint(folder.last)
    check_resumable(saved.config, settings)
    text = encode(settings, quiet=quiet, known=saved.vocabulary, saved=saved)
    _lead(ranks, settings, text, init_from=None, resume_from=saved)
    trainer = Trainer(settings, text, folder, resume_from=saved, ranks=ranks)
    folder.reopen(settings)
    folder.cut_logs(trainer.counters.history_bytes, trainer.counters.samples_bytes)
    return trainer


def _lead(ranks: World | None, settings: Config, text: EncodedText, **checkpoints: Checkpoint | None) -> None:
    """Tell the other ranks, if there are any, what is to be trained."""
    if ranks is not None:
        ranks.share((settings, checkpoints))
        ranks.check_same(text.sha256, "the text")


def _follow(ranks: World) -> None:
    """Train along with rank 0, which alone writes and speaks."""
    from charrnn.cli.signals import stop_signals
    from charrnn.errors import DivergenceError
    from charrnn.runs.directory import SilentDirectory
    from charrnn.runs.events import RunFinished
    from charrnn.training.trainer import Trainer

    settings, checkpoints = ranks.share(None)
    old = next((c for c in checkpoints.values() if c is not None), None)
    text = encode(settings, quiet=True, known=old.vocabulary if old else None)
    ranks.check_same(text.sha256, "the text")
    trainer = Trainer(settings, text, SilentDirectory(Path()), **checkpoints, ranks=ranks)
    try:
        with stop_signals(trainer):
            for event in trainer.run():
                if isinstance(event, RunFinished) and event.reason == "stopped":
                    raise typer.Exit(143)
    except DivergenceError as error:  # the same on rank 0, which tells it and ends all: let it speak first
        time.sleep(10)
        raise typer.Exit(error.exit_code) from None


def encode(settings: Config, *, quiet: bool, known: Vocabulary | None, saved: Checkpoint | None = None) -> EncodedText:
    """The settings' corpus, fetched and encoded where it is not yet, with progress shown; that of `saved`, if given."""
    from functools import partial

    from charrnn.cli.views.training import byte_progress
    from charrnn.runs.text import Origin, encode_corpus

    bar = partial(byte_progress, quiet=quiet)
    return encode_corpus(settings.corpus, known=known, bar=bar, origin=Origin.of(saved) if saved else None)


@contextmanager
def _new_directory_only_if_used(path: Path) -> Iterator[None]:
    """An unusable text or setting leaves no directory behind."""
    existed = path.exists()
    try:
        yield
    except BaseException:
        if not existed and path.is_dir() and not [f for f in path.iterdir() if f.name != ".lock"]:
            shutil.rmtree(path, ignore_errors=True)
        raise


@contextmanager
def _tensorboard(settings: Config, folder: RunDirectory) -> Iterator[Callable[[Event], None]]:
    if not settings.training.tensorboard:
        yield lambda event: None
        return
    from charrnn.training.tensorboard import TensorBoardLog

    log = TensorBoardLog(folder.path / "tensorboard")
    try:
        yield log.show
    finally:
        log.close()


def _stopped(caught: list[int], trainer: Trainer) -> Exception:
    from charrnn.cli.signals import stopped_by

    sys.stdout.flush()
    return stopped_by(
        caught,
        f"stopped after step {trainer.counters.step}; saved in {trainer.run_dir.last}",
        hint=f"continue with the same command and --resume (run directory {trainer.run_dir.path})",
    )
