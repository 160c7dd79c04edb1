"""`charrnn rank`."""

from __future__ import annotations

import math
from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import typer

EXAMPLE = "Example: charrnn rank candidates.txt checkpoints/quickstart; grep -h import *.py | charrnn rank - --top 10"


class By(str, Enum):
    """What candidates are ranked by."""

    per_char = "per-char"
    total = "total"


def rank(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Candidates, one a line; - is standard input.")],
    checkpoints: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[CKPT...]",
            help="Checkpoint or run directory; default: the newest run. Give several to average their predictions.",
        ),
    ] = None,
    by: Annotated[By, typer.Option("--by", help="Mean surprise a character, or that of the whole line.")] = By.per_char,
    prime: Annotated[str, typer.Option(help="Text that stands before each candidate; default: a line end.")] = "",
    top: Annotated[int | None, typer.Option(min=1, help="Only the likeliest.")] = None,
    unknown: Annotated[
        str, typer.Option(help="Characters that the model does not know: error, skip, replace.")
    ] = "error",
    as_json: Annotated[bool, typer.Option("--json", help="Write one JSON object.")] = False,
) -> None:
    """Rank lines by how likely they are to a model, the likeliest first."""
    from charrnn.api import load
    from charrnn.cli.output import write_json
    from charrnn.cli.views.training import print_table
    from charrnn.data.decoding import TextRules
    from charrnn.data.vocabulary import default_prime
    from charrnn.errors import DataError
    from charrnn.evaluation.scoring import candidate_nats
    from charrnn.runs.text import read_text

    model = load(*(checkpoints or []))
    name, text = read_text(file, TextRules.of(model.checkpoints[0].config.corpus))
    newline = b"\n" if isinstance(text, bytes) else "\n"
    lines = [line for line in text.split(newline) if line.strip()]  # type: ignore[arg-type]
    if not lines:
        raise DataError(f"{name}: there are no candidates in it", hint="write one a line")
    candidates = [model.vocabulary.encode(line, what=name, unknown=unknown) for line in lines]
    start = (
        model.vocabulary.encode(prime, what="--prime", unknown=unknown) if prime else default_prime(model.vocabulary)
    )
    nats = candidate_nats(model.models, start, candidates)
    rows: list[dict[str, Any]] = [
        {"text": line if isinstance(line, str) else line.decode("utf-8", "replace"), "characters": len(ids),
         "nats": x, "bits_per_char": x / len(ids) / math.log(2) if len(ids) else math.nan}
        for line, ids, x in zip(lines, candidates, nats, strict=True)
    ]  # fmt: skip
    key = "nats" if by is By.total else "bits_per_char"
    rows = sorted(rows, key=lambda row: row[key] if row[key] == row[key] else math.inf)[:top]
    if as_json:
        write_json({"by": by.value, "candidates": rows})
        return
    shown = [(f"{r['bits_per_char']:.3f}", f"{r['nats']:.2f}", str(r["characters"]), str(r["text"])) for r in rows]
    print_table(name, ("bits/char", "nats", "characters", "candidate"), shown, text="candidate")
