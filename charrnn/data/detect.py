"""What a file seems to be: an encoding, or no text at all; guesses for hints, and for files that a directory holds."""

from __future__ import annotations

import codecs
import re
import unicodedata
from pathlib import PurePath

import numpy as np

from charrnn.config.encodings import codec_name, spoken

HEAD_BYTES = 1 << 16
# The longer marks first: UTF-32's little-endian mark begins with UTF-16's.
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_KINDS = {
    b"\xff\xd8\xff": "a JPEG image",
    b"\x89PNG": "a PNG image",
    b"GIF8": "a GIF image",
    b"%PDF": "a PDF document",
    b"PK\x03\x04": "a zip archive",
    b"7z\xbc\xaf\x27\x1c": "a 7z archive",
    b"Rar!": "a RAR archive",
    b"\x28\xb5\x2f\xfd": "zstd-compressed",
    b"\x1f\x9d": "compress-ed",
    b"\x7fELF": "a program",
    b"OggS": "an Ogg file",
    b"ID3": "an MP3 file",
    b"RIFF": "a RIFF file (sound or video)",
    b"SQLite format 3": "a database",
    b"\x00asm": "a program",
}
NUMPY_ARCHIVE, PAGE = "a checkpoint or another NumPy archive", "a page that charrnn made"
_PAGE_MARK = b'<meta name="generator" content="charrnn">'  # of reports and exported pages
_NEVER_TEXT = frozenset((
    "7z", "avi", "bin", "bmp", "class", "db", "dll", "doc", "docx", "dylib", "epub", "exe", "flac", "gif", "ico",
    "jar", "jpeg", "jpg", "m4a", "mkv", "mov", "mp3", "mp4", "npy", "npz", "o", "odt", "ogg", "onnx", "otf", "pdf",
    "png", "ppt", "pptx", "pt", "pyc", "rar", "safetensors", "so", "sqlite", "tar", "tif", "tiff", "ttf", "wav",
    "webm", "webp", "woff", "woff2", "xls", "xlsx", "zip", "zst",
))  # fmt: skip
# Where the detector is torn between equals, the one that more people use.
_COMMON = (
    *("cp1252", "cp1251", "koi8-r", "gb18030", "big5", "shift_jis", "cp932", "euc_jp", "euc_kr", "cp949"),
    *("cp1250", "iso8859-2", "cp1253", "cp1254", "cp1255", "cp1256", "mac-roman"),
)
_STRANGE = frozenset({"Cc", "Cn", "Co", "Cs"})
_LONG_ASCII, _C1 = re.compile(rb"[\x00-\x7f]{64,}"), re.compile(rb"[\x80-\x9f]")
_NOT_WESTERN = re.compile("[^\0-\x7fÀ-ÏÑ-ÖØ-Ýß-ïñ-öø-ýÿŒœ«»‘’“”–—…€£§°·¿¡\xa0]")
_CLOSE_CHAOS, _CLOSE_COHERENCE = 0.05, 0.1


def wide_codec(head: bytes) -> str | None:
    """UTF-16 or UTF-32 that `head`, a file's beginning, is written in, by its mark or by its NULs; else None.

    Only for files that were said to be in an encoding without NULs, such as UTF-8.
    """
    for mark, name in _MARKS:
        if head.startswith(mark):
            return name if _reads(head, name) else None
    data = np.frombuffer(head[: len(head) // 4 * 4], np.uint8)
    if not data.size:
        return None
    nulls = [int(np.count_nonzero(data[k::4] == 0)) for k in range(4)]
    if not sum(nulls):
        return None
    even, odd, quads = nulls[0] + nulls[2], nulls[1] + nulls[3], data.size // 4
    if min(nulls[2], nulls[3]) == quads or min(nulls[0], nulls[1]) == quads:
        name = "utf-32-le" if nulls[3] == quads else "utf-32-be"
    elif max(even, odd) >= max(2, quads // 50) and min(even, odd) <= max(even, odd) // 100:
        name = "utf-16-le" if odd > even else "utf-16-be"
    else:
        return None
    return name if _reads(head, name) else None


def _reads(head: bytes, name: str) -> bool:
    """Whether it decodes to what people write: hardly any controls or code points without a character."""
    try:
        text = codecs.getincrementaldecoder(name)().decode(head)
    except UnicodeDecodeError:
        return False
    text = text.removeprefix("\ufeff")  # a mark anywhere else is as strange as a control character
    strange = sum(c == "\ufeff" or (unicodedata.category(c) in _STRANGE and c not in "\t\n\r\f") for c in text)
    return strange * 100 <= len(text)


def mostly_utf8(sample: bytes) -> bool:
    """Whether a piece of text is UTF-8 but for a few bytes."""
    text = sample.decode("utf-8", "replace")
    wrong = text.count("\ufffd")
    return len(text) - len(text.encode("ascii", "ignore")) - wrong >= 10 * wrong


def likely_encoding(sample: bytes) -> str | None:
    """The encoding in which a piece of text that is not UTF-8 was most probably written, as a setting names it."""
    if wide := wide_codec(sample[: len(sample) // 4 * 4]):
        return wide
    try:
        from charset_normalizer import from_bytes
    except ImportError:  # an installation older than this need
        return None
    # Long stretches of plain ASCII say nothing and drown what does.
    found = list(from_bytes(_LONG_ASCII.sub(lambda run: run[0][:16] + b" " + run[0][-16:], sample)))
    if not found:
        return None
    best = found[0]
    near = [
        match
        for match in found
        if match.chaos <= best.chaos + _CLOSE_CHAOS and match.coherence >= best.coherence - _CLOSE_COHERENCE
    ]
    names = {codec_name(name) for match in near for name in match.could_be_from_charset}
    chosen = next((name for name in _COMMON if name in names), None) or codec_name(best.encoding)
    if chosen not in _COMMON and not _NOT_WESTERN.search(sample.decode("cp1252", "replace")):
        chosen = "cp1252"
    if chosen == "cp1252" and not _C1.search(sample):
        chosen = "iso8859-1"  # the same text in either; this is the one that people call it
    return None if chosen in (None, "utf-8", "ascii") else spoken(str(chosen))


def kind_of(head: bytes) -> str | None:
    """What a file that is no text is, by its first bytes; None where they say nothing."""
    if head.startswith(b"PK\x03\x04") and b".npy" in head[:100]:
        return NUMPY_ARCHIVE
    if _PAGE_MARK in head[:1000]:
        return PAGE
    return next((kind for magic, kind in _KINDS.items() if head.startswith(magic)), None)


def is_no_text(name: str, head: bytes, encoding: str) -> bool:
    """Whether a file found in a directory is an image, an archive or the like rather than text.

    Args:
        name: of the file.
        head: its first bytes, unpacked if it is compressed.
        encoding: that the texts are said to have; with "bytes", everything is learned from.
    """
    if encoding == "bytes":
        return False
    if PurePath(name).suffix.lower().lstrip(".") in _NEVER_TEXT or kind_of(head):
        return True
    if (codec_name(encoding) or "").startswith(("utf-16", "utf-32")) or wide_codec(head):
        return False
    data = np.frombuffer(head, np.uint8)
    # Escape, shift-in and shift-out belong to some encodings; tab to carriage return are white space.
    controls = (data < 9) | ((data > 15) & (data < 27)) | (data == 28) | (data == 29) | (data == 30)
    return bool((data == 0).any()) or int(np.count_nonzero(controls)) * 20 > len(data)
