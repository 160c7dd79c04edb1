"""`charrnn compare`."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from charrnn.cli.arguments import Overrides, output_file
from charrnn.cli.commands.train import ProgressKind
from charrnn.cli.completion import recipes
from charrnn.cli.text_options import at_home

if TYPE_CHECKING:
    from charrnn.config.schema import Config
    from charrnn.runs.comparison import ComparedRun

EXAMPLE = "Example: charrnn compare rnn lstm gru --budget 2m --plot comparison.png"


def compare(
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
    from charrnn.cli.commands.train import train_here
    from charrnn.cli.output import ReaderGoneError
    from charrnn.runs.comparison import compare_runs
    from charrnn.runs.directory import RunDirectory
    from charrnn.runs.history import read_history

    if picture is not None:
        from charrnn.inspection.plots.figures import check_output

        check_output(picture)
    chosen = [(name, _within(config, budget)) for name, config in _settings(configs, overrides or [])]
    words = {"training.max_minutes": "--budget {}m", "training.max_steps": "--budget {}"}
    if not (resume or overwrite):  # all of them, before the first is trained
        for name, _ in chosen:
            RunDirectory(directory / name).check_early()
    for name, config in chosen:
        folder = RunDirectory(directory / name)
        if resume and folder.summary.exists():
            continue
        going_on = resume and folder.last.exists()
        train_here(
            config, folder, resume=going_on, overwrite=overwrite, quiet=quiet, progress=progress.value, words=words
        )
    table = compare_runs([directory / name for name, _ in chosen], target_loss)
    with contextlib.suppress(ReaderGoneError):
        _show(table, [directory / name for name, _ in chosen], budget, as_json=as_json)
    if picture is not None:
        from charrnn.inspection.plots.curves import draw_curves

        x = "steps" if budget.isdigit() else "seconds"
        draw_curves([read_history(directory / name) for name, _ in chosen], picture, x=x)


def _settings(paths: list[Path], overrides: list[str]) -> list[tuple[str, Config]]:
    """Name and settings of each run; duplicate names are made unique."""
    from charrnn.config.builtin import settings_path
    from charrnn.config.load import load_config

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
