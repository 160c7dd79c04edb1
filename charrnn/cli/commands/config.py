"""`charrnn config`: the resolved settings of a file, and the JSON Schema for editors."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from charrnn.cli.choosing import Minutes

app = typer.Typer(
    help="Suggest settings for a text, list the built-in recipes, show all settings of a file, or their JSON Schema.",
    no_args_is_help=True,
)


@app.command("list", epilog="Example: charrnn config list; charrnn train quickstart")
def list_(as_json: Annotated[bool, typer.Option("--json", help="Write one JSON object.")] = False) -> None:
    """List the built-in recipes and what they are for."""
    from charrnn.cli.output import write_json
    from charrnn.cli.views.training import print_table
    from charrnn.config.builtin import recipes

    found = recipes()
    if as_json:
        write_json({"recipes": [{"name": name, "what": what} for name, what in found.items()]})
        return
    print_table("built-in recipes", ("name", "what it is for"), list(found.items()), text="what it is for")


@app.command(epilog="Example: charrnn config suggest my.txt --minutes 20 > my.yaml && charrnn train --config my.yaml")
def suggest(
    texts: Annotated[
        list[str],
        typer.Argument(metavar="TEXT", help="Files, a directory, a glob, a named corpus, or - for standard input."),
    ],
    minutes: Minutes = None,
    overrides: Annotated[
        list[str] | None, typer.Option("--set", metavar="A.B=V", help="Fix a setting; the others are chosen to fit.")
    ] = None,
) -> None:
    """Write a commented settings file for a text and this machine to standard output, without training."""
    from charrnn.cli.choosing import chosen
    from charrnn.cli.output import write

    write(chosen(texts, None, overrides or [], minutes, quiet=False).as_yaml())


@app.command(epilog="Example: charrnn config show configs/gru.yaml --set model.cell=gru --set training.max_steps=100")
def show(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Settings file (YAML), or the name of a built-in one.")],
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="A.B=V", help="Override a setting; repeatable."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Write one JSON object instead of YAML.")] = False,
) -> None:
    """Check FILE and write all its settings, defaults included, to standard output."""
    from charrnn.config.builtin import settings_path
    from charrnn.config.load import config_to_dict, dump_config, load_config

    config = load_config(settings_path(str(file)), overrides or ())
    sys.stdout.write(json.dumps(config_to_dict(config)) + "\n" if as_json else dump_config(config))


@app.command(epilog="Example: charrnn config schema > charrnn.schema.json")
def schema() -> None:
    """Write the JSON Schema of a settings file to standard output, for completion and checks in editors."""
    from charrnn.config.load import json_schema

    sys.stdout.write(json.dumps(json_schema(), indent=2) + "\n")
