"""The tensors in a PyTorch file, read without PyTorch and without unpickling anything.

`torch.save` writes a ZIP archive of a pickle, which maps tensors to storages, and one member for each storage.
A pickle is a program; here its instructions are read one by one, and only the few that build dictionaries, lists and
tensors are followed. Nothing is imported or called: anything else a file asks for becomes an empty object.
"""

from __future__ import annotations

import math
import pickletools
import warnings
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from charrnn.formats.common import to_float32
from charrnn.nn.params import Array

_MOST_AXES = 8  # of a tensor; with thousands, its number of elements alone would take minutes
_LIMIT = 1 << 22  # bytes of the pickle; a tensor takes some 150
_STORAGES = {"FloatStorage": "F32", "DoubleStorage": "F64", "HalfStorage": "F16", "BFloat16Storage": "BF16"}
_TENSOR, _PARAMETER = "torch._utils _rebuild_tensor_v2", "torch._utils _rebuild_parameter"
_WRAPPERS = ("state_dict", "model_state_dict", "model")  # keys under which training programs store it


class NotAStateDictError(Exception):
    """A file for PyTorch that holds something else."""


@dataclass(frozen=True)
class _Storage:
    key: str
    kind: str | None


@dataclass(frozen=True)
class _Tensor:
    storage: _Storage
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]

    @property
    def count(self) -> int:
        return math.prod(self.size)


@dataclass(frozen=True)
class _Opaque:
    """An opaque object: a class or function by its name, or what calling it would have returned."""

    name: str


def read_tensors(archive: zipfile.ZipFile, file_bytes: int) -> dict[str, Array]:
    """Name -> float32 array of a state_dict, or of one in a dictionary of a training program.

    Args:
        archive: of the file, its members checked (see `charrnn.runs.npz.open_archive`).
        file_bytes: its size; at most eight times as many bytes are allocated.

    Raises:
        NotAStateDictError: it holds something else or is damaged; the message says what.
    """
    members = {m.filename: m for m in archive.infolist()}
    roots = [name[: -len("data.pkl")] for name in members if name.endswith("/data.pkl")]
    if len(roots) != 1 or members[f"{roots[0]}data.pkl"].file_size > _LIMIT:
        raise NotAStateDictError("not a PyTorch file")
    (root,) = roots
    if f"{root}byteorder" in members and archive.read(f"{root}byteorder") != b"little":
        raise NotAStateDictError("written on a big-endian machine")
    try:
        found = _Machine(archive.read(f"{root}data.pkl")).result
    except (ValueError, LookupError, TypeError):
        raise NotAStateDictError("its list of tensors is damaged") from None
    if isinstance(found, _Opaque):
        raise NotAStateDictError("pickled objects, not tensors alone")
    if not isinstance(found, dict):
        raise NotAStateDictError("not a state_dict")
    for key in _WRAPPERS:
        found = found[key] if isinstance(found.get(key), dict) else found
    tensors = {k: v for k, v in found.items() if isinstance(k, str) and isinstance(v, _Tensor) and v.storage.kind}
    if 4 * sum(t.count for t in tensors.values()) > 8 * file_bytes:
        raise NotAStateDictError("its tensors claim more numbers than the file has")
    storages: dict[_Storage, Array] = {}
    for storage in {t.storage for t in tensors.values()}:
        member = members.get(f"{root}data/{storage.key}")
        if member is None or storage.kind is None:
            raise NotAStateDictError("a tensor has no storage")
        storages[storage] = to_float32(archive.read(member), storage.kind)
    return {name: _array(storages[t.storage], t) for name, t in tensors.items()}


def _array(values: Array, t: _Tensor) -> Array:
    last = t.offset + sum((n - 1) * step for n, step in zip(t.size, t.stride, strict=True))
    if t.count and last >= len(values):
        raise NotAStateDictError("a tensor exceeds its storage")
    if not t.count:
        return np.zeros(t.size, np.float32)
    steps = [4 * step for step in t.stride]
    return np.ascontiguousarray(np.lib.stride_tricks.as_strided(values[t.offset :], t.size, steps, writeable=False))


class _Machine:
    """Follows a pickle; `result` is what it builds."""

    def __init__(self, program: bytes) -> None:
        self._stack: list[Any] = []
        self._marks: list[int] = []
        self._memo: dict[int, Any] = {}
        self.result: Any = None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # warnings about strings, from the decoder of the instructions
            for instruction, argument, _ in pickletools.genops(program):
                self._do(instruction.name, argument)

    def _do(self, name: str, argument: Any) -> None:
        stack = self._stack
        if name in _CONSTANTS:
            stack.append(_CONSTANTS[name]())
        elif name in _VALUES:
            stack.append(argument)
        elif name in _STEPS:
            _STEPS[name](self)
        elif name in ("BINPUT", "LONG_BINPUT", "MEMOIZE"):
            self._memo[len(self._memo) if name == "MEMOIZE" else argument] = stack[-1]
        elif name in ("BINGET", "LONG_BINGET"):
            stack.append(self._memo[argument])
        elif name == "GLOBAL":
            stack.append(_Opaque(argument))
        elif name not in ("PROTO", "FRAME"):
            raise ValueError(f"instruction {name}")

    def mark(self) -> None:
        self._marks.append(len(self._stack))

    def since_mark(self) -> list[Any]:
        start = self._marks.pop()
        out = self._stack[start:]
        del self._stack[start:]
        return out

    def popped(self, count: int) -> list[Any]:
        if len(self._stack) < count:
            raise ValueError("the stack is empty")
        return [self._stack.pop() for _ in range(count)][::-1]

    def drop(self) -> None:
        self.popped(1)

    def drop_marked(self) -> None:
        self.since_mark()

    def push(self, value: Any) -> None:
        self._stack.append(value)

    def put_items(self, items: list[Any]) -> None:
        """Put items into the dictionary on top; skip keys other than text and numbers, and other objects."""
        target = self._stack[-1]
        for key, value in zip(items[::2], items[1::2], strict=True):
            if isinstance(target, dict) and isinstance(key, str | int):
                target[key] = value

    def append(self, items: list[Any]) -> None:
        if isinstance(self._stack[-1], list):
            self._stack[-1].extend(items)

    def call(self) -> None:
        """Build a tensor, a parameter or a dictionary; call nothing else."""
        function, arguments = self.popped(2)
        name = function.name if isinstance(function, _Opaque) else ""
        if name == "collections OrderedDict":
            self.push({})
        elif name == _TENSOR and isinstance(arguments[0], _Storage):
            storage, offset, size, stride = arguments[:4]
            numbers = (offset, *size, *stride)
            if not len(size) == len(stride) <= _MOST_AXES or not all(
                type(n) is int and 0 <= n < 1 << 40 for n in numbers
            ):
                raise ValueError("a tensor's position")
            self.push(_Tensor(storage, offset, tuple(size), tuple(stride)))
        elif name == _PARAMETER and isinstance(arguments[0], _Tensor):
            self.push(arguments[0])
        else:
            self.push(_Opaque(name))

    def storage(self) -> None:
        """A storage by its persistent id: ("storage", its class, its key, a device, a count)."""
        (pid,) = self.popped(1)
        _, kind, key = pid[:3]
        known = kind.name.partition(" ")[2] if isinstance(kind, _Opaque) else ""
        self.push(_Storage(str(key), _STORAGES.get(known)))

    def named(self) -> None:
        module, name = self.popped(2)
        self.push(_Opaque(f"{module} {name}"))

    def opaque(self) -> None:
        function, _ = self.popped(2)
        self.push(_Opaque(function.name if isinstance(function, _Opaque) else ""))

    def end(self) -> None:
        (self.result,) = self.popped(1)


_CONSTANTS: dict[str, Callable[[], Any]] = {
    "NONE": lambda: None, "NEWTRUE": lambda: True, "NEWFALSE": lambda: False, "EMPTY_DICT": dict, "EMPTY_LIST": list,
    "EMPTY_TUPLE": tuple, "EMPTY_SET": list,
}  # fmt: skip
_VALUES = frozenset(
    ("BININT", "BININT1", "BININT2", "LONG1", "LONG4", "BINFLOAT", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8",
     "BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BINSTRING", "SHORT_BINSTRING")
)  # fmt: skip
_STEPS: dict[str, Callable[[_Machine], None]] = {
    "MARK": _Machine.mark,
    "POP": _Machine.drop,
    "POP_MARK": _Machine.drop_marked,
    "TUPLE": lambda m: m.push(tuple(m.since_mark())),
    "TUPLE1": lambda m: m.push(tuple(m.popped(1))),
    "TUPLE2": lambda m: m.push(tuple(m.popped(2))),
    "TUPLE3": lambda m: m.push(tuple(m.popped(3))),
    "APPEND": lambda m: m.append(m.popped(1)),
    "APPENDS": lambda m: m.append(m.since_mark()),
    "ADDITEMS": lambda m: m.append(m.since_mark()),
    "SETITEM": lambda m: m.put_items(m.popped(2)),
    "SETITEMS": lambda m: m.put_items(m.since_mark()),
    "STACK_GLOBAL": _Machine.named,
    "REDUCE": _Machine.call,
    "NEWOBJ": _Machine.opaque,
    "BUILD": _Machine.drop,  # attributes, such as the versions in a state_dict
    "BINPERSID": _Machine.storage,
    "STOP": _Machine.end,
}
