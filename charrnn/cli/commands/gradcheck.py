"""`charrnn gradcheck`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from charrnn.cli.arguments import CONFIG, Overrides

EXAMPLE = "Example: charrnn gradcheck --config gru --set model.num_layers=2"


def gradcheck(
    config: Annotated[Path, CONFIG],
    overrides: Overrides = None,
    tolerance: Annotated[float, typer.Option(min=0.0, help="Largest relative error allowed.")] = 1e-6,
    entries: Annotated[int, typer.Option(min=1, help="Number of random entries to check in each parameter.")] = 12,
    seq_length: Annotated[
        int, typer.Option("--seq-length", "--time-steps", min=1, help="Number of characters per window.")
    ] = 7,
    batch_size: Annotated[
        int, typer.Option("--batch-size", "--columns", min=1, help="Number of parallel windows.")
    ] = 3,
    vocab_size: Annotated[int, typer.Option(min=2, help="Number of symbols.")] = 11,
    as_json: Annotated[bool, typer.Option("--json", help="Write one JSON object.")] = False,
) -> None:
    """Compare the training gradients with finite differences.

    The differences are central and in float64. Exits with 1 if an error is above the tolerance.
    """
    from charrnn.cli.output import write_json
    from charrnn.cli.views.table import print_table
    from charrnn.config.builtin import settings_path
    from charrnn.config.load import load_config
    from charrnn.nn.gradcheck import check_gradients

    settings = load_config(settings_path(str(config)), overrides or [])
    errors = check_gradients(
        settings.model.network(), forget_bias=settings.model.forget_bias, seed=settings.training.seed,
        entries=entries, seq_length=seq_length, batch_size=batch_size, vocab_size=vocab_size,
    )  # fmt: skip
    worst = max(errors.values())
    if as_json:
        write_json({"errors": errors, "worst": worst, "tolerance": tolerance, "passed": worst <= tolerance})
    else:
        rows = [(name, f"{error:.2e}", "ok" if error <= tolerance else "ABOVE") for name, error in errors.items()]
        print_table(f"worst relative error of each parameter (tolerance {tolerance:.0e})", ("", "error", ""), rows)
    if not worst <= tolerance:
        raise typer.Exit(1)
