"""An arithmetic coder over integer frequencies: carryless, 32-bit, adaptive models of any kind.

An interval [low, high] of 32-bit integers is narrowed to each symbol's share of it; leading bits that both ends agree
on are written. Source: Witten, Neal and Cleary (1987).
"""

from __future__ import annotations

_BITS = 32
_TOP = (1 << _BITS) - 1
_HALF = 1 << (_BITS - 1)
_QUARTER = 1 << (_BITS - 2)
LARGEST_TOTAL = 1 << (_BITS - 6)


class Encoder:
    """Symbols, each as an interval of cumulative frequencies, to bytes."""

    def __init__(self) -> None:
        self._low, self._high, self._pending = 0, _TOP, 0
        self._bits: list[int] = []
        self._bytes = bytearray()

    def encode(self, start: int, stop: int, total: int) -> None:
        """Code what takes [start, stop) of `total` (at most `LARGEST_TOTAL`).

        Raises:
            ValueError: no such interval.
        """
        if not 0 <= start < stop <= total <= LARGEST_TOTAL:
            raise ValueError(f"[{start}, {stop}) of {total} cannot be coded")
        width = self._high - self._low + 1
        self._high = self._low + width * stop // total - 1
        self._low += width * start // total
        while True:
            if self._high < _HALF:
                self._emit(0)
            elif self._low >= _HALF:
                self._emit(1)
                self._low, self._high = self._low - _HALF, self._high - _HALF
            elif self._low >= _QUARTER and self._high < 3 * _QUARTER:
                self._pending += 1  # the next bit decides: the ends are close to the middle, on either side
                self._low, self._high = self._low - _QUARTER, self._high - _QUARTER
            else:
                return
            self._low, self._high = 2 * self._low, 2 * self._high + 1

    def _emit(self, bit: int) -> None:
        self._bits += [bit, *[1 - bit] * self._pending]
        self._pending = 0
        while len(self._bits) >= 8:
            self._bytes.append(int("".join(map(str, self._bits[:8])), 2))
            del self._bits[:8]

    def finish(self) -> bytes:
        """All bytes; ends the encoding."""
        self._pending += 1
        self._emit(0 if self._low < _QUARTER else 1)
        if self._bits:
            self._bits += [0] * (8 - len(self._bits))
            self._emit_rest()
        return bytes(self._bytes)

    def _emit_rest(self) -> None:
        self._bytes.append(int("".join(map(str, self._bits)), 2))
        self._bits = []


class Decoder:
    """The decoder.

    Args:
        data: from `Encoder.finish`; zeros are read after its end.
    """

    def __init__(self, data: bytes) -> None:
        self._data, self._place = data, 0
        self._low, self._high, self._code = 0, _TOP, 0
        for _ in range(_BITS):
            self._code = 2 * self._code + self._bit()

    def _bit(self) -> int:
        index, shift = divmod(self._place, 8)
        self._place += 1
        return (self._data[index] >> (7 - shift)) & 1 if index < len(self._data) else 0

    @property
    def overrun(self) -> bool:
        """Whether it has read far beyond the end: the data are truncated or damaged."""
        return self._place > 8 * len(self._data) + 2 * _BITS

    def target(self, total: int) -> int:
        """A number in [0, total) within the interval of the next symbol."""
        width = self._high - self._low + 1
        return ((self._code - self._low + 1) * total - 1) // width

    def accept(self, start: int, stop: int, total: int) -> None:
        """Advance past the symbol that takes [start, stop) of `total`."""
        width = self._high - self._low + 1
        self._high = self._low + width * stop // total - 1
        self._low += width * start // total
        while True:
            if self._high < _HALF:
                pass
            elif self._low >= _HALF:
                self._low, self._high, self._code = self._low - _HALF, self._high - _HALF, self._code - _HALF
            elif self._low >= _QUARTER and self._high < 3 * _QUARTER:
                self._low, self._high, self._code = self._low - _QUARTER, self._high - _QUARTER, self._code - _QUARTER
            else:
                return
            self._low, self._high = 2 * self._low, 2 * self._high + 1
            self._code = 2 * self._code + self._bit()
