"""What all views of `charrnn inspect` start from: a checkpoint and a text it can read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from charrnn.cli.arguments import chosen, named_runs
from charrnn.cli.text_options import Unknown, parts_of

if TYPE_CHECKING:
    from charrnn.evaluation.reading import Around
    from charrnn.nn.network import CharRNN
    from charrnn.nn.params import IdArray
    from charrnn.runs.checkpoint import Checkpoint

Checkpoints = Annotated[
    list[Path] | None,
    named_runs("[CKPT...]", "Checkpoints or run directories; default: the newest."),
]
TextFile = Annotated[Path | None, typer.Option("--text", help="Text file to read. Default: the run's validation part.")]
Start = Annotated[int, typer.Option(min=0, help="Number of characters to skip at the beginning.")]
Length = Annotated[int, typer.Option(min=2, help="Number of characters to read.")]
AsJson = Annotated[bool, typer.Option("--json", help="Write the numbers as one JSON object.")]

_ENOUGH = 1 << 16  # symbols read before a text, so that its state does not depend on where reading started


@dataclass(frozen=True)
class ModelAndText:
    """A network and what it is to read.

    Attributes:
        name: of the run or file.
        where: the text, as a message names it.
        checkpoint: loaded.
        model: with its parameters.
        ids: (N,) the text.
        around: its separator, and what comes before it.
    """

    name: str
    where: str
    checkpoint: Checkpoint
    model: CharRNN
    ids: IdArray
    around: Around

    @property
    def text(self) -> Sequence[str]:
        """The ids as texts to be shown, one for each; see `Vocabulary.symbols`."""
        return self.checkpoint.vocabulary.symbols(self.ids)

    def symbol(self, index: int) -> str:
        """One symbol as a text to be shown."""
        return self.checkpoint.vocabulary.symbols([index])[0]


def inspected(
    path: Path | None,
    text: Path | None,
    start: int,
    length: int,
    corpus: list[str] | None = None,
    unknown: Unknown = Unknown.error,
) -> ModelAndText:
    """Load a checkpoint and `length` symbols of a text from `start`.

    Args:
        path: of the checkpoint or run; None: the newest.
        text: file to read; None: a part of the run's own text.
        start: symbols of it to skip.
        length: symbols to read.
        corpus: where the run's text is now.
        unknown: what to do with characters of `text` that the model does not know.

    Raises:
        CheckpointError, DataError: as the loaders; also where the text is shorter than `start` + 2.
    """
    import numpy as np

    from charrnn.amounts import counted
    from charrnn.errors import DataError
    from charrnn.runs.checkpoint import load_checkpoint
    from charrnn.runs.text import file_ids, separator_ids, text_before

    (file,) = chosen([path])
    loaded = load_checkpoint(file)
    if text is None:
        parts = parts_of(loaded, corpus, without="read another text with --text FILE")
        split = "val" if len(parts["val"]) > 1 else "train"
        ids, earlier, where = parts[split], text_before(parts, split), f"{loaded.config.corpus.title}, {split} part"
    else:
        ids, earlier, where = file_ids(text, loaded, unknown.value), None, str(text)
    piece = ids[start : start + length]
    if len(piece) < 2:
        shorter = f"choose a --start below {len(ids) - 1:,}" if len(ids) > 2 else "choose a longer --text"
        raise DataError(f"{where}: {counted(len(ids), 'character')}", hint=shorter)
    name = file.parent.name if file.name in ("best.npz", "last.npz") else file.stem
    separator = separator_ids(loaded.config.corpus, loaded.vocabulary)
    before = np.concatenate(([] if earlier is None else earlier[-_ENOUGH:], ids[:start])).astype(ids.dtype)
    around: Around = {"separator": separator, "before": before}
    return ModelAndText(name, where, loaded, loaded.build_model(), piece, around)
