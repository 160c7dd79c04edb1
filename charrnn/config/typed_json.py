"""Parse JSON by a type: the only parser of JSON here, safe for files from anybody.

The type gives the fields, their kinds and their ranges, so nothing is used that has not been checked, and a hostile
text cannot grow in memory: fields that the type does not name are skipped.
"""

from __future__ import annotations

from collections.abc import Hashable
from functools import cache
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import Meta

from charrnn.config.messages import one_line

T = TypeVar("T")

Count = Annotated[int, Meta(ge=0, le=1 << 53)]
# Wider than any number of a run, yet narrow enough for sums, products and 64-bit floats as axes of a plot.
Number = Annotated[float, Meta(ge=-1e50, le=1e50)]
Label = Annotated[str, Meta(max_length=1000)]
Scalar = str | int | float | bool | None


class Record(msgspec.Struct):
    """A checked JSON object that can be read as a mapping of its fields, as rows of a history are."""

    def keys(self) -> tuple[str, ...]:
        """Names of all fields."""
        return self.__struct_fields__

    def __getitem__(self, name: str) -> Any:
        if name not in self.__struct_fields__:
            raise KeyError(name)
        return getattr(self, name)

    def get(self, name: str, default: Any = None) -> Any:
        """A field's value, or `default` if there is no such field."""
        return getattr(self, name) if name in self.__struct_fields__ else default


def decode(data: bytes | str, kind: type[T]) -> T:
    """Read a JSON text as a value of a type.

    Raises:
        ValueError: not JSON, or not of that type; the message is one printable line.
    """
    try:
        found: T = _decoder(kind).decode(data)  # type: ignore[arg-type]
        return found
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise ValueError(one_line(error)) from None


@cache
def _decoder(kind: Hashable) -> Any:
    return msgspec.json.Decoder(kind)
