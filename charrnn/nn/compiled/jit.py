"""How kernels are compiled, and where their machine code is kept from one process to the next.

With `vector`, the only module that imports Numba; `charrnn.nn.compiled.why_not` says whether that is possible.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numba
from numba.core import caching, config

from charrnn.nn import compiled
from charrnn.nn.compiled import sources_hash

F = TypeVar("F", bound=Callable[..., Any])

_FLAGS: dict[str, Any] = {"nogil": True, "error_model": "numpy", "boundscheck": False}


def part(function: F) -> F:
    """A function that kernels call, compiled with each of them."""
    made: F = numba.njit(**_FLAGS)(function)
    return made


def inline(function: F) -> F:
    """A `part` without a call of its own, for what takes or returns vectors."""
    made: F = numba.njit(inline="always", **_FLAGS)(function)
    return made


def kernel(function: F) -> F:
    """A function that Python calls, which runs without the interpreter's lock and whose machine code is kept."""
    made: Any = numba.njit(**_FLAGS)(function)
    made._cache = _Kept(function)
    out: F = made
    return out


def code_for(function: Callable[..., Any], calls: Sequence[Sequence[Any]]) -> Callable[..., Any]:
    """A kernel for arguments of known types. Looking them up takes Numba microseconds, at every call.

    Args:
        function: the kernel.
        calls: the arguments of all calls that will be made.

    Raises:
        TypeError: they are not of the same types.
    """
    made: Any = function
    (kinds, *others) = {tuple(made.typeof_pyval(argument) for argument in call) for call in calls}
    if others:
        raise TypeError(f"{made.__name__}: arguments of different types")
    code: Callable[..., Any] = made.compile(kinds)
    return code


class _Kept:
    """Numba's cache in a folder of its own for each state of these sources and each signature.

    Numba looks at the source of the kernel alone, not of what it calls; and two processes that save two signatures of
    one function at once can mix them up. Whatever goes wrong with a file, the kernel is compiled instead.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function
        self.cache_path = None

    def _open(self, signature: object) -> Any:
        folder = compiled.machine_code
        if folder is None:
            raise OSError("nowhere to keep machine code")
        before, mark = config.CACHE_DIR, hashlib.sha256(str(signature).encode()).hexdigest()[:16]
        config.CACHE_DIR = str(folder / sources_hash() / mark)
        try:
            cache = caching.FunctionCache(self._function)
        finally:
            config.CACHE_DIR = before
        if not str(cache.cache_path).startswith(str(folder)):  # that folder cannot be written, so Numba took another
            raise OSError("the cache cannot be written")
        return cache

    def load_overload(self, signature: object, target: object) -> object:
        """The machine code, if it is there."""
        found: object = None
        with contextlib.suppress(Exception):
            found = self._open(signature).load_overload(signature, target)
        return found

    def save_overload(self, signature: object, made: object) -> None:
        """Keep the machine code, if it can be."""
        with contextlib.suppress(Exception):
            cache = self._open(signature)
            try:
                cache.save_overload(signature, made)
            except Exception:  # Numba reads the index first, and a damaged one would never be replaced
                cache.flush()
                cache.save_overload(signature, made)

    def flush(self) -> None:
        """Nothing waits."""
