"""Arguments that several commands share."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from charrnn.cli import completion
from charrnn.cli.output import tell


def known_runs(ctx: typer.Context, param: typer.CallbackParam, given: Any) -> Any:
    """Callback of an argument that names runs or checkpoints: refuses a text with what to do with it here.

    Raises:
        CheckpointError: neither a file nor a directory, or a text.
        DataError: a text, where only a run would do; a run may still be waited for.
    """
    from charrnn.errors import CheckpointError, DataError

    refused = CheckpointError if "CKPT" in str(param.metavar) else DataError
    for path in given if isinstance(given, list | tuple) else [given]:
        if path is None or ctx.resilient_parsing or path.is_dir():
            continue
        if path.suffix == ".npz":
            if refused is DataError and (path.parent / "last.npz").is_file():
                raise DataError(f"{path}: a checkpoint, not a run", hint=f"did you mean {path.parent}?")
            continue
        from charrnn.runs.reading import is_text, run_meant

        there = path.exists()
        if not is_text(path) if there else refused is DataError:
            continue
        meant, text = run_meant(path, None), _for_text(ctx, shlex.quote(str(path)), there)
        if there:
            from charrnn.cli.choosing import settings_in

            if found := settings_in(path):
                raise refused(f"{path}: {found[0]}, not a run", hint=found[1])
            text = text or f"to train on it: charrnn train {shlex.quote(str(path))}"
            raise refused(f"{path}: a text, not a run", hint=f"{meant} Otherwise, {text}" if meant else text)
        raise refused(f"{path}: no such run or checkpoint", hint=meant or text or "charrnn runs lists them")
    return given


def _for_text(ctx: typer.Context, text: str, is_file: bool) -> str | None:
    """How the command is given a text, or the file of one."""
    call, names = ctx.command_path, [param.name for param in ctx.command.params]
    order = [param.metavar for param in ctx.command.params if param.param_type_name == "argument"]
    if len(order) > 1:
        return f"the order is: {call} {' '.join(map(str, order))}"
    if "text" in names:
        return f"to read it: {call} --text {text}" if is_file else f"for text: echo {text} | {call} --text -"
    return f"for text: {call} --prompt {text}" if "prompt" in names and not is_file else None


def named_runs(metavar: str, text: str) -> Any:
    """An argument that names runs or checkpoints: Tab completes them, and a text is refused.

    Args:
        metavar: of the help; with CKPT for runs and files of checkpoints, with RUN for runs alone.
        text: its help.
    """
    return typer.Argument(metavar=metavar, callback=known_runs, autocompletion=completion.runs, help=text)


def writable_place(ctx: typer.Context, path: Path | None) -> Path | None:
    """Callback of an option that names a file to write: refuses, before any work, a place where none can be.

    Raises:
        SettingsError: see `charrnn.files.check_place`.
    """
    if path is not None and not ctx.resilient_parsing:
        from charrnn.files import check_place

        check_place(path)
    return path


def output_file(text: str, *flags: str) -> Any:
    """An option that names a file to write.

    Args:
        text: its help.
        flags: its spellings; --output and -o where none are given.
    """
    return typer.Option(*(flags or ("--output", "-o")), callback=writable_place, help=text)


Checkpoints = Annotated[
    list[Path] | None,
    named_runs(
        "[CKPT...]",
        "Checkpoint or run directory; default: the newest run. Give several to average their predictions.",
    ),
]
OneCheckpoint = Annotated[Path | None, named_runs("[CKPT]", "Checkpoint or run directory; default: the newest run.")]
OneRun = Annotated[Path | None, named_runs("[RUN]", "Run directory; default: the newest run.")]
RunDirectories = Annotated[list[Path] | None, named_runs("[RUN...]", "Run directories; default: the newest run.")]


def given_options(ctx: typer.Context) -> list[Any]:
    """The arguments and options that the command line itself gives."""
    sources = [(param, ctx.get_parameter_source(str(param.name))) for param in ctx.command.params]
    return [param for param, source in sources if source is not None and source.name == "COMMANDLINE"]


def same_command(ctx: typer.Context, *, but: Collection[str]) -> str:
    """The command line that was given, to be copied.

    Args:
        ctx: of the command.
        but: names of options to be left out.
    """
    words = ctx.command_path.split()
    for param in given_options(ctx):
        value = ctx.params[param.name]
        if param.name in but:
            continue
        flag = [] if param.param_type_name == "argument" else [param.opts[0]]
        for item in value if isinstance(value, list | tuple) else [value]:
            words += flag if item is True else [*flag, str(getattr(item, "value", item))]
    return shlex.join(words)


def check_resume_or_overwrite(resume: bool, overwrite: bool, what: str) -> None:
    """Refuse both at once, of `what`, as in "a run".

    Raises:
        SettingsError: both.
    """
    from charrnn.errors import SettingsError

    if resume and overwrite:
        raise SettingsError(f"--resume continues {what} and --overwrite replaces it", hint="give only one of the two")


CONFIG = typer.Option(
    "--config",
    "-c",
    metavar="FILE",
    autocompletion=completion.recipes,
    help="Settings file (YAML), or the name of a recipe.",
)
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="A.B=V", autocompletion=completion.overrides, help="Override a setting; repeatable."),
]


def only_one(**given: object) -> None:
    """Refuse options of which more than one is given.

    Raises:
        SettingsError: naming the first two.
    """
    from charrnn.errors import SettingsError

    flags = [f"--{name.replace('_', '-')}" for name, value in given.items() if value is not None and value is not False]
    if len(flags) > 1:
        raise SettingsError(f"{flags[0]} and {flags[1]} cannot both be given")


def chosen_run(run: Path | None) -> Path:
    """The run directory that is meant; see `chosen`."""
    return chosen_runs(None if run is None else [run])[0]


def chosen_runs(runs: Sequence[Path] | None) -> list[Path]:
    """The run directories that are meant; see `chosen`."""
    if runs:
        return list(runs)
    newest = chosen(None, quiet=True)[0].parent
    tell(f"newest run: {newest}")
    return [newest]


def chosen(checkpoints: Sequence[Path | None] | None, *, quiet: bool = False) -> list[Path]:
    """The checkpoint files that are meant; for none the newest run's, which is then named on standard error."""
    from charrnn.runs.checkpoint import find_checkpoint

    given = [path for path in checkpoints or () if path is not None]
    if given:
        return [find_checkpoint(path) for path in given]
    found = find_checkpoint(None)
    if not quiet:
        tell(f"newest run: {found}")
    return [found]
