"""Compression by a network: each symbol costs the bits of its surprise under the model.

A long text is cut into segments that are read in parallel, as columns of one step, because single steps would take
many times as long; each segment starts without context, if that costs little. One coder takes the symbols of all
segments, step by step. Probabilities become integer frequencies of a fixed total, at least 1 each, with one more for
the escape.

    header   magic, version, mode, streams, number of symbols, model (8 bytes of a hash), CRC-32 of the content
    body     the coder's bytes; in the mode `STORED`, which is chosen where they would be more, the content

In version 2 the state is zeroed where a document begins, as in training; version 1 knows no documents.

Decoding repeats the same products in the same order: it needs the same machine and libraries, or a different rounding
may derail it; the checksum detects that.
"""

from __future__ import annotations

import hashlib
import math
import struct
import zlib
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from charrnn.data.vocabulary import Vocabulary
from charrnn.errors import CheckpointError, DataError
from charrnn.evaluation.compression.arithmetic import LARGEST_TOTAL, Decoder, Encoder
from charrnn.evaluation.compression.segments import MOST_STREAMS, Tick, Walker, segments
from charrnn.evaluation.compression.symbols import largest, to_bytes, to_values
from charrnn.nn.network import CharRNN
from charrnn.nn.params import IdArray

MAGIC = b"CRNN"
_HEADER = struct.Struct("<4sBBHQ8sI")
_TOTAL = LARGEST_TOTAL
STORED = 2  # the mode after those of `symbols`
_LEAST_SEGMENT = 16  # bytes of a segment, on average, where there are more than `MOST_STREAMS`


def model_mark(model: CharRNN) -> bytes:
    """8 bytes that identify a model."""
    return hashlib.sha256(model.params.flat.tobytes()).digest()[:8]


def compress(
    data: bytes,
    model: CharRNN,
    vocabulary: Vocabulary,
    *,
    streams: int | None = None,
    separator: IdArray | None = None,
    tick: Tick = lambda done, of: None,
) -> tuple[bytes, float]:
    """Compress any bytes.

    Args:
        data: the content.
        model: makes the predictions.
        vocabulary: of the model.
        streams: segments; None: one per 20,000 symbols, at most 64, but fewer if they cost too much. Fewer if more
            would be nearly empty.
        separator: ids that end a document.
        tick: called with (symbols done, total symbols).

    Returns:
        The compressed file, and the bits it needs according to the model's probabilities. See `is_stored`.
    """
    mode, values = to_values(data, vocabulary)
    walker = Walker(model, vocabulary, separator)
    streams = max(1, min(streams or walker.streams_for(values), len(values)))
    while True:
        body, bits = _encode(mode, values, walker, streams, tick)
        if streams <= _room_for(len(body)):
            break
        streams = _room_for(len(body))  # fewer, non-empty segments; the file becomes smaller, too
    count = len(values)
    if len(body) > len(data):
        mode, streams, count, body = STORED, 1, len(data), data
    version = 1 if separator is None else 2
    header = _HEADER.pack(MAGIC, version, mode, streams, count, model_mark(model), zlib.crc32(data))
    return header + body, bits


def is_stored(packed: bytes) -> bool:
    """Whether the file holds its content as it was, because the model would have made it larger."""
    return bool(_HEADER.unpack(packed[: _HEADER.size])[2] == STORED)


def _room_for(body: int) -> int:
    """The most segments that a file of this size may have: each takes memory, so none may be nearly empty."""
    return max(MOST_STREAMS, body // _LEAST_SEGMENT)


def _encode(mode: int, values: npt.NDArray[np.uint32], walker: Walker, streams: int, tick: Tick) -> tuple[bytes, float]:
    """The coder's bytes, and the model's bits."""
    ids, known = walker.ids_of(values)
    encoder, bits, width = Encoder(), 0.0, largest(mode)
    for frequencies, places, feed in walker.walk(len(values), streams, tick):
        for column, place in enumerate(places):
            ends = np.cumsum(frequencies[:, column])
            symbol = int(ids[place]) if known[place] else len(ends) - 1
            start = int(ends[symbol - 1]) if symbol else 0
            encoder.encode(start, int(ends[symbol]), _TOTAL)
            bits -= float(np.log2(frequencies[symbol, column] / _TOTAL))
            if not known[place]:
                for start, total in _spelled(int(values[place]), width):
                    encoder.encode(start, start + 1, total)
                    bits += float(np.log2(total))
        feed(ids[places])
    return encoder.finish(), bits


def decompress(
    packed: bytes,
    model: CharRNN,
    vocabulary: Vocabulary,
    *,
    separator: IdArray | None = None,
    tick: Tick = lambda done, of: None,
) -> bytes:
    """The content of a compressed file.

    Args:
        packed: the file.
        model: makes the predictions.
        vocabulary: of the model.
        separator: ids that end a document; not used for files of version 1.
        tick: called with (symbols done, total symbols).

    Raises:
        DataError: not such a file, truncated or damaged.
        CheckpointError: made with another model.
    """
    if len(packed) < _HEADER.size or packed[:4] != MAGIC:
        raise DataError("not a file made by `charrnn compress`")
    _, version, mode, streams, count, mark, check = _HEADER.unpack(packed[: _HEADER.size])
    if version not in (1, 2) or mode not in (0, 1, STORED) or not 1 <= streams <= max(1, count):
        raise DataError("the file's header is damaged, or of a newer version")
    if mark != model_mark(model):
        raise CheckpointError(
            "the file was compressed with another model", hint="give the checkpoint that compressed it"
        )
    if mode == STORED:
        return _checked(packed[_HEADER.size :], check)
    decoder, width = Decoder(packed[_HEADER.size :]), largest(mode)
    if count > _most_symbols(len(packed) - _HEADER.size, len(vocabulary)):
        raise DataError("the file is truncated")
    if streams > _room_for(len(packed) - _HEADER.size):
        raise DataError("the file claims more segments than it has room for: it is truncated or damaged")
    found = bytearray()  # grows with the actual content, whatever a damaged header promises
    walker = Walker(model, vocabulary, separator if version > 1 else None)
    for frequencies, places, feed in walker.walk(count, streams, tick):
        fed, row = np.zeros(len(places), np.intp), np.zeros(len(places), np.uint32)
        for column in range(len(places)):
            ends = np.cumsum(frequencies[:, column])
            symbol = int(np.searchsorted(ends, decoder.target(_TOTAL), side="right"))
            decoder.accept(int(ends[symbol - 1]) if symbol else 0, int(ends[symbol]), _TOTAL)
            if symbol < len(ends) - 1:
                fed[column], row[column] = symbol, vocabulary.values[symbol]
            else:
                row[column] = _read_value(decoder, width)
        if decoder.overrun:
            raise DataError("the file is truncated or damaged")
        found += row.tobytes()
        feed(fed)
    try:
        data = to_bytes(mode, _in_order(np.frombuffer(found, np.uint32), streams))
    except (ValueError, UnicodeError):
        raise DataError("the file is damaged") from None
    return _checked(data, check)


def _checked(data: bytes, check: int) -> bytes:
    if zlib.crc32(data) != check:
        raise DataError("the checksum is wrong: the file is damaged, or was made on a machine that rounds differently")
    return data


def _most_symbols(body: int, vocab_size: int) -> int:
    """The most symbols that this many bytes can hold: even the most likely one leaves each other a share of 1."""
    least_bits = vocab_size / _TOTAL / math.log(2)  # log2(total / (total - V)) and less
    return int(8 * (body + 8) / least_bits)


def _in_order(found: npt.NDArray[np.uint32], streams: int) -> npt.NDArray[np.uint32]:
    """Symbols in the order of `Walker.walk`, step by step through all segments -> one segment after the other."""
    starts, lengths = segments(len(found), streams)
    out, whole = np.empty_like(found), int(lengths.min())  # steps that all segments have; some have one more
    out[(starts + np.arange(whole)[:, None]).ravel()] = found[: whole * streams]
    out[starts[lengths > whole] + whole] = found[whole * streams :]
    return out


def _spelled(value: int, width: int) -> Iterator[tuple[int, int]]:
    """A value below `width`, coded uniformly, in pieces that the coder can take."""
    for shift, size in ((16, -(-width // (1 << 16))), (8, 1 << 8), (0, 1 << 8)) if width > 1 << 8 else ((0, width),):
        yield (value >> shift) % size, size


def _read_value(decoder: Decoder, width: int) -> int:
    value = 0
    for _, size in _spelled(0, width):
        piece = decoder.target(size)
        decoder.accept(piece, piece + 1, size)
        value = value << 8 | piece
    return value
