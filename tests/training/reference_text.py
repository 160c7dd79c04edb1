"""The symbols of a text and its parts, in plain Python: what `charrnn.data` must come to."""

from __future__ import annotations

import itertools
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np


def symbols_of(corpus: Mapping[str, Any], data: bytes) -> Any:
    """The whole text of one file: characters, or bytes."""
    if corpus["encoding"] == "bytes":
        return data
    text = data.decode(corpus["encoding"])
    if corpus["newlines"] == "unix":
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    if corpus["normalize"]:
        text = unicodedata.normalize(corpus["normalize"].upper(), text)
    whole = corpus["documents"] == "text" and corpus["split"] == "tail"
    return text if whole or text.endswith(corpus["document_separator"]) else text + corpus["document_separator"]


def parts_of(corpus: Mapping[str, Any], symbols: Sequence[Any]) -> list[Sequence[Any]]:
    """What trains, validates and tests."""
    val, test = corpus["val_fraction"], corpus["test_fraction"]
    if corpus["split"] == "tail":
        ends = [0, int(len(symbols) * (1.0 - val - test)), int(len(symbols) * (1.0 - test)), len(symbols)]
        return [symbols[a:b] for a, b in itertools.pairwise(ends)]
    assert isinstance(symbols, str)
    end = corpus["document_separator"]
    documents = [document + end for document in symbols.removesuffix(end).split(end)]
    numbers = np.random.Philox(key=[corpus["split_seed"], 0]).random_raw(len(documents)).tolist()
    left = [document for _, document in sorted(zip(numbers, documents, strict=True), key=lambda pair: pair[0])]
    parts, wanted = [], 0.0
    for share in (1.0 - val - test, val):
        wanted += share * len(symbols)
        part: list[str] = []
        while left and abs(len("".join([*parts, *part, left[0]])) - wanted) < abs(
            len("".join([*parts, *part])) - wanted
        ):
            part.append(left.pop(0))
        parts.append("".join(part))
    return [*parts, "".join(left)]
