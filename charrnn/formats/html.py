"""One HTML file that writes in a browser: weights and a small forward pass in plain JavaScript, no network."""

from __future__ import annotations

import base64
import html
import json
import math
import re
from pathlib import Path

import numpy as np

from charrnn.files import write_output
from charrnn.formats.common import check_equations, metadata, plain_params, start_facts
from charrnn.nn.cells import CELLS, RecurrentCell
from charrnn.nn.cells.equations import parse, translate
from charrnn.runs.checkpoint import Checkpoint


def write(checkpoint: Checkpoint, output: Path) -> list[Path]:
    """Write the file.

    Raises:
        SettingsError: a cell without equations.
    """
    check_equations(checkpoint)
    params, m, meta = plain_params(checkpoint), checkpoint.config.model, metadata(checkpoint)
    cell = CELLS[m.cell]
    facts = {
        "hidden": m.hidden_size,
        "states": cell.state_names,
        "recurrentBiases": {name: cell.gates.index(g) * m.hidden_size for g, name in cell.recurrent_biases.items()},
        "layers": m.num_layers,
        "symbols": meta["vocabulary"]["symbols"],
        "encoding": meta["vocabulary"]["encoding"],
        "start": start_facts(checkpoint),
        "shapes": {name: list(values.shape) for name, values in params.items()},
    }
    flat = np.concatenate([values.ravel() for values in params.values()]).astype("<f4")
    page = Path(__file__).with_name("page.html").read_text(encoding="utf-8")
    source = checkpoint.config.corpus.label
    filled = {
        "SOURCE": html.escape(source),
        "ABOUT": html.escape(_about(checkpoint, source, flat.size)),
        "EQUATIONS": unit_script(cell),
        "FACTS": json.dumps(facts).replace("<", "\\u003c"),  # so that no text in it can end the script
        "WEIGHTS": base64.b64encode(flat.tobytes()).decode(),
    }
    page = re.sub(r"__([A-Z]+)__", lambda mark: filled[mark[1]], page)
    write_output(output, page.encode())
    return [output]


def _about(checkpoint: Checkpoint, source: str, parameters: int) -> str:
    """What the page says it is: the text, the cell, the size, and the loss if it is known."""
    m, loss = checkpoint.config.model, checkpoint.counters.get("best_val_loss")
    layers = "1 layer" if m.num_layers == 1 else f"{m.num_layers} layers"
    size = f"{m.cell.upper()}, {layers} of {m.hidden_size} units, {parameters:,} parameters"
    said = f"A recurrent network ({size}) taught to guess the next character of {source}."
    if not isinstance(loss, float) or not math.isfinite(loss):
        return said
    bits = loss / math.log(2)
    return f"{said} Lowest loss on unseen text: {loss:.3f} nats ({bits:.2f} bits) per character."


class _JavaScript:
    """Writes equations as JavaScript; an expression is its text."""

    def name(self, name: str) -> str:
        """See `Writer`."""
        return name

    def number(self, value: float) -> str:
        """See `Writer`."""
        return repr(value)

    def binary(self, operator: str, left: str, right: str) -> str:
        """See `Writer`."""
        return f"({left} {operator} {right})"

    def call(self, function: str, argument: str) -> str:
        """See `Writer`."""
        return f"{'Math.tanh' if function == 'tanh' else function}({argument})"


def unit_script(cell: type[RecurrentCell]) -> str:
    """The body of the page's `unit`: a cell's equations for unit `k`, from `x`, `u` and `old` to `next`."""
    lines = [f"let {name} = old.{name}[k];" for name in cell.state_names]
    for index, gate in enumerate(cell.gates):
        lines.append(f"const x_{gate} = x[{index} * H + k], u_{gate} = u[{index} * H + k];")
        lines.append(f"const a_{gate} = x_{gate} + u_{gate};")
    for name, expression in parse(cell.equations):
        keyword = "" if name in cell.state_names else "const "
        lines.append(f"{keyword}{name} = {translate(expression, _JavaScript())};")
    lines += [f"next.{name}[k] = {name};" for name in cell.state_names]
    return "\n".join(f"  {line}" for line in lines)
