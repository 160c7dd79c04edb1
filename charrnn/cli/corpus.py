"""`charrnn corpus`: the texts to learn from."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

app = typer.Typer(help="List, look at, build and fetch texts to learn from.", no_args_is_help=True)

AsJson = Annotated[bool, typer.Option("--json", help="Write one JSON object.")]
Name = Annotated[str, typer.Argument(help="A name from `charrnn corpus list`.")]


@app.command("list", epilog="Example: charrnn corpus list")
def list_(as_json: AsJson = False) -> None:
    """List the named corpora and whether they are on this machine."""
    from dataclasses import asdict

    from charrnn.cli.display import print_table
    from charrnn.cli.output import write_json
    from charrnn.corpora import catalogue, corpus_path

    entries = catalogue().values()
    if as_json:
        write_json({"corpora": [asdict(e) | {"present": corpus_path(e).is_file()} for e in entries]})
        return
    rows = [(e.name, e.kind, "yes" if corpus_path(e).is_file() else "no", e.licence, e.title) for e in entries]
    print_table("named corpora", ("name", "kind", "present", "licence", "what it is"), rows)


@app.command(epilog="Example: charrnn corpus info python-docs")
def info(
    source: Annotated[str, typer.Argument(help="A named corpus, a file, a glob or a directory.")],
    as_json: AsJson = False,
) -> None:
    """Count the bytes, characters, symbols and lines of a text."""
    from dataclasses import asdict

    from charrnn.cli.display import print_table
    from charrnn.cli.output import write_json
    from charrnn.corpora import info as look

    found = asdict(look(source))
    if as_json:
        write_json(found)
        return
    rows = [(key, f"{value:,}" if isinstance(value, int) else str(value)) for key, value in found.items()]
    print_table(source, ("", ""), [(k, "not UTF-8: use encoding bytes" if v == "None" else v) for k, v in rows])


@app.command(epilog="Example: charrnn corpus build python-stdlib")
def build(name: Name, as_json: AsJson = False) -> None:
    """Make a built-in corpus anew and write its path."""
    _get(name, kind="builtin", again=True, as_json=as_json)


@app.command(epilog="Example: charrnn corpus fetch tiny-shakespeare")
def fetch(
    name: Name,
    force: Annotated[bool, typer.Option("--force", help="Fetch it even if it is here.")] = False,
    as_json: AsJson = False,
) -> None:
    """Download a corpus, verify it and write its path."""
    _get(name, kind="url", again=force, as_json=as_json)


def _get(name: str, *, kind: str, again: bool, as_json: bool) -> None:
    from charrnn.cli.display import byte_progress
    from charrnn.cli.output import write_json
    from charrnn.corpora import catalogue, get
    from charrnn.errors import SettingsError

    entry = catalogue().get(name)
    if entry is not None and entry.kind != kind:
        other = "build" if kind == "url" else "fetch"
        raise SettingsError(f"{name}: a corpus of kind {entry.kind}", hint=f"charrnn corpus {other} {name}")
    with byte_progress(name) as tick:
        path = get(name, progress=tick, again=again)
    if as_json:
        write_json({"name": name, "path": str(path), "size_bytes": path.stat().st_size})
    else:
        sys.stdout.write(f"{path}\n")
