"""`charrnn corpus`: the texts to learn from."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from charrnn.cli.arguments import given_options, output_file
from charrnn.cli.help import CommandGroup
from charrnn.cli.output import tell, write

app = CommandGroup(
    help="List, inspect, build and fetch texts to learn from.",
    epilog="Example: charrnn corpus list; charrnn corpus info my.txt",
)

AsJson = Annotated[bool, typer.Option("--json", help="Write one JSON object.")]
Name = Annotated[str, typer.Argument(help="A name from `charrnn corpus list`.")]


@app.command("list", epilog="Example: charrnn corpus list")
def list_(as_json: AsJson = False) -> None:
    """List the named corpora and whether they are on this machine."""
    from dataclasses import asdict

    from charrnn.cli.output import write_json
    from charrnn.cli.views.table import print_table
    from charrnn.data.corpora import catalogue, corpus_path

    entries = catalogue().values()
    if as_json:
        write_json({"corpora": [asdict(e) | {"present": corpus_path(e).is_file()} for e in entries]})
        return
    rows = [(e.name, "yes" if corpus_path(e).is_file() else "no", e.title, e.kind, e.licence) for e in entries]
    heads = ("name", "present", "description", "kind", "licence")
    print_table("named corpora", heads, rows, text="description", whole=True)


@app.command(epilog="Example: charrnn corpus info python-docs; charrnn sample -q | charrnn corpus info -")
def info(
    source: Annotated[
        str, typer.Argument(help="A named corpus, a file, a glob or a directory; - reads standard input.")
    ],
    encoding: Annotated[str, typer.Option(help="Encoding of the files; see corpus.encoding.")] = "utf-8",
    as_json: AsJson = False,
) -> None:
    """Count the bytes, characters, symbols and lines of a text, and name its encoding."""
    from dataclasses import asdict

    from charrnn.cli.output import write_json
    from charrnn.cli.views.table import print_table
    from charrnn.config.encodings import codec_name
    from charrnn.data.corpora import info as look
    from charrnn.errors import SettingsError

    if codec_name(encoding) is None:
        raise SettingsError(f"--encoding: {encoding!r} is not a text encoding that Python knows")
    found = asdict(look(source, encoding=encoding))
    if as_json:
        write_json(found)
        return
    notes = found.pop("notes")
    unread = f"not {encoding}" + (f": try --encoding {found['encoding']}" if found["encoding"] else "")
    rows = [(key, f"{value:,}" if isinstance(value, int) else str(value or unread)) for key, value in found.items()]
    print_table(source, ("", ""), rows)
    for note in notes:
        tell(f"note: {note}")


@app.command(epilog="Example: charrnn corpus build python-stdlib; charrnn corpus build recall --lag 50 -o recall.txt")
def build(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(help="A built-in corpus, or a memory task: recall, brackets, markov.")],
    output: Annotated[Path | None, output_file("Output file for a task. Default: NAME.txt.")] = None,
    chars: Annotated[int, typer.Option(min=1, max=10**9, help="Number of characters in a task's text.")] = 200_000,
    seed: Annotated[int, typer.Option(min=0, help="Random seed of a task's text.")] = 1,
    lag: Annotated[int | None, typer.Option(help="recall: characters between a symbol and its query.")] = None,
    noise: Annotated[
        int | None, typer.Option(help="recall: number of different noise characters between them.")
    ] = None,
    depth: Annotated[int | None, typer.Option(help="brackets: maximum nesting depth.")] = None,
    order: Annotated[
        int | None, typer.Option(help="markov: number of preceding letters that determine the next.")
    ] = None,
    symbols: Annotated[
        int | None, typer.Option(help="Number of symbols to recall, kinds of brackets, or letters.")
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace a file that is not a task's text, or has changed since.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Rebuild a built-in corpus, or generate a text whose lowest possible loss is known; print its path."""
    from charrnn.cli.output import write_json
    from charrnn.data.synthetic import build_text, check_replaceable, make_task
    from charrnn.data.tasks import TASKS

    if name not in TASKS:
        _check_kind(name, "builtin")
        _refuse_options(ctx, name)
        _get(name, again=True, as_json=as_json)
        return
    given = {"lag": lag, "noise": noise, "depth": depth, "order": order, "symbols": symbols}
    task = make_task(name, {k: v for k, v in given.items() if v is not None})
    path = output or Path(f"{name}.txt")
    if not overwrite:
        check_replaceable(path)
    facts = build_text(name, task, chars=chars, seed=seed, output=path)
    if as_json:
        write_json({**facts, "path": str(path)})
        return
    write(f"{path}\n")
    tell(
        f"the lowest possible loss is {facts['entropy_nats']:.4f} nats, {facts['entropy_bits']:.4f} bits per character "
        f"(in this text {facts['sample_nats']:.4f} nats)"
    )


@app.command(epilog="Example: charrnn corpus fetch tiny-shakespeare")
def fetch(
    name: Name,
    force: Annotated[bool, typer.Option("--force", help="Download it again even if it is already here.")] = False,
    as_json: AsJson = False,
) -> None:
    """Download a corpus, verify it and print its path."""
    _check_kind(name, "url")
    _get(name, again=force, as_json=as_json)


def _check_kind(name: str, kind: str) -> None:
    from charrnn.data.corpora import catalogue
    from charrnn.errors import SettingsError

    entry = catalogue().get(name)
    if entry is not None and entry.kind != kind:
        other = "build" if kind == "url" else "fetch"
        said = "built on this machine, not downloaded" if kind == "url" else "downloaded, not built"
        raise SettingsError(f"{name}: this corpus is {said}", hint=f"charrnn corpus {other} {name}")


def _refuse_options(ctx: typer.Context, name: str) -> None:
    """A corpus of the catalogue has its own place and content; the options are for tasks."""
    from charrnn.data.corpora import catalogue
    from charrnn.data.tasks import TASKS
    from charrnn.errors import SettingsError

    given = [option.opts[0] for option in given_options(ctx) if option.name not in ("name", "as_json")]
    if given and name in catalogue():
        raise SettingsError(f"{given[0]}: only for a task ({', '.join(TASKS)}), not for {name}", hint="leave it out")


def _get(name: str, *, again: bool, as_json: bool) -> None:
    from charrnn.cli.output import write_json
    from charrnn.cli.views.progress import byte_progress
    from charrnn.data.corpora import get

    with byte_progress(name) as tick:
        path = get(name, progress=tick, again=again)
    if as_json:
        write_json({"name": name, "path": str(path), "size_bytes": path.stat().st_size})
    else:
        write(f"{path}\n")
