"""Kinds of hostile files that random damage seldom meets, one of each."""

from __future__ import annotations

import json
import struct
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from charrnn.data.vocabulary import Vocabulary
from charrnn.errors import CharRNNError, CheckpointError, DataError
from charrnn.evaluation.compression.codec import decompress, model_mark
from charrnn.formats.load import import_model, read_vocabulary
from charrnn.runs.checkpoint import load_checkpoint, save_checkpoint
from charrnn.runs.history import read_history
from charrnn.runs.reading import read_summary, read_trial
from charrnn.training.progress import Counters
from tests.checkpoints import make
from tests.reliability.mutations import ROWS, SHAPES, safetensors, safetensors_header, torch_file, torch_pickle

ABCD = Vocabulary.of("abcd")
DEEP = '{"x": ' + "[" * 50_000 + "]" * 50_000 + "}"
DEEPER = "[" * 100_000


def refused(act: Callable[[], Any], kind: type[CharRNNError], *parts: str, memory: int = 3_000_000) -> None:
    """By one printable line, without taking much memory."""
    tracemalloc.start()
    with pytest.raises(kind) as caught:
        act()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert caught.value.message.isprintable()
    assert len(caught.value.message) < 400
    assert all(part in caught.value.message for part in parts), caught.value.message
    assert peak < memory, peak


@pytest.mark.parametrize("text", [DEEP, DEEPER, "{" * 9, "\x00", ""])
def test_json_that_is_deep_or_none(tmp_path: Path, text: str) -> None:
    for name in ("summary.json", "trial.json", "v.json", "w.json"):
        (tmp_path / name).write_text(text)
    refused(lambda: read_summary(tmp_path), DataError, "summary.json")
    refused(lambda: read_trial(tmp_path), DataError, "trial.json")
    refused(lambda: read_vocabulary(tmp_path / "v.json"), CheckpointError, "v.json")
    refused(lambda: import_model(tmp_path / "w.json", None, source="x"), CheckpointError, "w.json")
    header = safetensors_header() | {"__metadata__": {"charrnn": text}}
    (tmp_path / "w.safetensors").write_bytes(safetensors(header))
    refused(lambda: import_model(tmp_path / "w.safetensors", ABCD, source="x"), CheckpointError)
    (tmp_path / "history.jsonl").write_text('{"step": 1, "x": ' + text[:60_000] + "}\n")
    refused(lambda: read_history(tmp_path), DataError, "line 1")


@pytest.mark.parametrize(
    ("name", "value"),
    [("train_loss", 1e308), ("train_loss", "0.5"), ("val_loss", [1]), ("chars", 10**400), ("chars", 2**60),
     ("chars", -1), ("chars", 1e5), ("step", None), ("step", True), ("step", -1),
     ("seconds", -1e308), ("grad_norm", 10**60)],
)  # fmt: skip
def test_rows_out_of_range(tmp_path: Path, name: str, value: object) -> None:
    rows = [*ROWS[:2], {**ROWS[2], name: value}, *ROWS[3:]]
    (tmp_path / "history.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    refused(lambda: read_history(tmp_path), DataError, "line 3", name)


def test_a_directory_entry_that_lies(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    save_checkpoint(path, make())
    sound = path.read_bytes()
    entries = [k for k in range(len(sound)) if sound[k : k + 4] == b"PK\x01\x02"]
    for entry in (entries[0], entries[-1]):
        for offset in (20, 24, 42):  # compressed size, size, place
            for size in (1 << 30, len(sound) // 2):
                path.write_bytes(sound[: entry + offset] + struct.pack("<I", size) + sound[entry + offset + 4 :])
                refused(lambda: load_checkpoint(path), CheckpointError, "a.npz", memory=6_000_000)


def test_an_end_that_lies(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    save_checkpoint(path, make())
    sound = path.read_bytes()
    end = sound.rindex(b"PK\x05\x06")
    for offset in (12, 16):  # size and place of the directory
        for size in (1 << 30, 1 << 22):
            path.write_bytes(sound[: end + offset] + struct.pack("<I", size) + sound[end + offset + 4 :])
            refused(lambda: load_checkpoint(path), CheckpointError, "a.npz")


@pytest.mark.parametrize("name", ["step", "optimizer_steps", "replicas", "chars", "samples_bytes"])
@pytest.mark.parametrize("value", [-(2**63), 2**62, 2**70, "x"])
def test_counters_out_of_range(tmp_path: Path, name: str, value: object) -> None:
    made = make()
    made.counters = {**made.counters, name: value}
    refused(lambda: Counters.of(made), CheckpointError, "counters are damaged")


PLACES: list[tuple[dict[str, tuple[int, int]], str]] = [
    ({"rnn.weight_hh_l0": (0, 108)}, "not where its header says"),  # over another
    ({"rnn.weight_ih_l0": (0, 140)}, "does not match its shape"),
    ({"head.bias": (336, 352 + 4000)}, "not where its header says"),
    ({"rnn.bias_hh_l0": (2**40, 2**40 + 36)}, "not where its header says"),
]


@pytest.mark.parametrize(("places", "reason"), PLACES)
def test_arrays_that_do_not_lie_where_they_say(tmp_path: Path, places: dict[str, tuple[int, int]], reason: str) -> None:
    header = safetensors_header()
    for name, place in places.items():
        header[name]["data_offsets"] = list(place)
    path = tmp_path / "w.safetensors"
    path.write_bytes(safetensors(header))
    refused(lambda: import_model(path, ABCD, source="x"), CheckpointError, reason)


@pytest.mark.parametrize(
    ("name", "shape", "reason"),
    [
        ("rnn.weight_hh_l0", (9, 0), "shape that does not fit"), ("rnn.weight_hh_l0", (27,), "shape that does not fit"),
        ("rnn.weight_hh_l0", (10, 3), "shape that does not fit"), ("rnn.weight_hh_l0", (6, 3), "2 gates"),
        ("rnn.bias_ih_l0", (3, 3), "do not fit together"), ("rnn.bias_hh_l0", (4,), "do not fit together"),
        ("rnn.weight_ih_l0", (4, 9), "do not fit together"), ("rnn.weight_ih_l0", (9, 4, 1), "do not fit together"),
        ("head.weight", (3, 4), "linear layers"), ("head.bias", (5,), "head.bias"),
    ],
)  # fmt: skip
def test_shapes_that_do_not_fit(tmp_path: Path, name: str, shape: tuple[int, ...], reason: str) -> None:
    path = tmp_path / "w.pt"
    program = torch_pickle(SHAPES | {name: shape})
    storages = [np.zeros(s, "<f4").tobytes() for s in (SHAPES | {name: shape}).values()]
    path.write_bytes(torch_file(program, storages))
    refused(lambda: import_model(path, ABCD, source="x"), CheckpointError, reason)


def test_tensors_larger_than_their_storage(tmp_path: Path) -> None:
    path, program = tmp_path / "w.pt", torch_pickle(SHAPES)
    size = b"(" + b"".join(b"J" + struct.pack("<i", n) for n in SHAPES["head.weight"]) + b"t"
    steps = b"(" + b"".join(b"J" + struct.pack("<i", n) for n in (3, 1)) + b"t"
    assert size + steps in program

    def numbers(*values: int) -> bytes:
        return b"(" + b"".join(b"\x8a\x08" + struct.pack("<q", n) for n in values) + b"t"

    for shape, stride in (
        ((1 << 20, 8), (0, 0)), ((-(1 << 40), 1), (0, 0)), ((4, 3), (1 << 40, 1)), ((4, 3), (-3, 1)),
        ((1 << 62, 4), (1, 1)), ((4, 3), (4, 1)),
    ):  # fmt: skip
        path.write_bytes(torch_file(program.replace(size + steps, numbers(*shape) + numbers(*stride))))
        refused(lambda: import_model(path, ABCD, source="x"), CheckpointError)


def test_a_negative_size_does_not_hide_a_large_one(tmp_path: Path) -> None:
    path, program = tmp_path / "w.pt", torch_pickle({**SHAPES, "head.bias": (1 << 20, 8), "x": (1,)})
    large, sound, one = (b"".join(b"J" + struct.pack("<i", n) for n in place) for place in ((8, 1), (0, 0), (1,)))
    assert program.count(b"(" + large + b"t") == 1  # its strides
    program = program.replace(b"(" + large + b"t", b"(" + sound + b"t")
    start = program.rindex(b"(" + one + b"t(" + one + b"t")  # the last tensor's size and strides
    program = program[: start + 1] + b"J" + struct.pack("<i", -(1 << 30)) + program[start + 6 :]
    path.write_bytes(torch_file(program, [bytes(4 * 36)] * 7))
    refused(lambda: import_model(path, ABCD, source="x"), CheckpointError, "damaged")


def test_nothing_in_a_pickle_is_run(tmp_path: Path) -> None:
    path = tmp_path / "w.pt"
    touch = b"cos\nsystem\n(X" + struct.pack("<I", 6) + b"touch " + b"tR"
    for program in (
        b"\x80\x02" + touch + b".", b"\x80\x02}X\x01\x00\x00\x00a" + touch + b"s.",
        b"\x80\x02cos\nsystem\n)\x81}b.", b"\x80\x04\x8c\x02os\x8c\x06system\x93X\x04\x00\x00\x00exit\x85R.",
    ):  # fmt: skip
        path.write_bytes(torch_file(program))
        refused(lambda: import_model(path, ABCD, source="x"), CheckpointError)


def test_segments_that_the_file_has_no_room_for() -> None:
    made = make("gru")
    model = made.build_model()
    header = struct.pack("<4sBBHQ8sI", b"CRNN", 1, 0, 65535, 200_000, model_mark(model), 0)
    refused(lambda: decompress(header + b"U" * 40, model, made.vocabulary), DataError, "segments")
