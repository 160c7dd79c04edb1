"""`charrnn train`."""

from __future__ import annotations

import contextlib
import os
import shlex
from collections.abc import Callable, Iterator, Mapping
from enum import Enum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from charrnn.cli import completion
from charrnn.cli.arguments import Overrides, check_resume_or_overwrite
from charrnn.cli.choosing import Minutes, NewRun, new_run
from charrnn.cli.text_options import Corpus, at_home, naming_corpus

if TYPE_CHECKING:
    from charrnn.config.schema import Config
    from charrnn.runs.directory import RunDirectory
    from charrnn.runs.events import RunFinished

EXAMPLE = (
    "Example: charrnn train my.txt; charrnn train my.txt --minutes 20 --set model.cell=lstm; charrnn train quickstart"
)
_SLOW_STOP = "finishing the step or validation, then saving; Ctrl-C again stops at once and loses what is not saved"


class ProgressKind(str, Enum):
    """How progress is shown."""

    auto = "auto"
    rich = "rich"
    tqdm = "tqdm"
    plain = "plain"
    none = "none"


def train(
    texts: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[TEXT...]",
            autocompletion=completion.texts,
            help="Text to learn from: files, a directory, a glob, a named corpus, or - for standard input; settings "
            "are chosen to fit. Or a built-in recipe (charrnn config list), or, with --resume, a run directory.",
        ),
    ] = None,
    minutes: Minutes = None,
    config: Annotated[
        Path | None,
        typer.Option(
            "--config",
            "-c",
            metavar="FILE",
            autocompletion=completion.recipes,
            help="Settings file (YAML), or the name of a recipe; overrides what is chosen for TEXT.",
        ),
    ] = None,
    overrides: Overrides = None,
    run_dir: Annotated[
        Path | None,
        typer.Option(
            "--run-dir",
            callback=at_home,
            help="Directory for the run. Default: checkpoints/NAME, named after TEXT (numbered if taken) or the "
            "settings file.",
        ),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue a run: train --resume RUN, or the one in --run-dir.")
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
    """Train a network on a text.

    Settings that you do not give are chosen to fit the text, the time and this machine. Under mpirun, ranks share each
    batch (docs/scaling.md).
    """
    from charrnn.cli.output import write_json
    from charrnn.runs.directory import RunDirectory
    from charrnn.training.session import leads

    if not leads():
        _follow()
        return
    with _interrupted():
        run, path = _chosen(
            texts or [], config, overrides or [], run_dir, minutes,
            resume=resume, overwrite=overwrite, init_from=init_from, corpus=corpus or [], quiet=quiet,
        )  # fmt: skip
    folder = RunDirectory(path)
    with naming_corpus(corpus):
        train_here(
            run.settings, folder, remarked=run.remarked, resume=resume, overwrite=overwrite, init_from=init_from,
            quiet=quiet, progress=progress.value, announce=write_json if as_json else lambda summary: None,
            words={} if _limited(config, overrides) and minutes is None else {"training.max_minutes": "--minutes {}"},
        )  # fmt: skip


def _limited(config: Path | None, overrides: list[str] | None) -> bool:
    """Whether the time may be limited by a setting rather than by --minutes."""
    return config is not None or any(item.strip().startswith("training.max_minutes") for item in overrides or ())


def train_here(
    settings: Config,
    folder: RunDirectory,
    *,
    remarked: str | None = None,
    resume: bool,
    overwrite: bool,
    init_from: Path | None = None,
    quiet: bool,
    progress: str,
    announce: Callable[[dict[str, Any]], None] = lambda summary: None,
    words: Mapping[str, str],
) -> None:
    """Train in this process, shown as `progress` says; see `charrnn.training.session.train` for the rest.

    Args:
        settings: of the run.
        folder: its directory.
        remarked: as in the session.
        resume: continue the run in it.
        overwrite: replace the run in it.
        init_from: checkpoint whose weights a new run starts with.
        quiet: show nothing.
        progress: one of `ProgressKind`.
        announce: called with the summary.
        words: options that limit the run, by their settings; see `charrnn.cli.views.advice.in_words`.

    Raises:
        CharRNNError: as the session does; InterruptedRun and its like after a signal.
    """
    from charrnn.cli.output import ReaderGoneError
    from charrnn.cli.signals import stop_signals
    from charrnn.cli.views.advice import in_words
    from charrnn.cli.views.progress import byte_progress
    from charrnn.cli.views.training import train_view
    from charrnn.errors import StorageError
    from charrnn.runs.events import Note, RunFinished
    from charrnn.training.progress import StopFlag
    from charrnn.training.session import train

    stop, finished = StopFlag(), None
    events = train(
        settings, folder, remarked=remarked, resume=resume, overwrite=overwrite, init_from=init_from, stop=stop,
        bar=partial(byte_progress, quiet=quiet),
    )  # fmt: skip
    with contextlib.closing(events), _interrupted(folder):
        started = next(events)  # until then there is nothing to save, and Ctrl-C ends at once
        with (
            train_view("none" if quiet else progress) as show,
            stop_signals(stop, slow=lambda: show(Note(_SLOW_STOP))) as caught,
        ):
            show(in_words(started, words))
            for event in events:
                show(in_words(event, words))
                if isinstance(event, RunFinished):
                    finished = event
    if finished and finished.reason == "stopped":
        with contextlib.suppress(ReaderGoneError, StorageError):  # it was stopped, whoever may hear of it
            announce(finished.summary)
        raise _stopped(caught, finished, folder)
    if finished:
        announce(finished.summary)


def _chosen(
    texts: list[str],
    config: Path | None,
    overrides: list[str],
    run_dir: Path | None,
    minutes: float | None,
    *,
    resume: bool,
    overwrite: bool,
    init_from: Path | None,
    corpus: list[str],
    quiet: bool,
) -> tuple[NewRun, Path]:
    """The run selected by the arguments, and its directory."""
    from charrnn.errors import SettingsError
    from charrnn.runs.directory import RunDirectory, fresh_directory

    check_resume_or_overwrite(resume, overwrite, "a run")
    if resume:
        settings, folder = _resumed(texts, config, overrides, run_dir, minutes, corpus)
        return NewRun(settings, folder.name), folder
    if corpus:
        raise SettingsError("--corpus is for the text of a resumed run", hint="name the text of a new run as TEXT")
    if not texts and config is None:
        raise SettingsError("no text given", hint="charrnn train my.txt; or --config FILE, or --resume RUN")
    if run_dir is not None and not overwrite:
        RunDirectory(run_dir).check_early()
    run = new_run(texts, config, overrides, minutes, init_from=init_from, quiet=quiet)
    if run_dir is not None:
        return run, run_dir
    folder = Path("checkpoints") / run.name
    return run, fresh_directory(folder) if run.numbered and not overwrite else folder


def _resumed(
    texts: list[str],
    config: Path | None,
    overrides: list[str],
    run_dir: Path | None,
    minutes: float | None,
    corpus: list[str],
) -> tuple[Config, Path]:
    """Settings and directory of the run to continue."""
    from charrnn.errors import SettingsError

    if len(texts) > 1 or (texts and run_dir):
        raise SettingsError(f"{texts[-1]}: give the run's directory once, here or as --run-dir")
    folder = at_home(Path(texts[0])) if texts else run_dir
    if minutes is not None:
        overrides = [f"training.max_minutes={minutes!r}", *overrides]
    if config is not None:
        settings, name, *_ = new_run((), config, overrides, None, quiet=True)
        folder = folder or Path("checkpoints") / name
    elif folder is not None:
        settings = _saved_settings(folder, overrides)
    else:
        raise SettingsError("no run given", hint="charrnn train --resume RUN; see charrnn runs")
    return _with_corpus(settings, corpus), folder


def _saved_settings(folder: Path, overrides: list[str]) -> Config:
    """The settings in a run's `config.yaml`, which may have been edited, with the overrides applied."""
    from charrnn.config.load import dump_config, parse_config
    from charrnn.errors import SettingsError
    from charrnn.runs.checkpoint import load_checkpoint
    from charrnn.runs.directory import RunDirectory
    from charrnn.runs.reading import read_run_settings
    from charrnn.training.snapshot import check_resumable

    run = RunDirectory(folder)
    if not run.last.is_file():
        raise SettingsError(f"{folder}: no run to resume (no last.npz)", hint=_to_resume(folder))
    saved = load_checkpoint(run.last).config
    if not os.path.lexists(run.config):
        return parse_config(dump_config(saved), where=str(run.last), overrides=overrides)
    text, where = read_run_settings(folder), str(run.config)
    edited = parse_config(text, where=where)
    try:
        check_resumable(saved, edited)
    except SettingsError as error:
        raise SettingsError(f"{where}: {error.message}", hint=error.hint) from None
    return parse_config(text, where=where, overrides=overrides)


def _to_resume(path: Path) -> str | None:
    """What to do about a path that is not the directory of a run to continue."""
    from charrnn.cli.choosing import to_continue_sweep
    from charrnn.runs.reading import run_meant

    if sweep := to_continue_sweep(path):
        return sweep
    if (path.parent / "last.npz").is_file():
        return f"did you mean {path.parent}?"
    if (path / "history.jsonl").is_file() or (path / "config.yaml").is_file():
        return f"it ended before it saved; begin anew: charrnn train --config FILE --run-dir {path} --overwrite"
    return run_meant(path, "charrnn runs lists the runs" if path.exists() else "start it without --resume")


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
    except DivergenceError as error:  # the leader has it too and reports it
        raise typer.Exit(error.exit_code) from None


@contextlib.contextmanager
def _interrupted(folder: RunDirectory | None = None) -> Iterator[None]:
    """Make of a Ctrl-C before the first step, or of the second one after it, a line that says what is saved."""
    from charrnn.errors import InterruptedRun

    try:
        yield
    except KeyboardInterrupt:
        if folder is not None and folder.last.is_file():
            raise InterruptedRun(f"stopped at once; saved before: {folder.last}", hint=_continue(folder)) from None
        if folder is not None and folder.best.is_file():  # of the first validation, before the first checkpoint
            hint = f"it cannot be continued, but sampled: charrnn sample {shlex.quote(str(folder.path))}"
            raise InterruptedRun(f"stopped at once; saved before: {folder.best}", hint=hint) from None
        raise InterruptedRun("stopped before anything was saved") from None


def _continue(folder: RunDirectory) -> str:
    return f"continue with: charrnn train --resume {shlex.quote(str(folder.path))}"


def _stopped(caught: list[int], finished: RunFinished, folder: RunDirectory) -> Exception:
    from charrnn.cli.signals import stopped_by

    steps = f"{finished.summary['steps']:,}"
    return stopped_by(caught, f"stopped after step {steps}; saved in {folder.last}", hint=_continue(folder))
