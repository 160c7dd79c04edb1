"""The text, settings and directory of a new run, from what `train` and `config suggest` are given."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from charrnn.cli.output import tell

if TYPE_CHECKING:
    from charrnn.config.schema import Config
    from charrnn.training.choice import Choice

_YAML = (".yaml", ".yml")
_A_YEAR = 525_600.0  # minutes
Minutes = Annotated[
    float | None,
    typer.Option(
        "--minutes",
        min=0.01,
        max=_A_YEAR,
        metavar="M",
        help="Minutes of training; settings are chosen to fit (default 3).",
    ),
]


class NewRun(NamedTuple):
    """A run to begin.

    Attributes:
        settings: of it.
        name: of its directory, where none is given.
        numbered: whether the directory gets a number where one of that name holds a run.
        remarked: its settings file, if that has remarks.
    """

    settings: Config
    name: str
    numbered: bool = False
    remarked: str | None = None


def new_run(
    texts: Sequence[str],
    config: Path | None,
    overrides: Sequence[str],
    minutes: float | None,
    *,
    init_from: Path | None = None,
    quiet: bool,
) -> NewRun:
    """Settings of a run: those of a file or recipe, chosen ones for a text, or both.

    The network that a run starts from (`init_from`) is not chosen anew.

    Raises:
        CharRNNError: no such text, file or setting.
    """
    from charrnn.config.builtin import settings_path
    from charrnn.config.load import load_config
    from charrnn.config.schema import source_name
    from charrnn.runs.directory import run_name

    numbered = config is None
    if config is None and len(texts) == 1 and is_recipe(texts[0], minutes):
        config, texts = Path(texts[0]), ()
    if config is not None and not texts:
        path = settings_path(str(config))
        limit = () if minutes is None else (f"training.max_minutes={minutes!r}",)
        of_a_run = path.name == "config.yaml" and (path.parent / "last.npz").is_file()
        name = path.resolve().parent.name if of_a_run else path.stem
        return NewRun(load_config(path, (*limit, *overrides)), name, numbered=numbered or of_a_run)
    if init_from is not None:
        overrides = [*_network_of(init_from), *overrides]
    if not quiet and sys.stderr.isatty():  # it takes some seconds, in which a person wonders
        tell(f"reading {', '.join(map(source_name, texts))} and measuring this machine")
    choice = chosen(texts, config, overrides, minutes, quiet=quiet)
    if not quiet:
        tell(*choice.suggestion.lines)
    return NewRun(choice.config, run_name(texts[0]), numbered=True, remarked=choice.as_yaml(whole=True))


def chosen(
    texts: Sequence[str], config: Path | None, overrides: Sequence[str], minutes: float | None, *, quiet: bool
) -> Choice:
    """Settings chosen for a text, but for those that a file or the command line gives.

    Raises:
        CharRNNError: no such text, file or setting.
    """
    from functools import partial

    from charrnn.cli.views.progress import byte_progress
    from charrnn.config.builtin import settings_path
    from charrnn.config.load import read_config
    from charrnn.data.decoding import EncodingError
    from charrnn.errors import DataError
    from charrnn.training.choice import choose_settings

    _check_known(texts)
    path = None if config is None else settings_path(str(config))
    given: Any = {} if path is None else read_config(path)
    where = "the settings" if path is None else str(path)
    bar = partial(byte_progress, quiet=quiet)
    try:
        return choose_settings(texts, minutes=minutes, given=given, where=where, overrides=overrides, bar=bar)
    except EncodingError as error:
        hint: str | None = f"add --set corpus.encoding={error.likely or 'NAME'}, or =bytes to learn single bytes"
        if error.kind is not None:
            hint = next((_for_saved(Path(text)) for text in texts if text.endswith(".npz")), error.hint)
        raise DataError(error.message, hint=hint) from None


def _network_of(checkpoint: Path) -> list[str]:
    from charrnn.errors import shown
    from charrnn.runs.checkpoint import find_checkpoint, load_checkpoint

    model = load_checkpoint(find_checkpoint(checkpoint)).config.model
    sizes = {name: getattr(model, name) for name in ("cell", "hidden_size", "num_layers")}
    sizes |= {"embedding_size": model.embedding_size, "tie_weights": model.tie_weights}
    return [f"model.{name}={shown(value)}" for name, value in sizes.items()]


def is_recipe(name: str, minutes: float | None) -> bool:
    """Whether a word means settings rather than a text: a settings file, or the name of a built-in one.

    A name that is a corpus as well means the corpus only where minutes are given, because the built-in settings for it
    are the better ones for their own time.
    """
    from charrnn.config.builtin import recipes
    from charrnn.data.corpora import catalogue

    path = Path(name)
    if path.exists():
        return path.suffix in _YAML and path.is_file()
    return name in recipes() and not (minutes is not None and name in catalogue())


def settings_in(path: Path) -> tuple[str, str | None] | None:
    """What a settings or sweep file is, and what to do with it; None for any other file."""
    from charrnn.config.load import SweepFileError, read_config
    from charrnn.config.schema import Config
    from charrnn.errors import SettingsError

    if path.suffix not in _YAML or not path.is_file():
        return None
    try:
        found = read_config(path)
    except SweepFileError as error:
        return "a sweep file", error.hint
    except SettingsError:
        return None
    ours = isinstance(found, dict) and found.keys() & Config.__struct_fields__
    return ("settings", f"to train with them: charrnn train --config {shlex.quote(str(path))}") if ours else None


def to_continue_sweep(folder: Path) -> str | None:
    """What to do with the directory of a sweep; None for any other."""
    return "to continue a sweep: charrnn sweep FILE --resume" if (folder / "sweep.json").is_file() else None


def _for_saved(path: Path) -> str:
    """What to do with a run or a checkpoint that was given as a text."""
    folder = path if path.is_dir() else path.parent
    if sweep := to_continue_sweep(folder):
        return sweep
    start = f"to start from its weights: charrnn train TEXT --init-from {shlex.quote(str(path))}"
    runs = (folder / "last.npz").is_file()
    return f"to continue its run: charrnn train --resume {shlex.quote(str(folder))}; {start}" if runs else start


def _check_known(texts: Sequence[str]) -> None:
    """A name that is nothing at all, or something else, is refused with all that it could have been."""
    import glob

    from charrnn.config.builtin import recipes
    from charrnn.config.messages import nearest
    from charrnn.data.corpora import catalogue
    from charrnn.data.sources import STDIN, expand, holds_run
    from charrnn.errors import DataError

    for text in texts:
        path = Path(expand(text))
        if holds_run(path):
            raise DataError(f"{text}: a run, not a text", hint=_for_saved(path))
        if text in recipes() and text not in catalogue() and not Path(text).exists():
            raise DataError(
                f"{text}: a recipe, not a text",
                hint=f"to train with it: charrnn train {_first_text(texts)} --config {text}",
            )
        if found := settings_in(path):
            raise DataError(f"{text}: {found[0]}, not a text", hint=found[1])
        if text == STDIN or text in catalogue() or path.exists() or glob.has_magic(text):
            continue
        close = nearest(text, [*catalogue(), *recipes(), *_beside(text)])
        hint = f"did you mean {close}?" if close else "see charrnn corpus list and charrnn config list"
        raise DataError(f"{text}: no such file, directory, named corpus or recipe", hint=hint)


def _first_text(texts: Sequence[str]) -> str:
    from charrnn.config.builtin import recipes

    return shlex.quote(next((text for text in texts if text not in recipes()), "TEXT"))


def _beside(text: str) -> list[str]:
    folder = Path(text).parent
    try:
        return [str(folder / entry.name) for entry in folder.iterdir()]
    except OSError:
        return []
