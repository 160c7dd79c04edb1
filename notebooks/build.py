"""Make the notebook in English and in French from `source.md`, and run it: `python notebooks/build.py [en] [fr]`.

The source is Markdown: `<!-- en -->` and `<!-- fr -->` before the two versions of a text, code in fences, and after
`<!-- labels -->` lines `English => French` for the words inside the code, so that both have the same code.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
NOTEBOOKS = {"en": HERE / "rnn_from_scratch.ipynb", "fr": HERE / "rnn_from_scratch.fr.ipynb"}
_BLOCK = re.compile(r"^<!-- (en|fr|labels) -->\n|^```python\n(.*?)\n```\n", re.MULTILINE | re.DOTALL)


def cells(language: str) -> list[tuple[str, str]]:
    """("markdown" or "code", source) of each cell in a language.

    Raises:
        ValueError: a label that is in no code, or words outside any block.
    """
    found = _blocks((HERE / "source.md").read_text(encoding="utf-8"))
    lines = next(text for kind, text in found if kind == "labels").splitlines()
    labels = dict(line.split(" => ") for line in lines if line)
    code = "\n".join(text for kind, text in found if kind == "code")
    if unused := [label for label in labels if label not in code]:
        raise ValueError(f"source.md: labels that are in no code: {unused}")
    out = []
    for kind, text in found:
        if kind == "code":
            out.append(("code", _translated(text, labels) if language == "fr" else text))
        elif kind == language:
            out.append(("markdown", text))
    return out


def _blocks(source: str) -> list[tuple[str, str]]:
    marks = list(_BLOCK.finditer(source))
    if source[: marks[0].start()].strip():
        raise ValueError("source.md: it does not begin with a block")
    ends = [mark.start() for mark in marks[1:]] + [len(source)]
    out = []
    for mark, end in zip(marks, ends, strict=True):
        after = source[mark.end() : end].strip()
        if mark[2] is None:
            out.append((mark[1], after))
        elif after:
            raise ValueError(f"source.md: words that are in no block: {after[:60]!r}")
        else:
            out.append(("code", mark[2]))
    return out


def _translated(code: str, labels: dict[str, str]) -> str:
    """Code with the labels in it replaced, the longest first, so that none is taken for part of another."""
    for label in sorted(labels, key=len, reverse=True):
        code = code.replace(label, labels[label])
    return code


def notebook(language: str) -> dict[str, Any]:
    """The notebook in a language as JSON, not yet run."""
    made = []
    for number, (kind, text) in enumerate(cells(language)):
        cell: dict[str, Any] = {"cell_type": kind, "id": f"cell-{number:02}", "metadata": {}, "source": text}
        made.append(cell | ({"execution_count": None, "outputs": []} if kind == "code" else {}))
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    return {"cells": made, "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5}


def run(language: str, *, timeout: int = 3000) -> Any:
    """The notebook in a language as it ran; raises where a cell does."""
    import nbclient
    import nbformat

    made = nbformat.from_dict(notebook(language))
    nbclient.NotebookClient(made, timeout=timeout, kernel_name="python3").execute()
    for cell in made.cells:
        cell.metadata.pop("execution", None)  # times of day
    return made


def main() -> None:
    """Write those that are named, or both."""
    for language in sys.argv[1:] or NOTEBOOKS:
        path = NOTEBOOKS[language]
        text = json.dumps(run(language), ensure_ascii=False, indent=1, sort_keys=True)
        path.write_text(text + "\n", encoding="utf-8")
        sys.stderr.write(f"wrote {path.name}\n")


if __name__ == "__main__":
    main()
