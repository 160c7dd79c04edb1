"""e to the x, tanh and σ of vectors.

    x = n ln(2) + r  with whole n and |r| <= ln(2) / 2
    p = e^r - 1 = r + r² (1/2 + r/3! + ...)
    e^x - 1 = 2^n p + (2^n - 1)

    tanh x = -(e^y - 1) / (e^y + 1)  with y = -2|x|, and the sign of x: e^y - 1 keeps its digits where x is near 0
    σ(x) = 1 / (1 + e^y) or, where x is negative, e^y / (1 + e^y)  with y = -|x|

Exponents are never positive, so nothing overflows. NaN stays NaN. The error is at most 4 units in the last place, for
all float32 numbers. Source: Cody and Waite (1980), chapters 6 and 13, with Taylor's series.
"""

from __future__ import annotations

from typing import Any

from charrnn.nn.compiled.jit import inline
from charrnn.nn.compiled.vector import (
    either,
    greatest,
    least,
    magnitude,
    power_of_two,
    series,
    where_negative,
    with_sign,
)

_LOG2_E = 1.4426950408889634
# 1.5 * 2^m moves a sum's whole part to the last bits of its mantissa: see `power_of_two`.
_SHIFT = (12582912.0, 6755399441055744.0)
# ln(2) in two parts; the first has so few digits that n times it is exact.
_LN2_HIGH = (0.693359375, 0.693147180369123816490)
_LN2_LOW = (-2.12194440054690583e-4, 1.90821492927058770002e-10)


@inline
def _split(x: Any) -> Any:
    """N + the shift, and p = e^r - 1."""
    shift = either(x, _SHIFT[0], _SHIFT[1])
    shifted = x * _LOG2_E + shift
    n = shifted - shift
    r = x - n * either(x, _LN2_HIGH[0], _LN2_HIGH[1])
    r = r - n * either(x, _LN2_LOW[0], _LN2_LOW[1])
    return shifted, r + r * r * series(r)


@inline
def exp(x: Any) -> Any:
    """e^x where no x is positive; it becomes 0 gradually."""
    shifted, p = _split(greatest(x, either(x, -105.0, -750.0)))
    # 2^n may be too small for a number that has all its digits, so 2^(n+64) is taken first.
    if_single = power_of_two(shifted, 64)
    return (if_single * p + if_single) * either(x, 2.0**-64, 2.0**-64)


@inline
def sigmoid(x: Any) -> Any:
    """1 / (1 + e^-x)."""
    e = exp(0.0 - magnitude(x))
    return where_negative(x, e, 1.0) / (1.0 + e)


@inline
def tanh(x: Any) -> Any:
    """The hyperbolic tangent."""
    y = least(2.0 * magnitude(x), either(x, 20.0, 40.0))
    shifted, p = _split(0.0 - y)
    power = power_of_two(shifted, 0)
    minus_one = power * p + (power - 1.0)  # e^y - 1
    return with_sign(minus_one / (2.0 + minus_one), x)
