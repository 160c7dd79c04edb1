"""The examples under every `--help`, typed into a shell as they are; only the settings files are small ones."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from charrnn.data.corpora import catalogue, corpus_path
from tests.cli_reference import commands
from tests.conftest import ROOT

EXAMPLES = {name: str(command.epilog).removeprefix("Example: ") for name, command in commands()}  # type: ignore[attr-defined]
# What must have been made before, by the example of another command or by a command of its own.
BEFORE = {
    "charrnn decompress": EXAMPLES["charrnn compress"],
    "charrnn runs": EXAMPLES["charrnn sweep"],
}
SHORTER = {
    "--budget 2m": "--budget 1s",
    "charrnn train my.txt;": "charrnn train my.txt --minutes 0.02;",
    "--minutes 20": "--minutes 0.02",
    "charrnn train quickstart": "charrnn train quickstart --minutes 0.02",
}
NEEDS = {".png": "matplotlib"}
CHAPTER = "The import statement names a module; names are bound to 'objects'.\n\n" + "".join(map(chr, range(32, 127)))
SMALL = """
corpus: {source: learned.txt}
model: {cell: CELL, hidden_size: 24}
training: {batch_size: 4, seq_length: 8, epochs: null, max_steps: 20, sample_every: null, replicas: 1, warmup_steps: 2}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working folder like a user's: settings, texts, runs."""
    made = tmp_path_factory.mktemp("examples")
    for path in (ROOT / "configs").glob("*.yaml"):  # files of these names take the place of the built-in settings
        cell = path.stem if path.stem in ("rnn", "gru") else "lstm"
        (made / path.stem).write_text(SMALL.replace("CELL", cell))
    for text in ("learned.txt", "my.txt"):
        (made / text).write_text(CHAPTER * 30)
    (made / "sweep.yaml").write_text(
        "base: quickstart\ngrid: {model.hidden_size: [4, 8]}\nset: {training.max_steps: 4}\nseeds: 2\n"
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CHARRNN_HOME", str(made / "home"))
        fetched = corpus_path(catalogue()["tiny-shakespeare"])
    fetched.parent.mkdir(parents=True)
    fetched.write_text("fetched before, so that no network is needed")
    program = made / "bin" / "charrnn"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m charrnn "$@"\n')
    program.chmod(0o755)
    for name in ("quickstart", "rnn", "lstm", "gru"):
        assert shell(made, f"charrnn train -c {name} -q").returncode == 0
    return made


def shell(folder: Path, line: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join((str(folder / "bin"), os.environ["PATH"]))
    variables = {"PATH": path, "PYTHONPATH": str(ROOT), "CHARRNN_HOME": str(folder / "home")}
    return subprocess.run(
        ["bash", "-euo", "pipefail", "-c", line], cwd=folder, env={**os.environ, **variables}, stdin=subprocess.DEVNULL,
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip


@pytest.mark.extras  # needs few, but takes a minute of processes
@pytest.mark.parametrize("name", sorted(EXAMPLES))
def test_an_example_works(folder: Path, name: str) -> None:
    lines = [BEFORE[name], EXAMPLES[name]] if name in BEFORE else [EXAMPLES[name]]
    if missing := [module for word, module in NEEDS.items() if word in " ".join(lines) and not find_spec(module)]:
        pytest.skip(f"no {missing[0]}")
    shutil.rmtree(folder / "checkpoints" / "sweep", ignore_errors=True)
    os.utime(folder / "checkpoints" / "lstm" / "last.npz")  # the newest run is what commands take that are given none
    runs = {path.name for path in (folder / "checkpoints").iterdir()}
    if name == "charrnn train":
        shutil.rmtree(folder / "checkpoints" / "quickstart")
    for line in lines:
        for long, short in SHORTER.items():
            line = line.replace(long, short)
        done = shell(folder, line)
        assert done.returncode == 0, (line, done.stdout, done.stderr)
        assert "Traceback" not in done.stderr
    assert runs <= {path.name for path in (folder / "checkpoints").iterdir()} | {"sweep"}


def test_examples_need_no_file_of_this_repository() -> None:
    for name, example in EXAMPLES.items():
        assert "configs/" not in example, name
        for named in re.findall(r"--config (\S+)", example):
            assert (ROOT / "configs" / f"{named}.yaml").is_file(), (name, named)
