"""A cell of another package: one file and an entry point, and every command knows it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from charrnn.nn.cells import CELLS, find_cell
from charrnn.nn.cells.rnn import RNN
from charrnn.nn.gradcheck import check_gradients
from tests.conftest import SENTENCES

# A leaky cell: half of the old state is kept. No line of the package knows it.
LEAKY = """
import numpy as np
from charrnn.nn.cells.recurrent import RecurrentCell


class Leaky(RecurrentCell):
    name = "leaky"
    gates = recurrent_order = input_order = fusable = "n"
    equations = EQUATIONS
    da_blocks = local_blocks = 1
    chunk_blocks = 2
    buffers = {"gates": ("T", 1, "H", "B")}
    gate_blocks = {"n": 0}

    def forward_views(self, ws, t):
        return {"a": ws["gates"][t, 0]}

    def step_forward(self, s):
        np.tanh(s.a, out=s.a)
        np.add(s.h_prev, s.a, out=s.tmp)
        np.multiply(s.tmp, self.half, out=s.h)

    def backward_views(self, ws, t, local, da):
        return {"local": local[0], "da_rec": da[0], "dh_direct": da[1]}

    def gate_derivatives(self, ws, steps, local):
        n = ws["gates"][steps, 0]
        np.multiply(n, n, out=local[:, 0])
        np.subtract(self.one, local[:, 0], out=local[:, 0])
        local[:, 0] *= self.half

    def step_backward(self, s):
        np.multiply(s.dh, s.local, out=s.da_rec)
        np.multiply(s.dh, self.half, out=s.dh_direct)
"""
EQUATIONS = '("n = tanh(a_n)", "h = 0.5 * (h + n)")'


def package(folder: Path, equations: str = EQUATIONS) -> dict[str, str]:
    """An installed package with the cell; the environment in which processes find it."""
    (folder / "site" / "leaky-1.dist-info").mkdir(parents=True)
    (folder / "site" / "leaky_cell.py").write_text(LEAKY.replace("EQUATIONS", equations))
    (folder / "site" / "leaky-1.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: leaky\nVersion: 1\n")
    (folder / "site" / "leaky-1.dist-info" / "entry_points.txt").write_text(
        "[charrnn.cells]\nleaky = leaky_cell:Leaky\n"
    )
    (folder / "t.txt").write_text(SENTENCES * 12)
    (folder / "c.yaml").write_text(
        "corpus: {source: t.txt}\nmodel: {cell: leaky, hidden_size: 12, num_layers: 2}\n"
        "training: {batch_size: 16, seq_length: 16, epochs: null, max_steps: 30, eval_every: 15, sample_every: 15}\n"
    )
    return {**os.environ, "PYTHONPATH": str(folder / "site")}


def charrnn(folder: Path, environment: dict[str, str], *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "charrnn", *words]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.extras
def test_gradients_and_losses_of_replicas_and_a_sweep(tmp_path: Path) -> None:
    environment = package(tmp_path)
    checked = charrnn(tmp_path, environment, "gradcheck", "--config", "c.yaml", "--json")
    assert checked.returncode == 0, checked.stderr
    losses = []
    for replicas in (1, 2):
        words = ["train", "-c", "c.yaml", "--set", f"training.replicas={replicas}", "--run-dir", f"r{replicas}"]
        done = charrnn(tmp_path, environment, *words, "--json", "-q")
        assert done.returncode == 0, done.stderr
        losses.append(json.loads(done.stdout)["val_loss"])
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
    (tmp_path / "s.yaml").write_text("base: c.yaml\nseeds: 2\n")
    swept = charrnn(tmp_path, environment, "sweep", "s.yaml", "--jobs", "1", "-q")
    assert swept.returncode == 0, swept.stderr
    for words in (["sample", "r1", "--length", "20", "-q"], ["inspect", "units", "r1", "--unit", "1", "--signal", "n"],
                  ["export", "r1", "--to", "html", "-o", "page.html"], ["eval", "r1", "--no-baselines"]):  # fmt: skip
        done = charrnn(tmp_path, environment, *words)
        assert done.returncode == 0, (words, done.stderr)
    assert "const n = Math.tanh(a_n);" in (tmp_path / "page.html").read_text()
    refused = charrnn(tmp_path, environment, "export", "r1", "--to", "torch", "-o", "m.pt")
    assert (refused.returncode, "no cell like" in refused.stderr) == (2, True), refused.stderr
    unknown = charrnn(tmp_path, dict(os.environ), "train", "-c", "c.yaml")
    assert (unknown.returncode, "model.cell: found 'leaky'" in unknown.stderr) == (2, True)


def test_a_cell_without_equations_is_not_exported(tmp_path: Path) -> None:
    environment = package(tmp_path, "()")
    assert (
        charrnn(tmp_path, environment, "train", "-c", "c.yaml", "-q", "--set", "training.max_steps=2").returncode == 0
    )
    refused = charrnn(tmp_path, environment, "export", "checkpoints/c", "--to", "html", "-o", "page.html")
    assert refused.returncode == 2
    assert "has no `equations`" in refused.stderr


def test_a_cell_of_the_program_itself_trains_without_replicas_or_says_why_not(tmp_path: Path) -> None:
    package(tmp_path)
    (tmp_path / "own.py").write_text(
        LEAKY.replace("EQUATIONS", EQUATIONS)
        + "\nimport sys\nfrom pathlib import Path\nfrom charrnn.config.load import load_config\n"
        "from charrnn.nn.cells import register\nfrom charrnn.runs.directory import RunDirectory\n"
        "from charrnn.training.session import train\nregister(Leaky)\n"
        "config = load_config(Path('c.yaml'), [f'training.replicas={sys.argv[1]}'])\n"
        "print([type(e).__name__ for e in train(config, RunDirectory(Path('run' + sys.argv[1])))][-1])\n"
    )
    for replicas, code, words in ((1, 0, "RunFinished"), (2, 1, "defined in the program itself")):
        done = subprocess.run(
            [sys.executable, "own.py", str(replicas)], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert done.returncode == code, done.stderr
        assert words in done.stdout + done.stderr


def test_find_cell_imports_the_module_that_has_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package(tmp_path)
    monkeypatch.syspath_prepend(tmp_path / "site")
    monkeypatch.delitem(CELLS, "leaky", raising=False)
    assert find_cell("rnn", "nowhere") is RNN
    cell = find_cell("leaky", "leaky_cell")
    errors = check_gradients(
        {"cell": "leaky", "hidden_size": 5, "num_layers": 2}, forget_bias=1.0, seed=0, entries=6, seq_length=6,
        batch_size=3, vocab_size=7,
    )  # fmt: skip
    assert max(errors.values()) < 1e-6
    assert cell.param_shapes(3, 4)["weight_hh"] == (4, 4)
    del CELLS["leaky"]  # undone by `monkeypatch`, it would be back for the tests that follow
    with pytest.raises(KeyError):
        find_cell("other", "leaky_cell")
    np.testing.assert_equal("other" in CELLS, False)
