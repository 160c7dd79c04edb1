"""Files from anybody: a sound checkpoint or an error of ours, never anything else, and no more memory than the file."""

from __future__ import annotations

import io
import json
import os
import random
import struct
import subprocess
import sys
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest

from charrnn.config.load import parse_config
from charrnn.errors import CheckpointError, SettingsError
from charrnn.runs.checkpoint import load_checkpoint, save_checkpoint
from tests.checkpoints import make
from tests.conftest import ROOT
from tests.reliability.mutations import assert_one_line

HEADERS = (
    b"{'descr': '<f4', 'fortran_order': False, 'shape': (4, 3), }",
    b"{'descr': '<f4', 'fortran_order': True, 'shape': (99999999999, 99999999), }",
    b"{'descr': '|O', 'fortran_order': False, 'shape': (4,), }",
    b"{'descr': '<U999999999', 'fortran_order': False, 'shape': (), }",
    b"{'descr': '<U0', 'fortran_order': False, 'shape': (999999999999999999,), }",
    b"{'descr': '<f8', 'fortran_order': False, 'shape': (), }",
    b"{'descr': '<f3', 'fortran_order': False, 'shape': (4,), }",
    b"{'descr': '>f4', 'fortran_order': False, 'shape': (4, 3), }",
    b"{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (4,), }",
    b"(" * 5000,
    b"__import__('os').abort()",
    b"\xff\xfe\x00",
)
JUNK = (None, True, -1, 2**70, 1e308, "x", "\ud800", [], {}, [[[]]], {"a": {"b": {}}}, ["a"] * 9)


def mutate_bytes(data: bytearray, rng: random.Random) -> bytearray:
    """Flips, cuts, zeros, repeats and moves."""
    for _ in range(rng.choice((1, 1, 1, 2, 8, 64))):
        if not data:
            break
        place, length = rng.randrange(len(data)), rng.choice((1, 2, 4, 16, 200))
        kind = rng.randrange(6)
        if kind == 0:
            data[place] ^= 1 << rng.randrange(8)
        elif kind == 1:
            data[place : place + length] = rng.randbytes(length)
        elif kind == 2:
            del data[place : place + length]
        elif kind == 3:
            data[place:place] = data[place : place + length]
        elif kind == 4:
            data[place : place + length] = bytes(length)
        else:
            del data[place:]
    return data


def mutate_members(data: bytes, rng: random.Random) -> bytearray:
    """Members with sound checksums whose headers, sizes, names or JSON are not sound."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old:
        members = {m.filename: old.read(m) for m in old.infolist()}
    meta: object = json.loads(str(np.lib.format.read_array(io.BytesIO(members["meta.npy"]))))
    for _ in range(rng.choice((1, 1, 2))):
        name = rng.choice(list(members))
        kind = rng.randrange(6)
        if kind == 0:
            header = rng.choice(HEADERS)
            header += b" " * (-(len(header) + 11) % 64) + b"\n"
            members[name] = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + members[name][128:]
        elif kind == 1:
            members[name] = bytes(mutate_bytes(bytearray(members[name]), rng))
        elif kind == 2:
            del members[name]
        elif kind == 3:
            members[rng.choice((name[::-1], "../" + name, "/etc/x.npy", "a" * 60000))] = members[name]
        else:
            meta = mutate_json(meta, rng)
            buffer = io.BytesIO()
            np.lib.format.write_array(buffer, np.array(json.dumps(meta)))
            members["meta.npy"] = buffer.getvalue()
    packing = rng.choice((zipfile.ZIP_STORED,) * 9 + (zipfile.ZIP_DEFLATED,))
    with zipfile.ZipFile(out, "w", packing) as new:
        for name, content in members.items():
            new.writestr(name, content)
    return bytearray(out.getvalue())


def mutate_json(value: object, rng: random.Random) -> object:
    """Replace something somewhere by junk."""
    if isinstance(value, dict) and value and rng.random() < 0.8:
        key = rng.choice(list(value))
        return {**value, key: mutate_json(value[key], rng)}
    return rng.choice(JUNK)


def load_or_refuse(path: Path) -> bool:
    try:
        load_checkpoint(path).build_model()
    except CheckpointError as error:
        assert_one_line(error, 4)
        return False
    return True


def fuzz_checkpoints(folder: Path, count: int, seed: int, *, trace: bool) -> int:
    """Load `count` mutated files; how many of them were still sound."""
    rng = random.Random(seed)
    path = folder / "a.npz"
    save_checkpoint(path, make("lstm"))
    sound = path.read_bytes()
    load_or_refuse(path)
    accepted = 0
    for _ in range(count):
        data = mutate_bytes(bytearray(sound), rng) if rng.random() < 0.5 else mutate_members(sound, rng)
        path.write_bytes(data)
        if trace:
            tracemalloc.start()
        accepted += load_or_refuse(path)
        if trace:
            _, peak = tracemalloc.get_traced_memory()
            tracemalloc.stop()
            # the vocabulary's table of all code points is 4.5 MB, whatever the file
            assert peak < 6_000_000 + 4 * len(data), (peak, len(data))
    return accepted


def test_mutated_checkpoints_load_or_are_refused(tmp_path: Path) -> None:
    accepted = fuzz_checkpoints(tmp_path, 250, random.randrange(1 << 30), trace=True)
    assert accepted < 250


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_twenty_thousand_mutated_checkpoints(tmp_path: Path, seed: int) -> None:
    accepted = fuzz_checkpoints(tmp_path, 5000, seed, trace=False)
    assert 0 < accepted < 2500


def test_bombs_links_and_devices_are_refused(tmp_path: Path) -> None:
    sound = tmp_path / "sound.npz"
    save_checkpoint(sound, make())
    many = tmp_path / "many.npz"
    with zipfile.ZipFile(many, "w") as archive:
        for k in range(20_000):
            archive.writestr(f"{k}.npy", b"")
    bomb = tmp_path / "bomb.npz"
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("params/x.npy", bytes(50_000_000))
    link = tmp_path / "link.npz"
    link.symlink_to(sound)
    for path, message in (
        (many, "too many members"),
        (bomb, "compressed"),
        (link, "symbolic link"),
        (Path("/dev/zero"), "regular file"),
        (tmp_path / "missing.npz", "no such"),
    ):
        tracemalloc.start()
        with pytest.raises(CheckpointError, match=message):
            load_checkpoint(path)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 3_000_000, path


def test_a_pipe_is_refused_rather_than_waited_for(tmp_path: Path) -> None:
    fifo = tmp_path / "pipe.npz"
    os.mkfifo(fifo)
    done = subprocess.run(
        [sys.executable, "-m", "charrnn", "sample", str(fifo)],
        capture_output=True, text=True, timeout=60, env={**os.environ, "PYTHONPATH": str(ROOT)}, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (4, "")


def test_members_that_overlap_are_refused(tmp_path: Path) -> None:
    """Ten names for the same bytes, as overlapping archive bombs have."""
    path = tmp_path / "a.npz"
    save_checkpoint(path, make())
    data = path.read_bytes()
    end = data.rindex(b"PK\x05\x06")
    size, start = struct.unpack("<LL", data[end + 12 : end + 20])
    directory = data[start : start + size] * 10
    path.write_bytes(data[:start] + directory + data[end : end + 8] + struct.pack(
        "<HHLLH", 10 * len(make().params), 10 * len(make().params), len(directory), start, 0
    ))  # fmt: skip
    with pytest.raises(CheckpointError):
        load_checkpoint(path)


def fuzz_settings(count: int, seed: int) -> int:
    rng = random.Random(seed)
    texts = [path.read_text(encoding="utf-8") for path in sorted((ROOT / "configs").glob("*.yaml"))]
    pieces = ["&a ", "*a", "<<: ", "!!python/object:os.system ", "[" * 40, "{", "\t", "\0", "'", "- ", ": ", "9" * 400,
              "1e999", ".nan", "\u2028", "\ud800", "? ", "|\n", "%YAML 1.1\n", "---\n", "\x1b[2J"]  # fmt: skip
    accepted = 0
    for _ in range(count):
        text = list(rng.choice(texts))
        for _ in range(rng.choice((1, 1, 2, 5, 20))):
            place = rng.randrange(len(text) + 1)
            kind = rng.randrange(4)
            if kind == 0:
                text[place:place] = rng.choice(pieces)
            elif kind == 1:
                del text[place : place + rng.choice((1, 3, 30))]
            elif kind == 2:
                text[place:place] = text[place : place + 40]
            else:
                text[place : place + 1] = chr(rng.choice((rng.randrange(128), rng.randrange(0x110000))))
        try:
            parse_config("".join(text), where="f")
            accepted += 1
        except SettingsError as error:
            assert_one_line(error, 2)
    return accepted


def test_mutated_settings_are_read_or_refused() -> None:
    assert fuzz_settings(100, random.randrange(1 << 30)) < 100


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_twenty_thousand_mutated_settings(seed: int) -> None:
    assert 0 < fuzz_settings(5000, seed) < 5000


def test_an_alias_bomb_is_refused() -> None:
    text = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
        f"{b}: &{b} [{', '.join(['*' + a] * 9)}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)
    )
    with pytest.raises(SettingsError):
        parse_config(text, where="f")
