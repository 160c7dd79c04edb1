"""A page in one file: the template with its data embedded, nothing fetched, no text interpreted as markup."""

from __future__ import annotations

import base64
import importlib.resources
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from charrnn.errors import SettingsError
from charrnn.inspection.memory import Floats, grouped_by_length
from charrnn.inspection.trace import Trace
from charrnn.nn.params import Array

_BUDGET = 440_000  # bytes of a text's activations in a page, before base64, so that a run takes less than 1 MB
_LEAST = 200  # characters of text, however large the network
MARK = "__DATA__"


def render(data: dict[str, Any]) -> str:
    """The page's HTML.

    Args:
        data: `title`; `runs`, see the command; `texts` and `memory`, see `units_data` and `memory_data`.
    """
    template = importlib.resources.files("charrnn.inspection").joinpath("report.html").read_text(encoding="utf-8")
    # `<` could end the script element; every other character is harmless inside JSON text.
    text = json.dumps(finite(data), ensure_ascii=True, separators=(",", ":")).replace("<", "\\u003c")
    return template.replace(MARK, text)


def check_page(output: Path) -> None:
    """Check, before the work that it is to show, that a page may have that name.

    Raises:
        SettingsError: the suffix of something else.
    """
    if output.suffix.lower() not in ("", ".html", ".htm"):
        raise SettingsError(f"{output}: the name must end in .html")


def finite(value: Any) -> Any:
    """Replace numbers that JSON does not have by null."""
    if isinstance(value, dict):
        return {str(key): finite(v) for key, v in value.items()}
    if isinstance(value, list | tuple):
        return [finite(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def units_data(name: str, text: Sequence[str], trace: Trace) -> dict[str, Any]:
    """A text with all activations that fit, of 4 bits in base64: h of every layer, tanh(c), gates from shut to open.

    The text is cut where not even the states of all layers would fit.

    Returns:
        `name`, `text`, `nats` (N-1,) and `units`: for each layer and each state or gate `layer`, `of`, `size` (H),
        `first`, the unit that varies most, and `data`, (H, N) values from 1 (-1) over 8 (0) to 15 (+1), two per byte.
    """
    layers = range(len(trace.layers))
    states = ("h", *trace.unbounded)
    per_char = sum(trace.activation(of, layer).shape[1] for of in states for layer in layers) / 2
    length = min(len(text), max(_LEAST, int(_BUDGET / per_char)))
    kept: list[dict[str, Any]] = []
    used = 0
    for of in (*states, *trace.sigmoid_gates):
        for layer in layers:
            values = trace.signed(of, layer)[:length]
            used += -(-values.size // 2)
            if kept and used > _BUDGET:
                break
            packed = base64.b64encode(_packed(values.T).tobytes()).decode("ascii")
            first = int(values.std(axis=0).argmax())
            kept.append({"layer": layer, "of": of, "size": values.shape[1], "first": first, "data": packed})
    nats = [round(float(n), 4) for n in trace.nats[: length - 1]]
    return {"name": name, "text": text[:length], "nats": nats, "units": kept}


def memory_data(name: str, gradient: Floats, loss: Floats) -> dict[str, Any]:
    """A run's two curves of memory, as the page draws them.

    Args:
        name: of the run.
        gradient: from `gradient_memory`.
        loss: from `loss_by_context`.

    Returns:
        `name`, `gradient`, and `loss` at each of the `lengths` of context, as `grouped_by_length` gives them.
    """
    lengths, grouped = grouped_by_length(loss)
    curves = {"gradient": gradient.tolist(), "lengths": lengths.tolist(), "loss": grouped.round(4).tolist()}
    return {"name": name, **curves}


def _packed(values: Array) -> npt.NDArray[np.uint8]:
    """Values from -1 to 1 as numbers from 1 to 15, two per byte, the first in the upper half."""
    levels = (np.round(values.ravel() * 7.0) + 8.0).astype(np.uint8)
    pairs = np.append(levels, np.zeros(levels.size % 2, np.uint8)).reshape(-1, 2)
    return (pairs[:, 0] * 16 + pairs[:, 1]).astype(np.uint8)
