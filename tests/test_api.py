"""The package as a notebook uses it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import charrnn
from charrnn.api import TrainedModel
from charrnn.errors import DataError, SettingsError
from tests.conftest import ROOT, Run

SMALL = {"hidden_size": 4, "max_steps": 2, "seq_length": 5, "batch_size": 2, "val_fraction": 0.0, "kernels": "numpy"}


@pytest.fixture
def trained(tmp_path: Path) -> TrainedModel:
    return charrnn.train(text="abcd " * 20, run_dir=tmp_path / "run", **SMALL)


def test_importing_the_package_loads_nothing_heavy() -> None:
    code = "import sys, charrnn; print(sorted({'numpy', 'msgspec', 'yaml', 'rich', 'typer'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.strip() == "[]"


def test_a_saved_run_writes_and_scores_text(charrnn_here: Run, config_file: Path) -> None:
    import charrnn as api

    assert charrnn_here("train", "-c", config_file, "-q").returncode == 0
    saved = api.load_checkpoint(api.find_checkpoint(config_file.parent / "checkpoints" / "tiny"))
    model, prime = saved.build_model(), saved.vocabulary.encode("the ")
    assert len("".join(api.generate_text(model, saved.vocabulary, prime, length=20, seed=1))) == 20
    score = api.evaluate(model, saved.vocabulary.encode("the cat sat on the mat. "))
    assert 0 < score.bits_per_char < 8


def test_unknown_names_are_attribute_errors() -> None:
    with pytest.raises(AttributeError, match="nonsense"):
        _ = charrnn.nonsense
    assert isinstance(charrnn.CharRNN(3, hidden_size=2).params.flat, np.ndarray)


def test_a_text_given_in_python_replaces_no_other_runs_text(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "run"
    for text, wrong, error in (("abcd " * 20, {"hidden_size": 0}, SettingsError), ("a", {}, DataError)):
        with pytest.raises(error):
            charrnn.train(text=text, run_dir=folder, **{**SMALL, **wrong})
        assert not (tmp_path / "a").exists()
    model = charrnn.train(text="abcd " * 20, run_dir=folder, **SMALL)
    for options, error in (({}, SettingsError), ({"resume": True}, DataError), ({"overwrite": True}, DataError)):
        with pytest.raises(error):
            charrnn.train(text="x" if "overwrite" in options else "efgh " * 20, run_dir=folder, **options, **SMALL)
        assert (folder / "text.txt").read_text() == "abcd " * 20
    assert charrnn.train(text="abcd " * 20, run_dir=folder, resume=True, **SMALL).vocabulary == model.vocabulary
    assert charrnn.train(text="efgh " * 20, run_dir=folder, overwrite=True, **SMALL).vocabulary != model.vocabulary
    assert (folder / "text.txt").read_text() == "efgh " * 20


def test_what_a_program_gives_wrong_is_named(trained: TrainedModel, tmp_path: Path) -> None:
    for call, said in (
        (lambda: trained.generate(temperature="0.7"), "temperature: must be a number, not '0.7'"),
        (lambda: trained.generate(top_k=2.5), "top_k: must be a whole number, not 2.5"),
        (lambda: trained.generate(length=-1), "length: must be a whole number, 0 or more, not -1"),
        (lambda: trained.generate(seed=-1), "seed: must be a whole number, 0 or more, not -1"),
        (lambda: trained.generate(stop=["a", ""]), "stop: must be a tuple of texts, none of them empty"),
        (lambda: trained.generate(stop=[1]), "stop: must be a tuple of texts, none of them empty, not"),
        (lambda: trained.items(1.5), "count: must be a whole number, 0 or more, not 1.5"),
        (lambda: charrnn.train(text="abcd " * 20, encoding="latin-1", **SMALL), "encoding: latin-1 is for files"),
        (lambda: charrnn.train(text="ab", resume=True, overwrite=True), "cannot both be given"),
        (lambda: trained.generate_many(0), "num_samples: must be a whole number, 1 or more, not 0"),
        (lambda: trained.next(top=-1), "top: must be a whole number, 1 or more, not -1"),
        (lambda: trained.export(tmp_path / "none" / "x.html"), f"{tmp_path / 'none' / 'x.html'}: cannot be written"),
    ):
        with pytest.raises(SettingsError) as caught:
            call()
        assert said in caught.value.message
    with pytest.raises(ValueError, match="unknown: must be error, skip or replace, not 'foo'"):
        trained.vocabulary.encode("ab", unknown="foo")
    with pytest.raises(DataError) as unknown:
        trained.generate("zz")
    assert "leave out" in (unknown.value.hint or "")
    with pytest.raises(KeyError, match=r"no cell is called 'lsmt'; there are .*gru, lstm"):
        charrnn.CharRNN(5, cell="lsmt")
    model = charrnn.CharRNN(3, hidden_size=2)
    for wrong in ((2, 3), (4, 2)):
        with pytest.raises(ValueError, match=r"targets of shape .* for inputs of shape \(3, 2\)"):
            model.loss_and_grad(np.zeros((3, 2), int), np.zeros(wrong, int), model.zero_state(2))


def test_one_text_ends_a_sample_as_a_list_of_one_does(trained: TrainedModel) -> None:
    assert trained.generate(length=60, seed=1, stop="ab") == trained.generate(length=60, seed=1, stop=["ab"])
    assert trained.generate(length=60, seed=1, stop="zz") == trained.generate(length=60, seed=1)


def test_prompts_are_read_as_the_training_text_was(charrnn_here: Run, tmp_path: Path) -> None:
    model = charrnn.train(
        text="caf\u00e9 au lait\r\n" * 20, run_dir=tmp_path / "run", normalize="nfc", newlines="unix", **SMALL
    )
    written = "cafe\u0301\r\n"
    assert model.generate(written, length=9, seed=1) == model.generate("caf\u00e9\n", length=9, seed=1)
    assert model.next(written) == model.next("caf\u00e9\n")
    assert model.score(written) == model.score("caf\u00e9\n")
    (tmp_path / "lines.txt").write_text("lait\nau\n")
    for words in (["next", "run", "--prompt", "cafe\u0301"], ["rank", "lines.txt", "run", "--prompt", "cafe\u0301"]):
        assert charrnn_here(*words).returncode == 0
    said = charrnn_here("sample", "run", "--interactive", "--length", "5", "--seed", "1", stdin="cafe\u0301\n\n")
    assert said.stderr == ""
    assert [len(line) for line in said.stdout.splitlines()] == [4 + 5, 5]  # the second without a prompt


def test_paths_may_be_texts(charrnn_here: Run, config_file: Path) -> None:
    assert charrnn.load_config(str(config_file)) == charrnn.load_config(config_file)
    assert charrnn_here("train", "-c", config_file, "-q").returncode == 0
    run = config_file.parent / "checkpoints" / "tiny"
    found = charrnn.find_checkpoint(str(run))
    assert charrnn.load_checkpoint(str(found)).config == charrnn.load_checkpoint(found).config
    text = config_file.parent / "a.txt"
    text.write_text("abc")
    assert len(charrnn.encode_text([str(text)], "utf-8", str(config_file.parent / "cache")).ids) == 3
