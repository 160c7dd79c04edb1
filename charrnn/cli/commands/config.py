"""`charrnn config`: the resolved settings of a file, and the JSON Schema for editors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from charrnn.cli.arguments import Overrides
from charrnn.cli.choosing import Minutes
from charrnn.cli.completion import recipes
from charrnn.cli.help import CommandGroup
from charrnn.cli.output import write

app = CommandGroup(
    help="Choose, list, show and check settings.",
    epilog="Example: charrnn config list; charrnn config suggest my.txt --minutes 20 > my.yaml",
)


@app.command("list", epilog="Example: charrnn config list")
def list_(as_json: Annotated[bool, typer.Option("--json", help="Write one JSON object.")] = False) -> None:
    """List the built-in recipes and what they are for."""
    from charrnn.cli.output import write_json
    from charrnn.cli.views.table import print_table
    from charrnn.config.builtin import recipes as built_in

    found = built_in()
    if as_json:
        write_json({"recipes": [{"name": name, "what": what} for name, what in found.items()]})
        return
    print_table("built-in recipes", ("name", "what it is for"), list(found.items()), text="what it is for", whole=True)


@app.command(epilog="Example: charrnn config suggest my.txt --minutes 20 > my.yaml")
def suggest(
    texts: Annotated[
        list[str],
        typer.Argument(metavar="TEXT...", help="Files, a directory, a glob, a named corpus, or - for standard input."),
    ],
    minutes: Minutes = None,
    overrides: Overrides = None,
) -> None:
    """Write a commented settings file for a text and this machine to standard output.

    Nothing is trained. Settings given with --set are kept, and the others are chosen to fit.
    """
    from charrnn.cli.choosing import chosen

    write(chosen(texts, None, overrides or [], minutes, quiet=False).as_yaml())


@app.command(epilog="Example: charrnn config show quickstart --set model.cell=gru --set training.max_steps=100")
def show(
    file: Annotated[
        Path,
        typer.Argument(metavar="FILE", autocompletion=recipes, help="Settings file (YAML), or the name of a recipe."),
    ],
    overrides: Overrides = None,
    as_json: Annotated[bool, typer.Option("--json", help="Write one JSON object instead of YAML.")] = False,
) -> None:
    """Check FILE and write all its settings, defaults included, to standard output."""
    from charrnn.config.builtin import settings_path
    from charrnn.config.load import config_to_dict, dump_config, load_config

    config = load_config(settings_path(str(file)), overrides or ())
    write(json.dumps(config_to_dict(config)) + "\n" if as_json else dump_config(config))


@app.command(epilog="Example: charrnn config schema > charrnn.schema.json")
def schema() -> None:
    """Write the JSON Schema of a settings file to standard output, for completion and checks in editors."""
    from charrnn.config.load import json_schema

    write(json.dumps(json_schema(), indent=2) + "\n")
