"""A page in one file: the template with its data embedded, nothing fetched, no text interpreted as markup."""

from __future__ import annotations

import base64
import importlib.resources
import json
import math
from typing import Any

import numpy as np

from charrnn.inspection.trace import Trace

_BUDGET = 3_000_000  # bytes of activations in a page, before base64
MARK = "__DATA__"


def render(data: dict[str, Any]) -> str:
    """The page's HTML.

    Args:
        data: `title`; `runs` and `texts`, see `report` and `units_data`.
    """
    template = importlib.resources.files("charrnn.inspection").joinpath("report.html").read_text(encoding="utf-8")
    # `<` could end the script element; every other character is harmless inside JSON text.
    text = json.dumps(finite(data), ensure_ascii=True, separators=(",", ":")).replace("<", "\\u003c")
    return template.replace(MARK, text)


def finite(value: Any) -> Any:
    """Replace numbers that JSON does not have by null."""
    if isinstance(value, dict):
        return {str(key): finite(v) for key, v in value.items()}
    if isinstance(value, list | tuple):
        return [finite(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def units_data(name: str, text: str, trace: Trace) -> dict[str, Any]:
    """A text with all activations that fit, as signed bytes in base64.

    Returns:
        `name`, `text`, `nats` (N-1,) and `units`: for each layer and each state or gate `layer`, `of`, `size` (H) and
        `data`, (H, N) bytes from -127 to 127: h, tanh(c), and gates from shut to open.
    """
    layers = len(trace.layers)
    names = ("h", *trace.unbounded, *trace.sigmoid_gates)
    wanted = [(layer, of) for of in names for layer in range(layers)]
    kept: list[dict[str, Any]] = []
    used = 0
    for layer, of in wanted:
        values = trace.signed(of, layer)
        if kept and used + values.size > _BUDGET:
            break
        used += values.size
        data = np.round(values.T * 127.0).astype(np.int8)
        packed = base64.b64encode(np.ascontiguousarray(data).tobytes()).decode("ascii")
        kept.append({"layer": layer, "of": of, "size": values.shape[1], "data": packed})
    return {"name": name, "text": text, "nats": [round(float(n), 4) for n in trace.nats], "units": kept}
