"""Output of a model of bytes: to a pipe the bytes themselves, on a terminal the text that they encode.

Inside the program its text is a lossless `str`: bytes that are not UTF-8 are lone surrogates, as Python
carries them in arguments and file names (PEP 383).
"""

from __future__ import annotations

import base64
import codecs
from collections.abc import Callable
from typing import TYPE_CHECKING

from charrnn.cli.output import on_terminal, write, write_bytes, write_raw

if TYPE_CHECKING:
    from charrnn.data.vocabulary import Vocabulary


def keep_bytes(vocabulary: Vocabulary, encoding: str | None) -> str:
    """Make this vocabulary's decoding keep all bytes; return the encoding to show and read them with.

    Raises:
        SettingsError: not an encoding, or one was given though symbols are characters.
    """
    from charrnn.config.encodings import BYTES, codec_name
    from charrnn.errors import SettingsError

    if encoding is not None and codec_name(encoding) in (None, BYTES):
        raise SettingsError(f"--output-encoding: {encoding!r} is not a text encoding that Python knows")
    if vocabulary.encoding == BYTES:
        vocabulary.undecodable = "surrogateescape"
    elif encoding is not None:
        raise SettingsError("--output-encoding is for models of bytes; this one writes characters")
    return encoding or "utf-8"


def to_bytes(text: str) -> bytes:
    """The bytes that such a text encodes."""
    return text.encode("utf-8", "surrogateescape")


def typed(text: str, vocabulary: Vocabulary, encoding: str, *, what: str) -> str:
    """Text typed for a model of bytes, in the encoding of its output; unchanged for other models.

    Raises:
        DataError: the encoding has no such character.
    """
    from charrnn.errors import DataError

    if vocabulary.encoding != "bytes":
        return text
    try:
        return text.encode(encoding, "surrogateescape").decode("utf-8", "surrogateescape")
    except UnicodeEncodeError as error:
        raise DataError(
            f"{what}: {text[error.start]!r} cannot be written in {encoding}", hint="choose another --output-encoding"
        ) from None


def byte_writer(encoding: str, *, raw: bool) -> Callable[[str], None]:
    """Writes such texts to standard output.

    Args:
        encoding: of the bytes, for showing them on a terminal.
        raw: control characters unchanged, even on a terminal.
    """
    if not on_terminal():
        return lambda text: write_bytes(to_bytes(text))
    decoder = codecs.getincrementaldecoder(encoding)("replace")

    def put(text: str) -> None:
        shown = decoder.decode(to_bytes(text))
        (write_raw if raw else write)(shown)

    return put


def as_base64(text: str) -> str:
    """The bytes of such a text, for JSON."""
    return base64.b64encode(to_bytes(text)).decode("ascii")
