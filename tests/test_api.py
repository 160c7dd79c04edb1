"""The package as a notebook uses it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import charrnn
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
