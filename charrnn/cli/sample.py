"""`charrnn sample`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from charrnn.cli.sampler_flags import SamplerFlags, with_sampler_flags

if TYPE_CHECKING:
    from charrnn.checkpoint import Checkpoint
    from charrnn.vocabulary import IdArray, Vocabulary

EXAMPLE = 'Example: charrnn sample checkpoints/quickstart --temperature 0.7 --length 300 --prime "The "'


class Unknown(Enum):
    """What to do with prompt characters the model does not know."""

    error = "error"
    skip = "skip"
    replace = "replace"


@with_sampler_flags
def sample(
    flags: SamplerFlags,
    checkpoint: Annotated[
        Path | None, typer.Argument(metavar="[CKPT]", help="Checkpoint or run directory; default: the newest run.")
    ] = None,
    length: Annotated[int, typer.Option(min=0, help="Characters to make.")] = 500,
    prime: Annotated[str | None, typer.Option(help="Text to continue; - reads standard input.")] = None,
    prime_file: Annotated[Path | None, typer.Option(help="File to continue; - reads standard input.")] = None,
    seed: Annotated[
        int | None, typer.Option(min=0, help="Same seed, same text; default: a new one, told on stderr.")
    ] = None,
    num_samples: Annotated[int, typer.Option(min=1, help="Samples to make at once.")] = 1,
    separator: Annotated[str, typer.Option(help="Line between two samples.")] = "---",
    unknown: Annotated[Unknown, typer.Option(help="Prompt characters that the model does not know.")] = Unknown.error,
    include_prime: Annotated[bool, typer.Option(help="Write the prime before its continuation.")] = True,
    memorisation: Annotated[
        bool, typer.Option("--memorisation", help="Tell afterwards how much of it stands in the training text.")
    ] = False,
    raw: Annotated[bool, typer.Option("--raw", help="Control characters as they are, even on a terminal.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Do not tell the seed.")] = False,
) -> None:
    """Write text, character by character as it is made. docs/sampling.md explains how characters are chosen."""
    from charrnn.checkpoint import find_checkpoint, load_checkpoint
    from charrnn.sampling import default_prime

    loaded = load_checkpoint(find_checkpoint(checkpoint))
    options = flags.options(loaded.vocabulary)
    ids = _prime_ids(prime, prime_file, loaded.vocabulary, unknown.value)
    if seed is None:
        seed = _new_seed()
        if not quiet:
            sys.stderr.write(f"seed: {seed}\n")
    shown = loaded.vocabulary.decode(ids) if include_prime else ""
    start = ids if len(ids) else default_prime(loaded.vocabulary)
    write = _writer(raw=raw)
    generate = _stream if num_samples == 1 else _batch
    made: list[str] = []
    generate(
        loaded, start, shown, write, length=length, seed=seed, count=num_samples, options=options, line=separator,
        made=made,
    )  # fmt: skip
    if memorisation:
        _tell_copied(loaded, made)


def _stream(loaded, start, shown, write, *, length, seed, count, options, line, made) -> None:  # type: ignore[no-untyped-def]
    from charrnn.sampling import generate_text

    write(shown if isinstance(shown, str) else shown.decode("utf-8", "replace"))
    pieces = []
    for piece in generate_text(
        loaded.build_model(ride=False), loaded.vocabulary, start, length=length, seed=seed, options=options
    ):
        write(piece)
        pieces.append(piece)
    made.append("".join(pieces))
    write("\n")


def _batch(loaded, start, shown, write, *, length, seed, count, options, line, made) -> None:  # type: ignore[no-untyped-def]
    import numpy as np

    from charrnn.sampling import TextDecoder, generate_ids

    steps = generate_ids(
        loaded.build_model(ride=False), start, length=length, seed=seed, num_samples=count, options=options
    )
    columns = np.stack([ids.copy() for ids in steps], axis=1) if length else np.empty((count, 0), np.intp)
    for index, ids in enumerate(columns):
        decoder = TextDecoder(loaded.vocabulary)
        write(f"{line}\n" if index else "")
        write(shown if isinstance(shown, str) else shown.decode("utf-8", "replace"))
        made.append("".join(decoder.feed(int(symbol)) for symbol in ids) + decoder.finish())
        write(made[-1] + "\n")


def _tell_copied(loaded: Checkpoint, texts: list[str]) -> None:
    """On standard error: which share of all samples' n-grams the model has seen."""
    from charrnn.cli.evaluate import corpus_parts
    from charrnn.cli.memorised import facts, percent

    found = facts(loaded.vocabulary.encode("".join(texts)), corpus_parts(loaded)["train"], loaded)
    shares = ", ".join(f"{percent(share)} of {n}" for n, share in found["shares"].items() if share == share)
    sys.stderr.write(
        f"n-grams that stand in the training text: {shares} characters; longest piece: {found['longest']} characters\n"
    )


def _writer(*, raw: bool) -> Callable[[str], None]:
    from charrnn.cli.output import visible, write

    return write if raw or not sys.stdout.isatty() else lambda text: write(visible(text))


def _prime_ids(prime: str | None, prime_file: Path | None, vocabulary: Vocabulary, unknown: str) -> IdArray:
    from charrnn.errors import DataError, SettingsError

    if prime is not None and prime_file is not None:
        raise SettingsError("--prime and --prime-file cannot both be given")
    if prime_file is None and prime != "-":
        return vocabulary.encode(prime or "", what="--prime", unknown=unknown)
    name = "standard input" if prime_file is None or str(prime_file) == "-" else str(prime_file)
    try:
        data = sys.stdin.buffer.read() if name == "standard input" else Path(name).read_bytes()
        text = data if vocabulary.encoding == "bytes" else data.decode("utf-8-sig")
    except OSError as error:
        raise DataError(f"{name}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise DataError(f"{name}: not valid UTF-8 at byte offset {error.start}") from None
    return vocabulary.encode(text, what=name, unknown=unknown)


def _new_seed() -> int:
    import secrets

    return secrets.randbits(31)
