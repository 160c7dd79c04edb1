"""Writes docs/cli.md from the commands themselves: `python -m tests.cli_reference > docs/cli.md`."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import typer.main

from charrnn.cli.app import app


def commands() -> Iterator[tuple[str, object]]:
    """Every command that does something, with its full name."""

    def walk(name: str, command: object) -> Iterator[tuple[str, object]]:
        below = getattr(command, "commands", None)
        if not below:
            yield name, command
            return
        for key in sorted(below):
            yield from walk(f"{name} {key}", below[key])

    yield from walk("charrnn", typer.main.get_command(app))


def reference() -> str:
    """The page."""
    out = ["# The commands", "", "Generated from the commands' help by `make docs`.", ""]
    for name, command in commands():
        out += [f"## {name}", "", str(command.help).strip(), ""]  # type: ignore[attr-defined]
        out += ["| option | meaning |", "|---|---|"]
        for parameter in command.params:  # type: ignore[attr-defined]
            spelled = ", ".join([*parameter.opts, *parameter.secondary_opts])
            if parameter.param_type_name == "argument":
                spelled = parameter.metavar or parameter.name.upper()
            if spelled != "--help":
                meaning = (getattr(parameter, "help", None) or "").replace("|", "\\|")
                out.append(f"| `{spelled}` | {meaning} |")
        out += ["", f"{command.epilog}", ""]  # type: ignore[attr-defined]
    return "\n".join(out)


if __name__ == "__main__":
    sys.stdout.write(reference())
