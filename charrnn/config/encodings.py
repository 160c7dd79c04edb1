"""Names of text encodings, checked without loading anything heavy."""

from __future__ import annotations

import codecs
import difflib
import re
from encodings.aliases import aliases

BYTES = "bytes"
_ICONV = {"iso8859-1": "latin1", "mac-roman": "macintosh"}  # where `iconv` does not know Python's name
_SPOKEN = {"iso8859-1": "latin-1"}  # what people call it, where Python's own name is another
# Python's own escapes and parts of host names: no text file uses them.
_NO_FILES = frozenset({"idna", "punycode", "undefined", "unicode-escape", "raw-unicode-escape", "mbcs", "oem"})


def codec_name(encoding: str) -> str | None:
    """Python's name of a text encoding, the same for all its spellings; "bytes" for raw bytes; None for no encoding."""
    if encoding == BYTES:
        return BYTES
    try:
        found = codecs.lookup(encoding)
    except (LookupError, ValueError, TypeError, ImportError):
        return None
    if not found._is_text_encoding or found.name in _NO_FILES:
        return None
    return "utf-8" if found.name == "utf-8-sig" else found.name


def spoken(name: str) -> str:
    """An encoding's name in messages."""
    name = codec_name(name) or name
    return _SPOKEN.get(name, name)


def iconv_name(name: str) -> str:
    """An encoding's name for the program `iconv`."""
    name = (codec_name(name) or name).replace("_", "-")
    return _ICONV.get(name, re.sub(r"^(utf-\d+)-([bl]e)$", r"\1\2", name))


def nearest_encoding(name: str) -> str | None:
    """The encoding that a wrong name most probably meant, if any is close."""
    known = [BYTES, *aliases, *(value.replace("_", "-") for value in aliases.values())]
    close = difflib.get_close_matches(name.lower(), [k for k in known if codec_name(k)], n=1)
    return close[0] if close else None
