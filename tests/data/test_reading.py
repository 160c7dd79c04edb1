"""Files as people have them: encodings, line ends, normal forms, compressed, joined, from pipes."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import io
import lzma
import os
import sys
import threading
import unicodedata
import zlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from charrnn.config.encodings import iconv_name
from charrnn.data import corpora, sources
from charrnn.data.corpora import find_files, info
from charrnn.data.decoding import TextRules, begins_anew
from charrnn.data.encode import EncodedText, encode_text
from charrnn.data.reading import TextReader
from charrnn.errors import DataError

FRENCH = "L'été dernier, à Noël, le garçon naïf mangeait. Où vas-tu ? demanda-t-il. Ça va être très gênant.\n" * 20
CURLY = FRENCH.replace("'", "\u2019") + "«\u00a0cœur\u00a0»\n"
RUSSIAN = "Съешь же ещё этих мягких французских булок, да выпей чаю.\n" * 20
CHINESE = "天上有云，地上有水。山高路远，人少鸟多。\n" * 40
JAPANESE = "日本語の文章です。これは試験のための短いテキストであります。\n" * 30


def encoded(path: Path | list[Path], **rules: object) -> EncodedText:
    paths = [path] if isinstance(path, Path) else path
    made = TextRules(**rules)  # type: ignore[arg-type]
    return encode_text(paths, made.encoding, paths[0].parent / "cache", rules=made)


def text_of(found: EncodedText) -> str:
    text = found.vocabulary.decode(found.ids)
    assert isinstance(text, str)
    return text


def streamed(paths: list[Path], rules: TextRules, chunk: int) -> str:
    return "".join(str(p) for p, _ in TextReader(paths, rules, lambda data, between: None, chunk_bytes=chunk))


@pytest.mark.parametrize(
    ("encoding", "text"),
    [
        ("latin-1", FRENCH), ("cp1252", CURLY), ("utf-16", CURLY), ("utf-16-be", CURLY), ("utf-32", CURLY),
        ("cp1251", RUSSIAN), ("koi8-r", RUSSIAN), ("gb18030", CHINESE + "😀"), ("big5", "天地玄黃，宇宙洪荒。\n" * 9),
        ("shift_jis", JAPANESE), ("euc_jp", JAPANESE), ("iso2022_jp", JAPANESE), ("utf-7", FRENCH + CHINESE),
        ("hz", CHINESE), ("cp037", FRENCH.replace("\n", " ")), ("euc_kr", "안녕하세요. 이것은 짧은 글입니다.\n" * 9),
    ],
)  # fmt: skip
@pytest.mark.parametrize("chunk", [1, 7, 1 << 20])
def test_every_encoding_is_read_piece_by_piece(tmp_path: Path, encoding: str, text: str, chunk: int) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(text.encode(encoding))
    assert streamed([path], TextRules(encoding), chunk) == text
    assert text_of(encoded(path, encoding=encoding)) == text


@given(st.text(st.characters(codec="utf-8"), max_size=60), st.integers(1, 9), st.sampled_from(["nfc", "nfd", "nfkc"]))
def test_normal_forms_are_those_of_the_whole(
    tmp_path_factory: pytest.TempPathFactory, text: str, chunk: int, form: str
) -> None:
    path = tmp_path_factory.mktemp("forms") / "a.txt"
    text = "x" + text + "가\u1100\u1161\u11a8e\u0301\u0323か\u3099\uff76\uff9e" + text
    path.write_bytes(text.encode())
    whole = unicodedata.normalize(form.upper(), text)  # type: ignore[arg-type]
    assert streamed([path], TextRules(normalize=form), chunk) == whole


def test_no_character_that_begins_anew_joins_the_one_before() -> None:
    for k in (*range(0x80, 0xD800, 7), *range(0x1100, 0x1200), *range(0x0900, 0x0E00), *range(0x3040, 0x3100)):
        if begins_anew(chr(k)):
            for before in "ae가か\u09c7\u0bc6\u1100":
                joined = unicodedata.normalize("NFKC", before + chr(k))
                apart = unicodedata.normalize("NFKC", before) + unicodedata.normalize("NFKC", chr(k))
                assert joined == apart, hex(k)


@given(st.lists(st.sampled_from(["a", "\r", "\n", "é"]), max_size=20).map("".join), st.integers(1, 4))
def test_line_ends_are_those_of_the_whole(tmp_path_factory: pytest.TempPathFactory, text: str, chunk: int) -> None:
    path = tmp_path_factory.mktemp("ends") / "a.txt"
    path.write_bytes(("x" + text).encode())
    assert streamed([path], TextRules(), chunk) == "x" + text
    unix = ("x" + text).replace("\r\n", "\n").replace("\r", "\n")
    assert streamed([path], TextRules(newlines="unix"), chunk) == unix
    assert streamed([path], TextRules(newlines="unix", normalize="nfc"), chunk) == unix
    pieces = TextReader([path], TextRules("bytes", newlines="unix"), lambda data, between: None, chunk_bytes=chunk)
    assert b"".join(bytes(p) for p, _ in pieces if isinstance(p, bytes)) == unix.encode()


def test_line_ends_are_named_with_what_changes_them(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"one\r\ntwo\r\nthree\rfour\n")
    notes = "\n".join(encoded(tmp_path / "a.txt").notes)
    assert "2 CR/LF line ends are kept" in notes
    assert "1 line ends of a CR alone are kept" in notes
    assert notes.count("corpus.newlines: unix") == 2
    found = encoded(tmp_path / "a.txt", newlines="unix")
    assert text_of(found) == "one\ntwo\nthree\nfour\n"
    assert "2 CR/LF line ends became LF" in found.notes


@pytest.mark.parametrize(
    ("encoding", "text", "named"),
    [
        ("latin-1", FRENCH, "latin-1"), ("cp1252", CURLY, "cp1252"), ("cp1251", RUSSIAN, "cp1251"),
        ("koi8-r", RUSSIAN, "koi8-r"), ("gb18030", CHINESE, "gb18030"), ("shift_jis", JAPANESE, "shift_jis"),
    ],
)  # fmt: skip
def test_the_hint_names_the_likely_encoding(tmp_path: Path, encoding: str, text: str, named: str) -> None:
    for plain in (b"", b"plain " * 40_000):  # also where the first strange byte comes late
        data = plain + text.encode(encoding)
        (tmp_path / "a.txt").write_bytes(data)
        first = next(k for k, byte in enumerate(data) if byte > 127)
        with pytest.raises(DataError, match=f"not valid UTF-8: byte 0x.. at offset {first}") as caught:
            encoded(tmp_path / "a.txt")
        assert f"set corpus.encoding: {named}," in str(caught.value.hint)
        assert "corpus.encoding: bytes" in str(caught.value.hint)


def test_a_file_that_is_damaged_in_places_keeps_its_encoding(tmp_path: Path) -> None:
    data = RUSSIAN.encode()
    for encoding, damaged in (
        ("utf-8", data[:300] + b"\xff" + data[300:]), ("utf-16", FRENCH.encode("utf-16")[:-1]),
    ):  # fmt: skip
        (tmp_path / "a.txt").write_bytes(damaged)
        with pytest.raises(DataError) as caught:
            encoded(tmp_path / "a.txt", encoding=encoding)
        assert "repair the file" in str(caught.value.hint)


@pytest.mark.parametrize(
    ("data", "hint"),
    [
        (FRENCH.encode("latin-1"), "it looks like latin-1: convert it to UTF-8, the model's encoding, with iconv "),
        (RUSSIAN.encode()[:-3], "the text around it is UTF-8: repair the file"),
        (b"\xe9", "convert it to UTF-8, the model's encoding, with iconv -f ENCODING -t utf-8"),
    ],
)
def test_a_file_that_a_model_is_to_read_is_converted_or_repaired(
    monkeypatch: pytest.MonkeyPatch, data: bytes, hint: str
) -> None:
    if len(data) == 1:
        monkeypatch.setattr("charrnn.data.decoding.likely_encoding", lambda sample: None)
    with pytest.raises(DataError) as caught:
        TextRules().decode(data, name="a.txt")
    assert str(caught.value.hint).startswith(hint)
    assert "corpus.encoding" not in str(caught.value.hint)


def test_encodings_have_a_name_for_iconv() -> None:
    names = ("latin-1", "mac-roman", "utf-16-le", "euc_jp", "utf-8", "cp1252")
    assert [*map(iconv_name, names)] == ["latin1", "macintosh", "utf-16le", "euc-jp", "utf-8", "cp1252"]


def test_a_word_of_french_in_a_plain_text_is_western(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"plain text here. " * 4000 + "é café déjà vu\n".encode("latin-1") * 3)
    with pytest.raises(DataError) as caught:
        encoded(tmp_path / "a.txt")
    assert "set corpus.encoding: latin-1" in str(caught.value.hint)


def test_nulls_in_a_text_are_noted(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"text\0text" * 50)
    assert "it contains 50 NUL characters: is it a text?" in encoded(tmp_path / "a.txt").notes


def test_an_image_named_as_a_text_is_called_one(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(range(256)))
    with pytest.raises(DataError, match="a PNG image, not a text"):
        encoded(tmp_path / "a.txt")


@pytest.mark.parametrize("codec", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be"])
@pytest.mark.parametrize("text", [FRENCH, RUSSIAN], ids=["french", "russian"])
def test_utf_16_is_noticed_with_and_without_its_mark(tmp_path: Path, codec: str, text: str) -> None:
    (tmp_path / "a.txt").write_bytes(text.encode(codec))
    found = encoded(tmp_path / "a.txt")
    assert text_of(found) == text
    assert f"read as {codec}, not utf-8" in found.notes[0]
    family = codec[:6]
    assert text_of(encoded(tmp_path / "a.txt", encoding=family)) == text


def test_nulls_that_mean_something_else_stay(tmp_path: Path) -> None:
    for text in ("name\0other\0third\0x\0" * 50, "a\0b\0\0c" * 60, "text " * 100 + "\0"):
        (tmp_path / "a.txt").write_bytes(text.encode())
        assert text_of(encoded(tmp_path / "a.txt")) == text


PACKERS = {"gz": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress}


@pytest.mark.parametrize("kind", PACKERS)
def test_compressed_files_are_texts(tmp_path: Path, kind: str) -> None:
    pack = PACKERS[kind]
    plain, packed, twice = (tmp_path / n for n in ("a.txt", f"b.txt.{kind}", f"no-suffix-{kind}"))
    plain.write_text(FRENCH, encoding="utf-8")
    packed.write_bytes(pack(FRENCH.encode()))
    half = len(FRENCH) // 2
    twice.write_bytes(pack(FRENCH[:half].encode()) + pack(FRENCH[half:].encode()))  # as `cat a.gz b.gz` makes it
    hashes = {encoded(path).sha256 for path in (plain, packed, twice)}
    assert hashes == {hashlib.sha256(FRENCH.encode()).hexdigest()}
    assert text_of(encoded(packed)) == text_of(encoded(twice)) == FRENCH
    broken = tmp_path / "broken"
    for damaged in (packed.read_bytes()[:-9], packed.read_bytes()[:60] + b"\x55" * 40):
        broken.write_bytes(damaged)
        with pytest.raises(DataError, match="data is damaged"):
            encoded(broken)


def test_a_text_that_begins_like_a_compressed_file_is_a_text(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("BZh9 is how a bzip2 file begins", encoding="utf-8")
    assert text_of(encoded(tmp_path / "a.txt")).startswith("BZh9")


def test_files_are_joined_so_that_no_word_crosses_a_border(tmp_path: Path) -> None:
    contents = {"a": "The end", "b": "ten\n", "c": "", "d": "\ufefflast\r\n", "e": "one\r", "f": "two"}
    paths = []
    for name, content in contents.items():
        paths.append(tmp_path / name)
        paths[-1].write_text(content, encoding="utf-8", newline="")
    assert text_of(encoded(paths)) == "The end\nten\nlast\r\none\rtwo"
    assert text_of(encoded(paths, join=False)) == "The endten\nlast\r\none\rtwo"
    assert encoded(paths).sha256 != encoded(paths, join=False).sha256
    assert text_of(encoded(paths, after_files="\x1c", end="\x1c")).split("\x1c") == [
        "The end", "ten\n", "last\r\n", "one\r", "two", ""
    ]  # fmt: skip
    raw = encoded(paths[:2], encoding="bytes", after_files="é", end="é")
    assert raw.vocabulary.decode(raw.ids) == "The endéten\né".encode()
    assert text_of(encoded(paths[:2], end="\n\n")) == "The end\nten\n\n"
    assert text_of(encoded(paths[:1], end="\n\n")) == "The end\n\n"


def test_a_file_that_holds_what_ends_files_is_noted(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("one\x1ctwo")
    assert any("ends each file" in note for note in encoded(tmp_path / "a", after_files="\x1c", end="\x1c").notes)


def names(tmp_path: Path, source: str | list[str], **options: object) -> list[str]:
    found = find_files(source, base=tmp_path, **options)  # type: ignore[arg-type]
    return [os.path.relpath(path, tmp_path) for path in found.paths]


def test_several_sources_are_read_in_their_order(tmp_path: Path) -> None:
    for name in ("a.txt", "poems/x.txt", "poems/y.txt", "b.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    assert names(tmp_path, ["b.txt", "poems/*.txt", "a.txt"]) == ["b.txt", "poems/x.txt", "poems/y.txt", "a.txt"]
    assert names(tmp_path, ["a.txt", "*.txt"]) == ["a.txt", "b.txt"]
    assert "named twice are read once (1 of 3)" in find_files(["a.txt", "*.txt"], base=tmp_path).notes[0]
    with pytest.raises(DataError, match="cannot be one source of several"):
        find_files(["a.txt", "-"], base=tmp_path)


def test_a_directory_gives_its_texts_and_counts_the_rest(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("text", encoding="utf-8")
    (tmp_path / "l.txt").write_bytes("é".encode("latin-1") * 9)  # an error when it is read, not something to skip
    (tmp_path / "w.txt").write_bytes(FRENCH.encode("utf-16-le"))
    (tmp_path / "z.txt.gz").write_bytes(gzip.compress(b"text"))
    (tmp_path / "photo.jpg").write_bytes(b"\xff\xd8\xff\xe0" + bytes(range(256)))
    (tmp_path / "fake.png").write_bytes(b"x")
    (tmp_path / "archive").write_bytes(gzip.compress(bytes(range(256))))
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "gone").symlink_to(tmp_path / "nowhere")
    (tmp_path / "endless").symlink_to("/dev/zero")
    (tmp_path / "again.txt").symlink_to(tmp_path / "a.txt")
    found = find_files(str(tmp_path))
    kept = ["a.txt", "again.txt", "l.txt", "w.txt", "z.txt.gz"]
    assert [path.name for path in found.paths] == kept
    (note,) = found.notes
    assert "left out 6 of 11 files" in note
    for part in ("3 not text (archive, ...)", "2 not regular (endless, ...)", "1 dangling or unreachable (gone)"):
        assert part in note
    assert [path.name for path in find_files(f"{tmp_path}/*").paths] == kept
    assert "photo.jpg" in names(tmp_path, str(tmp_path), encoding="bytes")
    with pytest.raises(DataError, match=r"left out 1 of 1 files: 1 not text"):
        find_files(str(tmp_path / "photo*"))


def test_a_pipe_named_on_purpose_is_read_once_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHARRNN_HOME", str(tmp_path / "home"))
    os.mkfifo(tmp_path / "pipe")
    packed = gzip.compress(FRENCH.encode())
    writer = threading.Thread(target=(tmp_path / "pipe").write_bytes, args=(packed,))
    writer.start()
    (kept,) = corpora.resolve(str(tmp_path / "pipe"))
    writer.join()
    assert kept.name == hashlib.sha256(FRENCH.encode()).hexdigest() + ".txt"
    assert text_of(encoded(kept)) == FRENCH
    assert corpora.resolve(str(tmp_path / "pipe")) == (kept,)


def test_standard_input_is_a_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHARRNN_HOME", str(tmp_path / "home"))
    for content in (b"first", b"second"):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
        assert corpora.resolve("-")[0].read_bytes() == content
        assert corpora.resolve("-")[0].read_bytes() == content  # asked for again, as by the second of two runs
    assert len(list((tmp_path / "home" / "spooled").iterdir())) == 2
    monkeypatch.setenv("CHARRNN_STDIN", str(tmp_path / "kept"))
    assert sources.files_at("-", base=Path(), encoding="utf-8", spools=tmp_path) is not None
    assert corpora.resolve("-") == (tmp_path / "kept",)


def test_home_is_where_the_tilde_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "a.txt").write_text("text")
    assert corpora.resolve("~/a.txt") == (tmp_path / "a.txt",)
    assert corpora.resolve("~/*.txt") == (tmp_path / "a.txt",)
    monkeypatch.setenv("CHARRNN_HOME", "~/texts")
    assert corpora.cache_dir() == tmp_path / "texts"


def test_devices_are_no_texts() -> None:
    with pytest.raises(DataError, match="neither a file, a directory nor a pipe"):
        corpora.resolve("/dev/zero")


def test_info_tells_encoding_and_line_ends(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(FRENCH.replace("\n", "\r\n").encode("latin-1"))
    found = info(str(tmp_path / "a"))
    assert (found.encoding, found.characters) == ("latin-1", None)
    found = info(str(tmp_path / "a"), encoding="latin-1")
    assert (found.characters, found.crlf, found.lone_cr) == (len(FRENCH) + 20, 20, 0)
    (tmp_path / "b").write_bytes(FRENCH.encode("utf-16"))
    assert info(str(tmp_path / "b")).encoding == "utf-16"


def test_a_text_replaced_between_the_passes_leaves_nothing(tmp_path: Path) -> None:
    path, old, new = tmp_path / "t.txt", "abcd" * 1000, "dcba" * 1000
    path.write_text(old)

    def progress(done: int, total: int | None) -> None:
        if done == len(old):
            path.write_text(new)

    with pytest.raises(DataError, match="the text changed while it was read"):
        encode_text([path], "utf-8", tmp_path / "cache", progress=progress)
    assert not list((tmp_path / "cache").glob("*.ids"))
    path.write_text(old)
    assert text_of(encode_text([path], "utf-8", tmp_path / "cache")) == old


def test_an_encoding_taken_up_again_on_another_text_begins_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Old text hashed, new text half encoded, process killed, old text back: the new half must not stay."""
    monkeypatch.setattr("charrnn.data.encode._CHUNK_BYTES", 100)
    monkeypatch.setattr("charrnn.data.encode._NOTE_CHUNKS", 2)
    path, old, new = tmp_path / "t.txt", "abcd" * 1000, "dcba" * 1000
    path.write_text(old)

    def progress(done: int, total: int | None) -> None:
        if done == len(old):
            path.write_text(new)
        if done == len(old) + 1000:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        encode_text([path], "utf-8", tmp_path / "cache", progress=progress)
    assert list((tmp_path / "cache").glob("*.note"))
    path.write_text(old)
    assert text_of(encode_text([path], "utf-8", tmp_path / "cache")) == old


def test_a_compressed_file_gets_no_more_memory_than_it_may_need(tmp_path: Path) -> None:
    filters = [{"id": lzma.FILTER_LZMA2, "dict_size": 1 << 20}]
    packed = bytearray(lzma.compress(FRENCH.encode(), filters=filters))
    header = packed[12:24]  # of the first block: size, flags, filter, size of its properties, dictionary, padding, CRC
    assert header[2:4] == b"\x21\x01"
    packed[16] = 40  # a dictionary of 4 GiB
    packed[20:24] = zlib.crc32(packed[12:20]).to_bytes(4, "little")
    (tmp_path / "a.xz").write_bytes(packed)
    with pytest.raises(DataError, match="xz data is damaged: Memory usage limit exceeded"):
        encoded(tmp_path / "a.xz")
