"""`charrnn plot`."""

from __future__ import annotations

import shutil
from enum import Enum
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from charrnn.cli.arguments import RunDirectories, chosen_runs, output_file

if TYPE_CHECKING:
    from charrnn.runs.history import History

EXAMPLE = "Example: charrnn plot checkpoints/quickstart --x seconds --output loss.png"


class XAxis(str, Enum):
    """What losses are plotted against."""

    steps = "steps"
    chars = "chars"
    seconds = "seconds"


def plot(
    runs: RunDirectories = None,
    x: Annotated[
        XAxis, typer.Option("--x", help="Horizontal axis: steps, characters or seconds of training.")
    ] = XAxis.steps,
    output: Annotated[
        Path | None,
        output_file("Output file (.png, .svg or .pdf). Default: loss.png, for one run in its directory."),
    ] = None,
    terminal: Annotated[
        bool, typer.Option("--terminal", help="Plot in the terminal; to a file only with --output.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Write the numbers as one JSON object; to a file only with --output.")
    ] = False,
) -> None:
    """Plot the losses, learning rate and gradient norm of one or more runs."""
    from charrnn.cli.output import tell, write_json
    from charrnn.errors import SettingsError
    from charrnn.inspection.plots.curves import curve_data, draw_curves
    from charrnn.inspection.plots.figures import check_output
    from charrnn.runs.history import read_histories

    if terminal and as_json:
        raise SettingsError("--terminal and --json both write to standard output", hint="give only one of the two")
    if output is not None:
        check_output(output)
    histories = read_histories(chosen_runs(runs))
    elsewhere = output is not None or as_json
    if terminal or (not elsewhere and find_spec("matplotlib") is None and find_spec("plotext") is not None):
        _draw_in_terminal(histories, x)
    elif output is None and not as_json:
        output = histories[0].path / "loss.png" if len(histories) == 1 else Path("loss.png")
        if output.is_symlink():  # in a directory from a stranger it may lead anywhere
            raise SettingsError(f"{output}: is a symbolic link", hint="name the output file with --output")
    if as_json:
        write_json({"runs": curve_data(histories)})
    if output is not None:
        draw_curves(histories, output, x=x.value)
        tell(f"wrote {output}")


def _draw_in_terminal(histories: list[History], x: XAxis) -> None:
    from charrnn.cli.output import visible, write_raw
    from charrnn.cli.views.colour import colours_wanted
    from charrnn.inspection.plots.curves import draw_in_terminal

    size = shutil.get_terminal_size((80, 24))
    colour = colours_wanted()
    text = draw_in_terminal(histories, x=x.value, width=size.columns, height=size.lines - 2, colour=colour)
    write_raw((text if colour else visible(text)) + "\n")
