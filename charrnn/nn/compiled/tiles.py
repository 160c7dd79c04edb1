"""Tiles of vectors in registers: what the packed product adds up in."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types

from charrnn.nn.compiled.vector import (
    _INT,
    Tile,
    _call,
    _intrinsic,
    _intrinsic_of_literals,
    _load,
    _spread,
    _store,
    _vector,
)


@_intrinsic_of_literals
def load_tile(
    typing: Any,
    address: types.CPointer,
    vector_step: types.Integer,
    column_step: types.Integer,
    vectors: types.IntegerLiteral,
    columns: types.IntegerLiteral,
) -> Any:
    """Accumulators [v, c] from the address plus v vector steps and c column steps."""
    tile = Tile(address.dtype, vectors.literal_value, columns.literal_value)

    def build(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> ir.Value:
        value = ir.Constant(ir.ArrayType(_vector(tile.dtype), tile.vectors * tile.columns), ir.Undefined)
        for k, place in enumerate(_places(context, builder, tile, signature, args)):
            value = builder.insert_value(value, _load(builder, tile.dtype, place), k)
        return value

    return tile(address, vector_step, column_step, vectors, columns), build


@_intrinsic
def store_tile(
    typing: Any, address: types.CPointer, vector_step: types.Integer, column_step: types.Integer, tile: Tile
) -> Any:
    """Write accumulators back to where `load_tile` took them from."""

    def build(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> Any:
        for k, place in enumerate(_places(context, builder, tile, signature, args)):
            _store(builder, tile.dtype, place, builder.extract_value(args[3], k))
        return context.get_dummy_value()

    return types.void(address, vector_step, column_step, tile), build


def _places(context: Any, builder: ir.IRBuilder, tile: Tile, signature: Any, args: Any) -> list[ir.Value]:
    steps = [context.cast(builder, v, k, types.intp) for v, k in zip(args[1:3], signature.args[1:3], strict=True)]
    out = []
    for c in range(tile.columns):
        for v in range(tile.vectors):
            across, down = builder.mul(steps[0], ir.Constant(_INT, v)), builder.mul(steps[1], ir.Constant(_INT, c))
            out.append(builder.gep(args[0], [builder.add(across, down)]))
    return out


@_intrinsic
def add_products(typing: Any, tile: Tile, a: types.CPointer, x: types.CPointer, column_step: types.Integer) -> Any:
    """tile[v, c] += a_v x_c, where a_v are neighbouring vectors and x_c numbers, column steps apart."""

    def build(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> ir.Value:
        value, vectors, numbers, step = args
        step = context.cast(builder, step, column_step, types.intp)
        factors = [_load(builder, tile.dtype, vectors, v) for v in range(tile.vectors)]
        for c in range(tile.columns):
            number = builder.load(builder.gep(numbers, [builder.mul(step, ir.Constant(_INT, c))]))
            spread = _spread(builder, _vector(tile.dtype), number)
            for v, factor in enumerate(factors):
                k = c * tile.vectors + v
                summed = _call(builder, "fma", factor, spread, builder.extract_value(value, k))
                value = builder.insert_value(value, summed, k)
        return value

    return tile(tile, a, x, column_step), build
