"""The package as a notebook uses it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import charrnn
from charrnn.errors import DataError, SettingsError
from tests.conftest import ROOT, Run


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
    small = {
        "hidden_size": 4,
        "max_steps": 2,
        "seq_length": 5,
        "batch_size": 2,
        "val_fraction": 0.0,
        "kernels": "numpy",
    }
    folder = tmp_path / "a" / "run"
    for text, wrong, error in (("abcd " * 20, {"hidden_size": 0}, SettingsError), ("a", {}, DataError)):
        with pytest.raises(error):
            charrnn.train(text=text, run_dir=folder, **{**small, **wrong})
        assert not (tmp_path / "a").exists()
    model = charrnn.train(text="abcd " * 20, run_dir=folder, **small)
    for options, error in (({}, SettingsError), ({"resume": True}, DataError), ({"overwrite": True}, DataError)):
        with pytest.raises(error):
            charrnn.train(text="x" if "overwrite" in options else "efgh " * 20, run_dir=folder, **options, **small)
        assert (folder / "text.txt").read_text() == "abcd " * 20
    assert charrnn.train(text="abcd " * 20, run_dir=folder, resume=True, **small).vocabulary == model.vocabulary
    assert charrnn.train(text="efgh " * 20, run_dir=folder, overwrite=True, **small).vocabulary != model.vocabulary
    assert (folder / "text.txt").read_text() == "efgh " * 20
