"""Vocabularies: what they refuse, with which words, and what they hand on."""

from __future__ import annotations

import unicodedata

import numpy as np
import pytest

from charrnn.data.vocabulary import TextDecoder, Vocabulary, code_points, default_prime, smallest_dtype
from charrnn.errors import CheckpointError, DataError

NO_ENCODING = "the vocabulary is damaged: no known encoding"
NO_SYMBOLS = "the vocabulary is damaged: it has no symbols"
NOT_INCREASING = "the vocabulary is damaged: its symbols are not increasing code points"


@pytest.mark.parametrize(
    ("meta", "message"),
    [
        ([], NO_ENCODING),
        ({"symbols": [1]}, NO_ENCODING),
        ({"encoding": "latin-1", "symbols": [1]}, NO_ENCODING),
        ({"encoding": "utf-8"}, NO_SYMBOLS),
        ({"encoding": "utf-8", "symbols": []}, NO_SYMBOLS),
        ({"encoding": "utf-8", "symbols": "ab"}, NO_SYMBOLS),
        ({"encoding": "utf-8", "symbols": [-1, 3]}, NOT_INCREASING),
        ({"encoding": "utf-8", "symbols": [3, 3]}, NOT_INCREASING),
        ({"encoding": "utf-8", "symbols": [4, 3]}, NOT_INCREASING),
        ({"encoding": "utf-8", "symbols": [3, 4.0]}, NOT_INCREASING),
        ({"encoding": "utf-8", "symbols": [True]}, NOT_INCREASING),
        ({"encoding": "utf-8", "symbols": [0x110000]}, NOT_INCREASING),
        ({"encoding": "bytes", "symbols": [256]}, NOT_INCREASING),
    ],
)
def test_a_damaged_vocabulary_is_refused(meta: object, message: str) -> None:
    with pytest.raises(CheckpointError) as caught:
        Vocabulary.from_meta(meta)
    assert str(caught.value) == message


@pytest.mark.parametrize(("encoding", "symbols"), [("bytes", [0, 255]), ("utf-8", [0, 0x10FFFF])])
def test_the_first_and_the_last_symbol_are_allowed(encoding: str, symbols: list[int]) -> None:
    vocabulary = Vocabulary.from_meta({"encoding": encoding, "symbols": symbols})
    assert vocabulary.to_meta() == {"encoding": encoding, "symbols": symbols}
    assert vocabulary.lookup(np.array(symbols, np.uint32)).tolist() == [0, 1]


@pytest.mark.parametrize(
    ("size", "dtype"), [(0, "u1"), (1, "u1"), (256, "u1"), (257, "u2"), (65536, "u2"), (65537, "u4")]
)
def test_ids_are_as_small_as_they_can_be(size: int, dtype: str) -> None:
    assert smallest_dtype(size) == np.dtype(dtype)


def test_vocabularies_are_equal_by_symbols_and_encoding() -> None:
    vocabulary = Vocabulary.of("ab")
    assert vocabulary == Vocabulary.of("bab")
    assert hash(vocabulary) == hash(Vocabulary.of("bab"))
    for other in (Vocabulary.of("ac"), Vocabulary.of("abc"), Vocabulary.of(b"ab"), "ab"):
        assert vocabulary != other
        assert hash(vocabulary) != hash(other)


def test_the_error_names_what_is_unknown() -> None:
    vocabulary = Vocabulary.of("abc")
    with pytest.raises(DataError) as caught:
        vocabulary.encode("abé", what="the prime")
    assert str(caught.value) == "the prime: 'é' (U+00E9) at position 2 is not among the model's 3 symbols"
    assert caught.value.hint == "use `unknown` skip or `unknown` replace, or train on a text that has it"
    with pytest.raises(DataError) as caught:
        vocabulary.encode("zyxwvua")
    assert str(caught.value) == (
        "text: 'z' (U+007A) at position 0 and 5 more are not among the model's 3 symbols "
        "(unknown: 'u' (U+0075), 'v' (U+0076), 'w' (U+0077), 'x' (U+0078), 'y' (U+0079))"
    )
    with pytest.raises(DataError, match=r"^text: byte 0xFF at position 1 is not among the model's 1 symbols$"):
        Vocabulary.of(b"a").encode(b"a\xff")
    with pytest.raises(DataError, match=r"^text: byte 0x0A at position 0") as caught:
        Vocabulary.of(b"a").encode(b"\n")
    assert caught.value.hint == "use `unknown` skip or `unknown` replace, or train on a text that has it"


@pytest.mark.parametrize(("form", "text"), [("NFC", "é"), ("NFD", "é"), ("NFKC", "ﬁ²"), ("NFKD", "ﬁé")])
def test_the_normal_form_that_is_known_is_named(form: str, text: str) -> None:
    known = unicodedata.normalize(form, text)  # type: ignore[arg-type]
    other = unicodedata.normalize("NFD" if form == "NFC" else "NFC", text)
    with pytest.raises(DataError) as caught:
        Vocabulary.of(known).encode(other)
    assert caught.value.hint == f"the model knows it in another Unicode normal form: convert it to {form}"


def test_unknown_symbols_become_a_space_or_the_first_symbol() -> None:
    for text, expected in (("abc", "aba"), ("\nab ", "ab ")):
        vocabulary = Vocabulary.of(text)
        assert vocabulary.decode(vocabulary.encode("abx", unknown="replace")) == expected
    assert vocabulary.encode("abx", unknown="skip").dtype == np.uint8
    assert Vocabulary.of("abc").encode("cab", unknown="replace").tolist() == [2, 0, 1]


def test_text_and_bytes_meet_either_vocabulary() -> None:
    assert Vocabulary.of(b"\xc3\xa9").encode("é").tolist() == [1, 0]
    assert Vocabulary.of(b"a\xff").encode("a\udcff").tolist() == [0, 1]
    assert Vocabulary.of("aé").encode("é".encode()).tolist() == [1]
    lone = Vocabulary.of("a\ud800")
    assert lone.decode(lone.encode("\ud800a")) == "\ud800a"
    assert code_points("é").dtype == np.uint32
    assert code_points(b"e").dtype == np.uint8


def test_a_sample_begins_after_a_line_end() -> None:
    for text, symbol in (("ab\n", 0), ("\tab\n", 1), ("ab", 0)):
        prime = default_prime(Vocabulary.of(text))
        assert (prime.tolist(), prime.dtype) == ([symbol], np.uint8)


def test_bytes_of_a_character_wait_for_its_rest() -> None:
    vocabulary = Vocabulary.of("aé".encode())
    decoder = TextDecoder(vocabulary)
    assert [decoder.feed(int(k)) for k in vocabulary.encode("éa")] == ["", "é", "a"]
    assert decoder.finish() == ""
    decoder.feed(int(vocabulary.encode("é")[0]))
    assert decoder.finish() == "\ufffd"
    vocabulary.undecodable = "surrogateescape"
    decoder = TextDecoder(vocabulary)
    decoder.feed(int(vocabulary.encode("é")[0]))
    assert decoder.finish() == "\udcc3"
    assert TextDecoder(Vocabulary.of("aé")).feed(1) == "é"
    assert TextDecoder(Vocabulary.of("aé")).finish() == ""


def test_symbols_and_ids_have_types_of_their_own() -> None:
    vocabulary = Vocabulary.of(b"ab")
    assert vocabulary.values.dtype == np.uint32
    assert vocabulary.lookup(np.array([98, 99], np.uint8)).tolist() == [1, vocabulary.unknown_id]
    assert vocabulary.lookup(np.array([98], np.uint8)).dtype == np.uint32
    with pytest.raises(IndexError):  # there are 256 bytes, and the table is no larger
        vocabulary.lookup(np.array([256], np.uint32))
    assert vocabulary.decode([]) == b""
    assert Vocabulary.of("ab").decode([]) == ""
