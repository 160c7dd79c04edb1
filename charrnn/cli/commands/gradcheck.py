"""`charrnn gradcheck`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

EXAMPLE = "Example: charrnn gradcheck --config configs/gru.yaml --set model.num_layers=2"


def gradcheck(
    config: Annotated[
        Path, typer.Option("--config", "-c", help="Settings file (YAML), or the name of a built-in one.")
    ],
    overrides: Annotated[
        list[str] | None, typer.Option("--set", metavar="A.B=V", help="Override a setting; repeatable.")
    ] = None,
    tolerance: Annotated[float, typer.Option(min=0.0, help="Largest relative error allowed.")] = 1e-6,
    entries: Annotated[int, typer.Option(min=1, help="Entries of each parameter to try, drawn at random.")] = 12,
    time_steps: Annotated[int, typer.Option(min=1, help="Length of the window.")] = 7,
    columns: Annotated[int, typer.Option(min=1, help="Streams in the window.")] = 3,
    vocab_size: Annotated[int, typer.Option(min=2, help="Symbols.")] = 11,
    as_json: Annotated[bool, typer.Option("--json", help="Write one JSON object.")] = False,
) -> None:
    """Compare the gradients that train with float64 central differences; exit 1 above the tolerance."""
    from charrnn.cli.commands.train import _settings
    from charrnn.cli.output import write_json
    from charrnn.cli.views.training import print_table
    from charrnn.nn.gradcheck import check_gradients

    settings, _ = _settings(config, overrides or [])
    errors = check_gradients(
        settings.model.network(), forget_bias=settings.model.forget_bias, seed=settings.training.seed,
        entries=entries, time_steps=time_steps, columns=columns, vocab_size=vocab_size,
    )  # fmt: skip
    worst = max(errors.values())
    if as_json:
        write_json({"errors": errors, "worst": worst, "tolerance": tolerance, "passed": worst <= tolerance})
    else:
        rows = [(name, f"{error:.2e}", "ok" if error <= tolerance else "ABOVE") for name, error in errors.items()]
        print_table(f"worst relative error of each parameter (tolerance {tolerance:.0e})", ("", "error", ""), rows)
    if not worst <= tolerance:
        raise typer.Exit(1)
