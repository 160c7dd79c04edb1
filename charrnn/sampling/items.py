"""Whole items: documents of a model that was trained on documents, lines of any other."""

from __future__ import annotations

from collections.abc import Container, Iterator
from dataclasses import replace

from charrnn.errors import SettingsError, shown
from charrnn.runs.start import TextModel
from charrnn.sampling.generate import Request, Sample, generate_samples

_BATCH = 64
_TRIES = 50  # candidates per item that is wanted, and 1,000 more, before giving up


def item_end(model: TextModel) -> str:
    """What ends an item: the model's document separator, or a line end."""
    if model.separator is None:
        return "\n"
    text = model.vocabulary.decode(model.separator)
    return text if isinstance(text, str) else text.decode("utf-8", "surrogateescape")


def generate_items(
    model: TextModel, request: Request, count: int, *, unique: bool = False, known: Container[str] = ()
) -> Iterator[Sample]:
    """Up to `count` items that end by themselves, fewer only where the model has no more to offer.

    Args:
        model: what writes.
        request: seed, prime, options and stop conditions of each item; one that reaches the length is left out.
        count: how many.
        unique: no text twice.
        known: texts, prime included, that are left out.

    Yields:
        Samples without the end and without the prime; none is empty.

    Raises:
        SettingsError: options that do not fit the model.
    """
    end = item_end(model)
    if request.stop.length < 1:
        raise SettingsError("an item needs a length of at least 1")
    ids = model.vocabulary.encode(end, unknown="skip").tolist()
    if not ids or not set(request.options.banned()).isdisjoint(ids):
        raise SettingsError(f"items end with {shown(end)}, which {'is banned' if ids else 'the model does not know'}")
    stop = replace(request.stop, stop=(*request.stop.stop, end))
    prime = model.vocabulary.decode(request.prime)
    before = prime if isinstance(prime, str) else prime.decode("utf-8", "surrogateescape")
    seen: set[str] = set()
    found, first, most = 0, 0, _TRIES * count + 1000
    while found < count and first < most:
        batch = min(_BATCH, most - first)
        made = generate_samples(model, replace(request, stop=stop, num_samples=batch, first=first))
        first += batch
        for sample in made:
            text = before + sample.text
            complete = sample.finish_reason == "match" if stop.constraint else sample.finish_reason != "length"
            whole = bool(sample.text) and complete
            if whole and text not in known and not (unique and text in seen):
                seen.add(text)
                found += 1
                yield sample
                if found == count:
                    return
