"""The bytes of a file become characters, a piece at a time.

    bytes -> characters -> without a byte-order mark -> line ends -> normal form

What a piece cannot decide alone (half a character, a CR whose LF may follow, a letter whose accent may follow) waits
for the next.
"""

from __future__ import annotations

import codecs
import unicodedata
from dataclasses import dataclass, field
from functools import cache
from typing import Literal, cast

from charrnn.config.encodings import BYTES, codec_name, iconv_name, spoken
from charrnn.config.schema import CorpusSettings
from charrnn.data.detect import HEAD_BYTES, PAGE, kind_of, likely_encoding, mostly_utf8, wide_codec
from charrnn.errors import DataError

LINE_ENDS = "\n\r\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029"
_SETTING = "set corpus.encoding to the file's encoding"
_PLAIN = "give a file of plain text"
_MOST_HELD = 1 << 20  # characters that wait for their accents; a text that needs more is no text
_AROUND = 1 << 16  # bytes before and after a bad one that the encoding is guessed from


class EncodingError(DataError):
    """Bytes that are no text in the encoding they were said to be in.

    Attributes:
        likely: the one they seem to be in.
        kind: what they are, where that is no text in any; see `kind_of`.
    """

    def __init__(self, message: str, *, hint: str, likely: str | None = None, kind: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.likely, self.kind = likely, kind


@dataclass(frozen=True)
class TextRules:
    """How files become a text; see `CorpusSettings` for what each means.

    Attributes:
        encoding: of the files, or "bytes".
        newlines: "keep" or "unix".
        normalize: a Unicode normal form in small letters, or None.
        after_files: text put after each file; None: a line end between two files where the first has none.
        end: what the text must end with; added where it does not.
        join: False: files follow each other with nothing in between, as in checkpoints that know no better.
    """

    encoding: str = "utf-8"
    newlines: str = "keep"
    normalize: str | None = None
    after_files: str | None = None
    end: str = ""
    join: bool = True

    @classmethod
    def of(cls, corpus: CorpusSettings, *, join: bool = True) -> TextRules:
        """Those of a run's settings."""
        end = corpus.document_separator or ""
        return cls(
            encoding=corpus.encoding,
            newlines=corpus.newlines,
            normalize=corpus.normalize,
            after_files=end if corpus.documents == "files" else None,
            end=end if corpus.documents != "text" or corpus.split == "shuffled" else "",
            join=join,
        )

    @property
    def raw(self) -> bool:
        """Whether symbols are bytes."""
        return self.encoding == BYTES

    def convert(self, text: str) -> str:
        """Line ends and normal form of a text that is in memory, such as a prompt."""
        if self.newlines == "unix":
            text = _unix(text)
        return text if self.normalize is None else unicodedata.normalize(_form(self.normalize), text)

    def decode(self, data: bytes, *, name: str) -> str | bytes:
        """The whole of a file as the files of a trained model's text were read.

        Raises:
            DataError: not in the encoding, which no setting can change any more.
        """
        return FileDecoder(self, data[:HEAD_BYTES], name, fixed=True).feed(data, final=True)


@dataclass
class Found:
    """What is worth a word to the user.

    Attributes:
        boms: files that began with a byte-order mark.
        crlf, lone_cr: line ends other than LF.
        wide: file -> UTF-16 or UTF-32, where it was read as that though it was said to be something else.
        nulls: NUL characters.
        packed: files that were compressed.
        inside: a file that holds what is put after each file.
    """

    boms: int = 0
    crlf: int = 0
    lone_cr: int = 0
    wide: dict[str, str] = field(default_factory=dict)
    nulls: int = 0
    packed: int = 0
    inside: str = ""


class FileDecoder:
    """The bytes of one file to characters; for raw bytes, only line ends are looked at.

    Args:
        rules: how.
        head: the file's beginning, in which UTF-16 is recognised.
        name: of the file, for errors.
        found: is filled in.
        fixed: no setting can change the encoding, so hints say how to change the file.
    """

    def __init__(
        self, rules: TextRules, head: bytes, name: str, found: Found | None = None, *, fixed: bool = False
    ) -> None:
        self._rules, self._name, self._found, self._head, self._fixed = rules, name, found or Found(), head, fixed
        self._codec = BYTES if rules.raw else _codec(rules.encoding, head, name, self._found)
        if not rules.raw and (kind := kind_of(head)) == PAGE:  # valid, and yet nothing to learn from
            raise DataError(f"{name}: {kind}, not a text", hint=_PLAIN)
        # mypy cannot know that every text codec decodes piece by piece.
        self._decoder = None if rules.raw else codecs.getincrementaldecoder(self._codec)()
        self._held, self._fed, self._at_start, self._recent = "", 0, True, b""

    def state(self) -> tuple[str, int, str]:
        """`pending`, `flag` and `held` of a `Position`."""
        pending, flag = self._decoder.getstate() if self._decoder else (b"", 0)
        return pending.hex(), flag, self._held

    def restore(self, pending: str, flag: int, held: str, *, offset: int) -> None:
        """Continue where another's `state` was taken, `offset` bytes into the file."""
        if self._decoder:
            self._decoder.setstate((bytes.fromhex(pending), flag))
        self._held, self._fed, self._at_start = held, offset, False

    def feed(self, chunk: bytes, *, final: bool = False) -> str | bytes:
        """What these bytes complete.

        Raises:
            DataError: not in the encoding.
        """
        if self._decoder is None:
            return self._lines(chunk.decode("latin-1"), final=final).encode("latin-1")
        waiting = len(self._decoder.getstate()[0])
        try:
            text = self._decoder.decode(chunk, final)
        except UnicodeError as error:
            raise self._refusal(error, chunk, waiting) from None
        self._recent = chunk[-_AROUND:] if chunk else self._recent
        self._fed += len(chunk)
        if self._at_start and text:
            self._at_start = False
            if text[0] == "\ufeff":
                self._found.boms += 1
                text = text[1:]
        return self._lines(text, final=final)

    def _lines(self, text: str, *, final: bool) -> str:
        text = self._held + text
        cut = len(text) if final else self._cut(text)
        text, self._held = text[:cut], text[cut:]
        if not self._rules.raw:
            self._found.nulls += text.count("\0")
        if "\r" in text:
            crlf = text.count("\r\n")
            self._found.crlf += crlf
            self._found.lone_cr += text.count("\r") - crlf
            if self._rules.newlines == "unix":
                text = _unix(text)
        if self._rules.normalize is not None:
            text = unicodedata.normalize(_form(self._rules.normalize), text)
        return text

    def _cut(self, text: str) -> int:
        end = len(text) - text.endswith("\r")
        if self._rules.normalize is None:
            return end
        lowest = max(0, end - _MOST_HELD)
        for k in range(end - 1, lowest - 1, -1):
            if begins_anew(text[k]) and text[max(0, k - 1) : k + 1] != "\r\n":
                return k
        return lowest

    def _refusal(self, error: UnicodeError, chunk: bytes, waiting: int) -> DataError:
        name = _shown(self._codec)
        if not isinstance(error, UnicodeDecodeError):
            return EncodingError(f"{self._name}: not valid {name}: {error}", hint=self._remedy(None))
        what = f"byte 0x{error.object[error.start]:02X} at offset {self._fed - waiting + error.start}"
        if kind := kind_of(self._head):
            return EncodingError(f"{self._name}: {kind}, not a text", hint=_PLAIN, kind=kind)
        near = max(0, error.start - waiting)
        before = self._recent if near < _AROUND else b""
        sample = before + chunk[max(0, near - _AROUND) : near + _AROUND]
        likely = self._codec if self._codec == "utf-8" and mostly_utf8(sample) else likely_encoding(sample)
        return EncodingError(f"{self._name}: not valid {name}: {what}", hint=self._remedy(likely), likely=likely)

    def _remedy(self, likely: str | None) -> str:
        """What to do with a file that seems to be in the encoding `likely`."""
        if likely and codec_name(likely) == self._codec:
            remedy = f"the text around it is {_shown(self._codec)}: repair the file"
        elif self._fixed:
            looks = f"it looks like {likely}: " if likely else ""
            command = f"iconv -f {iconv_name(likely) if likely else 'ENCODING'} -t {iconv_name(self._codec)}"
            remedy = f"{looks}convert it to {_shown(self._codec)}, the model's encoding, with {command}"
        else:
            remedy = f"it looks like {likely}: set corpus.encoding: {likely}" if likely else _SETTING
        return remedy if self._fixed else f"{remedy}, or corpus.encoding: bytes to learn from raw bytes"


def _codec(encoding: str, head: bytes, name: str, found: Found) -> str:
    """The codec that reads a file: what the settings say, unless its mark or its NULs say UTF-16 or UTF-32."""
    codec = codec_name(encoding)
    if codec is None:
        raise DataError(f"{name}: {encoding!r} is not an encoding that Python knows")
    family = codec[:6] if codec.startswith(("utf-16", "utf-32")) else None
    wide = wide_codec(head)
    if family is None:
        if wide:
            found.wide[name] = wide
        return wide or codec
    if codec == family and not wide:  # without a mark Python takes the machine's own order
        return f"{family}-le"
    return wide if wide and wide.startswith(family) and codec == family else codec


def _unix(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _shown(codec: str) -> str:
    return "UTF-8" if codec == "utf-8" else spoken(codec)


def _form(name: str) -> Literal["NFC", "NFD", "NFKC", "NFKD"]:
    return cast(Literal["NFC", "NFD", "NFKC", "NFKD"], name.upper())


@cache
def begins_anew(character: str) -> bool:
    """Whether no normal form joins the character to what comes before it."""
    if character < "\u0300":
        return True
    first = unicodedata.normalize("NFKD", character)[0]
    return not unicodedata.combining(first) and first not in _seconds()


@cache
def _seconds() -> frozenset[str]:
    """Characters that some composition has in its second place."""
    found = {chr(k) for k in (*range(0x1161, 0x1176), *range(0x11A8, 0x11C3))}  # Hangul is composed by arithmetic
    for k in range(0x110000):
        parts = unicodedata.decomposition(chr(k)).split()
        if len(parts) == 2 and not parts[0].startswith("<"):
            found.add(chr(int(parts[1], 16)))
    return frozenset(found)
