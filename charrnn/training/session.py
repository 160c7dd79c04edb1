"""One run from settings to its last checkpoint, as a generator of events: lock, encode, resume, train.

It shows nothing and catches no signals; that is left to the consumer of the events. Under `mpirun` the process that
leads calls `train`, the others `follow`.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from charrnn.config.schema import Config
from charrnn.data.encode import EncodedText
from charrnn.data.sources import STDIN
from charrnn.data.vocabulary import Vocabulary
from charrnn.errors import SettingsError
from charrnn.evaluation.advice import why_ended
from charrnn.evaluation.text_facts import look_at_text
from charrnn.files import writing
from charrnn.runs.checkpoint import Checkpoint, find_checkpoint, load_checkpoint
from charrnn.runs.directory import RunDirectory
from charrnn.runs.events import Event, Note, RunFinished, RunStarted
from charrnn.runs.text import Bar, Origin, encode_corpus, no_bar
from charrnn.runs.transfer import check_transferable
from charrnn.training.adviser import Adviser
from charrnn.training.group import GroupMaker, group_of
from charrnn.training.kernels import Compiling
from charrnn.training.pace import reason_to_end
from charrnn.training.progress import StopFlag
from charrnn.training.snapshot import check_resumable
from charrnn.training.trainer import Trainer

if TYPE_CHECKING:
    from charrnn.training.mpi import World
    from charrnn.training.tensorboard import TensorBoardLog

_NO_LOCK = "this file system has no locks: nothing keeps another process from training in the run directory"


def train(
    config: Config,
    run_dir: RunDirectory,
    *,
    remarked: str | None = None,
    resume: bool = False,
    overwrite: bool = False,
    init_from: Path | None = None,
    stop: StopFlag | None = None,
    bar: Bar = no_bar,
) -> Generator[Event, None, None]:
    """Train a network; the run directory is locked until the generator ends or is closed.

    Args:
        config: settings of the run.
        run_dir: where it writes; no other process may be training there.
        remarked: the same settings as YAML with remarks, for the file of a new run.
        resume: continue the run in it.
        overwrite: replace the run in it.
        init_from: checkpoint whose weights a new run starts with.
        stop: set it to finish the step, save and end.
        bar: makes, from a label, a context that gives a callback (bytes done, bytes in all or None), for fetching and
            encoding the text; it is given a unit too where it shows how many kernels are compiled.

    Yields:
        What happens; the first event is `RunStarted`, the last `RunFinished`.

    Raises:
        SettingsError, DataError, CheckpointError: it cannot begin.
        DivergenceError: a loss or gradient was not finite; the last checkpoint is intact.
        StorageError: the disk is full or failing; likewise.
    """
    if resume and init_from is not None:
        raise SettingsError(
            "`resume` and `init_from` cannot be combined: one continues a run, the other starts a new one"
        )
    if config.training.tensorboard:
        from charrnn.training.tensorboard import check_installed

        check_installed()
    ranks = _ranks()
    with directory_only_if_used(run_dir.path), run_dir.lock() as lock:
        begin = _resumed if resume else partial(_begun, remarked=remarked, init_from=init_from, overwrite=overwrite)
        trainer = begin(config, run_dir, stop, bar, ranks)
        log = _Log(config, run_dir)
        facts = look_at_text(trainer.stream.ids, trainer.val_ids, trainer.text.vocabulary)
        adviser = Adviser(config, run_dir, facts)
        for happened in trainer.run():
            event = adviser.hear(happened)
            if isinstance(event, RunStarted):
                event = replace(event, notes=(*event.notes, *_remarks(trainer, locked=lock.held)))
            elif isinstance(event, RunFinished) and event.reason != "stopped":
                with writing(run_dir.path, "the run directory"):
                    run_dir.write_summary(event.reason, event.summary)
            log.show(event)
            yield event
            yield from log.notes()
            yield from adviser.news()


def _remarks(trainer: Trainer, *, locked: bool) -> Iterator[str]:
    """What is worth a note before the first step."""
    t = trainer.config.training
    if not locked:
        yield _NO_LOCK
    if ended := why_ended(reason_to_end(t, trainer.counters, trainer.total_steps), trainer.config):
        yield f"nothing is left to train: the run has already {ended}; raise that to continue"


def leads() -> bool:
    """Whether this process is to call `train`: always, except on MPI ranks after the first."""
    ranks = _ranks()
    return ranks is None or ranks.rank == 0


def follow(*, stop: StopFlag | None = None) -> Iterator[Event]:
    """Train along with the process that leads, which alone writes.

    Raises:
        DataError: the text here is not the same.
    """
    from charrnn.training.mpi import MpiGroup, world

    ranks = world()
    config, origin, resume_from, init_from = ranks.share(None)
    old = resume_from or init_from
    text = read_corpus(config, known=old.vocabulary if old else None, origin=origin)
    ranks.check_same(text.sha256, "the text")
    trainer = Trainer(
        config, text, RunDirectory(Path()), resume_from=resume_from, init_from=init_from, stop=stop,
        make_group=partial(MpiGroup, ranks=ranks),
    )  # fmt: skip
    yield from trainer.run()


def read_corpus(
    config: Config, *, known: Vocabulary | None = None, origin: Origin | None = None, bar: Bar = no_bar
) -> EncodedText:
    """The settings' corpus, fetched and encoded where it is not yet; see `charrnn.runs.text.encode_corpus`."""
    return encode_corpus(config.corpus, known=known, origin=origin, bar=bar)


def _begun(
    config: Config,
    run_dir: RunDirectory,
    stop: StopFlag | None,
    bar: Bar,
    ranks: World | None,
    *,
    remarked: str | None,
    init_from: Path | None,
    overwrite: bool,
) -> Trainer:
    """The trainer of a new run."""
    source = None if init_from is None else load_checkpoint(find_checkpoint(init_from))
    if source is not None:
        check_transferable(source.config, config)
    text = read_corpus(config, known=source.vocabulary if source else None, bar=bar)
    if not overwrite:
        run_dir.check_free()
    group = _lead(ranks, config, text, None, source)
    trainer = Trainer(config, text, run_dir, init_from=source, stop=stop, make_group=group, compiling=_compiling(bar))
    run_dir.open_new(config, overwrite=overwrite, remarked=remarked)
    return trainer


def _resumed(config: Config, run_dir: RunDirectory, stop: StopFlag | None, bar: Bar, ranks: World | None) -> Trainer:
    """The trainer of a resumed run."""
    if not run_dir.last.is_file():
        hint = (
            "start it without `resume`" if run_dir.is_free else "it ended before it saved; begin anew with `overwrite`"
        )
        raise SettingsError(f"{run_dir.path}: there is no run to resume (no last.npz)", hint=hint)
    saved = load_checkpoint(run_dir.last)
    config = check_resumable(saved.config, config)
    text = read_corpus(config, known=saved.vocabulary, origin=Origin.of(saved), bar=bar)
    group = _lead(ranks, config, text, saved, None)
    trainer = Trainer(config, text, run_dir, resume_from=saved, stop=stop, make_group=group, compiling=_compiling(bar))
    run_dir.reopen(config)
    run_dir.cut_logs(trainer.counters.history_bytes, trainer.counters.samples_bytes)
    return trainer


def _compiling(bar: Bar) -> Compiling:
    """The bar for the compilation of kernels."""
    return partial(bar, "compiling kernels", "kernel")


def _ranks() -> World | None:
    """The ranks that share the batch; None without MPI."""
    from charrnn.training.mpi import launched, world

    return world() if launched() else None


def _lead(ranks: World | None, config: Config, text: EncodedText, *checkpoints: Checkpoint | None) -> GroupMaker:
    """Tell the other ranks, if there are any, what is to be trained."""
    if ranks is None:
        return group_of
    from charrnn.training.mpi import MpiGroup

    # What came in through a pipe is kept under its hash; everything else each rank finds as its own settings say.
    piped = STDIN in config.corpus.sources
    ranks.share((config, Origin(text.sha256) if piped else None, *checkpoints))
    ranks.check_same(text.sha256, "the text")
    return partial(MpiGroup, ranks=ranks)


@contextmanager
def directory_only_if_used(path: Path) -> Iterator[None]:
    """A new directory that holds nothing but a lock and settings goes when the block fails before its run begins."""
    new, config = [folder for folder in (path, *path.parents) if not folder.exists()], RunDirectory(path).config
    configured = config.exists()
    try:
        yield
    except BaseException:
        if not configured and path.is_dir() and {f.name for f in path.iterdir()} <= {".lock", config.name}:
            config.unlink(missing_ok=True)
            if new:
                shutil.rmtree(path, ignore_errors=True)
            for folder in new[1:]:
                with suppress(OSError):  # something else has been put there
                    folder.rmdir()
        raise


class _Log:
    """The run's TensorBoard files, if it has any, until they cannot be written."""

    def __init__(self, config: Config, run_dir: RunDirectory) -> None:
        self._log: TensorBoardLog | None = None
        self._notes: list[Note] = []
        if config.training.tensorboard:
            from charrnn.training.tensorboard import TensorBoardLog

            self._attempt(lambda: setattr(self, "_log", TensorBoardLog(run_dir.path / "tensorboard")))

    def show(self, event: Event) -> None:
        """Write an event's numbers."""
        if (log := self._log) is not None:
            self._attempt(lambda: log.show(event))

    def notes(self) -> list[Note]:
        """What went wrong since the last call."""
        found, self._notes = self._notes, []
        return found

    def _attempt(self, call: Callable[[], None]) -> None:
        try:
            call()
        except OSError as error:
            self._log = None
            what = "TensorBoard files cannot be written and are given up"
            self._notes.append(Note(f"{what}: {error.strerror or error}"))
