"""The notebook is committed as it ran, in two languages of one source, and runs again."""

from __future__ import annotations

import ast
import importlib.util
import json
import re
from typing import Any

import pytest

from tests.conftest import ROOT

PLOTS = 10
_spec = importlib.util.spec_from_file_location("build_notebooks", ROOT / "notebooks" / "build.py")
assert _spec is not None
assert _spec.loader is not None
build = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(build)
languages = pytest.mark.parametrize("language", ["en", "fr"])


def outputs(notebook: dict[str, Any]) -> list[dict[str, Any]]:
    return [output for cell in notebook["cells"] for output in cell.get("outputs", [])]


def printout(notebook: dict[str, Any]) -> str:
    return "".join("".join(output.get("text", [])) for output in outputs(notebook))


def pictures(notebook: dict[str, Any]) -> int:
    return sum(len(output.get("data", {}).get("image/png", "")) > 5000 for output in outputs(notebook))


def code(language: str) -> list[str]:
    return [text for kind, text in build.cells(language) if kind == "code"]


def losses(notebook: dict[str, Any]) -> dict[str, tuple[float, float, float]]:
    """Cell -> loss of its networks on unseen text (nats): mean, of the worst seed, of the best seed."""
    printed = printout(notebook)
    row = r"^(RNN|LSTM|GRU) 1x\d+, [\d,]+ +([\d.]+) +[\d.]+ +[\d.]+ +([\d.]+) - ([\d.]+)$"
    return {cell: (float(a), float(b), float(c)) for cell, a, b, c in re.findall(row, printed, re.MULTILINE)}


def committed(language: str) -> dict[str, Any]:
    notebook: dict[str, Any] = json.loads(build.NOTEBOOKS[language].read_text(encoding="utf-8"))
    return notebook


@languages
def test_the_table_of_cells_shows_what_the_words_say(language: str) -> None:
    rnn, lstm, gru = (losses(committed(language))[cell] for cell in ("RNN", "LSTM", "GRU"))
    assert max(rnn[2], gru[2]) < min(rnn[1], gru[1])  # their seeds overlap
    assert lstm[2] > max(rnn[1], gru[1])


@languages
def test_the_picture_of_memory_shows_what_the_words_say(language: str) -> None:
    found = re.findall(r"^(RNN|LSTM|GRU) +(k=2:.*)$", printout(committed(language)), re.MULTILINE)
    shares = {
        (cell, int(k)): (float(worst), float(best))
        for cell, line in found
        for k, worst, best in re.findall(r"k=(\d+): ([\d.]+)-([\d.]+)", line)
    }
    assert all(shares[cell, k] == (1, 1) for cell in ("RNN", "LSTM", "GRU") for k in (2, 5))
    worst, best = 0, 1
    for k in (10, 20, 40):  # the bands of the two overlap
        assert shares["RNN", k][worst] < shares["LSTM", k][best]
        assert shares["LSTM", k][worst] < shares["RNN", k][best]
    assert shares["GRU", 40][worst] > max(shares["RNN", 40][best], shares["LSTM", 40][best])
    assert shares["RNN", 20][best] < shares["GRU", 20][worst]  # the LSTM's best depends on how sums are rounded


@languages
def test_what_is_said_of_the_sentences_written_is_true(language: str) -> None:
    made: dict[str, Any] = {}
    exec("import math\nimport numpy as np\nrng = np.random.default_rng(0)", made)
    exec(next(text for text in code("en") if "unseen_text" in text), made)
    short = sum(" and " not in text for text, _ in made["seen"])
    possible = len(made["THINGS"]) ** 2 * len(made["ACTS"])
    words = "\n".join(text for kind, text in build.cells(language) if kind == "markdown")
    assert (possible, round(100 * short / possible)) == (864, 42)
    assert re.search(r"864 .*\b42 ?%", words)
    assert re.search(
        r"(in the training text too: |présentes dans le texte d'entraînement : )4$", printout(committed(language)), re.M
    )


@languages
def test_the_notebook_is_committed_as_it_ran(language: str) -> None:
    text = build.NOTEBOOKS[language].read_text(encoding="utf-8")
    notebook = json.loads(text)
    found = [(cell["cell_type"], "".join(cell["source"])) for cell in notebook["cells"]]
    assert found == build.cells(language), "run: python notebooks/build.py"
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    assert pictures(notebook) == PLOTS
    assert {output["output_type"] for output in outputs(notebook)} == {"stream", "display_data"}
    assert {output.get("name", "stdout") for output in outputs(notebook)} == {"stdout"}  # no warnings
    assert all(len("".join(cell["source"]).splitlines()) <= 32 for cell in cells)
    assert not re.search(r"/(home|root|tmp|work|usr)/", text)
    assert len(text) < 700_000
    printed = printout(notebook)
    said = r"(?:largest difference between gradients:|plus grand écart entre gradients :) (\S+)"
    differences = [float(x) for x in re.findall(said, printed)]
    assert len(differences) == 2  # PyTorch's and charrnn's
    assert max(differences) < 1e-10


def test_both_languages_have_the_same_code_but_for_its_words() -> None:
    def shape(source: str) -> str:
        tree = ast.parse(source)
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                node.value = ""
        return ast.dump(tree)

    assert [shape(text) for text in code("en")] == [shape(text) for text in code("fr")]
    kinds = [[kind for kind, _ in build.cells(language)] for language in ("en", "fr")]
    assert kinds[0] == kinds[1]
    pairs = zip(build.cells("en"), build.cells("fr"), strict=True)
    assert not [text for (kind, text), other in pairs if kind == "markdown" and text == other[1]]
    for language in ("en", "fr"):  # formulas are the same in both, but for words in them
        text = "\n".join(text for kind, text in build.cells(language) if kind == "markdown")
        formulas = re.findall(r"\$\$(.*?)\$\$", text.replace("cible", "target"), re.DOTALL)
        assert len(formulas) == 9
        if language == "en":
            english = formulas
    assert formulas == english


def test_text_that_is_said_to_be_unseen_is_unseen() -> None:
    made: dict[str, Any] = {}
    cells = code("en")
    exec("import math\nimport numpy as np\nrng = np.random.default_rng(0)", made)
    exec(next(text for text in cells if "unseen_text" in text), made)
    known = {text for text, _ in made["seen"]}
    assert len(made["unseen"]) == 100
    assert not known & {text for text, _ in made["unseen"]}
    manual = next(text for text in cells if "topics" in text)
    exec(manual.partition("ngram, _")[0], made)
    train = set(made["text_of"](made["train"]).split("\n\n"))
    whole = made["text_of"](made["test"]).split("\n\n")[1:-1]
    assert not train & set(whole)


@pytest.mark.extras
@pytest.mark.filterwarnings("ignore")
@languages
def test_the_notebook_runs_again(language: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("nbclient", "nbformat", "ipykernel", "matplotlib"):
        pytest.importorskip(name)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    made = build.run(language)  # raises where a cell does
    assert pictures(made) == PLOTS
    errors = [output for output in outputs(made) if output.get("name") == "stderr"]
    assert not errors
    before, now = losses(committed(language)), losses(made)
    assert before.keys() == now.keys() == {"RNN", "LSTM", "GRU"}
    assert all(abs(before[cell][0] - now[cell][0]) < 0.05 for cell in before)  # a network that unlearns is no noise
