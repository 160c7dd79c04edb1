"""The notebook is committed as it ran, and runs again."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT

NOTEBOOK = ROOT / "notebooks" / "rnn_from_scratch.ipynb"
PLOTS = 8


def outputs(notebook: dict[str, Any]) -> list[dict[str, Any]]:
    return [output for cell in notebook["cells"] for output in cell.get("outputs", [])]


def pictures(notebook: dict[str, Any]) -> int:
    return sum(len(output.get("data", {}).get("image/png", "")) > 5000 for output in outputs(notebook))


def test_the_notebook_is_committed_as_it_ran() -> None:
    notebook = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    assert pictures(notebook) == PLOTS
    assert all(output["output_type"] != "error" for output in outputs(notebook))
    assert all(len("".join(cell["source"]).splitlines()) <= 32 for cell in cells)
    text = NOTEBOOK.read_text(encoding="utf-8")
    assert not re.search(r"/(home|root|tmp|work|usr)/", text)
    printed = "".join("".join(output.get("text", [])) for output in outputs(notebook))
    differences = [float(x) for x in re.findall(r"largest difference of a gradient: (\S+)", printed)]
    assert len(differences) == 2  # PyTorch's and charrnn's
    assert max(differences) < 1e-10


@pytest.mark.extras
@pytest.mark.filterwarnings("ignore")
def test_the_notebook_runs_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nbclient, nbformat = pytest.importorskip("nbclient"), pytest.importorskip("nbformat")
    pytest.importorskip("ipykernel")
    pytest.importorskip("matplotlib")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    nbclient.NotebookClient(notebook, timeout=170, kernel_name="python3").execute()  # raises where a cell does
    assert pictures(notebook) == PLOTS
