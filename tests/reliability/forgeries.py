"""Files that lie about what they are: written by hand from their formats, where `mutations` damages sound ones.

Everything is drawn from a `random.Random`, which is ten times as fast as a search and can be repeated by its seed.
"""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import os
import pickle
import random
import struct
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

CONTROLS = "\x1b[2J\x9b31m\x07\x00\x85\u2028\u202e\x7f"
NAMES = ("", "x", "../x", "/etc/x", "a" * 70_000, CONTROLS, "params/", "meta", "COM1", "\ud800", "é" * 99)
NUMBERS = (
    "0", "-0", "1e999", "-1", "9" * 400, "1" + "0" * 60, "1e-400", "2147483648", "9007199254740993",
    "NaN", "Infinity", "-Infinity", "1E+308", "0.1", "18446744073709551616", "1e5", "1.0", "01", "+1",
)  # fmt: skip
TEXTS = (
    '"' + CONTROLS.replace("\x00", "\\u0000").replace("\x1b", "\\u001b") + '"', '"\\ud800"', '"\\udc00\\ud800"', '""',
    '"' + "a" * 3000 + '"', '"\\u0000"', '"\\/"', '"\\x"', "'a'", '"\n"',
)  # fmt: skip


# --- JSON as text: what `json.dumps` would never write --------------------------------------------------------------


def forged_json(value: Any, rng: random.Random) -> str:
    """`value` with a few lies: keys twice, numbers beyond measure, depth, commas, words of other languages."""
    places = _count(value)
    lies = {rng.randrange(places): rng.randrange(9) for _ in range(rng.choice((1, 1, 1, 2, 4)))}
    text = _spelled(value, rng, lies, [0])
    kind = rng.randrange(30)
    if kind == 0:
        return "\ufeff" + text
    if kind == 1:
        return text + rng.choice((",", "}", " {}", "\0", "//", text))
    if kind == 2:
        return text[: rng.randrange(len(text) + 1)]
    return text if kind > 3 else " " * rng.randrange(20_000) + text


def _count(value: Any) -> int:
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return 1 + sum(map(_count, parts))


def _spelled(value: Any, rng: random.Random, lies: dict[int, int], place: list[int]) -> str:
    lie = lies.get(place[0])
    place[0] += 1
    if isinstance(value, dict):
        pairs = [json.dumps(k) + ": " + _spelled(v, rng, lies, place) for k, v in value.items()]
        if lie == 0 and pairs:
            pairs += [rng.choice(pairs), rng.choice(pairs).partition(":")[0] + ": " + rng.choice(NUMBERS + TEXTS)]
        elif lie == 1:
            pairs += [
                json.dumps(rng.choice(NAMES)) + ": " + rng.choice(NUMBERS + TEXTS) for _ in range(rng.choice((1, 9)))
            ]
        elif lie == 2 and pairs:
            pairs.remove(rng.choice(pairs))
        text = "{" + ", ".join(pairs) + "}"
    elif isinstance(value, list):
        parts = [_spelled(v, rng, lies, place) for v in value]
        if lie in (0, 1):
            parts += [rng.choice(NUMBERS + TEXTS)] * rng.choice((1, 1000))
        elif lie == 2 and parts:
            parts.pop(rng.randrange(len(parts)))
        text = "[" + ", ".join(parts) + "]"
    else:
        text = json.dumps(value)
    if lie == 3:
        depth = rng.choice((1, 60, 3000))
        opening, closing = rng.choice((("[", "]"), ('{"a":', "}")))
        return opening * depth + text + closing * rng.choice((depth, 0))
    if lie is not None and lie > 3:
        return rng.choice((*NUMBERS, *TEXTS, "null", "true", "nil", "[]", "{}", "[[1],[2,3]]", '{"a":{}}', ""))
    return text


_TEXT_KINDS = (">U3", "V4", "O")
_NUMBER_KINDS = ("S9", "f8", "f2", ">f4", "i8", ">i8", "u1", "c8", "?", "M8[s]", "g")

# --- .npz -----------------------------------------------------------------------------------------------------------


def forged_array(array: np.ndarray, rng: random.Random) -> bytes:
    """A `.npy` of another kind, size, order, version or value."""
    out, kind = io.BytesIO(), rng.randrange(12)
    if kind == 0:
        other: Any = np.array([{"a": 1}, print], dtype=object)
        np.lib.format.write_array(out, other, allow_pickle=True)
    elif kind < 4:
        kinds = (*_TEXT_KINDS, *(_NUMBER_KINDS if array.dtype.kind != "U" else ()))
        other = array.astype(rng.choice(kinds))
        np.lib.format.write_array(out, other, version=rng.choice(((1, 0), (2, 0), (3, 0))), allow_pickle=True)
    elif kind == 4:
        np.lib.format.write_array(out, np.asfortranarray(array), version=(1, 0))
    elif kind == 5:
        shape = rng.choice(
            ((), (0,), (array.size,), (1, *array.shape), (*array.shape, 1), array.shape[::-1], (0, 1 << 40))
        )
        other = np.zeros(0, array.dtype) if 0 in shape else np.resize(array, shape)
        np.lib.format.write_array(out, np.broadcast_to(other, shape) if other.size else other, version=(1, 0))
    elif kind == 6 and array.dtype.kind == "f" and array.size:
        other = array.copy()
        other.flat[rng.randrange(array.size)] = rng.choice((np.nan, np.inf, 3e38, -3e38, 1e-45, 1e15, 1.1e15))
        np.lib.format.write_array(out, other, version=(1, 0))
    elif kind == 7 and array.dtype.kind in "iu":
        other = np.full(
            array.shape, rng.choice((0, 2, 255, np.iinfo(array.dtype).max, np.iinfo(array.dtype).min)), array.dtype
        )
        np.lib.format.write_array(out, other, version=(1, 0))
    else:
        np.lib.format.write_array(out, array, version=(1, 0), allow_pickle=False)
        data = out.getvalue()
        shapes = (
            b"(-1,)",
            b"(1, 1, 1, 1, 1, 1, 1, 1, 1, 1)" * 9,
            b"(99999999999999999999,)",
            b"4",
            b"(0x4,)",
            b"(4,4,)",
        )
        start = data.find(b"'shape': ")
        header = data[10:start] + b"'shape': " + rng.choice(shapes) + b", }"
        header += b" " * rng.choice((0, 13, 60_000)) + rng.choice((b"\n", b""))
        return (
            b"\x93NUMPY\x01\x00"
            + struct.pack("<H", min(len(header), 65535))
            + header
            + array.tobytes()[: rng.choice((0, 40, None))]
        )
    return out.getvalue()


def forged_npz(arrays: dict[str, np.ndarray], rng: random.Random) -> bytes:
    """A checkpoint with lies in its metadata, its arrays and its archive."""
    members: list[tuple[str, bytes]] = []
    lying = set(rng.sample(sorted(arrays), rng.choice((0, 1, 1, 2))))
    meta = json.loads(str(arrays["meta"]))
    for name, array in arrays.items():
        if name == "meta" and (rng.random() < 0.6 or not lying):
            text = forged_json(meta, rng).replace("\0", "?")
            array = np.array(text.encode("utf-8", "replace").decode())
        out = io.BytesIO()
        np.lib.format.write_array(out, array, version=(1, 0), allow_pickle=False)
        members.append((f"{name}.npy", forged_array(array, rng) if name in lying else out.getvalue()))
    return forged_archive(members, rng)


def forged_archive(members: list[tuple[str, bytes]], rng: random.Random) -> bytes:
    """A ZIP archive of these members, or one that says so."""
    out, kind = io.BytesIO(), rng.randrange(16)
    if kind == 0:
        members = [*members, rng.choice(members)]
    elif kind == 1:
        members = [*members, (rng.choice(NAMES).encode("utf-8", "replace").decode() + rng.choice((".npy", "")), b"")]
    elif kind == 2:
        members = [*members, *((f"{k}", b"") for k in range(3000))]
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED if kind == 3 else zipfile.ZIP_STORED) as archive:
        if kind == 4:
            archive.comment = rng.choice((b"PK\x05\x06" + bytes(18), b"a" * 65535, b"PK\x06\x07" + bytes(16)))
        for name, data in members:
            info = zipfile.ZipInfo(name[:65000])
            info.compress_type = archive.compression
            info.external_attr = 0o120777 << 16 if kind == 5 else 0
            with archive.open(info, "w", force_zip64=kind == 6) as member:
                member.write(data)
    data = out.getvalue()
    if kind == 7:
        return rng.randbytes(rng.choice((1, 100, 5000))) + data
    if kind == 8:
        return data + rng.choice((b"\0", b"PK\x05\x06" + bytes(18), data[-60:], bytes(70_000)))
    return _lying_entries(bytearray(data), rng) if kind in (9, 10, 11) else data


def _lying_entries(data: bytearray, rng: random.Random) -> bytes:
    """Sizes, places and extra fields of ZIP64 that differ from what is there."""
    marks = {
        b"PK\x01\x02": (8, 10, 20, 24, 28, 30, 32, 42),
        b"PK\x03\x04": (6, 8, 18, 22, 26, 28),
        b"PK\x05\x06": (8, 10, 12, 16),
    }
    for _ in range(rng.choice((1, 1, 2, 5))):
        mark, offsets = rng.choice(list(marks.items()))
        places = [k for k in range(len(data) - 46) if data[k : k + 4] == mark] or [max(0, len(data) - 22)]
        place = rng.choice(places) + rng.choice(offsets)
        value = rng.choice((0, 1, 0xFFFF, 0xFFFFFFFF, 0x7FFFFFFF, len(data), rng.getrandbits(32)))
        width = rng.choice((2, 4))
        data[place : place + width] = (value % (1 << 8 * width)).to_bytes(width, "little")
    return bytes(data)


# --- YAML -----------------------------------------------------------------------------------------------------------

_YAML = (
    "&a [*a]", "*a", "!!python/object/apply:os.system [exit]", "!!binary aGk=", "<<: {a: 1}", "? [a, b]\n: c", "0o17",
    "0b1", "1_000", "190:20:30", "2001-01-01", "no", "~", ".inf", "-.INF", ".nan", "1e999",
    "9" * 31, "9" * 400, "0x" + "f" * 40,
    "[" * 60, "{" * 60, "'", '"\\x1b[2J"', '"\\ud800"', '"\\U00110000"', "|9\n a", ">-\n\n x", "a: b: c",
    "- - - - -", "%TAG ! x\n---",
    "---\na\n---\nb", "...", "\x85", "\u2028", "\ufeff", "\t", "\x00", "\x9b",
    "# " + "x" * 3000, "a" * 3000, "[1, [2, [3]]]",
    "{uniform: [0, 1e308]}", "{uniform: [-1.7e308, 1.7e308]}", "{log_uniform: [5e-324, 1e308]}",
    "{integers: [0, 99999999999999999999]}",
    "{choice: []}", "{choice: [a, 1, null, .nan]}", "[1, 1, 1.0, true]", "[[1]]", "1000000000000", "-1",
    "[.nan, .inf]"
)  # fmt: skip


def forged_yaml(text: str, rng: random.Random) -> str:
    """Settings in which lines are moved, doubled and indented, and values are what YAML can say besides."""
    lines = text.splitlines()
    for _ in range(rng.choice((1, 1, 2, 3))):
        k, kind = rng.randrange(len(lines)), rng.randrange(8)
        key, colon, _ = lines[k].partition(":")
        if kind < 4 and colon:
            lines[k] = f"{key}: {rng.choice(_YAML)}"
        elif kind == 4:
            lines.insert(rng.randrange(len(lines)), lines[k])
        elif kind == 5:
            lines[k] = rng.choice((" ", "  ", "\t", "- ")) * rng.choice((1, 60)) + lines[k]
        elif kind == 6:
            lines.insert(k, rng.choice(_YAML))
        else:
            lines[k] = lines[k].replace(":", rng.choice((" :", ":", ": &a", ": !!str", ": |", ": >")), 1)
    return rng.choice(("\n", "\n", "\r\n", "\x85", "\r")).join(lines) + rng.choice(("\n", ""))


# --- texts ----------------------------------------------------------------------------------------------------------


_bzip2 = partial(bz2.compress, compresslevel=1)  # packing takes more memory than unpacking
_xz = partial(lzma.compress, preset=0)


def forged_text(rng: random.Random) -> bytes:
    """Text in some encoding, some packing, cut and damaged."""
    words = "".join(
        rng.choice(("the cat ", "é", "\r", "\n", "\r\n", "\ufeff", "\0", "😀", "\u0301", CONTROLS, "\udcff"))
        for _ in range(60)
    )
    data = words.encode(rng.choice(("utf-8", "utf-16", "utf-16-le", "utf-32", "utf-8-sig", "utf-7")), "surrogatepass")
    packing: Callable[[bytes], bytes] = rng.choice((bytes, bytes, gzip.compress, _bzip2, _xz))
    out = bytearray(packing(data) + (packing(data) if rng.random() < 0.2 else b""))
    for _ in range(rng.choice((0, 1, 1, 3))):
        if not out:
            break
        place, kind = rng.randrange(len(out)), rng.randrange(4)
        if kind == 0:
            out[place] ^= 1 << rng.randrange(8)
        elif kind == 1:
            del out[place:]
        elif kind == 2:
            out += rng.choice((b"\0" * 9, b"\x1f\x8b\x08", b"BZh91AY&SY", b"\xfd7zXZ\0", rng.randbytes(30)))
        else:
            out[place : place + 4] = rng.randbytes(4)
    return bytes(out)


# --- pickles of torch.save ------------------------------------------------------------------------------------------


def forged_pickle(rng: random.Random) -> bytes:
    """Anything that Python itself would pickle, and instructions that nobody would write."""
    kind = rng.randrange(6)
    if kind < 2:
        values: list[Any] = [
            {},
            [],
            (),
            {"a": {}},
            {"state_dict": {"state_dict": {}}},
            {1: 2},
            b"x",
            "x",
            2**300,
            {CONTROLS: CONTROLS},
            {0.5: ()},
            len,
        ]
        looped: list[Any] = [rng.choice(values)]
        looped.append(looped)
        chosen = {"model": rng.choice(values), "x": looped} if kind else rng.choice((*values, looped))
        return pickle.dumps(chosen, rng.choice((0, 1, 2, 3, 4, 5)))
    many = rng.choice((3, 300, 20_000))
    size = b"(" + b"K\xff" * many + b"t"
    tensor = (
        b"ctorch._utils\n_rebuild_tensor_v2\n((X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x24tQK\x00"
        + size + b"q\x02h\x02\x89h\x02tR"
    )  # fmt: skip
    one = b"X\x01\x00\x00\x00a" + tensor + b"s"
    return b"\x80\x02}" + one * rng.choice((1, 3)) + rng.choice((b".", b"h\x02.", b"", b"0.", b"2.", b"(((((("))


# --- places of files ------------------------------------------------------------------------------------------------


def put_something_else(path: Path, outside: Path, rng: random.Random) -> None:
    """A link, a pipe, a folder, a device, or a file of a terabyte that takes no room."""
    path.unlink(missing_ok=True)
    kind = rng.randrange(8)
    if kind == 0:
        os.mkfifo(path)
    elif kind == 1:
        path.mkdir()
    elif kind == 2:
        with path.open("wb") as file:
            file.truncate(1 << 40)
    elif kind == 3:
        path.write_bytes(b"[" * rng.choice((1, 100_000)))
    else:
        path.symlink_to(
            rng.choice((outside, outside / "no", Path("/dev/zero"), path, path.parent, Path("/proc/self/mem")))
        )
