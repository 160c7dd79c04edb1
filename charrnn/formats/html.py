"""One HTML file that samples in a browser: weights and a small forward pass in plain JavaScript, no network."""

from __future__ import annotations

import base64
import html
import json
from pathlib import Path

import numpy as np

from charrnn.files import write_output
from charrnn.formats.common import check_equations, metadata, plain_params
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
        "source": Path(checkpoint.config.corpus.sources[0]).name,  # no local folder names on a page for others
        "shapes": {name: list(values.shape) for name, values in params.items()},
    }
    flat = np.concatenate([values.ravel() for values in params.values()]).astype("<f4")
    page = Path(__file__).with_name("page.html").read_text(encoding="utf-8")
    title = f"{facts['source']}: {m.cell.upper()}, {m.num_layers} x {m.hidden_size}"
    # `<` never occurs in the data, so that no text in it can end the script.
    page = page.replace("__EQUATIONS__", unit_script(cell))
    page = page.replace("__TITLE__", html.escape(title))
    page = page.replace("__FACTS__", json.dumps(facts).replace("<", "\\u003c"))
    page = page.replace("__WEIGHTS__", base64.b64encode(flat.tobytes()).decode())
    write_output(output, page.encode())
    return [output]


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
