"""Compression by a network: each symbol costs the bits of its surprise under the model.

The text is cut into segments that are read in parallel, as columns of one step, because single steps would take many
times as long. Each begins as `charrnn.runs.start` says, or from a zero state after a line end (version 1). In
versions 3 and 4 the network is mixed with n-gram counts of its training text, whose order is at most 8 in version 3.
One coder takes the symbols of all segments, step by step. Probabilities become integer frequencies of a fixed total, at
least 1 each, with one more for the escape.

    header   magic, version, mode, streams, number of symbols, model (8 bytes of a hash), CRC-32 of the content
    body     the coder's bytes; in the mode `STORED`, chosen where they would be more, the content itself

Decoding repeats the same products in the same order: it needs the same machine and libraries, or a different rounding
may derail it; the checksum detects that.
"""

from __future__ import annotations

import hashlib
import math
import struct
import zlib
from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt

from charrnn.data.vocabulary import Vocabulary
from charrnn.errors import CheckpointError, DataError
from charrnn.evaluation.compression.arithmetic import LARGEST_TOTAL, Decoder, Encoder
from charrnn.evaluation.compression.symbols import largest, to_bytes, to_values
from charrnn.evaluation.mixture import Mixture
from charrnn.evaluation.ngram import LONGEST
from charrnn.nn.head import log_softmax
from charrnn.nn.network import CharRNN
from charrnn.runs.start import TextModel, TextStart, cold_start

MAGIC = b"CRNN"
_HEADER = struct.Struct("<4sBBHQ8sI")
_TOTAL = LARGEST_TOTAL
_LONGEST = {3: 8, 4: LONGEST}  # version -> symbols of context that the counts may look back
STORED = 2  # the mode after those of `symbols`
# A segment without context costs some 200 bits more than one with it; this many symbols make that negligible.
_SEGMENT = 20_000
_MOST_STREAMS = 64
_LEAST_SEGMENT = 16  # average bytes per segment if there are more than `_MOST_STREAMS`

Tick = Callable[[int, int], None]


def model_mark(model: CharRNN, start: TextStart | None = None, mixture: Mixture | None = None) -> bytes:
    """8 bytes that identify a model, where its texts begin and what it is mixed with."""
    mark = hashlib.sha256(model.params.flat.tobytes())
    for layer in start.state if start else ():
        mark.update(layer.tobytes())
    if mixture is not None:
        mark.update(mixture.weights.tobytes())
        mark.update(mixture.ngram.digest())
    return mark.digest()[:8]


def compress(
    data: bytes,
    model: CharRNN,
    vocabulary: Vocabulary,
    *,
    start: TextStart | None = None,
    mixture: Mixture | None = None,
    streams: int | None = None,
    tick: Tick = lambda done, of: None,
) -> tuple[bytes, float]:
    """Compress any bytes.

    Args:
        data: the content.
        model: makes the predictions.
        vocabulary: of the model.
        start: where segments begin; None for the zero state.
        mixture: n-gram counts beside the network; they need a start.
        streams: segments; None: one per `_SEGMENT` symbols, at most 64. Fewer if more would be nearly empty.
        tick: called with (symbols done, total symbols).

    Returns:
        The compressed file, and the bits it needs according to the model's probabilities.
    """
    mode, values = to_values(data, vocabulary)
    streams = streams or min(_MOST_STREAMS, len(values) // _SEGMENT)
    streams = max(1, min(streams, len(values)))
    segments = _segment_start(model, vocabulary, start, mixture)
    while True:
        body, bits = _encode(mode, values, segments, streams, tick)
        if streams <= _room_for(len(body)):
            break
        streams = _room_for(len(body))  # fewer, non-empty segments; the file becomes smaller, too
    count = len(values)
    if len(body) > len(data):
        mode, streams, count, body = STORED, 1, len(data), data
    version = 4 if mixture else 2 if start else 1
    mark = model_mark(model, start, mixture)
    header = _HEADER.pack(MAGIC, version, mode, streams, count, mark, zlib.crc32(data))
    return header + body, bits


def is_stored(packed: bytes) -> bool:
    """Whether the file holds its content uncompressed, because the model would have made it larger."""
    return bool(_HEADER.unpack(packed[: _HEADER.size])[2] == STORED)


def longest_ngram(packed: bytes) -> int | None:
    """Symbols of context from which the order of the n-gram counts was chosen; None without counts."""
    return _LONGEST.get(packed[4]) if packed[:4] == MAGIC and len(packed) > 4 else None


def _room_for(body: int) -> int:
    """The most segments that a file of this size may have: each takes memory, so none may be nearly empty."""
    return max(_MOST_STREAMS, body // _LEAST_SEGMENT)


def _encode(
    mode: int, values: npt.NDArray[np.uint32], model: TextModel, streams: int, tick: Tick
) -> tuple[bytes, float]:
    """The coder's bytes, and the model's bits."""
    vocabulary = model.vocabulary
    # For a model of characters, bytes that are not text have the ids of the ASCII characters that it knows.
    ids = vocabulary.lookup(values)
    known = ids != vocabulary.unknown_id
    encoder, bits, width = Encoder(), 0.0, largest(mode)
    for frequencies, places, feed in _walk(model, len(values), streams, tick):
        for column, place in enumerate(places):
            ends = np.cumsum(frequencies[:, column])
            symbol = int(ids[place]) if known[place] else len(ends) - 1
            encoder.encode(int(ends[symbol - 1]) if symbol else 0, int(ends[symbol]), _TOTAL)
            bits -= float(np.log2(frequencies[symbol, column] / _TOTAL))
            if not known[place]:
                for piece, total in _spelled(int(values[place]), width):
                    encoder.encode(piece, piece + 1, total)
                    bits += float(np.log2(total))
        feed(np.where(known[places], ids[places], 0).astype(np.intp))
    return encoder.finish(), bits


def decompress(
    packed: bytes,
    model: CharRNN,
    vocabulary: Vocabulary,
    *,
    start: TextStart | None = None,
    mixture: Mixture | None = None,
    tick: Tick = lambda done, of: None,
) -> bytes:
    """The content of a compressed file; the arguments are those of `compress`.

    Raises:
        DataError: not such a file, truncated or damaged.
        CheckpointError: made with another model.
    """
    if len(packed) < _HEADER.size or packed[:4] != MAGIC:
        raise DataError("not a file made by `charrnn compress`")
    _, version, mode, streams, count, mark, check = _HEADER.unpack(packed[: _HEADER.size])
    if version not in (1, 2, *_LONGEST) or mode not in (0, 1, STORED) or not 1 <= streams <= max(1, count):
        raise DataError("the file's header is damaged, or of a newer version")
    start, mixture = start if version > 1 else None, mixture if version in _LONGEST else None
    if mark != model_mark(model, start, mixture):
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
    segments = _segment_start(model, vocabulary, start, mixture)
    for frequencies, places, feed in _walk(segments, count, streams, tick):
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
        return _checked(to_bytes(mode, _in_order(np.frombuffer(found, np.uint32), streams)), check)
    except (ValueError, UnicodeError):
        raise DataError("the file is damaged") from None


def _checked(data: bytes, check: int) -> bytes:
    if zlib.crc32(data) != check:
        raise DataError("the checksum is wrong: the file is damaged, or was made on a machine that rounds differently")
    return data


def _most_symbols(body: int, vocab_size: int) -> int:
    """The most symbols that this many bytes can hold: even the most likely one leaves each other a share of 1."""
    least_bits = vocab_size / _TOTAL / math.log(2)  # log2(total / (total - V)) and less
    return int(8 * (body + 8) / least_bits)


def _in_order(found: npt.NDArray[np.uint32], streams: int) -> npt.NDArray[np.uint32]:
    """Symbols in `_walk`'s order, step by step through all segments -> one segment after the other."""
    starts, lengths = _segments(len(found), streams)
    out, whole = np.empty_like(found), int(lengths.min())  # steps that all segments have; some have one more
    out[(starts + np.arange(whole)[:, None]).ravel()] = found[: whole * streams]
    out[starts[lengths > whole] + whole] = found[whole * streams :]
    return out


def _segments(count: int, streams: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Where the segments begin, and their lengths."""
    starts = np.arange(streams, dtype=np.int64) * count // streams
    return starts, np.diff(np.append(starts, count))


def _segment_start(
    model: CharRNN, vocabulary: Vocabulary, start: TextStart | None, mixture: Mixture | None
) -> TextModel:
    return TextModel([model], vocabulary, [start or cold_start(model, vocabulary)], mixture)


def _walk(
    model: TextModel, count: int, streams: int, tick: Tick
) -> Iterator[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], Callable[[npt.NDArray[np.intp]], None]]]:
    """Step by step: (V + 1, n) frequencies, the (n,) positions they are for, and what to call with the ids found."""
    starts, lengths = _segments(count, streams)
    stepper, logits = model.begin(batch_size=streams)
    for step in range(int(lengths.max(initial=0))):
        active = np.flatnonzero(lengths > step)

        def feed(ids: npt.NDArray[np.intp], active: npt.NDArray[np.intp] = active) -> None:
            nonlocal logits
            whole = np.zeros(streams, np.intp)
            whole[active] = ids
            logits = stepper.step(whole)

        yield frequencies_of(logits)[:, active], starts[active] + step, feed
        if step % 64 == 0:
            tick(min(count, step * streams), count)


def frequencies_of(logits: npt.NDArray[np.floating]) -> npt.NDArray[np.int64]:
    """(V, B) logits -> (V + 1, B) frequencies that add up to the coder's total, each at least 1.

    The last is the escape's; the rounding remainder goes to the most likely symbol.
    """
    with np.errstate(
        over="ignore", invalid="ignore"
    ):  # weights beyond measure: any frequencies will do, as long as they are always the same
        p = np.nan_to_num(np.exp(log_softmax(logits)))
    room = _TOTAL - len(p) - 1
    out = np.ones((len(p) + 1, p.shape[1]), np.int64)
    out[:-1] += np.floor(p * room).astype(np.int64)
    best, columns = p.argmax(axis=0), np.arange(p.shape[1])
    out[best, columns] += _TOTAL - out.sum(axis=0)
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
