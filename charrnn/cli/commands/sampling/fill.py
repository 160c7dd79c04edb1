"""`charrnn sample --fill`: a text with blanks, each filled by the model from the text before it."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from charrnn.cli.commands.sampling.job import Job

if TYPE_CHECKING:
    from charrnn.sampling.generate import StopConditions

_BLANK = re.compile(r"\{\{(line|word|[1-9]\d{0,5})\}\}")


def fill_in(job: Job, data: bytes, name: str, unknown: str) -> None:
    """Write the text with its blanks filled.

    Args:
        job: how characters are chosen; its prime is not used.
        data: the text, in the encoding of the model's own.
        name: of the file, for errors.
        unknown: what to do with characters that the model does not know.

    Raises:
        DataError: not in that encoding, no blank, or characters that the model does not know.
    """
    from charrnn.errors import DataError
    from charrnn.sampling.generate import generate

    read = job.model.rules.decode(data, name=name)
    text = read if isinstance(read, str) else read.decode("utf-8", "surrogateescape")
    if not _BLANK.search(text):
        raise DataError(f"{name}: no blanks found", hint="write {{line}}, {{word}} or {{40}} where text is missing")
    encode = job.model.vocabulary.encode
    encode(_BLANK.sub("", text), what=name, unknown=unknown)  # what is wrong is said before anything is written
    put, before, end = job.writer(), "", 0
    for number, blank in enumerate(_BLANK.finditer(text)):
        literal = text[end : blank.start()]
        put(literal)
        before, end = before + literal, blank.end()
        prime = encode(before, what=name, unknown=unknown)
        wanted = job.request(prime=prime, seed=job.seed + number, stop=_until(job, blank[1]))
        job.texts.append("")
        for _, character in generate(job.model.text_model, wanted):
            put(character.text)
            job.texts[-1] += character.text
        before += job.texts[-1]
    put(text[end:])


def _until(job: Job, kind: str) -> StopConditions:
    if kind == "line":
        return replace(job.stop, stop=("\n",))
    if kind == "word":
        return replace(job.stop, until_words=1)
    return replace(job.stop, length=int(kind))
