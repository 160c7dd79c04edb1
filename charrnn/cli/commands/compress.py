"""`charrnn compress` and `charrnn decompress`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from charrnn.cli.arguments import named_runs, output_file
from charrnn.cli.output import tell
from charrnn.cli.text_options import Corpus, Ngram, with_ngram

EXAMPLE = "Example: charrnn sample -q > text.txt && charrnn compress checkpoints/quickstart text.txt -o text.crnn"
EXAMPLE_BACK = "Example: charrnn decompress checkpoints/quickstart text.crnn -o text.txt"

_Model = Annotated[Path, named_runs("CKPT", "Checkpoint or run directory.")]
_Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Show nothing but errors.")]


def compress(
    checkpoint: _Model,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="File to compress, of any kind.")],
    output: Annotated[Path, output_file("Compressed file to write.")],
    streams: Annotated[
        int | None,
        typer.Option(
            min=1, max=65535, help="Number of segments read in parallel: more is faster, but compresses less."
        ),
    ] = None,
    ngram: Ngram = False,
    corpus: Corpus = None,
    baselines: Annotated[bool, typer.Option(help="Also show the sizes that gzip, xz and bz2 reach.")] = True,
    as_json: Annotated[bool, typer.Option("--json", help="Write the sizes as one JSON object.")] = False,
    quiet: _Quiet = False,
) -> None:
    """Compress a file losslessly with a model's predictions.

    The same model on the same kind of machine restores it.
    """
    from charrnn.api import load
    from charrnn.cli.output import write_json
    from charrnn.cli.views.progress import byte_progress
    from charrnn.cli.views.table import print_table
    from charrnn.evaluation.compression import codec
    from charrnn.evaluation.compressors import compressed_bits_per_char
    from charrnn.files import read_named

    loaded = load(checkpoint)
    data = read_named(file)
    _check_apart(output, file)
    if ngram:
        loaded = with_ngram(loaded, corpus)
    start = loaded.text_model.starts[0]
    with byte_progress("compressing", quiet=quiet) as tick:
        packed, bits = codec.compress(
            data, loaded.models[0], loaded.vocabulary, start=start, mixture=loaded.mixture, streams=streams, tick=tick
        )
    _write(output, packed)
    stored = codec.is_stored(packed)
    sizes = {"content": len(data), "compressed": len(packed), "entropy": bits / 8}
    if baselines and data:
        sizes |= {name: round(b * len(data) / 8) for name, b in compressed_bits_per_char(data, len(data)).items()}
    if as_json:
        write_json({"file": str(file), "output": str(output), "stored": stored, "bytes": sizes})
    elif not quiet:
        written = "stored uncompressed, which is smaller" if stored else "compressed by the model"
        labels = {"content": "uncompressed", "compressed": written, "entropy": "the model's entropy"}
        rows = [(labels.get(k, k), f"{v:,.0f}", f"{v / max(1, len(data)):.4f}") for k, v in sizes.items()]
        print_table(str(file), ("", "bytes", "share"), rows)


def decompress(
    checkpoint: _Model,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="File made by `charrnn compress`.")],
    output: Annotated[Path, output_file("Restored file to write.")],
    corpus: Corpus = None,
    quiet: _Quiet = False,
) -> None:
    """Restore a compressed file, byte for byte."""
    from charrnn.api import load
    from charrnn.cli.views.progress import byte_progress
    from charrnn.errors import naming
    from charrnn.evaluation.compression import codec
    from charrnn.files import read_named

    loaded = load(checkpoint)
    packed = read_named(file)
    _check_apart(output, file)
    with naming(file):
        if longest := codec.longest_ngram(packed):
            loaded = with_ngram(loaded, corpus, longest=longest)
        start, mixture = loaded.text_model.starts[0], loaded.mixture
        with byte_progress("decompressing", quiet=quiet) as tick:
            data = codec.decompress(
                packed, loaded.models[0], loaded.vocabulary, start=start, mixture=mixture, tick=tick
            )
    _write(output, data)
    if not quiet:
        tell(f"wrote {output}, {len(data):,} bytes")


def _check_apart(output: Path, file: Path) -> None:
    from charrnn.errors import SettingsError

    if output.exists() and output.samefile(file):
        raise SettingsError(f"{output}: would be replaced by what is made from it", hint="choose another --output")


def _write(output: Path, data: bytes) -> None:
    from charrnn.files import write_output, writing

    with writing(output):
        write_output(output, data)
