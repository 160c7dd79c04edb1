"""`charrnn runs`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from charrnn.cli.arguments import only_one

EXAMPLE = (
    "Example: charrnn runs --where cell=lstm --sort loss --top 5; charrnn runs checkpoints/sweep --effects; "
    "charrnn plot $(charrnn runs --top 3 --paths)"
)

_LOSSES = ("loss", "bits_per_char", "val_loss", "train_loss")


def runs(
    folder: Annotated[
        Path | None,
        typer.Argument(metavar="[DIR]", help="Directory to search for runs, at any depth; default: checkpoints."),
    ] = None,
    sort: Annotated[str, typer.Option(help="Column to sort by, lowest first.")] = "loss",
    reverse: Annotated[bool, typer.Option("--reverse", help="Sort highest first.")] = False,
    where: Annotated[
        list[str] | None,
        typer.Option(
            metavar="COLUMN=VALUE", help="Keep only matching runs; also != < <= > >=. Repeatable: all must match."
        ),
    ] = None,
    columns: Annotated[
        str | None,
        typer.Option(metavar="A,B,...", help="Columns to show. Default: results and the settings that differ."),
    ] = None,
    top: Annotated[int | None, typer.Option(min=1, help="Show only the first N runs.")] = None,
    show_effects: Annotated[
        bool,
        typer.Option(
            "--effects", help="Show each setting's effect on the loss, with the seed-to-seed spread for comparison."
        ),
    ] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Write CSV.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Write one JSON object.")] = False,
    paths: Annotated[bool, typer.Option("--paths", help="Print only the directories, one per line.")] = False,
) -> None:
    """List runs, best validation loss first."""
    from charrnn.cli.output import on_terminal, tell_left_out, write, write_json
    from charrnn.cli.views import runs as table
    from charrnn.errors import SettingsError
    from charrnn.runs.checkpoint import no_run
    from charrnn.runs.table import column_name, find_runs, ranked, selected

    for other in ({"json": as_json}, {"csv": as_csv}, {"effects": show_effects}):
        only_one(paths=paths, **other)
    named, folder = folder is not None, folder or Path("checkpoints")
    if not folder.is_dir() and not named:
        raise no_run(folder)
    if not folder.is_dir():
        raise SettingsError(
            f"{folder}: no such directory", hint="runs are in checkpoints/ of the directory where you trained them"
        )
    found = selected(find_runs(folder, left_out=tell_left_out), where or [])
    by = column_name(sort, found)
    if show_effects or by in _LOSSES:
        table.tell_texts(found)
    found = ranked(found, by, reverse=reverse)[:top]
    plain = as_csv or as_json or not on_terminal()
    usual = table.table_columns(found, limit=8 if plain else 6, fewer=not plain)
    shown = [column_name(c.strip(), found) for c in columns.split(",")] if columns else usual
    if show_effects:
        _show_effects(found, as_json=as_json, as_csv=as_csv)
    elif paths:
        write("".join(f"{run.path}\n" for run in found))
    elif as_json:
        write_json({"runs": table.rows_of(found, [*shown, *(["path"] if "path" not in shown else [])])})
    elif as_csv:
        write(table.as_csv(found, shown))
    else:
        table.show_table(f"{folder}: {len(found)} run{'' if len(found) == 1 else 's'}", found, shown)


def _show_effects(found, *, as_json: bool, as_csv: bool) -> None:  # type: ignore[no-untyped-def]
    from dataclasses import asdict

    from charrnn.cli.output import write, write_json
    from charrnn.cli.views.table import print_table
    from charrnn.runs.effects import effects

    measured = effects(found)
    if as_json:
        write_json({"effects": [asdict(effect) for effect in measured]})
        return
    rows = [
        [e.setting if k == 0 else "", v.label, f"{v.mean:.4f}", f"{v.mean - e.levels[0].mean:+.4f}", str(v.runs)]
        for e in measured
        for k, v in enumerate(e.levels)
    ]
    heads = ["setting", "value", "mean loss", "above the best", "runs"]
    if as_csv:
        write("".join(",".join(f'"{cell}"' if "," in cell else cell for cell in row) + "\n" for row in [heads, *rows]))
        return
    spread = measured[0].seed_spread if measured else None
    noise = "only one seed, so the noise level is unknown" if spread is None else f"seed-to-seed spread: ±{spread:.4f}"
    print_table(f"effects on the loss, nats ({noise})", heads, rows)
