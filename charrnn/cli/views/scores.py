"""What `charrnn eval` shows of single characters, lines and positions of a text."""

from __future__ import annotations

import itertools
import math
import shutil
import sys
from typing import TYPE_CHECKING, Any

from charrnn.cli.output import on_terminal, visible, write, write_json, write_raw

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from charrnn.api import TrainedModel
    from charrnn.nn.params import IdArray

_CONTEXT = 30
_AT_ONCE = 1 << 12  # characters


def per_character(model: TrainedModel, ids: IdArray, nats: npt.NDArray[np.float64], kind: str) -> None:
    """Every character's surprise, as JSON or in colour."""
    texts = model.vocabulary.symbols(ids)
    if kind == "json":
        values = [
            {"text": text, "nats": None if math.isnan(x) else x, "bits": None if math.isnan(x) else x / math.log(2)}
            for text, x in zip(texts, nats.tolist(), strict=True)
        ]
        write_json({"characters": values})
        return
    from charrnn.cli.views.colour import Painter, colours_wanted

    painter = Painter("surprise", enabled=colours_wanted())
    painted = [painter.paint(text, x / math.log(2)) for text, x in zip(texts, nats.tolist(), strict=True)]
    for start in range(0, len(painted), _AT_ONCE):
        write_raw("".join(painted[start : start + _AT_ONCE]))
    write("" if texts and texts[-1] == "\n" else "\n")
    sys.stderr.write(painter.legend())


def per_line(model: TrainedModel, ids: IdArray, nats: npt.NDArray[np.float64], *, as_json: bool) -> None:
    """Loss and bits of every line."""
    from charrnn.cli.views.table import print_table
    from charrnn.evaluation.scoring import by_line

    newline = int(model.vocabulary.encode("\n", unknown="skip")[0]) if _has_newline(model) else None
    lines = by_line(ids, nats, newline)
    texts = "".join(model.vocabulary.symbols(ids)).split("\n")
    if as_json:
        rows = [
            {"line": r.number, "characters": r.characters, "nats": r.nats, "bits_per_char": r.bits_per_char, "text": t}
            for r, t in zip(lines, texts, strict=False)
        ]
        write_json({"lines": rows})
        return
    table = [
        (str(r.number), str(r.characters), f"{r.nats:.2f}", f"{r.bits_per_char:.3f}" if r.characters else "-", t[:60])
        for r, t in zip(lines, texts, strict=False)
    ]
    print_table(
        "line by line", ("line", "characters", "nats", "bits/char", "text"), table, text="text", spare="characters"
    )


def _has_newline(model: TrainedModel) -> bool:
    return len(model.vocabulary.encode("\n", unknown="skip")) > 0


def _first(symbols: list[str], room: float) -> list[str]:
    """As many symbols as `room` columns take."""
    ends = itertools.accumulate(len(visible(symbol)) for symbol in symbols)
    return [symbol for symbol, end in zip(symbols, ends, strict=True) if end <= room]


def surprising(model: TrainedModel, ids: IdArray, nats: npt.NDArray[np.float64], count: int, *, as_json: bool) -> None:
    """The most surprising positions, with the text around them."""
    from charrnn.cli.views.table import print_table
    from charrnn.evaluation.scoring import most_surprising

    texts = list(model.vocabulary.symbols(ids))
    room = math.inf
    if on_terminal() and not as_json:  # what does not fit would be cut off behind the character itself
        room = max(3, min(_CONTEXT, (shutil.get_terminal_size((80, 24)).columns - 26) // 2))
    found: list[dict[str, Any]] = []
    for spot in most_surprising(nats, count):
        earlier = texts[: spot.position]
        line_start = next((k for k in range(len(earlier), 0, -1) if earlier[k - 1] == "\n"), 0)
        found.append(
            {
                "position": spot.position,
                "line": earlier.count("\n") + 1,
                "column": spot.position - line_start + 1,
                "character": texts[spot.position],
                "bits": spot.bits,
                "before": "".join(_first(earlier[: -_CONTEXT - 1 : -1], room)[::-1]),
                "after": "".join(_first(texts[spot.position + 1 : spot.position + 1 + _CONTEXT], room)),
            }
        )
    if as_json:
        write_json({"positions": found})
        return
    rows = [
        (
            f"{spot['line']}:{spot['column']}",
            f"{spot['bits']:.1f}",
            visible(f"{spot['before']}»{spot['character']}«{spot['after']}").replace("\n", "⏎"),
        )
        for spot in found
    ]
    context = "»character« in its context"
    print_table("the most surprising positions", ("line:column", "bits", context), rows, text=context)
