"""Sound files made unsound: in what they say (values, pickle instructions, sizes in directories) and byte by byte."""

from __future__ import annotations

import io
import json
import pickletools
import struct
import zipfile
from collections.abc import Callable
from typing import Any

import numpy as np
from hypothesis import strategies as st

from charrnn.errors import CharRNNError

Draw = Callable[[st.SearchStrategy[Any]], Any]

ROWS: list[dict[str, Any]] = [
    {"step": 2 * k, "epoch": k / 7, "chars": 512 * k, "train_loss": 4.0 - k / 5, "val_loss": 3.9 if k % 2 else None,
     "grad_norm": 0.5, "learning_rate": 0.01, "chars_per_second": 9e4, "seconds": k / 9}
    for k in range(1, 6)
]  # fmt: skip
ROWS.insert(3, {"event": "rollback", "step": 7, "to_step": 6, "lr_scale": 0.5, "reason": "the loss is nan"})
SHAPES = {"rnn.weight_ih_l0": (9, 4), "rnn.weight_hh_l0": (9, 3), "rnn.bias_ih_l0": (9,), "rnn.bias_hh_l0": (9,),
          "head.weight": (4, 3), "head.bias": (4,)}  # fmt: skip

_NUMBERS = [
    0,
    1,
    -1,
    2**31,
    2**53 + 1,
    2**63,
    -(2**64),
    10**400,
    0.5,
    -0.0,
    5e-324,
    1e308,
    -1e308,
    float("inf"),
    float("nan"),
]
_TEXTS = ["", "x", "\x1b[2J", "\x9b31m", "\u202e", "\u2028", "=cmd|' /C calc'!A0", "../x", "a" * 5000]
JUNK = st.one_of(
    st.sampled_from([None, True, False, [], {}, [[]], {"a": {"b": []}}, *_NUMBERS, *_TEXTS]),
    st.integers(), st.floats(), st.text(max_size=4),
)  # fmt: skip
_PIECES = [
    b"\xff",
    b"\x00",
    b"[" * 20_000,
    b"{" * 300,
    b"1e999",
    b"NaN",
    b'"',
    b",",
    b"\n",
    b":",
    b"\x1b[2J",
    b"\\ud800",
]


@st.composite
def json_values(draw: Draw, sound: Any) -> Any:
    """`sound` with one to three edits."""
    for _ in range(draw(st.sampled_from([1, 1, 1, 2, 3]))):
        sound = _edited(draw, sound)
    return sound


def _edited(draw: Draw, value: Any) -> Any:
    kind = draw(st.integers(0, 9))
    if isinstance(value, dict) and value and kind < 9:
        key, out = draw(st.sampled_from(sorted(value))), dict(value)
        if kind == 0:
            del out[key]
        elif kind == 1:
            out[draw(st.sampled_from([*_TEXTS, key.upper(), key + " "]))] = out.pop(key)
        elif kind == 2:
            out[draw(st.sampled_from([*_TEXTS, "event", "reason"]))] = draw(JUNK)
        else:
            out[key] = _edited(draw, value[key])
        return out
    if isinstance(value, list) and value and kind < 9:
        place = draw(st.integers(0, len(value) - 1))
        replaced = {0: [], 1: [value[place]] * 2}.get(kind)
        return value[:place] + ([_edited(draw, value[place])] if replaced is None else replaced) + value[place + 1 :]
    return draw(JUNK)


def json_bytes(sound: Any) -> st.SearchStrategy[bytes]:
    """The same as text, perhaps also damaged as such."""
    said = json_values(sound).map(lambda value: json.dumps(value).encode())
    return st.one_of(said, damaged_bytes(json.dumps(sound).encode()), said.flatmap(damaged_bytes))


@st.composite
def damaged_bytes(draw: Draw, data: bytes) -> bytes:
    """Cut, flipped, repeated, with something put in."""
    out = bytearray(data)
    for _ in range(draw(st.sampled_from([1, 1, 2, 5]))):
        place, length = draw(st.integers(0, max(0, len(out) - 1))), draw(st.sampled_from([1, 2, 4, 16, 100]))
        kind = draw(st.integers(0, 5))
        if kind == 0 and out:
            out[place] ^= 1 << draw(st.integers(0, 7))
        elif kind == 1:
            out[place : place + length] = draw(st.binary(min_size=length, max_size=length))
        elif kind == 2:
            del out[place : place + length]
        elif kind == 3:
            out[place:place] = out[place : place + length]
        elif kind == 4:
            out[place:place] = draw(st.sampled_from(_PIECES))
        else:
            del out[place:]
    return bytes(out)


@st.composite
def lying_archives(draw: Draw, data: bytes) -> bytes:
    """A ZIP archive whose directory or whose end says something else than what is there."""
    out = bytearray(data)
    end = out.rindex(b"PK\x05\x06")
    entries = [k for k in range(len(out)) if out[k : k + 4] == b"PK\x01\x02"]
    # offset and width of versions, flags, method, sizes, lengths of name, extra and comment, attributes, offset
    fields = [(6, 2), (8, 2), (10, 2), (20, 4), (24, 4), (28, 2), (30, 2), (32, 2), (38, 4), (42, 4)]
    for _ in range(draw(st.integers(1, 3))):
        if draw(st.integers(0, 4)):
            place, (offset, width) = draw(st.sampled_from(entries)), draw(st.sampled_from(fields))
        else:
            place, (offset, width) = end, draw(st.sampled_from([(8, 2), (10, 2), (12, 4), (16, 4), (20, 2)]))
        value = draw(st.sampled_from([0, 1, 7, 255, 65535, 2**24, 2**30, 2**31, 2**32 - 1, len(data)])) % (
            1 << 8 * width
        )
        out[place + offset : place + offset + width] = value.to_bytes(width, "little")
    return bytes(out)


def repacked(members: dict[str, bytes]) -> bytes:
    """A ZIP archive with sound sizes and checksums."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return out.getvalue()


@st.composite
def pickles(draw: Draw, sound: bytes) -> bytes:
    """A pickle with instructions left out, repeated, exchanged or with other arguments."""
    places = [place for _, _, place in pickletools.genops(sound)]
    steps = [sound[a:b] for a, b in zip(places, [*places[1:], len(sound)], strict=True)]
    others = [
        b"(", b")", b"]", b"}", b"N", b"\x88", b"0", b"1", b"2", b"R", b"b", b"s", b"u", b"a", b"e", b"t", b"\x85",
        b"\x86", b"\x87", b"Q", b"\x81", b"\x93", b".", b"\x94", b"h\x00", b"q\x00", b"K\x05", b"J\xff\xff\xff\x7f",
        b"J\xff\xff\xff\xff", b"\x8a\x09" + b"\xff" * 8 + b"\x7f", b"X\x04\x00\x00\x00\x1b[2J", b"cos\nsystem\n",
        b"ctorch._utils\n_rebuild_tensor_v2\n", b"ccollections\nOrderedDict\n", b"X\xff\xff\xff\x7f", b"S'\\q'\n",
        b"I99\n",
    ]  # fmt: skip
    for _ in range(draw(st.integers(1, 4))):
        place, kind = draw(st.integers(0, len(steps) - 1)), draw(st.integers(0, 4))
        if kind == 0:
            del steps[place : place + draw(st.sampled_from([1, 1, 3]))]
        elif kind == 1:
            steps[place:place] = steps[place : place + draw(st.sampled_from([1, 2, 20]))]
        elif kind == 2:
            steps[place] = draw(st.sampled_from(others))
        else:
            steps.insert(place, draw(st.sampled_from(others)))
        if not steps:
            break
    return b"".join(steps)


def torch_pickle(shapes: dict[str, tuple[int, ...]]) -> bytes:
    """What `torch.save` writes for a state_dict of float32 tensors, each in a storage of its own."""

    def text(value: str) -> bytes:
        return b"X" + struct.pack("<I", len(value)) + value.encode()

    def numbers(values: tuple[int, ...]) -> bytes:
        return b"(" + b"".join(b"J" + struct.pack("<i", n) for n in values) + b"t"

    out = b"\x80\x02ccollections\nOrderedDict\nq\x00)Rq\x01("
    for key, (name, shape) in enumerate(shapes.items()):
        count, strides = 1, []
        for n in reversed(shape):
            strides.insert(0, count)
            count *= n
        storage = b"(" + text("storage") + b"ctorch\nFloatStorage\n" + text(str(key)) + text("cpu") + b"J"
        storage += struct.pack("<i", count) + b"tQ"
        arguments = b"(" + storage + b"K\x00" + numbers(shape) + numbers(tuple(strides)) + b"\x89h\x00)Rt"
        out += text(name) + b"ctorch._utils\n_rebuild_tensor_v2\n" + arguments + b"R"
    return out + b"u}" + text("_metadata") + b"h\x00)Rsb."


def assert_one_line(error: CharRNNError, code: int) -> None:
    """The error of that exit code, whose message is one printable line."""
    assert error.exit_code == code
    assert error.message.isprintable(), error.message


def safetensors(header: Any, body: bytes = bytes(4 * (9 * 4 + 9 * 3 + 9 + 9 + 12 + 4)), extra: int = 0) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", max(0, len(text) + extra)) + text + body


def safetensors_header() -> dict[str, Any]:
    place, header = 0, {}
    for name, shape in SHAPES.items():
        size = 4 * int(np.prod(shape))
        header[name] = {"dtype": "F32", "shape": list(shape), "data_offsets": [place, place + size]}
        place += size
    return header | {"__metadata__": {"made": "by hand"}}


def torch_file(program: bytes, storages: list[bytes] | None = None) -> bytes:
    """The archive of `torch.save` around a pickle; random numbers for `SHAPES` where no storages are given."""
    rng = np.random.default_rng(1)
    storages = storages or [rng.normal(size=shape).astype("<f4").tobytes() for shape in SHAPES.values()]
    members = {f"a/data/{k}": data for k, data in enumerate(storages)}
    return repacked({"a/data.pkl": program, "a/byteorder": b"little", **members})
