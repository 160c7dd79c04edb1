"""How `--help` looks, in plain text: Typer's own, drawn by Rich, takes longer to load than most commands to run."""

from __future__ import annotations

import inspect
import math
import os
import re
import shutil
import textwrap
from collections.abc import Callable, Iterable, Mapping
from enum import Enum
from typing import Any, TypeVar, cast

import typer
from typer.core import TyperCommand, TyperGroup

from charrnn.cli.output import write_raw
from charrnn.cli.views.colour import colours_wanted

_NAMES = {"int": "N", "integer": "N", "float": "X", "path": "PATH", "str": "TEXT", "text": "TEXT"}
_LONG = 24  # letters of a choice that is shown behind its option; a longer one is part of the meaning
_HEADING, _WORD = "1", "36"
Row = tuple[str, str]
_Function = TypeVar("_Function", bound=Callable[..., Any])


class _QuickHelp:
    """`--help` as a flag that is not given rather than unknown: Typer would load pydantic to convert it."""

    def get_help_option(self, ctx: Any) -> Any:
        option: Any = super().get_help_option(ctx)  # type: ignore[misc]
        if option is not None:
            option.default, option.callback = False, _show_help
        return option


def _show_help(ctx: Any, param: Any, asked: bool) -> None:
    if asked and not ctx.resilient_parsing:
        write_raw(f"{ctx.get_help()}\n")
        ctx.exit()


class Command(_QuickHelp, TyperCommand):
    """A command that shows its help in panels.

    Attributes:
        common: names of the options that `--help` shows; `--help-all` shows the others too. None: `--help` shows all.
        panels: heading -> names of its options in order. Others go where Typer's `rich_help_panel` says.
    """

    common: tuple[str, ...] | None = None
    panels: Mapping[str, tuple[str, ...]] = {}

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the arguments; `--help-all` among them shows all options.

        Raises:
            typer.BadParameter: a value is wrong; "nan" always is, which older Typers find in every range.
        """
        before = args[: args.index("--")] if "--" in args else args
        if "--help-all" in before and not ctx.resilient_parsing:
            self.common, args = None, ["--help"]
        rest = super().parse_args(ctx, args)
        for param in cast("list[Any]", self.params):  # Click's, or those of the copy inside Typer
            value = ctx.params.get(param.name)
            if isinstance(value, float) and math.isnan(value) and not ctx.resilient_parsing:
                raise typer.BadParameter(f"{value} is not a number", ctx=ctx, param=param)
        return rest

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the page."""
        params = {p.name: p for p in self.get_params(ctx) if not getattr(p, "hidden", False)}
        panel_of = {name: panel for panel, names in self.panels.items() for name in names}
        panels: dict[str, list[Row]] = {panel: [] for panel in ("Arguments", *self.panels)}
        left_out = 0
        for name in dict.fromkeys([*panel_of, *params]):
            param = params[name]
            argument = param.param_type_name == "argument"
            if self.common is not None and not argument and name not in self.common and "--help" not in param.opts:
                left_out += 1
                continue
            panel = panel_of.get(name) or getattr(param, "rich_help_panel", None)
            panel = "Arguments" if argument else panel or "Options"
            panels.setdefault(panel, []).append((_spelled(param, ctx), _meaning(param, ctx)))
        if left_out:
            panels["Options"].append(("--help-all", f"Show {left_out} more options."))
        formatter.write(page(usage(self, ctx), self.help or "", panels, self.epilog or ""))


class Group(_QuickHelp, TyperGroup):
    """A command of commands, listed with the first sentence of their help."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read up to the name of the command; `help` in front of the name asks for its help.

        Nothing to do is an error that shows the help; Click before 8.2 called it a success.
        """
        while args[:1] == ["help"]:
            args = [*args[1:], "--help"]
        if args[:1] == ["--help-all"]:  # nothing is left out of a listing
            args = ["--help"]
        if not args and self.no_args_is_help and not ctx.resilient_parsing:
            typer.echo(ctx.get_help(), err=True)
            raise typer.Exit(2)
        found: list[str] = super().parse_args(ctx, args)
        return found

    def listing(self) -> Mapping[str, Iterable[Row]]:
        """Panel -> name and first sentence of each command."""
        return {"Commands": [(name, first_sentence(c.help or "")) for name, c in self.commands.items()]}

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the page."""
        options = [(_spelled(p, ctx), _meaning(p, ctx)) for p in self.get_params(ctx)]
        formatter.write(
            page(usage(self, ctx), self.help or "", {**self.listing(), "Options": options}, self.epilog or "")
        )


class CommandGroup(typer.Typer):
    """A Typer whose help looks like this."""

    def __init__(self, **settings: Any) -> None:
        defaults = {"cls": Group, "rich_markup_mode": None, "add_completion": False, "no_args_is_help": True}
        super().__init__(**(defaults | settings))

    def command(self, name: str | None = None, **settings: Any) -> Callable[[_Function], _Function]:
        """Declare a command."""
        return super().command(name, **({"cls": Command} | settings))


def first_sentence(text: str) -> str:
    """Of a help text, on one line."""
    found = re.match(r"(.*?\.)(?=\s|$)", " ".join(text.split()))
    return found[1] if found else text


def usage(command: Any, ctx: Any) -> str:
    """How the command is called."""
    arguments = [_spelled(p, ctx) for p in command.params if p.param_type_name == "argument"]
    below = [command.subcommand_metavar] if isinstance(command, Group) else []
    return " ".join(["Usage:", ctx.command_path, "[OPTIONS]", *arguments, *below])


def page(head: str, text: str, panels: Mapping[str, Iterable[Row]], epilog: str) -> str:
    """Usage, text, panels of two columns and examples, as wide as the terminal.

    Args:
        head: how the command is called.
        text: its help; indented lines are kept as they are.
        panels: heading -> rows of a word and its meaning.
        epilog: ``Example: A; B`` or the like; each command gets a line of its own.
    """
    width = max(30, min(100, shutil.get_terminal_size((80, 24)).columns))
    colour = colours_wanted() and os.environ.get("TERM") != "dumb"
    paint = (lambda text, code: f"\x1b[{code}m{text}\x1b[0m") if colour else (lambda text, code: text)
    # A name of a flag or file is never divided at its hyphens.
    whole: dict[str, Any] = {"break_on_hyphens": False, "break_long_words": False}
    blocks = [textwrap.fill(head, width, subsequent_indent=" " * 7, **whole)]
    for paragraph in text.strip("\n").split("\n\n"):
        blocks.append(paragraph if paragraph.startswith("    ") else textwrap.fill(paragraph, width, **whole))
    table = {title: list(rows) for title, rows in panels.items()}
    left = min(max(len(word) for rows in table.values() for word, _ in rows), max(14, width // 3))
    for title, rows in table.items():
        lines = [paint(title, _HEADING)] if rows else []
        for word, meaning in rows:
            wrapped = textwrap.wrap(meaning, width - left - 4, **whole) or [""]
            first = wrapped.pop(0) if len(word) <= left else ""
            lines.append(f"  {paint(word, _WORD)}{' ' * (left - len(word))}  {first}".rstrip())
            lines += [f"{' ' * (left + 4)}{line}" for line in wrapped]
        blocks += ["\n".join(lines)] if rows else []
    if epilog:
        examples = [line.strip() for line in epilog.removeprefix("Example:").split(";")]
        blocks.append("\n".join([paint("Examples" if len(examples) > 1 else "Example", _HEADING),
                                 *(f"  {line}" for line in examples)]))  # fmt: skip
    return "\n\n".join(blocks) + "\n"


def _spelled(param: Any, ctx: Any) -> str:
    """How a parameter is spelled on the command line; of several ways the short one and the first long one."""
    if param.param_type_name == "argument":
        return str(param.metavar or param.name.upper())
    words = [min(param.opts, key=len)] if len(min(param.opts, key=len)) == 2 else []
    words += [next((word for word in param.opts if word.startswith("--")), param.opts[0])]
    if param.secondary_opts:
        words += [param.secondary_opts[0]]
    value = "" if param.is_flag or param.count else f" {_value_name(param, ctx)}"
    return ", ".join(dict.fromkeys(words)) + value


def _kind(param: Any, ctx: Any) -> str:
    """The type of a parameter as Typer calls it, in small letters; ``a|b|c`` for a choice."""
    if hasattr(param, "display_type"):
        shown = param.display_type(ctx)
    else:  # an older Typer
        shown = "|".join(getattr(param.type, "choices", ())) or param.type.name
    return re.sub(r"^list\[(.*)\]$", r"\1", shown.strip("<>").lower()).strip("[]").removesuffix(" range")


def _value_name(param: Any, ctx: Any) -> str:
    kind = _kind(param, ctx)
    return str(param.metavar or ("NAME" if len(kind) > _LONG else _NAMES.get(kind.rpartition(".")[2], kind)))


def _meaning(param: Any, ctx: Any) -> str:
    """A parameter's help with its default; the help of some says it already."""
    text = " ".join((getattr(param, "help", None) or "").split())
    if param.param_type_name == "option" and not param.metavar and len(kind := _kind(param, ctx)) > _LONG:
        text += f" One of: {kind.replace('|', ', ')}."
    value = param.get_default(ctx, call=False)
    if param.required:
        return f"{text} (required)"
    if value in (None, False, "", ()) or not isinstance(value, str | int | float | Enum | os.PathLike):
        return text
    if "default" in text.lower() or inspect.isroutine(value) or (param.param_type_name == "option" and param.is_flag
                                                                 and not param.secondary_opts):  # fmt: skip
        return text
    shown = value.value if isinstance(value, Enum) else "on" if value is True else value
    return f"{text} [default: {shown}]"
