"""`charrnn export` and `charrnn import`."""

from __future__ import annotations

import shlex
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from charrnn.cli.arguments import OneCheckpoint, chosen, output_file
from charrnn.cli.output import tell
from charrnn.cli.text_options import at_home

EXAMPLE = "Example: charrnn export checkpoints/quickstart --to html -o page.html"
EXAMPLE_IMPORT = (
    "Example: charrnn export --to json -o model.json && charrnn import model.json --run-dir checkpoints/imported"
)


class Format(str, Enum):
    """What `charrnn.formats.EXPORTERS` has."""

    html = "html"
    json = "json"
    onnx = "onnx"
    safetensors = "safetensors"
    torch = "torch"


class Nonlinearity(str, Enum):
    """What PyTorch's nn.RNN can have."""

    tanh = "tanh"
    relu = "relu"


def export(
    checkpoint: OneCheckpoint = None,
    to: Annotated[
        Format | None,
        typer.Option(
            help="Output format: html is a page that generates text, torch a state_dict with a script, onnx one step. "
            "Default: that of the output file's suffix; html where it has none."
        ),
    ] = None,
    output: Annotated[
        Path | None, output_file("Output file. Default: the run's name with the format's suffix.")
    ] = None,
) -> None:
    """Write a model in another format. docs/export.md has an example of each."""
    from charrnn.files import writing
    from charrnn.formats import SUFFIXES, exporter, format_of
    from charrnn.runs.checkpoint import load_checkpoint

    kind = (to or Format.html).value if output is None or not output.suffix else format_of(output, to and to.value)
    (path,) = chosen([checkpoint])
    loaded = load_checkpoint(path)
    if output is None:
        output = Path(path.resolve().parent.name + SUFFIXES[kind])
    with writing(output):
        written = exporter(kind)(loaded, output)
    tell(*(f"wrote {file}" for file in written))


def _note(text: str) -> None:
    tell(f"note: {text}")


def import_(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="PyTorch state_dict, .safetensors, or .json from `charrnn export`.")
    ],
    run_dir: Annotated[Path, typer.Option("--run-dir", callback=at_home, help="Directory for the imported run.")],
    vocab: Annotated[
        Path | None,
        typer.Option(help="Vocabulary: a JSON list of characters in id order, or the text the network was trained on."),
    ] = None,
    rnn: Annotated[str | None, typer.Option(help="Name of the recurrent network, if the file has several.")] = None,
    head: Annotated[str | None, typer.Option(help="Name of the output layer, if it cannot be detected.")] = None,
    embedding: Annotated[str | None, typer.Option(help="Name of the embedding, if it cannot be detected.")] = None,
    nonlinearity: Annotated[
        Nonlinearity | None, typer.Option(help="Nonlinearity of an nn.RNN, which its weights do not show.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the run in the directory.")] = False,
) -> None:
    """Convert a PyTorch network to a checkpoint.

    It must be an nn.RNN, nn.LSTM or nn.GRU followed by a linear layer.
    """
    from charrnn.files import writing
    from charrnn.formats.load import ArrayNames, import_model, read_vocabulary
    from charrnn.runs.checkpoint import save_checkpoint
    from charrnn.runs.directory import RunDirectory

    folder = RunDirectory(run_dir)
    if not overwrite:
        folder.check_free(resumable=False)
    vocabulary = None if vocab is None else read_vocabulary(vocab)
    source = str(vocab) if vocab is not None and vocab.suffix.lower() != ".json" else "imported"
    loaded = import_model(
        file, vocabulary, source=source, names=ArrayNames(rnn, head, embedding),
        nonlinearity=nonlinearity and nonlinearity.value, note=_note,
    )  # fmt: skip
    folder.open_new(loaded.config, overwrite=overwrite)
    with writing(folder.last):
        save_checkpoint(folder.last, loaded)
    m = loaded.config.model
    size = sum(values.size for values in loaded.params.values())
    tell(
        f"{folder.last}: {m.num_layers} x {m.hidden_size} {m.cell}, {len(loaded.vocabulary)} symbols, "
        f"{size:,} parameters; now: charrnn sample {shlex.quote(str(run_dir))}"
    )
