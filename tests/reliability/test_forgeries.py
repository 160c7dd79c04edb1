"""Forged files, each read as something sound or refused in a line; see `forging`."""

from __future__ import annotations

import bz2
import gzip
import os
import random
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from charrnn.data import raw
from charrnn.data.encode import encode_text
from charrnn.data.vocabulary import Vocabulary
from charrnn.errors import CheckpointError, DataError, SettingsError
from charrnn.formats.load import import_model, read_vocabulary
from charrnn.sweep.plan import read_plan
from tests.conftest import ROOT, Run, assert_one_line_error
from tests.reliability.forging import GATES, SETTINGS, forge_many
from tests.reliability.mutations import torch_file

pytestmark = pytest.mark.filterwarnings("ignore:Duplicate name", "ignore::RuntimeWarning")


@pytest.mark.parametrize("gate", GATES)
def test_forged_files_are_read_or_refused(tmp_path: Path, gate: str) -> None:
    found = forge_many(gate, tmp_path, 8, random.randrange(1 << 30), trace=True)
    assert found["most bytes"] < 20_000_000, found


@pytest.mark.slow
@pytest.mark.parametrize("gate", GATES)
def test_twenty_thousand_forged_files(tmp_path: Path, gate: str) -> None:
    found = forge_many(gate, tmp_path, 20_000, 0)
    assert found["slowest"] < 10, found
    assert found["refused"] < 20_000, found


def test_a_damaged_cache_is_encoded_again(tmp_path: Path) -> None:
    """An id beyond the vocabulary would be read from beyond the weights."""
    text = tmp_path / "t.txt"
    text.write_text("abcab" * 50, encoding="utf-8")
    first = encode_text([text], "utf-8", tmp_path / "cache")
    ids = bytearray(first.path.read_bytes())
    ids[77] = 3
    first.path.write_bytes(ids)
    again = encode_text([text], "utf-8", tmp_path / "cache")
    assert again.path == first.path
    assert np.array_equal(again.vocabulary.decode(again.ids), "abcab" * 50)


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress])
def test_what_grows_beyond_measure_is_no_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pack: object) -> None:
    monkeypatch.setattr(raw, "_ALWAYS", 1 << 16)
    bomb, text = tmp_path / "bomb", tmp_path / "text"
    bomb.write_bytes(pack(b"a" * 2_000_000))  # type: ignore[operator]
    with pytest.raises(DataError, match="more than 500 times its size"):
        encode_text([bomb], "utf-8", tmp_path / "cache")
    words = "".join(random.Random(1).choices(["the ", "cat ", "sat\n"], k=30_000)).encode()
    text.write_bytes(pack(words))  # type: ignore[operator]
    assert len(encode_text([text], "utf-8", tmp_path / "cache").ids) == len(words)


@pytest.mark.skipif(sys.platform == "win32", reason="paths of POSIX")
def test_folders_in_each_other_without_end(charrnn_here: Run, tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("abc", encoding="utf-8")
    here, depth = os.getcwd(), 1050
    try:
        for _ in range(depth):
            os.mkdir("a")
            os.chdir("a")
        os.chdir(here)
        assert charrnn_here("runs", ".").returncode == 0
        assert charrnn_here("corpus", "info", ".").returncode == 0
        assert_one_line_error(charrnn_here("corpus", "info", "**/*.txt"), 3, "too deep")
    finally:  # pytest's own way of removing is not up to it
        os.chdir("/".join([here, *["a"] * depth]))
        for _ in range(depth):
            os.chdir("..")
            os.rmdir("a")


def test_a_name_too_long_is_one_line(charrnn_here: Run) -> None:
    for words in (("sample",), ("runs",), ("train", "-c"), ("sweep",), ("compare",)):
        done = charrnn_here(*words, "a" * 5000)
        assert_one_line_error(done, 2)
        assert "unexpected" not in done.stderr


def test_devices_are_not_read_to_their_end(charrnn_here: Run, tmp_path: Path) -> None:
    from charrnn.runs.checkpoint import save_checkpoint
    from tests.checkpoints import make

    save_checkpoint(tmp_path / "a.npz", make())
    named = [("rank", "/dev/zero", "a.npz"), ("sample", "a.npz", "--fill", "/dev/zero")]
    named += [("sample", "a.npz", "--prompt-file", "/dev/zero")]
    packed = [(command, "a.npz", "/dev/zero", "-o", "x") for command in ("compress", "decompress")]
    for words in (*named, *packed):
        assert_one_line_error(charrnn_here(*words), 3, "neither a file nor a pipe")
    with pytest.raises(CheckpointError, match="neither a file nor a pipe"):
        read_vocabulary(Path("/dev/zero"))


def test_a_tensor_of_many_axes_is_refused_at_once(tmp_path: Path) -> None:
    """Their product alone, for each of many tensors that share them, would take minutes."""
    size = b"(" + b"K\xff" * 20_000 + b"tq\x02"
    tensor = b"ctorch._utils\n_rebuild_tensor_v2\n((X\x07\x00\x00\x00storagectorch\nFloatStorage\n"
    tensor += b"X\x01\x00\x00\x000"
    tensor += b"X\x03\x00\x00\x00cpuK\x24tQK\x00h\x02h\x02\x89h\x02tR"
    named = b"".join(b"X\x04\x00\x00\x00" + struct.pack("<I", 10**9 + k) + tensor + b"s" for k in range(500))
    path = tmp_path / "w.pt"
    path.write_bytes(torch_file(b"\x80\x02" + size + b"0}" + named + b"."))
    with pytest.raises(CheckpointError, match="list of tensors is damaged"):
        import_model(path, Vocabulary.of("abcd"), source="x")


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("seeds: 1000000000000", "1000000000000 trials, allowed: at most 10000"),
        ("random: {training.beta1: {uniform: [0.1, 0.9]}}\ntrials: 999999999999", "999999999999 trials"),
        ("".join(f"  training.{k}: [{', '.join(str(n / 99) for n in range(30))}]\n" for k in ("beta1", "beta2", "rho"))
         .join(("grid:\n", "")), "27000 trials"),
        ("random: {training.learning_rate: {uniform: [-1.7e308, 1.7e308]}}", "not so far apart"),
        ("random: {training.learning_rate: {log_uniform: [5e-324, 1.7e308]}}", "not so far apart"),
    ],
)  # fmt: skip
def test_a_sweep_of_more_trials_than_anybody_wants(tmp_path: Path, lines: str, message: str) -> None:
    (tmp_path / "run.yaml").write_text(SETTINGS, encoding="utf-8")
    (tmp_path / "s.yaml").write_text(f"base: run.yaml\n{lines}\n", encoding="utf-8")
    with pytest.raises(SettingsError, match=message):
        read_plan(tmp_path / "s.yaml")


PROGRAM = """
from charrnn.runs.kernels import choose_kernels
chosen = choose_kernels("auto", "gru", 1e30)
print(chosen.name, *chosen.notes)
"""


@pytest.mark.extras
def test_a_numba_that_cannot_be_imported_is_done_without(tmp_path: Path) -> None:
    pytest.importorskip("numba")
    (tmp_path / "numba.py").write_text("raise ImportError('Numba needs NumPy 1.0 or less')")
    env = {**os.environ, "PYTHONPATH": os.pathsep.join((str(tmp_path), str(ROOT)))}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, env=env, check=True
    )  # fmt: skip
    assert done.stdout.startswith("numpy NumPy kernels are used: Numba cannot compile them here (ImportError: ")


@pytest.mark.extras
def test_settings_of_numba_in_the_working_directory_are_not_read(tmp_path: Path) -> None:
    pytest.importorskip("numba")
    (tmp_path / ".numba_config.yaml").write_text("disable_jit: 1\n")
    code = "from charrnn.nn import compiled; compiled._load_numba(); from numba.core import config\n"
    code += "config.reload_config(); print(config.DISABLE_JIT)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)}, check=True,
    )  # fmt: skip
    assert done.stdout.strip() == "0"
