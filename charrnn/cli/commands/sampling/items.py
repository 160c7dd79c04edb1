"""`charrnn sample --num-items`: whole documents or lines, one after the other."""

from __future__ import annotations

from charrnn.cli.byte_output import as_base64
from charrnn.cli.commands.sampling.job import Job
from charrnn.cli.output import tell, write_json


def write_items(
    job: Job, count: int, corpus: list[str] | None, *, unique: bool, not_in_training: bool, as_json: bool
) -> None:
    """Write the items; a note says where there were fewer than wanted.

    Args:
        job: how characters are chosen.
        count: items wanted.
        corpus: where the training text is now, if it has moved.
        unique: write none twice.
        not_in_training: leave out those of the training text.
        as_json: as one object.
    """
    from charrnn.sampling.items import generate_items, item_end

    end = item_end(job.model.text_model)
    known = _training_items(job, end, corpus) if not_in_training else frozenset[str]()
    one_per_line, put = end == "\n", job.writer()
    for sample in generate_items(job.model.text_model, job.request(), count, unique=unique, known=known):
        if not as_json:
            put((f"{job.separator}\n" if job.texts and not one_per_line else "") + job.shown_prime + sample.text + "\n")
        job.texts.append(sample.text)
    if as_json:
        items = [{"text": t, **({"bytes": as_base64(t)} if job.of_bytes else {})} for t in job.texts]
        write_json({"seed": job.seed, "prime": job.shown_prime, "items": items})
    if len(job.texts) < count:
        tell(f"note: found only {len(job.texts)} of {count} items; a longer --length may give more")


def _training_items(job: Job, end: str, corpus: list[str] | None) -> frozenset[str]:
    from charrnn.cli.text_options import parts_of

    found: set[str] = set()
    for loaded in job.model.checkpoints:
        train = parts_of(loaded, corpus, without="leave out --not-in-training")["train"]
        text = loaded.vocabulary.decode(train)
        found.update((text if isinstance(text, str) else text.decode("utf-8", "surrogateescape")).split(end))
    return frozenset(found)
