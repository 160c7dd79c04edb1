"""The vector functions of compiled kernels over whole arrays; importing it needs the extra [fast]."""

from __future__ import annotations

from typing import Any

from charrnn.nn.compiled import functions
from charrnn.nn.compiled.jit import kernel
from charrnn.nn.compiled.vector import BITS, at, load_at, store_at

_BYTES = BITS // 8
_exp, _sigmoid, _tanh = functions.exp, functions.sigmoid, functions.tanh


@kernel
def exp(x: Any, out: Any) -> None:
    width = _BYTES // x.itemsize
    for k in range(0, x.shape[0], width):
        store_at(at(out, (k,)), _exp(load_at(at(x, (k,)))))


@kernel
def sigmoid(x: Any, out: Any) -> None:
    width = _BYTES // x.itemsize
    for k in range(0, x.shape[0], width):
        store_at(at(out, (k,)), _sigmoid(load_at(at(x, (k,)))))


@kernel
def tanh(x: Any, out: Any) -> None:
    width = _BYTES // x.itemsize
    for k in range(0, x.shape[0], width):
        store_at(at(out, (k,)), _tanh(load_at(at(x, (k,)))))
