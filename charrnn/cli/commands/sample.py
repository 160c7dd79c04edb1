"""`charrnn sample`."""

from __future__ import annotations

import sys
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from charrnn.cli.arguments import Checkpoints, chosen, only_one
from charrnn.cli.commands.sampling.flags import PANEL, SamplingFlags, characters, with_sampling_flags
from charrnn.cli.output import tell
from charrnn.cli.text_options import Corpus, Ngram, Unknown, parts_of, with_ngram

if TYPE_CHECKING:
    from charrnn.cli.commands.sampling.job import Job
    from charrnn.data.decoding import TextRules
    from charrnn.data.vocabulary import Vocabulary
    from charrnn.nn.params import IdArray
    from charrnn.sampling.constraint import Constraint
    from charrnn.sampling.generate import StopConditions
    from charrnn.sampling.options import SamplingOptions

_LENGTH_PENALTY = 1.0
EXAMPLE = 'Example: charrnn sample checkpoints/quickstart --temperature 0.7 --length 300 --prompt "The "'
# Panels of the help, with their options in the order of use. `--help` shows the common ones, `--help-all` all.
PANELS = {
    "What to write": (
        "prompt", "prompt_file", "num_samples", "interactive", "fill", "num_items", "unique", "not_in_training", "cold",
        "unknown",
    ),
    PANEL: (
        "temperature", "top_k", "top_p", "min_p", "seed", "best_of", "beam", "length_penalty", "constrain", "ngram",
    ),
    "When to stop": ("length", "stop", "stop_on_newline", "until_words"),
    "Output": (
        "as_json", "colour", "include_prompt", "separator", "memorisation", "corpus", "output_encoding", "raw", "quiet",
    ),
}  # fmt: skip
COMMON = (
    "prompt", "num_samples", "interactive", "temperature", "top_k", "top_p", "seed", "length", "stop", "as_json",
)  # fmt: skip


class Colour(str, Enum):
    """What characters are coloured by."""

    surprise = "surprise"
    entropy = "entropy"


@with_sampling_flags
def sample(
    flags: SamplingFlags,
    checkpoints: Checkpoints = None,
    length: Annotated[int, typer.Option(min=0, help="Maximum number of characters to generate.")] = 500,
    prompt: Annotated[
        str | None, typer.Option("--prompt", "--prime", help="Text to continue; - reads standard input.")
    ] = None,
    prompt_file: Annotated[
        Path | None, typer.Option("--prompt-file", "--prime-file", help="File to continue; - reads standard input.")
    ] = None,
    cold: Annotated[
        bool,
        typer.Option("--cold", help="Start from the zero state instead of a state seen in training."),
    ] = False,
    fill: Annotated[
        Path | None,
        typer.Option(
            help="File whose blanks {{line}}, {{word}} or {{40}} (characters) to fill in; - reads standard input."
        ),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(min=0, help="Random seed. Default: random, printed to stderr so you can repeat the sample."),
    ] = None,
    num_samples: Annotated[int, typer.Option(min=1, help="Number of samples to generate.")] = 1,
    num_items: Annotated[
        int | None,
        typer.Option(min=1, help="Generate this many whole items: documents, or lines if the text has none."),
    ] = None,
    unique: Annotated[bool, typer.Option("--unique", help="With --num-items: generate no item twice.")] = False,
    not_in_training: Annotated[
        bool, typer.Option("--not-in-training", help="With --num-items: skip items that occur in the training text.")
    ] = False,
    best_of: Annotated[
        int, typer.Option(min=0, help="Generate N samples and show the --num-samples most likely ones.")
    ] = 0,
    stop: Annotated[
        list[str] | None, typer.Option(help=r"Stop before this text; \n is a line end. Repeatable.")
    ] = None,
    stop_on_newline: Annotated[bool, typer.Option("--stop-on-newline", help="Stop at the end of the line.")] = False,
    until_words: Annotated[int | None, typer.Option(min=1, help="Stop after this many words.")] = None,
    constrain: Annotated[
        str | None,
        typer.Option(
            metavar="REGEX",
            help="Generate only text that fully matches this regular expression.",
        ),
    ] = None,
    beam: Annotated[int, typer.Option(min=0, help="Beam search with this many beams (deterministic).")] = 0,
    length_penalty: Annotated[
        float, typer.Option(min=0.0, help="Beam score: 1 ranks by mean log-probability per character, 0 by total.")
    ] = _LENGTH_PENALTY,
    separator: Annotated[str, typer.Option(help="Line to write between two samples.")] = "---",
    unknown: Annotated[
        Unknown, typer.Option(help="What to do with prompt characters that the model does not know.")
    ] = Unknown.error,
    include_prompt: Annotated[
        bool,
        typer.Option(
            "--include-prompt/--no-include-prompt",
            "--include-prime/--no-include-prime",
            help="Write the prompt before its continuation.",
        ),
    ] = True,
    colour: Annotated[
        Colour | None,
        typer.Option("--color", help="Colour each character by its surprise or by the entropy of the prediction."),
    ] = None,
    interactive: Annotated[
        bool, typer.Option("--interactive", "-i", help="Type prompts and see them continued; :help lists the commands.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Write one JSON object with every character's log-probability.")
    ] = False,
    memorisation: Annotated[
        bool,
        typer.Option(
            "--memorization",
            "--memorisation",
            help="Report how much of the output is copied from the training text.",
        ),
    ] = False,
    ngram: Ngram = False,
    corpus: Corpus = None,
    output_encoding: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Encoding in which a terminal shows a byte model's output. Default: utf-8."),
    ] = None,
    raw: Annotated[bool, typer.Option("--raw", help="Write control characters unchanged, even to a terminal.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Do not print the seed.")] = False,
) -> None:
    """Generate text, shown character by character.

    docs/sampling.md explains the filters.
    """
    from charrnn.api import load
    from charrnn.cli.byte_output import keep_bytes, typed
    from charrnn.cli.commands.sampling import job as jobs
    from charrnn.cli.views.memorised import check_one_text

    _check_together(locals())
    loaded = load(*chosen(checkpoints, quiet=quiet), cold=cold)
    train = None
    if memorisation:
        check_one_text(loaded)
        train = parts_of(loaded.checkpoints[0], corpus, without="leave out --memorization")["train"]
    if ngram:
        loaded = with_ngram(loaded, corpus)
    encoding = keep_bytes(loaded.vocabulary, output_encoding)
    stop = [
        "".join(characters(typed(text, loaded.vocabulary, encoding, what="--stop"), loaded.vocabulary.encoding))
        for text in stop or []
    ]
    if prompt not in (None, "-"):
        prompt = typed(loaded.rules.convert(prompt), loaded.vocabulary, encoding, what="--prompt")
    options = flags.options(loaded.vocabulary)
    if beam:
        _check_beam(options)
    constraint = None if constrain is None else _constraint(constrain, loaded.vocabulary, options)
    job = jobs.Job(
        loaded, options, _prompt_ids(prompt, prompt_file, loaded.vocabulary, unknown.value, loaded.rules),
        _stop_conditions(length, stop, stop_on_newline, until_words, constraint),
        _seed(seed, quiet, beam), count=num_samples, best_of=best_of, separator=separator,
        include_prime=include_prompt, raw=raw, output_encoding=encoding,
        colour=None if colour is None else colour.value, keep=memorisation,
    )  # fmt: skip
    if not interactive:
        jobs.speed_up(job)
    if num_items is not None:
        from charrnn.cli.commands.sampling.items import write_items

        write_items(job, num_items, corpus, unique=unique, not_in_training=not_in_training, as_json=as_json)
    else:
        _do(job, fill, beam, length_penalty, unknown.value, interactive=interactive, as_json=as_json)
    if train is not None:
        jobs.tell_copied(job, train)


def _do(
    job: Job, fill: Path | None, beam: int, penalty: float, unknown: str, *, interactive: bool, as_json: bool
) -> None:
    from charrnn.cli.commands.sampling import job as jobs

    if interactive:
        from charrnn.cli.commands.sampling.interactive import converse

        converse(job, unknown)
    elif fill is not None:
        from charrnn.cli.commands.sampling.fill import fill_in

        fill_in(job, _read(fill), str(fill), unknown)
    elif beam:
        jobs.write_beams(job, beam, penalty, as_json=as_json)
    elif as_json:
        jobs.write_as_json(job)
    elif job.count == 1 and not job.best_of:
        jobs.stream(job)
    else:
        jobs.write_batch(job)


def _check_together(given: dict[str, object]) -> None:
    from charrnn.errors import SettingsError

    given = given | {"num_samples": given["num_samples"] != 1}
    whole = ("interactive", "fill", "beam", "num_items")
    refused: dict[str, tuple[str, ...]] = {
        "interactive": ("prompt", "prompt_file", "best_of", "memorisation", "num_samples", "as_json"),
        "fill": (
            "prompt", "prompt_file", "best_of", "num_samples", "colour", "constrain", "stop", "stop_on_newline",
            "until_words", "as_json",
        ),
        "beam": ("best_of", "constrain", "until_words", "colour"),
        "num_items": ("num_samples", "best_of", "colour", "stop", "stop_on_newline", "until_words"),
        "constrain": ("stop", "stop_on_newline", "until_words"),
        "as_json": ("colour",),
    }  # fmt: skip
    spelled = {"as_json": "json", "colour": "color"}
    for name, incompatible in refused.items():
        for other in (*incompatible, *(other for other in whole if name in whole and other != name)):
            only_one(**{spelled.get(option, option): bool(given[option]) for option in (name, other)})
    if given["length_penalty"] != _LENGTH_PENALTY and not given["beam"]:
        raise SettingsError("--length-penalty needs --beam")
    for name in ("unique", "not_in_training"):
        if given[name] and not given["num_items"]:
            raise SettingsError(f"--{name.replace('_', '-')} needs --num-items")


def _check_beam(options: SamplingOptions) -> None:
    from charrnn.errors import SettingsError

    for name in options.changed():
        raise SettingsError(
            f"--beam and --{name.replace('_', '-')} cannot both be given",
            hint="beams follow the model's own probabilities; only --ban applies to them",
        )


def _stop_conditions(
    length: int, stop: list[str], newline: bool, words: int | None, constraint: Constraint | None
) -> StopConditions:
    from charrnn.errors import SettingsError
    from charrnn.sampling.generate import StopConditions

    stops = stop + (["\n"] if newline else [])
    if "" in stops:
        raise SettingsError("--stop must not be empty")
    return StopConditions(length, tuple(stops), words, constraint)


def _constraint(expression: str, vocabulary: Vocabulary, options: SamplingOptions) -> Constraint:
    from charrnn.sampling.constraint import Constraint

    return Constraint(expression, vocabulary, banned=options.banned())


def _prompt_ids(
    prompt: str | None, prompt_file: Path | None, vocabulary: Vocabulary, unknown: str, rules: TextRules
) -> IdArray:
    from charrnn.runs.text import read_text

    only_one(prompt=prompt, prompt_file=prompt_file)
    if prompt_file is None and prompt != "-":
        return vocabulary.encode(prompt or "", what="--prompt", unknown=unknown)
    name, text = read_text(prompt_file or Path("-"), rules)
    return vocabulary.encode(text, what=name, unknown=unknown)


def _read(source: Path) -> bytes:
    from charrnn.files import read_named, unreadable

    try:
        return sys.stdin.buffer.read() if str(source) == "-" else read_named(source)
    except OSError as error:
        raise unreadable(source, error) from None


def _seed(seed: int | None, quiet: bool, beam: int) -> int:
    import secrets

    if seed is not None:
        return seed
    chosen = secrets.randbits(31)
    if not quiet and not beam:
        tell(f"seed: {chosen}")
    return chosen
