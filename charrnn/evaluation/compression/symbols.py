"""Any bytes as symbols of a vocabulary: what the model knows by its id, everything else spelled out.

Bytes that are UTF-8 are read as characters, otherwise (and for byte vocabularies) each byte is a symbol of its own. A
symbol that the model does not know is an escape, followed by its value.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from charrnn.data.vocabulary import Vocabulary

CHARACTERS, BYTES = 0, 1


def to_values(data: bytes, vocabulary: Vocabulary) -> tuple[int, npt.NDArray[np.uint32]]:
    """`CHARACTERS` or `BYTES`, and the (N,) code points or bytes."""
    if vocabulary.encoding != "bytes":
        try:
            text = data.decode("utf-8")
        except UnicodeDecodeError:
            pass
        else:
            return CHARACTERS, np.frombuffer(text.encode("utf-32-le"), np.uint32)
    return BYTES, np.frombuffer(data, np.uint8).astype(np.uint32)


def to_bytes(mode: int, values: npt.NDArray[np.uint32]) -> bytes:
    """Symbols to bytes.

    Raises:
        ValueError: values that cannot occur in a text.
    """
    if mode == BYTES:
        if (values > 0xFF).any():
            raise ValueError("a byte above 255")
        return values.astype(np.uint8).tobytes()
    return values.astype("<u4").tobytes().decode("utf-32-le").encode()


def largest(mode: int) -> int:
    """How many values a symbol of this mode may have."""
    return 0x100 if mode == BYTES else 0x110000
