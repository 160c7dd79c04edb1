"""Ties the commands together; the only place that turns errors into exit codes."""

from __future__ import annotations

import re
import sys
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, NoReturn

import typer
from typer.completion import install_callback, show_callback

from charrnn import __version__
from charrnn.blas import choose_kernel
from charrnn.cli import completion
from charrnn.cli.commands import LISTED, LoadedOnUse
from charrnn.cli.help import CommandGroup, Group, Row
from charrnn.cli.output import ReaderGoneError, tell, write, writing_output
from charrnn.cli.streams import open_standard_streams, settle
from charrnn.errors import CharRNNError, shown
from charrnn.files import unusable

_DETAILS = "run again with --debug for the details"
_STOPPED = (129, 130, 143)  # exit codes after a signal


class Root(Group):
    """`charrnn` itself, which loads a command when it is called."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.commands = LoadedOnUse()

    def listing(self) -> dict[str, list[Row]]:
        """Panel -> name and first sentence of each command."""
        panels: dict[str, list[Row]] = {}
        for name, listed in LISTED.items():
            panels.setdefault(listed.panel, []).append((name, listed.help))
        return panels


app = CommandGroup(
    name="charrnn",
    cls=Root,
    help="Character-level text generation with recurrent networks in plain NumPy.\n\n"
    "`charrnn help COMMAND` or `charrnn COMMAND -h` shows the options of a command.",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Example: charrnn train my.txt; charrnn sample --temperature 0.7",
)


def _print_version(value: bool) -> None:
    if value:
        write(f"charrnn {__version__}\n")
        raise typer.Exit


def _show_completion(ctx: typer.Context, param: typer.CallbackParam, value: Any) -> Any:
    with writing_output():
        return show_callback(ctx, param, value)


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version and exit.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    install_completion: Annotated[
        bool,
        typer.Option(
            "--install-completion",
            callback=install_callback,
            help="Let the Tab key complete commands, options, settings and runs in this shell.",
        ),
    ] = False,
    show_completion: Annotated[
        bool,
        typer.Option(
            "--show-completion", callback=_show_completion, help="Print what --install-completion would install."
        ),
    ] = False,
) -> None:
    """Options of the program itself."""


def main() -> NoReturn:
    """The whole of the program, once it is loaded."""
    open_standard_streams()
    choose_kernel()  # before anything imports NumPy
    # Weights of a stranger may overflow: the results are checked, so NumPy's warnings are off.
    warnings.filterwarnings("ignore", category=RuntimeWarning)
    if completion.asked():
        completion.answer(app)
        sys.exit(0)
    code = run(sys.argv[1:])
    settle()
    sys.exit(code)


@dataclass(frozen=True)
class Outcome:
    """How a command line ended.

    Attributes:
        code: exit code; see `charrnn.errors`.
        message: the error; "" if there was none or it has already been shown.
        hint: what to do about it.
    """

    code: int
    message: str = ""
    hint: str | None = None


def run(arguments: Sequence[str]) -> int:
    """Run a command line and return its exit code; see `charrnn.errors` for the codes."""
    return attempt(arguments).code


def attempt(arguments: Sequence[str]) -> Outcome:
    """Run a command line and show its error, if there is one."""
    arguments = list(arguments)
    outcome = _run(arguments)
    if outcome.message:
        outcome = replace(
            outcome, message=with_flags(outcome.message, arguments), hint=with_flags(outcome.hint or "", arguments)
        )
        # A stop that was asked for is no error.
        error, remedy = ("", "") if outcome.code in _STOPPED else ("error: ", "hint: ")
        tell(f"charrnn: {error}{outcome.message}", *([f"  {remedy}{outcome.hint}"] if outcome.hint else []))
    mpi = sys.modules.get("charrnn.training.mpi")
    if mpi is not None and outcome.code not in (0, *_STOPPED):  # a stop is the same on all ranks
        settle()
        sys.stderr.flush()
        mpi.end(outcome.code)
    return outcome


def _run(arguments: list[str]) -> Outcome:
    debug = "--debug" in arguments
    if debug:  # anywhere on the line: it is looked up only after something went wrong
        arguments = [a for a in arguments if a != "--debug"]
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # texts are UTF-8, whatever the locale
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")
    try:
        result = app(args=arguments, prog_name="charrnn", standalone_mode=False)
        write("")
    except Exception as error:  # the one boundary: everything becomes a line and a code
        outcome = _outcome(error)
        if debug and outcome.message and outcome.code not in _STOPPED:
            import traceback

            tell(*traceback.format_exc().splitlines())
            return replace(outcome, hint=None) if outcome.hint == _DETAILS else outcome
        return outcome
    except KeyboardInterrupt:
        return Outcome(130, "interrupted")
    return Outcome(result if isinstance(result, int) else 0)


def _outcome(error: Exception) -> Outcome:
    if isinstance(error, CharRNNError):
        return Outcome(error.exit_code, error.message, error.hint)
    if isinstance(error, ReaderGoneError | BrokenPipeError):
        return Outcome(0)
    if isinstance(error, typer.Exit):
        return Outcome(error.exit_code)
    if isinstance(error, typer.Abort):
        return Outcome(130, "interrupted")
    if hasattr(error, "format_message"):  # click's usage errors, from click itself or from the copy inside Typer
        return _usage_error(error)
    if isinstance(error, OSError) and error.filename is not None:  # a name too long, a folder that may not be searched
        found = unusable(error)
        return Outcome(found.exit_code, found.message)
    if isinstance(error, MemoryError):
        return Outcome(1, "out of memory", "lower model.hidden_size, training.batch_size or training.seq_length")
    return Outcome(1, f"unexpected {type(error).__name__}: {error}", _DETAILS)


def _usage_error(error: Any) -> Outcome:
    # Newer Typers pass on the words of a validator, which repeat themselves.
    message = re.sub(r"Value error, |, unable to parse .*", "", error.format_message())
    errors = getattr(error.__context__, "errors", None)  # theirs, which leave out what was given
    if errors and repr(errors()[0]["input"]) not in message:
        message += f", not {shown(errors()[0]['input'])}"
    context = getattr(error, "ctx", None)
    if getattr(getattr(error, "param", None), "name", None) == "config" and message.startswith("Missing"):
        return Outcome(2, message, "add --config FILE; to write one for a text: charrnn config suggest TEXT > my.yaml")
    return Outcome(2, message, f"see {context.command_path} --help" if context else None)


def with_flags(text: str, arguments: Sequence[str]) -> str:
    """A message with the flags of the command line for the arguments that the library names, as in `run_dir`.

    Args:
        text: of an error or a hint.
        arguments: of the command line; its command's flags come first, then those of all others.
    """
    if "`" not in text:
        return text
    flags: dict[str, str] = {}
    words = iter(arguments)
    command: Any = typer.main.get_command(app)
    todo, path = [command], [command]
    while (commands := getattr(path[-1], "commands", None)) is not None and (word := next(words, "")) in commands:
        path.append(commands[word])
    while todo:
        todo += getattr(command := todo.pop(), "commands", {}).values()
        path.insert(0, command)
    for command in path:  # the last one wins
        for option in command.params:
            if option.param_type_name == "option":
                flags[option.name] = next((o for o in option.opts if o.startswith("--")), option.opts[0])
    return re.sub(r"`([a-z_]+)`", lambda found: flags.get(found[1], found[0]), text)
