"""Options for locations: `--corpus` for the text a run was trained on, `~` in directories."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from charrnn.api import TrainedModel
    from charrnn.nn.params import IdArray
    from charrnn.runs.checkpoint import Checkpoint


def _existing(ctx: typer.Context, given: list[str] | None) -> list[str] | None:
    """Callback of `--corpus`: refuses a place where there is nothing, even if the text is found elsewhere.

    Raises:
        DataError: no such file, glob, directory or named corpus.
    """
    if given and not ctx.resilient_parsing:
        import glob

        from charrnn.data.corpora import catalogue
        from charrnn.data.sources import STDIN, expand
        from charrnn.errors import DataError

        for place in given:
            path = expand(place)
            if place != STDIN and place not in catalogue() and not os.path.exists(path) and not glob.glob(path):
                raise DataError(f"--corpus {place}: no such file", hint="--corpus must name the text of the run")
    return given


Corpus = Annotated[
    list[str] | None,
    typer.Option(
        "--corpus",
        metavar="PATH",
        callback=_existing,
        help="Where the training text is now, if it has moved: file, glob or directory; repeatable.",
    ),
]


class Unknown(str, Enum):
    """What to do with characters that the model does not know."""

    error = "error"
    skip = "skip"
    stand_in = "replace"  # a str has a `replace` of its own


UnknownInText = Annotated[
    Unknown, typer.Option("--unknown", help="What to do with characters of --text that the model does not know.")
]
Ngram = Annotated[
    bool,
    typer.Option("--ngram", help="Mix the network with n-gram counts of its training text, which takes some seconds."),
]


def with_ngram(model: TrainedModel, corpus: Sequence[str] | None, *, longest: int | None = None) -> TrainedModel:
    """The model mixed with n-gram counts of its training text.

    Raises:
        DataError: the text is missing, is another one or has no validation part.
    """
    with naming_corpus(corpus, None if longest else "leave out --ngram"):
        return model.with_ngram(corpus or (), longest=longest)


def at_home(path: Path | None) -> Path | None:
    """A directory with `~` as the home folder, which no shell expands after an equals sign."""
    return None if path is None else Path(os.path.expanduser(path))


def parts_of(loaded: Checkpoint, corpus: Sequence[str] | None, *, without: str | None = None) -> dict[str, IdArray]:
    """The parts of the text that a run was trained on; see `charrnn.runs.text.corpus_parts`.

    Args:
        loaded: a checkpoint of the run.
        corpus: where the text is now.
        without: how to do without it, as a hint says it.

    Raises:
        DataError: the text is missing or is another one; the hint names the option.
        UnknownTextError: the checkpoint does not say which it is.
    """
    from charrnn.runs.text import corpus_parts

    with naming_corpus(corpus, without):
        return corpus_parts(loaded, corpus or ())


@contextmanager
def naming_corpus(corpus: Sequence[str] | None, without: str | None = None) -> Iterator[None]:
    """Make the error about a moved text name the option that helps, or the way to do `without`."""
    from charrnn.errors import DataError
    from charrnn.runs.text import MissingTextError, UnknownTextError

    try:
        yield
    except UnknownTextError as error:
        error.hint = without
        raise
    except MissingTextError as error:
        where = "--corpus must name the text of the run" if corpus else "give its path with --corpus PATH"
        where += f", or {without}" if without else ""
        raise DataError(error.message, hint=f"{where}; {error.hint}" if error.hint else None) from None
