"""Draws the README's picture of the live display from a real run: `python -m tests.pictures [MINUTES] [A.B=V...]`.

On a machine with nothing else to do, for the picture shows its speed.
"""

from __future__ import annotations

import io
import os
import re
import sys
import tempfile
from pathlib import Path

from rich.console import Console

from charrnn.cli.views.training import RichView
from charrnn.config.load import load_config
from charrnn.runs.directory import RunDirectory
from charrnn.runs.events import StepReport
from charrnn.training.session import train
from tests.conftest import ROOT

PICTURE = ROOT / "docs" / "images" / "live.svg"
SHOWN_AT = 0.9  # of the run, so that its bar still moves
OFTEN = ["training.sample_length=600", "training.sample_every=200", "training.eval_every=400"]  # to fill the panel


def draw(minutes: float, overrides: list[str]) -> str:
    """The display of the quickstart with these settings, near the end of its minutes, as SVG."""
    console = Console(
        record=True, force_terminal=True, color_system="truecolor", width=92, height=30, file=io.StringIO()
    )
    settings = load_config(
        ROOT / "configs" / "quickstart.yaml", [f"training.max_minutes={minutes}", *OFTEN, *overrides]
    )
    view = RichView(console, live=False)
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)  # so that the picture names no folder of this machine
        for event in train(settings, RunDirectory(Path("checkpoints/quickstart"))):
            view.show(event)
            if isinstance(event, StepReport) and event.seconds > 60 * minutes * SHOWN_AT:
                break
        os.chdir(ROOT)
    console.export_text()  # which forgets the notes
    console.print(view._render())
    svg = console.export_svg(title="charrnn train")
    return re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL)  # no fonts from elsewhere


if __name__ == "__main__":
    PICTURE.write_text(draw(float((sys.argv[1:] or ["2"])[0]), sys.argv[2:]), encoding="utf-8")
