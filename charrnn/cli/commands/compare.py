"""`charrnn compare`."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from charrnn.cli.arguments import Overrides, check_resume_or_overwrite, output_file, same_command
from charrnn.cli.commands.train import ProgressKind
from charrnn.cli.completion import recipes
from charrnn.cli.text_options import at_home

if TYPE_CHECKING:
    from charrnn.config.schema import Config
    from charrnn.runs.comparison import ComparedRun
    from charrnn.runs.directory import RunDirectory

EXAMPLE = "Example: charrnn compare rnn lstm gru --budget 2m --plot comparison.png"


def compare(
    ctx: typer.Context,
    configs: Annotated[
        list[Path],
        typer.Argument(
            metavar="CONFIG...",
            autocompletion=recipes,
            help="Settings files, names of recipes, or run directories.",
        ),
    ],
    budget: Annotated[
        str, typer.Option(help="Training budget per run: minutes (2m), seconds (90s) or steps (500).")
    ] = "1m",
    overrides: Overrides = None,
    directory: Annotated[
        Path, typer.Option("--run-dir", "--dir", callback=at_home, help="Directory for the runs.")
    ] = Path("checkpoints/compare"),
    target_loss: Annotated[
        float | None,
        typer.Option(
            "--target-loss",
            "--reach",
            help="Report how long each run took to reach this loss (nats). Default: the weakest run's best loss.",
        ),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue a comparison that was stopped.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the runs in the directory.")] = False,
    picture: Annotated[
        Path | None, output_file("Also plot the losses to this file; needs charrnn[plots].", "--plot")
    ] = None,
    progress: Annotated[
        ProgressKind, typer.Option("--progress", help="Progress display; see charrnn train.")
    ] = ProgressKind.auto,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show nothing but errors.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Write the table and the curves as one JSON object.")] = False,
) -> None:
    """Train several configurations under one budget and compare them."""
    from charrnn.cli.output import ReaderGoneError
    from charrnn.runs.comparison import compare_runs
    from charrnn.runs.directory import RunDirectory
    from charrnn.runs.history import read_history

    check_resume_or_overwrite(resume, overwrite, "a comparison")
    if picture is not None:
        from charrnn.inspection.plots.figures import check_output

        check_output(picture)
    found = _settings(configs, overrides or [])
    chosen = [(RunDirectory(directory / name), _within(config, budget)) for name, config in found]
    for folder, config in chosen:  # all of them, before the first is trained
        _check(folder, config, resume=resume, overwrite=overwrite)
    folders = [folder.path for folder, _ in chosen]
    for number, (folder, config) in enumerate(chosen):
        if not (resume and folder.summary.exists()):
            with _interrupted(ctx, folders[number:] if overwrite else []):
                _train(config, folder, resume=resume, overwrite=overwrite, quiet=quiet, progress=progress)
    table = compare_runs(folders, target_loss)
    with contextlib.suppress(ReaderGoneError):
        _show(table, folders, budget, as_json=as_json)
    if picture is not None:
        from charrnn.inspection.plots.curves import draw_curves

        x = "steps" if budget.isdigit() else "seconds"
        draw_curves([read_history(folder) for folder in folders], picture, x=x)


def _check(folder: RunDirectory, config: Config, *, resume: bool, overwrite: bool) -> None:
    """What is in a run's directory may be continued, shown or replaced, as is wanted."""
    from charrnn.runs.comparison import check_same

    if not resume and not overwrite:
        folder.check_early()
    elif resume and (folder.last.exists() or folder.summary.exists()):
        check_same(folder, config)


def _train(
    config: Config, folder: RunDirectory, *, resume: bool, overwrite: bool, quiet: bool, progress: ProgressKind
) -> None:
    from charrnn.cli.commands.train import train_here

    unsaved = not folder.last.exists()
    died = unsaved and (folder.history.exists() or folder.best.exists())
    train_here(
        config, folder, resume=resume and not unsaved, overwrite=overwrite or (resume and died), quiet=quiet,
        progress=progress.value, words={"training.max_minutes": "--budget {}m", "training.max_steps": "--budget {}"},
    )  # fmt: skip


@contextlib.contextmanager
def _interrupted(ctx: typer.Context, replaced: list[Path]) -> Iterator[None]:
    """Stopping one run stops the comparison, so the hint is the command that continues all of it.

    Args:
        ctx: of the command.
        replaced: directories of this run and those after it, where those in them are to be replaced.
    """
    from charrnn.errors import HungUpRun, InterruptedRun, TerminatedRun
    from charrnn.runs.directory import RunDirectory

    try:
        yield
    except (InterruptedRun, HungUpRun, TerminatedRun) as error:
        command = same_command(ctx, but=("resume", "overwrite"))
        old = any(RunDirectory(path).summary.exists() for path in replaced)
        hint = f"begin anew with: {command} --overwrite" if old else f"continue with: {command} --resume"
        raise type(error)(error.message, hint=hint) from None


def _settings(paths: list[Path], overrides: list[str]) -> list[tuple[str, Config]]:
    """Name and settings of each run; duplicate names are made unique."""
    from charrnn.config.builtin import settings_path
    from charrnn.config.load import given_settings, load_config
    from charrnn.errors import SettingsError
    from charrnn.runs.comparison import LIMITS

    if limits := set(LIMITS) & given_settings({}, where="", overrides=overrides).keys():
        raise SettingsError(
            f"--set {min(limits)}: the budget determines it", hint="give --budget, as in 2m, 90s or 500"
        )
    found: dict[str, Config] = {}
    for path in paths:
        a_run = (path / "config.yaml").is_file()
        config = load_config(path / "config.yaml" if a_run else settings_path(str(path)), overrides)
        plain = path.resolve().name if a_run else path.stem
        name, number = plain, 2
        while name.casefold() in {other.casefold() for other in found}:
            name, number = f"{plain}-{number}", number + 1
        found[name] = config
    return list(found.items())


def _within(config: Config, budget: str) -> Config:
    from charrnn.config.load import config_from_dict, config_to_dict
    from charrnn.errors import SettingsError

    match = re.fullmatch(r"(\d+(?:\.\d+)?)(m|s|min|)", budget)
    if not match or float(match[1]) <= 0 or (match[2] == "" and not match[1].isdigit()):
        raise SettingsError(
            f"--budget: found {budget!r}, allowed: minutes as in 2m, seconds as in 90s, steps as in 500"
        )
    sections = config_to_dict(config)
    limits: dict[str, Any] = {"epochs": None, "max_steps": None, "max_minutes": None}
    if match[2] == "":
        limits["max_steps"] = int(match[1])
    else:
        limits["max_minutes"] = float(match[1]) / (60.0 if match[2] == "s" else 1.0)
    sections["training"] |= limits
    return config_from_dict(sections, where=f"--budget {budget}")


def _show(table: list[ComparedRun], folders: list[Path], budget: str, *, as_json: bool) -> None:
    from dataclasses import asdict

    from charrnn.cli.output import write_json
    from charrnn.cli.views.runs import tell_texts
    from charrnn.cli.views.table import print_table
    from charrnn.inspection.plots.curves import curve_data
    from charrnn.runs.history import read_history
    from charrnn.runs.table import read_run

    tell_texts([run for folder in folders if (run := read_run(folder))])
    if as_json:
        curves = curve_data([read_history(folder) for folder in folders])
        write_json({"budget": budget, "runs": [asdict(row) for row in table], "curves": curves})
        return
    target = table[0].target
    heads = ("", "cell", "parameters", "best loss", "bits/char", "steps", "epochs", "chars/s", f"s to {target:.3f}")
    rows = [
        (
            row.name, row.cell, f"{row.parameters:,}", f"{row.loss:.4f}", f"{row.bits_per_char:.4f}",
            f"{row.steps:,}", f"{row.epochs:.1f}", f"{row.chars_per_second:,.0f}",
            "-" if row.seconds_to_target is None else f"{row.seconds_to_target:.1f}",
        )
        for row in sorted(table, key=lambda row: row.loss)
    ]  # fmt: skip
    print_table(f"same budget for each run: {budget}; losses are in nats, on the validation part", heads, rows)
