"""The text of a run and its parts: the one place that knows which symbols train, validate and test a model.

Training encodes its corpus here; evaluation, inspection and reports find the same text again by its hash, even if it
has moved, and split it into the same parts.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from charrnn.config.schema import CorpusSettings, source_name
from charrnn.data.corpora import cache_dir, catalogue, find_files, spool_dir
from charrnn.data.decoding import TextRules
from charrnn.data.documents import alphabetical, shuffled
from charrnn.data.encode import EncodedText, OtherTextError, encode_text
from charrnn.data.raw import RawFile, spooled
from charrnn.data.sources import STDIN, FoundFiles, expand
from charrnn.data.vocabulary import Vocabulary
from charrnn.data.windows import split_bounds
from charrnn.errors import DataError, naming
from charrnn.files import read_named
from charrnn.nn.params import IdArray
from charrnn.runs.checkpoint import Checkpoint

ByteProgress = Callable[[int, int | None], None]
Bar = Callable[..., AbstractContextManager[ByteProgress]]  # of a label and, where it is not bytes, a unit
_MOST_UNPACKED = 1 << 30  # most bytes of a compressed file read at once


@contextmanager
def no_bar(label: str, unit: str = "B") -> Iterator[ByteProgress]:
    """Shows nothing."""
    yield lambda done, total: None


class MissingTextError(DataError):
    """The text of a run has moved or changed."""


class UnknownTextError(MissingTextError):
    """A checkpoint does not say which text it was trained on, so no text can be found to be that one."""


@dataclass(frozen=True)
class Origin:
    """What a run knows of its text.

    Attributes:
        sha256: of the text; "" before there is one.
        started_in: the folder that relative sources start from, besides the current one.
    """

    sha256: str = ""
    started_in: str = ""

    @classmethod
    def of(cls, saved: Checkpoint) -> Origin:
        """From a checkpoint's metadata."""
        counters = saved.counters
        return cls(str(counters.get("text_sha256") or ""), str(counters.get("started_in") or ""))


def encode_corpus(
    corpus: CorpusSettings,
    *,
    known: Vocabulary | None = None,
    origin: Origin | None = None,
    bar: Bar = no_bar,
) -> EncodedText:
    """The corpus named in the settings: found, fetched and encoded if necessary, and split.

    Args:
        corpus: the settings.
        known: symbols that get an id even if the text lacks them.
        origin: of the only acceptable text; None accepts any.
        bar: makes, from a label, a context that yields a callback for (bytes done, total bytes or None), for
            downloading and encoding.

    Raises:
        DataError: no such text, unreadable, empty, not in its encoding, or not to be split.
        MissingTextError: only texts other than the expected one.
    """
    refused: DataError | None = None
    origin = origin or Origin()
    expected = origin.sha256
    for place, found in _candidates(corpus, origin, bar):
        if isinstance(found, DataError):
            refused = refused or found
            continue
        try:
            with bar("encoding the text") as tick:
                text = _encode(found.paths, corpus, known, expected, tick)
        except OtherTextError as error:
            refused = error
            continue
        relative = any(not _is_absolute(source) for source in corpus.sources)
        text = replace(text, notes=found.notes + text.notes, started_in=os.path.abspath(place) if relative else "")
        with naming(corpus.title):
            return _split(text, corpus, new=not expected)
    if expected and isinstance(refused, OtherTextError):
        raise MissingTextError(
            f"{corpus.title}: not the text this run was trained on", hint=f"its SHA-256 is {expected}"
        )
    if expected and refused:
        raise MissingTextError(refused.message, hint=f"the text's SHA-256 is {expected}")
    raise refused or DataError(f"{corpus.title}: no such text")


def _candidates(corpus: CorpusSettings, origin: Origin, bar: Bar) -> Iterator[tuple[str, FoundFiles | DataError]]:
    """Where the text may be: the copy of a pipe, then relative to the run's folder, then to the current one."""
    if origin.sha256 and (kept := spooled(spool_dir(), origin.sha256)).is_file():
        yield "", FoundFiles((kept,))
    for place in dict.fromkeys((origin.started_in, "")):
        try:
            with bar(f"fetching {corpus.title}") as tick:
                found = find_files(corpus.source, encoding=corpus.encoding, base=Path(place), progress=tick)
        except DataError as error:
            yield place, error
        else:
            yield place, found


def _is_absolute(source: str) -> bool:
    return source == STDIN or source in catalogue() or os.path.isabs(expand(source))


def _encode(
    paths: Sequence[Path],
    corpus: CorpusSettings,
    known: Vocabulary | None,
    expected: str,
    progress: ByteProgress,
) -> EncodedText:
    def encode(*, join: bool) -> EncodedText:
        return encode_text(
            paths, corpus.encoding, cache_dir() / "encoded", rules=TextRules.of(corpus, join=join), known=known,
            expected=expected or None, progress=progress,
        )  # fmt: skip

    try:
        return encode(join=True)
    except OtherTextError:
        if len(paths) == 1 or corpus.documents == "files":
            raise
        return encode(join=False)  # the text of a run from before files were joined with a line end


def _split(text: EncodedText, corpus: CorpusSettings, *, new: bool) -> EncodedText:
    separator = separator_ids(corpus, text.vocabulary)
    if corpus.split == "shuffled" and separator is not None:
        return shuffled(
            text,
            separator,
            seed=corpus.split_seed,
            val_fraction=corpus.val_fraction,
            test_fraction=corpus.test_fraction,
        )
    notes = text.notes
    if new and corpus.val_fraction and (what := _in_order(text, separator)):
        notes += (f"{what} are in alphabetical order, so the validation part is only their end; {_REMEDY[what]}",)
    bounds = split_bounds(len(text.ids), val_fraction=corpus.val_fraction, test_fraction=corpus.test_fraction)
    return replace(text, bounds=bounds, notes=notes)


_REMEDY = {
    "the documents": "corpus.split: shuffled draws it from all of them",
    "the lines": "corpus.documents: lines with corpus.split: shuffled draws it from all of them",
}


def _in_order(text: EncodedText, separator: IdArray | None) -> str | None:
    """What is in alphabetical order, if anything."""
    if separator is not None:
        return "the documents" if alphabetical(text, separator) else None
    newline = text.vocabulary.encode("\n", unknown="skip")
    return "the lines" if len(newline) and alphabetical(text, newline) else None


def separator_ids(corpus: CorpusSettings, vocabulary: Vocabulary) -> IdArray | None:
    """The ids that end a document; None if the text is one document.

    Raises:
        DataError: the text has no such symbols.
    """
    if corpus.document_separator is None:
        return None
    try:
        return vocabulary.encode(corpus.document_separator, what="corpus.document_separator")
    except DataError as error:
        raise DataError(error.message, hint="set it to a text that separates the documents of the corpus") from None


def split_parts(text: EncodedText, corpus: CorpusSettings) -> dict[str, IdArray]:
    """The ids of the parts train, val and test."""
    bounds = text.bounds or split_bounds(
        len(text.ids), val_fraction=corpus.val_fraction, test_fraction=corpus.test_fraction
    )
    return {name: text.ids[slice(*span)] for name, span in bounds.items()}


def run_text(loaded: Checkpoint, source: Sequence[str] = ()) -> EncodedText:
    """The text that a run was trained on.

    Args:
        loaded: the run's checkpoint.
        source: where the text is now, as one or, for several runs, each on its own; the original location is tried too.

    Raises:
        DataError: it cannot be read.
        MissingTextError: it is missing, or is another text.
        UnknownTextError: the checkpoint does not say which it is.
    """
    origin = Origin.of(loaded)
    if not origin.sha256:
        raise UnknownTextError(
            f"{loaded.file or 'the checkpoint'}: does not say which text it was trained on (imported networks do not)"
        )
    corpus = loaded.config.corpus
    places = [moved(corpus, source), *(moved(corpus, [item]) for item in source if len(source) > 1)] if source else []
    refused: DataError | None = None
    for place in (*places, corpus):
        try:
            # With the model's symbols, which may outnumber the text's: it may have started from another run's weights.
            return encode_corpus(place, known=loaded.vocabulary, origin=origin)
        except DataError as error:
            refused = refused or error
    assert refused is not None
    raise refused


def moved(corpus: CorpusSettings, source: Sequence[str]) -> CorpusSettings:
    """The settings with the text at another location; relative paths start from the current folder."""
    places = tuple(item if _is_absolute(item) else os.path.abspath(expand(item)) for item in source)
    return _with_source(corpus, places[0] if len(places) == 1 else places)


def _with_source(corpus: CorpusSettings, source: str | tuple[str, ...]) -> CorpusSettings:
    import msgspec

    return msgspec.structs.replace(corpus, source=source)


def corpus_parts(loaded: Checkpoint, source: Sequence[str] = ()) -> dict[str, IdArray]:
    """The parts of the text that a run was trained on; see `run_text`."""
    return split_parts(run_text(loaded, source), loaded.config.corpus)


def text_before(parts: dict[str, IdArray], split: str) -> IdArray | None:
    """The part of the corpus that comes before a split: the state it leaves is the split's initial state."""
    names = list(parts)
    earlier = [parts[name] for name in names[: names.index(split)] if len(parts[name])]
    return earlier[-1] if earlier else None


def file_ids(text: Path, loaded: Checkpoint, unknown: str) -> IdArray:
    """A file (or standard input, `-`) as the model's ids.

    Args:
        text: the file, read with the encoding, line ends and normal form of the run.
        loaded: the run's checkpoint.
        unknown: what to do with symbols that the model does not know: error, skip or replace.

    Raises:
        DataError: unreadable, not in its encoding, or symbols that are unknown.
    """
    name, decoded = read_text(text, TextRules.of(loaded.config.corpus))
    return loaded.vocabulary.encode(decoded, what=name, unknown=unknown)


def read_text(text: Path, rules: TextRules) -> tuple[str, str | bytes]:
    """The name of a file (or standard input, `-`) and its content: characters, or bytes for a model of bytes.

    Raises:
        DataError: unreadable, or not in its encoding.
    """
    name = source_name(str(text))
    return name, rules.decode(_read(text), name=name)


def _read(text: Path) -> bytes:
    if str(text) == STDIN:
        return sys.stdin.buffer.read()
    if not text.is_file():  # a pipe, or missing
        return read_named(text)
    with RawFile(text) as file:
        data = bytearray()
        while piece := file.read(1 << 20):
            data += piece
            if file.packed and len(data) > _MOST_UNPACKED:
                raise DataError(f"{text}: unpacks to more than {_MOST_UNPACKED:,} bytes", hint="unpack it to a file")
        return bytes(data)
