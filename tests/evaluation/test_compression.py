"""Compression: any bytes come back, sizes are what the model's entropy says, damage is refused."""

from __future__ import annotations

import hashlib
import json
import math
import random
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from charrnn.data.vocabulary import Vocabulary
from charrnn.errors import CharRNNError, CheckpointError, DataError
from charrnn.evaluation.compression import codec
from charrnn.evaluation.compression.arithmetic import LARGEST_TOTAL, Decoder, Encoder
from charrnn.evaluation.compression.codec import (
    _HEADER,
    _most_symbols,
    compress,
    decompress,
    frequencies_of,
    is_stored,
    model_mark,
)
from charrnn.evaluation.loss import evaluate
from charrnn.nn.network import CharRNN
from charrnn.runs.checkpoint import save_checkpoint
from charrnn.runs.start import cold_start
from tests.checkpoints import make
from tests.conftest import Run, assert_one_line_error

WORDS = Vocabulary.of("abcdefgh .\né")
RAW = Vocabulary.of(bytes(range(200)))


def a_model(vocabulary: Vocabulary, seed: int = 0) -> CharRNN:
    model = CharRNN(len(vocabulary), cell="gru", hidden_size=10)
    model.init(np.random.default_rng(seed))
    model.params.flat *= 3.0
    return model


MODELS = {"characters": (a_model(WORDS), WORDS), "bytes": (a_model(RAW), RAW)}


@settings(max_examples=60, deadline=None)
@given(
    data=st.one_of(
        st.binary(max_size=200),
        st.text(max_size=100).map(lambda t: t.encode("utf-8", "surrogatepass")),
        st.text(alphabet="abcdefgh .\né", max_size=300).map(str.encode),
    ),
    kind=st.sampled_from(sorted(MODELS)),
    streams=st.sampled_from([None, 1, 2, 7]),
)
def test_any_bytes_come_back(data: bytes, kind: str, streams: int | None) -> None:
    model, vocabulary = MODELS[kind]
    packed, bits = compress(data, model, vocabulary, streams=streams)
    assert decompress(packed, model, vocabulary) == data
    if is_stored(packed):
        assert len(packed) == 28 + len(data)
        assert bits > 8 * len(data) - 24
    else:
        assert 8 * (len(packed) - 28) == pytest.approx(bits, abs=24)


@pytest.mark.parametrize("kind", sorted(MODELS))
@pytest.mark.parametrize(
    "data",
    [
        b"", b"a", b"\x00", b"\n" * 3000, bytes(range(256)) * 4, b"\xef\xbb\xbfabc\r\n", ("\U0010ffff☃ü" * 60).encode(),
        b"abc" + b"\xed\xa0\x80" + b"def", b"abcd ef. " * 500,
    ],
    ids=["empty", "one", "zero", "equal", "binary", "mark", "unknown", "surrogate", "a line of 4,500"],
)  # fmt: skip
def test_extreme_files_come_back(kind: str, data: bytes) -> None:
    model, vocabulary = MODELS[kind]
    packed, _ = compress(data, model, vocabulary)
    assert decompress(packed, model, vocabulary) == data


def test_a_text_that_the_model_is_sure_of_takes_hardly_any_bits_and_comes_back() -> None:
    vocabulary = Vocabulary.of("ab")
    model = CharRNN(2, cell="rnn", hidden_size=2)
    model.init(np.random.default_rng(0))
    model.params["head.bias"][:] = (50.0, -50.0)
    data = b"a" * 40_000
    packed, bits = compress(data, model, vocabulary, streams=1000)
    assert 8 * (len(packed) - 28) < bits + 16
    assert len(packed) < 28 + 4
    assert decompress(packed, model, vocabulary) == data
    assert _most_symbols(2, 2) > 10**8  # a bound that refuses no file that the coder can have made


def test_a_hostile_header_asks_for_no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    model, vocabulary = MODELS["characters"]
    packed = compress(b"abcdefgh .\n" * 30, model, vocabulary)[0]
    magic, version, mode, _, _, mark, check = _HEADER.unpack(packed[: _HEADER.size])

    def with_header(streams: int, count: int) -> bytes:
        return _HEADER.pack(magic, version, mode, streams, count, mark, check) + packed[_HEADER.size :]

    with pytest.raises(DataError, match="truncated"):  # the bytes end long before so many symbols
        decompress(with_header(1, 1 << 30), model, vocabulary)
    monkeypatch.setattr("charrnn.evaluation.compression.codec._walk", lambda *arguments: pytest.fail("it has begun"))
    for streams, count in ((65535, 3), (1, 1 << 63), (0, 5)):
        with pytest.raises(DataError):
            decompress(with_header(streams, count), model, vocabulary)


@given(
    symbols=st.lists(st.integers(0, 9), max_size=300),
    weights=st.lists(st.integers(1, LARGEST_TOTAL // 10), min_size=10, max_size=10),
)
def test_the_coder_alone(symbols: list[int], weights: list[int]) -> None:
    ends = np.cumsum(weights).tolist()
    total, encoder, bits = ends[-1], Encoder(), 0.0
    for symbol in symbols:
        encoder.encode(ends[symbol] - weights[symbol], ends[symbol], total)
        bits += math.log2(total / weights[symbol])
    data = encoder.finish()
    assert 8 * len(data) <= bits * 1.0001 + 16
    decoder, found = Decoder(data), []
    for _ in symbols:
        place = decoder.target(total)
        symbol = next(k for k, end in enumerate(ends) if place < end)
        decoder.accept(ends[symbol] - weights[symbol], ends[symbol], total)
        found.append(symbol)
    assert found == symbols
    with pytest.raises(ValueError, match="cannot be coded"):
        encoder.encode(3, 3, 10)


def test_the_size_is_the_models_entropy() -> None:
    model, vocabulary = MODELS["characters"]
    rng = random.Random(1)
    text = "".join(rng.choice("abcdefgh .\n") for _ in range(12_000))
    packed, bits = compress(text.encode(), model, vocabulary, streams=1)
    assert 8 * (len(packed) - 28) <= 1.001 * bits
    # The bits are the model's own, from a line end on, but for the rounding of frequencies.
    expected = evaluate(model, vocabulary.encode("\n" + text), streams=1).nats / math.log(2)
    assert bits == pytest.approx(expected, rel=1e-3)
    assert 8 * len(packed) == pytest.approx(expected, rel=1e-3, abs=8 * 28 + 16)  # header, last byte
    several, _ = compress(text.encode(), model, vocabulary, streams=8)
    assert len(several) < 1.01 * len(packed)


def test_frequencies_fill_the_total_and_none_is_zero() -> None:
    logits = np.array([[0.0, 1e4, -1e4], [0.0, 0.0, 0.0], [0.0, -1e4, -30.0]], np.float32)
    found = frequencies_of(logits)
    assert found.shape == (4, 3)
    assert (found >= 1).all()
    assert (found.sum(axis=0) == LARGEST_TOTAL).all()
    np.testing.assert_allclose(found[:3, 0] / LARGEST_TOTAL, 1 / 3, rtol=1e-4)


WHOLE = b"abc defgh. " * 20
PACKED = compress(WHOLE, *MODELS["characters"])[0]


@settings(max_examples=60, deadline=None)
@given(place=st.integers(0, 10**6), change=st.integers(1, 255), cut=st.integers(0, 10**6))
def test_damage_is_refused_or_found_by_the_check_sum(place: int, change: int, cut: int) -> None:
    model, vocabulary = MODELS["characters"]
    packed = bytearray(PACKED)
    packed[place % len(packed)] ^= change
    for damaged in (bytes(packed), bytes(packed[: cut % len(packed)])):
        try:
            found = decompress(damaged, model, vocabulary)
        except CharRNNError:
            continue
        assert found == WHOLE  # the last bits of padding


@pytest.mark.parametrize("stranger", ["☃", "\U0010ffff", "\x00", "ü"])
def test_strangers_in_a_known_text_come_back(stranger: str) -> None:
    vocabulary = Vocabulary.of("ab")
    model = CharRNN(2, cell="rnn", hidden_size=2)
    model.params["head.bias"][:] = (5.0, -5.0)
    data = ("a" * 400 + stranger + "b" + stranger).encode()
    packed, bits = compress(data, model, vocabulary, streams=2)
    assert not is_stored(packed)
    assert 8 * (len(packed) - 28) == pytest.approx(bits, abs=16)
    assert decompress(packed, model, vocabulary) == data


TEXT = b"abcdefgh .\n" * 30


def test_the_header_says_what_is_in_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codec, "_SEGMENT", 50)
    model, vocabulary = MODELS["characters"]
    start = cold_start(model, vocabulary)
    parameters = model.params.flat.tobytes()
    for begin, version, marked in ((None, 1, parameters), (start, 2, parameters + start.state[0].tobytes())):
        packed, _ = compress(TEXT, model, vocabulary, start=begin)
        mark = hashlib.sha256(marked).digest()[:8]
        assert _HEADER.unpack(packed[:28]) == (b"CRNN", version, 0, 330 // 50, 330, mark, zlib.crc32(TEXT))
        assert decompress(packed, model, vocabulary, start=start) == TEXT
    assert model_mark(model) == hashlib.sha256(parameters).digest()[:8]
    for wanted, streams in ((1, 1), (64, 64), (65, 64), (999, 64)):  # 16 bytes of the body for each beyond 64
        assert _HEADER.unpack(compress(TEXT, model, vocabulary, streams=wanted)[0][:28])[3] == streams
    assert _HEADER.unpack(compress(b"ab", model, vocabulary, streams=9)[0][:28])[3:5] == (2, 2)  # none is empty
    noise = random.Random(0).randbytes(300)
    stored, _ = compress(noise, model, vocabulary)
    assert _HEADER.unpack(stored[:28])[:5] == (b"CRNN", 1, 2, 1, 300)
    assert stored[28:] == noise
    assert (is_stored(stored), is_stored(packed)) == (True, False)


def test_progress_is_of_the_symbols_done() -> None:
    model, vocabulary = MODELS["characters"]
    seen: list[tuple[int, int]] = []
    for streams, steps in ((1, 330), (4, 83)):
        packed, _ = compress(TEXT, model, vocabulary, streams=streams, tick=lambda *counts: seen.append(counts))
        decompress(packed, model, vocabulary, tick=lambda *counts: seen.append(counts))
        assert seen == [(streams * step, 330) for step in range(0, steps, 64)] * 2
        seen.clear()


def test_what_is_no_such_file_is_refused_for_the_right_reason() -> None:
    model, vocabulary = MODELS["characters"]
    packed, _ = compress(TEXT, model, vocabulary)
    fields = _HEADER.unpack(packed[:28])

    def reason(data: bytes) -> str:
        with pytest.raises(DataError) as caught:
            decompress(data, model, vocabulary)
        return caught.value.message

    def with_field(place: int, value: int) -> str:
        return reason(_HEADER.pack(*fields[:place], value, *fields[place + 1 :]) + packed[28:])

    assert reason(packed[:27]) == reason(b"CRNX" + packed[4:]) == "not a file made by `charrnn compress`"
    header = "the file's header is damaged, or of a newer version"
    for place, value in ((1, 0), (1, 5), (2, 3), (3, 0), (3, 331)):
        assert with_field(place, value) == header, (place, value)
    assert with_field(4, 1 << 40) == "the file is truncated"
    segments = "the file claims more segments than it has room for: it is truncated or damaged"
    assert with_field(3, 65) == segments
    assert with_field(4, 100_000) == "the file is truncated or damaged"
    checksum = "the checksum is wrong: the file is damaged, or was made on a machine that rounds differently"
    assert with_field(6, fields[6] ^ 1) == with_field(3, 2) == checksum
    with pytest.raises(CheckpointError) as caught:
        decompress(packed, a_model(WORDS, 1), vocabulary)
    assert caught.value.message == "the file was compressed with another model"
    assert caught.value.hint == "give the checkpoint that compressed it"


def test_the_commands(charrnn_here: Run, config_file: Path, text_file: Path, tmp_path: Path) -> None:
    words = ("train", "--config", config_file, "--quiet", "--run-dir")
    assert charrnn_here(*words, "a", "--set", "training.max_steps=150").returncode == 0
    assert charrnn_here(*words, "b").returncode == 0
    done = charrnn_here("compress", "a", text_file, "-o", "t.crnn", "--json", "--streams", "2")
    assert done.returncode == 0, done.stderr
    sizes = json.loads(done.stdout)["bytes"]
    assert sizes["compressed"] == (tmp_path / "t.crnn").stat().st_size
    assert sizes["content"] == text_file.stat().st_size
    assert {"gzip", "xz", "bz2", "entropy"} <= set(sizes)
    back = charrnn_here("decompress", "a", "t.crnn", "-o", "back.txt")
    assert back.returncode == 0, back.stderr
    assert (tmp_path / "back.txt").read_bytes() == text_file.read_bytes()
    (tmp_path / "odd.bin").write_bytes(bytes(range(256)) * 3)
    assert charrnn_here("compress", "a", "odd.bin", "-o", "o.crnn", "--no-baselines").returncode == 0
    assert charrnn_here("decompress", "a", "o.crnn", "-o", "o.bin", "--quiet").returncode == 0
    assert (tmp_path / "o.bin").read_bytes() == (tmp_path / "odd.bin").read_bytes()
    assert_one_line_error(charrnn_here("decompress", "b", "t.crnn", "-o", "x"), 4, "t.crnn", "another model")
    (tmp_path / "cut.crnn").write_bytes((tmp_path / "t.crnn").read_bytes()[:200])
    assert_one_line_error(charrnn_here("decompress", "a", "cut.crnn", "-o", "x"), 3, "cut.crnn")
    assert not (tmp_path / "x").exists()
    for command, file in (("compress", text_file), ("decompress", tmp_path / "t.crnn")):
        before = file.read_bytes()
        assert_one_line_error(charrnn_here(command, "a", file, "-o", file), 2, file.name, "choose another --output")
        assert file.read_bytes() == before
    assert_one_line_error(charrnn_here("compress", "a", "missing", "-o", "x"), 3, "missing")
    assert_one_line_error(charrnn_here("compress", "a", text_file, "-o", "no/where"), 2, "cannot be written")
    assert_one_line_error(charrnn_here("decompress", "a", "t.crnn", "-o", "no/where"), 2, "cannot be written")
    assert_one_line_error(charrnn_here("decompress", "a", text_file, "-o", "x"), 3, "text.txt: not a file")


def test_what_cannot_be_shrunk_is_stored(charrnn_here: Run, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).bytes(1000)
    for model, vocabulary in MODELS.values():
        packed, bits = compress(noise, model, vocabulary)
        assert is_stored(packed)
        assert len(packed) == len(noise) + 28
        assert bits > 8 * len(noise)
        assert decompress(packed, model, vocabulary) == noise
        broken = bytearray(packed)
        broken[40] ^= 1
        with pytest.raises(DataError, match="checksum"):
            decompress(bytes(broken), model, vocabulary)
    save_checkpoint(tmp_path / "m.npz", make())
    (tmp_path / "noise").write_bytes(noise)
    words = ("compress", "m.npz", "noise", "-o", "noise.crnn")
    assert "stored uncompressed" in charrnn_here(*words).stdout
    report = json.loads(charrnn_here(*words, "--json").stdout)
    assert report["stored"] is True
    assert report["bytes"]["compressed"] == 1028
