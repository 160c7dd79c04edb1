"""Training from Python, in one call or event by event."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from charrnn.api.model import TrainedModel, load
from charrnn.errors import SettingsError

if TYPE_CHECKING:
    from charrnn.runs.events import Event


def train(
    source: str | Path | None = None, *, listen: Callable[[Event], object] | None = None, **arguments: Any
) -> TrainedModel:
    """Train a network on a text and load the result; see `train_events` for the arguments.

    Args:
        source: of the text.
        listen: called with each event.
        arguments: of `train_events`.

    Example:
        >>> model = charrnn.train("tiny.txt", run_dir="new", hidden_size=16, max_steps=20)
        >>> model.checkpoints[0].counters["step"]
        20
    """
    folder: Path | None = None
    for event in train_events(source, **arguments):
        folder = getattr(event, "run_dir", folder)
        if listen is not None:
            listen(event)
    assert folder is not None, "a training without a first event"
    return load(folder)


def train_events(
    source: str | Path | None = None,
    *,
    text: str | None = None,
    config: str | Path | None = None,
    run_dir: str | Path | None = None,
    resume: bool = False,
    overwrite: bool = False,
    **settings: Any,
) -> Iterator[Event]:
    """Train, and yield reports, samples and checkpoints as events.

    Args:
        source: a path, or the name of a corpus such as "tiny-shakespeare".
        text: the text itself, instead.
        config: a settings file, or the name of a built-in one such as "quickstart"; `source` and `settings` win.
        run_dir: where checkpoints go; by default `checkpoints/` and the text's or the settings file's name.
        resume: continue the run in it.
        overwrite: replace the run in it.
        settings: by their names in a settings file, without the section: hidden_size=128, max_minutes=2. Without a
            settings file, a limit in steps or minutes takes the place of that in epochs.

    Yields:
        Events of `charrnn.runs.events`; the first is `RunStarted`, the last `RunFinished`.

    Raises:
        SettingsError, DataError, CheckpointError: it cannot begin.
        DivergenceError: a loss or gradient was not finite; the last checkpoint is intact.

    Example:
        >>> events = charrnn.train_events("tiny.txt", run_dir="steps", hidden_size=16, max_steps=20, log_every=10)
        >>> [type(event).__name__ for event in events]
        ['RunStarted', 'StepReport', ..., 'RunFinished']
    """
    from charrnn.config.builtin import settings_path
    from charrnn.config.load import config_of_names, load_config
    from charrnn.runs.directory import RunDirectory, run_name
    from charrnn.training import session

    if source is not None and text is not None:
        raise SettingsError("`source` and `text` cannot both be given")
    if resume and overwrite:
        raise SettingsError("`resume` and `overwrite` cannot both be given")
    path = None if config is None else settings_path(str(config))
    name = path.stem if path and source is None else run_name(str(source)) if source is not None else "text"
    folder = Path(run_dir) if run_dir is not None else Path("checkpoints") / name
    own = folder / "text.txt"
    if text is not None:
        source = own
    if source is not None:
        settings = {"source": str(source), **settings}
    chosen = config_of_names(settings, None if path is None else load_config(path))
    if text is not None and chosen.corpus.encoding not in ("utf-8", "bytes"):
        raise SettingsError(f"encoding: {chosen.corpus.encoding} is for files, not for `text`", hint="leave it out")
    if not (resume or overwrite):
        RunDirectory(folder).check_early()
    events = session.train(chosen, RunDirectory(folder), resume=resume, overwrite=overwrite)
    with session.directory_only_if_used(folder), _written(own, text) if text is not None else nullcontext():
        first = next(events)  # from then on the text is that of a run
    yield first
    yield from events


@contextmanager
def _written(path: Path, text: str) -> Iterator[None]:
    """The text is in the file; what was there is put back if the block fails."""
    from charrnn.files import write_atomically, writing

    with writing(path):
        before = path.read_bytes() if path.exists() else None
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, text.encode("utf-8"))
    try:
        yield
    except BaseException:
        if before is None:
            path.unlink(missing_ok=True)
        else:
            write_atomically(path, before)
        raise
