"""`charrnn rank`."""

from __future__ import annotations

import math
import shlex
from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import typer

from charrnn.cli.arguments import Checkpoints, chosen
from charrnn.cli.text_options import Unknown

EXAMPLE = "Example: charrnn sample -q > lines.txt && charrnn rank lines.txt; charrnn sample -q | charrnn rank - --top 3"


class By(str, Enum):
    """What candidates are ranked by."""

    per_char = "per-char"
    total = "total"


def rank(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Candidates, one per line; - reads standard input.")],
    checkpoints: Checkpoints = None,
    by: Annotated[
        By, typer.Option("--by", help="Rank by surprise per character, or by the total of the line.")
    ] = By.per_char,
    prompt: Annotated[
        str, typer.Option("--prompt", "--prime", help="Text before each candidate. Default: the beginning of a text.")
    ] = "",
    top: Annotated[int | None, typer.Option(min=1, help="Show only the most likely candidates.")] = None,
    unknown: Annotated[
        Unknown, typer.Option(help="What to do with characters that the model does not know.")
    ] = Unknown.error,
    as_json: Annotated[bool, typer.Option("--json", help="Write one JSON object.")] = False,
) -> None:
    """Rank lines by how likely a model finds them."""
    from charrnn.api import load
    from charrnn.cli.output import write_json
    from charrnn.cli.views.table import print_table
    from charrnn.errors import DataError
    from charrnn.evaluation.loss import Score
    from charrnn.evaluation.scoring import candidate_nats
    from charrnn.runs.text import read_text

    if not file.exists() and str(file) != "-":
        raise DataError(f"{file}: no such file", hint=f"for text: echo {shlex.quote(str(file))} | charrnn rank -")
    if file.is_dir():
        raise DataError(f"{file}: a directory", hint="the file of candidates comes first: charrnn rank FILE CKPT")
    model = load(*chosen(checkpoints))
    name, text = read_text(file, model.rules)
    lines: list[Any] = list(text.split(b"\n") if isinstance(text, bytes) else text.split("\n"))
    numbered = {k: line for k, line in enumerate(lines, 1) if line.strip()}
    if not numbered:
        raise DataError(f"{name}: no candidates found", hint="write one per line")
    encode = model.vocabulary.encode
    candidates = [encode(line, what=f"{name}, line {k}", unknown=unknown.value) for k, line in numbered.items()]
    before = model.vocabulary.encode(model.rules.convert(prompt), what="--prompt", unknown=unknown.value)
    end = model.text_model.separator
    ends = 0 if end is None else len(end)  # the end of a document is scored, and counts
    nats = candidate_nats(model.text_model, before, candidates, end=end)
    rows: list[dict[str, Any]] = [
        {"text": line if isinstance(line, str) else line.decode("utf-8", "replace"), "characters": len(ids) + ends,
         "nats": x, "bits_per_char": Score(x, len(ids) + ends).bits_per_char}
        for line, ids, x in zip(numbered.values(), candidates, nats, strict=True)
    ]  # fmt: skip
    key = "nats" if by is By.total else "bits_per_char"
    rows = sorted(rows, key=lambda row: row[key] if row["characters"] else math.inf)[:top]
    if as_json:
        write_json({"by": by.value, "candidates": rows})
        return
    shown = [
        (*((f"{r['bits_per_char']:.3f}", f"{r['nats']:.2f}") if r["characters"] else ("-", "-")), str(r["characters"]),
         str(r["text"]))
        for r in rows
    ]  # fmt: skip
    print_table(name, ("bits/char", "nats", "characters", "candidate"), shown, text="candidate")
