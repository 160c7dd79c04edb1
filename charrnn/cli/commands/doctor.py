"""`charrnn doctor`."""

from __future__ import annotations

import shutil
from typing import Annotated

import typer

from charrnn.cli.arguments import OneRun, chosen_run
from charrnn.cli.text_options import Corpus

EXAMPLE = "Example: charrnn doctor checkpoints/quickstart; charrnn doctor checkpoints/gru --json"


def doctor(
    run: OneRun = None,
    corpus: Corpus = None,
    as_json: Annotated[bool, typer.Option("--json", help="Write one JSON object.")] = False,
) -> None:
    """Say what is wrong with a run and which settings to change.

    The run may still be training, or have ended.
    """
    from dataclasses import asdict

    from charrnn.cli.output import on_terminal, tell, visible, wrapped, write, write_json
    from charrnn.cli.views.advice import advice_line, facts_lines
    from charrnn.evaluation.diagnosis import diagnose
    from charrnn.runs.history import read_history

    found = diagnose(read_history(chosen_run(run)), corpus=corpus or [])
    if as_json:
        write_json(asdict(found))
        return
    lines = [f"{found.name}: {line}" for line in facts_lines(found)]
    lines += [advice_line(piece) for piece in found.advice] or ["no advice"]
    if on_terminal():
        width = shutil.get_terminal_size((80, 24)).columns
        lines = [wrapped(visible(line), width) for line in lines]
    write("".join(f"{line}\n" for line in lines))
    tell(*(f"note: {note}" for note in found.notes))
