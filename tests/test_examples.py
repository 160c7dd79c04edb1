"""The examples in the docstrings of the public API run, and show what they say."""

from __future__ import annotations

import ast
import doctest
import importlib
import math
from pathlib import Path

import numpy as np
import pytest

import charrnn
from tests.conftest import ROOT, SENTENCES

MODULES = sorted({f"charrnn.{home.partition(':')[0]}" for home in charrnn._HOMES.values()})
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where `tiny` is a run on sentences, `names` one on documents, and `tiny.txt` a text."""
    path = tmp_path_factory.mktemp("examples")
    (path / "tiny.txt").write_text(SENTENCES * 12)
    settings = {"batch_size": 4, "seq_length": 16, "max_steps": 200, "learning_rate": 0.02, "sample_every": None}
    charrnn.train(path / "tiny.txt", run_dir=path / "tiny", cell="gru", hidden_size=24, **settings)
    names = "".join(f"{a}{b}\n" for a in ("ka", "lo", "mi", "nu") for b in ("ra", "te", "so", "dina")) * 20
    charrnn.train(text=names, run_dir=path / "names", document_separator="\n", hidden_size=16, **settings)
    return path


@pytest.mark.parametrize("name", MODULES)
def test_examples_run(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    module = importlib.import_module(name)
    found = doctest.DocTestFinder().find(module, extraglobs={"charrnn": charrnn, "Path": Path, "np": np})
    runner, said = doctest.DocTestRunner(optionflags=FLAGS), []
    for example in found:
        runner.run(example, out=said.append)
    assert runner.failures == 0, "".join(said)
    assert runner.tries > 0 or name == "charrnn.training.trainer"  # `train_events` shows it at work


def test_every_public_name_has_an_example() -> None:
    for name in set(charrnn.__all__) - {"__version__", "Trainer", "GeneratedChar", "NextChar", "TrainedModel"}:
        found = doctest.DocTestFinder(recurse=False).find(getattr(charrnn, name), name)
        assert any(test.examples for test in found), name


def test_every_public_function_of_the_library_has_an_example() -> None:
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in (ROOT / "charrnn" / "api").glob("*.py")]
    classes = [n for tree in trees for n in tree.body if isinstance(n, ast.ClassDef) and n.name == "TrainedModel"]
    functions = [n for part in (*trees, *classes) for n in part.body if isinstance(n, ast.FunctionDef)]
    assert len(classes) == 1
    for function in functions:
        decorated = any(getattr(d, "id", "") == "cached_property" for d in function.decorator_list)
        if not (function.name.startswith("_") or decorated):
            assert ">>>" in (ast.get_docstring(function) or ""), function.name


def test_editors_see_every_name() -> None:
    stub = ast.parse((ROOT / "charrnn" / "__init__.pyi").read_text(encoding="utf-8"))
    imported = {a.asname for n in stub.body if isinstance(n, ast.ImportFrom) for a in n.names}
    assigned = {t.id for n in stub.body if isinstance(n, ast.Assign) for t in n.targets if isinstance(t, ast.Name)}
    declared = {n.target.id for n in stub.body if isinstance(n, ast.AnnAssign) and isinstance(n.target, ast.Name)}
    assert imported | assigned | (declared & {"__version__"}) == set(charrnn.__all__)
    assert set(charrnn.__all__) <= set(dir(charrnn))


def test_training_from_a_string_and_from_a_recipe(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    events: list[object] = []
    model = charrnn.train("tiny.txt", config="quickstart", hidden_size=8, num_layers=1, max_steps=3, epochs=None,
                          max_minutes=None, warmup_steps=1, replicas=1, listen=events.append)  # fmt: skip
    assert (type(events[0]).__name__, type(events[-1]).__name__) == ("RunStarted", "RunFinished")
    assert model.checkpoints[0].config.model.hidden_size == 8
    assert (folder / "checkpoints" / "tiny" / "last.npz").exists()
    again = charrnn.train("tiny.txt", config="quickstart", resume=True, hidden_size=8, num_layers=1, max_steps=5,
                          epochs=None, max_minutes=None, warmup_steps=1, replicas=1)  # fmt: skip
    assert charrnn.load_checkpoint(folder / "checkpoints" / "tiny" / "last.npz").counters["step"] == 5
    assert again.vocabulary == model.vocabulary
    begun = charrnn.train_events("t*.txt", hidden_size=8, replicas=1)
    assert next(begun).run_dir == Path("checkpoints") / folder.name  # type: ignore[union-attr]
    begun.close()  # type: ignore[attr-defined]
    with pytest.raises(charrnn.CharRNNError, match="hiden_size: no such setting"):
        charrnn.train("tiny.txt", hiden_size=8)
    with pytest.raises(charrnn.CharRNNError, match="cannot both be given"):
        charrnn.train("tiny.txt", text="abc")


def test_the_next_characters_are_those_of_the_model(folder: Path) -> None:
    model = charrnn.load(folder / "tiny")
    found = model.next("the c", top=100)
    assert len(found) == len(model.vocabulary)
    assert sum(c.probability for c in found) == pytest.approx(1.0)
    assert [c.probability for c in found] == sorted((c.probability for c in found), reverse=True)
    for c in found[:3]:
        assert model.score(c.text, "the c").nats == pytest.approx(-math.log(c.probability), rel=1e-4)


def test_a_document_is_scored_to_its_end(folder: Path) -> None:
    names = charrnn.load(folder / "names")
    assert names.score("kara").characters == 5
    assert names.score("kara").loss < names.score("kar").loss
    drawn = list(names.items(40, seed=1))
    assert sum(name[0] in "klmn" for name in drawn) >= 36
