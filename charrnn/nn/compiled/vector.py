"""Numbers side by side: the vector type that the kernels are written in.

A `Vector` is as many float32 or float64 numbers as one instruction of this processor takes; Numba's own loops over
arrays leave registers and lanes to chance. Vectors are loaded, stored, made from one number, and combined with
+ - * /, `least`, `greatest`; a number on one side of an operator stands for all lanes.

A `Tile` is a block of accumulators that stay in registers; `tiles` works with them.

Memory is an array with an index for its first axes, `load(h, (t, p, b))`, or an address, which is what `at` makes of
these two.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

from llvmlite import binding, ir
from numba import types
from numba.core import cgutils
from numba.core.datamodel import PrimitiveModel
from numba.extending import intrinsic, lower_builtin, register_model, type_callable

_INT = ir.IntType(64)


def _intrinsic(typed: Callable[..., Any]) -> Any:
    """A function of kernels: `typed` gives its signature and what builds its instructions."""
    return intrinsic(typed)


def _intrinsic_of_literals(typed: Callable[..., Any]) -> Any:
    """The same for a function that wants to know the numbers it is given, where they are constants."""
    return intrinsic(prefer_literal=True)(typed)


def _host() -> tuple[int, int]:
    """Bits of this processor's vectors, and how many registers there are for them."""
    features = binding.get_host_cpu_features()
    if features.get("avx512f"):
        return 512, 32
    if features.get("avx2"):
        return 256, 16
    return 128, 16 if features.get("sse2") else 32  # NEON has 32


BITS, REGISTERS = _host()


def lanes(itemsize: int) -> int:
    """W, how many numbers of this size in bytes a vector holds."""
    return BITS // (8 * itemsize)


class Vector(types.Type):  # type: ignore[misc]
    """W numbers of a dtype."""

    def __init__(self, dtype: types.Float) -> None:
        self.dtype = dtype
        super().__init__(f"Vector({dtype})")


class Tile(types.Type):  # type: ignore[misc]
    """`columns` times `vectors` accumulators."""

    def __init__(self, dtype: types.Float, vectors: int, columns: int) -> None:
        self.dtype, self.vectors, self.columns = dtype, vectors, columns
        super().__init__(f"Tile({dtype}, {vectors}, {columns})")


def _number(dtype: types.Float) -> ir.Type:
    return ir.FloatType() if dtype.bitwidth == 32 else ir.DoubleType()


def _vector(dtype: types.Float) -> ir.VectorType:
    return ir.VectorType(_number(dtype), BITS // dtype.bitwidth)


def _integers(vector: ir.VectorType) -> ir.VectorType:
    return ir.VectorType(ir.IntType(BITS // vector.count), vector.count)


@register_model(Vector)
class _VectorModel(PrimitiveModel):  # type: ignore[misc]
    def __init__(self, manager: Any, kind: Vector) -> None:
        super().__init__(manager, kind, _vector(kind.dtype))


@register_model(Tile)
class _TileModel(PrimitiveModel):  # type: ignore[misc]
    def __init__(self, manager: Any, kind: Tile) -> None:
        super().__init__(manager, kind, ir.ArrayType(_vector(kind.dtype), kind.vectors * kind.columns))


def _same(vector: ir.VectorType, value: float | int) -> ir.Constant:
    return ir.Constant(vector, [value] * vector.count)


def _spread(builder: ir.IRBuilder, vector: ir.VectorType, value: ir.Value) -> ir.Value:
    empty = ir.Constant(vector, ir.Undefined)
    first = builder.insert_element(empty, value, ir.Constant(ir.IntType(32), 0))
    return builder.shuffle_vector(first, empty, _same(ir.VectorType(ir.IntType(32), vector.count), 0))


def _call(builder: ir.IRBuilder, name: str, *args: ir.Value) -> ir.Value:
    """One of LLVM's own functions of vectors of one type."""
    vector = args[0].type
    bits = BITS // vector.count
    kind = ir.FunctionType(vector, [vector] * len(args))
    function = cgutils.get_or_insert_function(builder.module, kind, f"llvm.{name}.v{vector.count}f{bits}")
    return builder.call(function, args)


def _place(
    context: Any, builder: ir.IRBuilder, array: types.Array, kinds: types.UniTuple, value: ir.Value, index: ir.Value
) -> ir.Value:
    view = context.make_array(array)(context, builder, value)
    given = zip(cgutils.unpack_tuple(builder, index, len(kinds)), kinds, strict=True)
    first = [context.cast(builder, number, kind, types.intp) for number, kind in given]
    places = first + [ir.Constant(_INT, 0)] * (array.ndim - len(first))
    return cgutils.get_item_pointer(context, builder, array, view, places, wraparound=False, boundscheck=False)


@_intrinsic
def at(typing: Any, array: types.Array, index: types.UniTuple) -> Any:
    """The address of the first number behind an index of the first axes."""

    def build(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> ir.Value:
        return _place(context, builder, array, index, *args)

    return types.CPointer(array.dtype)(array, index), build


@_intrinsic
def behind(typing: Any, address: types.CPointer, numbers: types.Integer) -> Any:
    """The address that many numbers further on."""

    def build(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> ir.Value:
        return builder.gep(args[0], [context.cast(builder, args[1], numbers, types.intp)])

    return address(address, numbers), build


def _load(builder: ir.IRBuilder, dtype: types.Float, address: ir.Value, vectors: int = 0) -> ir.Value:
    place = builder.gep(builder.bitcast(address, _vector(dtype).as_pointer()), [ir.Constant(_INT, vectors)])
    return builder.load(place, align=dtype.bitwidth // 8)


def _store(builder: ir.IRBuilder, dtype: types.Float, address: ir.Value, value: ir.Value, vectors: int = 0) -> None:
    place = builder.gep(builder.bitcast(address, _vector(dtype).as_pointer()), [ir.Constant(_INT, vectors)])
    builder.store(value, place, align=dtype.bitwidth // 8)


@_intrinsic
def load_at(typing: Any, address: types.CPointer) -> Any:
    """The vector that begins at an address."""

    def build(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> ir.Value:
        return _load(builder, address.dtype, args[0])

    return Vector(address.dtype)(address), build


@_intrinsic
def store_at(typing: Any, address: types.CPointer, value: Vector) -> Any:
    """Write a vector."""

    def build(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> Any:
        _store(builder, address.dtype, args[0], args[1])
        return context.get_dummy_value()

    return types.void(address, value), build


@_intrinsic
def load(typing: Any, array: types.Array, index: types.UniTuple) -> Any:
    """The vector that begins behind an index of the first axes."""

    def build(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> ir.Value:
        return _load(builder, array.dtype, _place(context, builder, array, index, *args))

    return Vector(array.dtype)(array, index), build


@_intrinsic
def store(typing: Any, array: types.Array, index: types.UniTuple, value: Vector) -> Any:
    """Write a vector behind an index of the first axes."""

    def build(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> Any:
        _store(builder, array.dtype, _place(context, builder, array, index, *args[:2]), args[2])
        return context.get_dummy_value()

    return types.void(array, index, value), build


@_intrinsic
def nothing(typing: Any, array: types.Array) -> Any:
    """Zeros of an array's dtype."""

    def build(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> ir.Value:
        return _same(_vector(array.dtype), 0.0)

    return Vector(array.dtype)(array), build


@_intrinsic
def spread_at(typing: Any, address: types.CPointer) -> Any:
    """A vector of one number in memory, in all lanes."""

    def build(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> ir.Value:
        return _spread(builder, _vector(address.dtype), builder.load(args[0]))

    return Vector(address.dtype)(address), build


def _vector_of(builder: ir.IRBuilder, context: Any, vector: Vector, kind: types.Type, value: ir.Value) -> ir.Value:
    if isinstance(kind, Vector):
        return value
    return _spread(builder, _vector(vector.dtype), context.cast(builder, value, kind, vector.dtype))


def _operator(function: Callable[..., Any], name: str) -> None:
    """Teach Numba an operator of two vectors, or of a vector and a number."""

    def result(context: Any) -> Callable[..., Any]:
        def of(a: types.Type, b: types.Type) -> types.Type | None:
            fits = {type(a), type(b)} <= {Vector, types.Float, types.Integer, types.IntegerLiteral}
            return (a if isinstance(a, Vector) else b) if fits and Vector in (type(a), type(b)) else None

        return of

    def build(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> ir.Value:
        kind = signature.return_type
        a, b = (_vector_of(builder, context, kind, k, v) for k, v in zip(signature.args, args, strict=True))
        # `contract` lets the processor multiply and add in one instruction, with one rounding.
        return getattr(builder, name)(a, b, flags=("contract",))

    type_callable(function)(result)
    for left, right in ((Vector, Vector), (Vector, types.Number), (types.Number, Vector)):
        lower_builtin(function, left, right)(build)


for _function, _name in (
    (operator.add, "fadd"), (operator.sub, "fsub"), (operator.mul, "fmul"), (operator.truediv, "fdiv"),
):  # fmt: skip
    _operator(_function, _name)


def _chosen(sign: str) -> Callable[..., Any]:
    """`limit` where `value` is beyond it (on the side of `sign`), else `value`, also where that is not a number."""

    def chosen(typing: Any, value: Vector, limit: types.Type) -> Any:
        def build(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> ir.Value:
            bound = _vector_of(builder, context, value, limit, args[1])
            return builder.select(builder.fcmp_ordered(sign, args[0], bound), bound, args[0])

        return value(value, limit), build

    return chosen


least = _intrinsic(_chosen(">"))
greatest = _intrinsic(_chosen("<"))


@_intrinsic
def where_negative(typing: Any, sign: Vector, yes: Vector, no: types.Type) -> Any:
    """`yes` in the lanes in which `sign` is below zero, `no` in the others."""

    def build(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> ir.Value:
        zero = _same(args[0].type, 0.0)
        other = _vector_of(builder, context, sign, no, args[2])
        return builder.select(builder.fcmp_ordered("<", args[0], zero), args[1], other)

    return sign(sign, yes, no), build


@_intrinsic
def magnitude(typing: Any, value: Vector) -> Any:
    """Without signs."""

    def build(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> ir.Value:
        return _call(builder, "fabs", args[0])

    return value(value), build


@_intrinsic
def with_sign(typing: Any, value: Vector, sign: Vector) -> Any:
    """The magnitudes of one with the signs of the other."""

    def build(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> ir.Value:
        return _call(builder, "copysign", args[0], args[1])

    return value(value, sign), build


@_intrinsic
def either(typing: Any, like: Vector, single: types.Type, double: types.Type) -> Any:
    """One of two numbers, by the vector's dtype, in all lanes."""

    def build(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> ir.Value:
        k = 1 if like.dtype.bitwidth == 32 else 2
        return _vector_of(builder, context, like, signature.args[k], args[k])

    return like(like, single, double), build


@_intrinsic_of_literals
def power_of_two(typing: Any, shifted: Vector, offset: types.IntegerLiteral) -> Any:
    """2^(n + offset) for whole n, given as n + 1.5 * 2^m where m is the number of bits of the mantissa.

    Such a sum holds n in its lowest bits; moved to the exponent they make the power.
    """
    mantissa, bias = (23, 127) if shifted.dtype.bitwidth == 32 else (52, 1023)

    def build(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> ir.Value:
        whole = _integers(args[0].type)
        bits = builder.add(builder.bitcast(args[0], whole), _same(whole, bias + offset.literal_value))
        return builder.bitcast(builder.shl(bits, _same(whole, mantissa)), args[0].type)

    return shifted(shifted, offset), build


@_intrinsic
def series(typing: Any, x: Vector) -> Any:
    """1/2 + x/3! + x²/4! + ..., as many terms as a number has digits for, where |x| is at most ln(2) / 2."""
    terms = 6 if x.dtype.bitwidth == 32 else 12

    def build(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> ir.Value:
        factors = [1.0]
        for k in range(1, terms + 2):
            factors.append(factors[-1] * k)
        total = _same(args[0].type, 1.0 / factors[terms + 1])
        for k in range(terms, 1, -1):
            total = _call(builder, "fma", total, args[0], _same(args[0].type, 1.0 / factors[k]))
        return total

    return x(x), build


def _reduced(name: str, start: float | None) -> Callable[..., Any]:
    def reduced(typing: Any, value: Vector) -> Any:
        def build(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> ir.Value:
            vector = args[0].type
            number, suffix = vector.element, f"v{vector.count}f{BITS // vector.count}"
            first = [] if start is None else [ir.Constant(number, start)]
            kind = ir.FunctionType(number, [*(v.type for v in first), vector])
            function = cgutils.get_or_insert_function(builder.module, kind, f"llvm.vector.reduce.{name}.{suffix}")
            # Lanes are added in pairs, not one after the other.
            return builder.call(function, [*first, args[0]], fastmath=("reassoc",) if first else ())

        return value.dtype(value), build

    return reduced


total = _intrinsic(_reduced("fadd", -0.0))
highest = _intrinsic(_reduced("fmax", None))
