"""What `charrnn sample` does once its flags are read: a stream, a batch, JSON, beams."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from charrnn.cli.byte_output import as_base64, byte_writer
from charrnn.cli.output import visible, write, write_json

if TYPE_CHECKING:
    from charrnn.api import TrainedModel
    from charrnn.cli.views.colour import Painter
    from charrnn.nn.params import IdArray
    from charrnn.sampling.generate import Control, Sample
    from charrnn.sampling.options import SamplerOptions

_LN2 = 0.6931471805599453


@dataclass
class Job:
    """Everything a sample depends on, and how it is shown.

    Attributes:
        model: one model or several.
        options: filters and temperature.
        prime: (P,) ids, perhaps none.
        control: when samples end.
        seed: of all draws.
        count: samples to show.
        best_of: samples to make for that, if more.
        separator: line between two samples.
        include_prime: write the prime first.
        raw: control characters as they are, even on a terminal.
        colour: "surprise", "entropy" or None.
        output_encoding: of a model of bytes, for a terminal.
        texts: what was made, for whoever looks at it afterwards.
    """

    model: TrainedModel
    options: SamplerOptions
    prime: IdArray
    control: Control
    seed: int
    count: int = 1
    best_of: int = 0
    separator: str = "---"
    include_prime: bool = True
    raw: bool = False
    colour: str | None = None
    output_encoding: str = "utf-8"
    texts: list[str] = field(default_factory=list)

    @property
    def start(self) -> IdArray:
        """What the model reads first."""
        from charrnn.data.vocabulary import default_prime

        return self.prime if len(self.prime) else default_prime(self.model.vocabulary)

    @property
    def shown_prime(self) -> str:
        """What is written before a sample."""
        text = self.model.vocabulary.decode(self.prime) if self.include_prime else ""
        return text if isinstance(text, str) else text.decode("utf-8", "surrogateescape")

    @property
    def of_bytes(self) -> bool:
        """Whether symbols are bytes."""
        return self.model.vocabulary.encoding == "bytes"

    def is_plain(self) -> bool:
        """Whether it is one model's, and nothing but the length ends it."""
        c = self.control
        return len(self.model.models) == 1 and not (c.stop or c.until_words or c.constraint)

    def writer(self) -> Callable[[str], None]:
        """Writes to standard output, harmless on a terminal."""
        if self.of_bytes:
            return byte_writer(self.output_encoding, raw=self.raw)
        return write if self.raw or not sys.stdout.isatty() else lambda text: write(visible(text))


def stream(job: Job) -> None:
    """One sample, each character as soon as it is certain."""
    put = job.writer()
    put(job.shown_prime)
    if job.colour is not None:
        _stream_coloured(job)
        return
    pieces = []
    for piece in _pieces(job):
        put(piece)
        pieces.append(piece)
    job.texts.append("".join(pieces))
    if sys.stdout.isatty() or not job.of_bytes:  # a pipe gets the bytes that were made, and no other
        put("\n")


def _pieces(job: Job) -> Any:
    from charrnn.sampling.draw import generate_text
    from charrnn.sampling.generate import generate

    c, model = job.control, job.model
    if job.is_plain():  # the short way is faster
        return generate_text(
            model.models[0], model.vocabulary, job.start, length=c.length, seed=job.seed, options=job.options
        )
    made = generate(model.models, model.vocabulary, job.start, seed=job.seed, control=c, options=job.options)
    return (character.text for _, character in made)


def _stream_coloured(job: Job) -> None:
    from charrnn.cli.views.colour import Painter, colours_wanted
    from charrnn.sampling.generate import generate

    painter, pieces = Painter(str(job.colour), enabled=colours_wanted()), []
    control = replace(job.control, measure=True)
    made = generate(
        job.model.models, job.model.vocabulary, job.start, seed=job.seed, control=control, options=job.options
    )
    for _, character in made:
        nats = character.nats if job.colour == "surprise" else character.entropy
        write(painter.paint(character.text, nats / _LN2))
        pieces.append(character.text)
    job.texts.append("".join(pieces))
    write("\n")
    sys.stderr.write(painter.legend())


def run_batch(job: Job, *, measure: bool) -> list[Sample]:
    """All samples at once; with `best_of` the likeliest a character, best first."""
    from charrnn.sampling.generate import generate

    samples: list[Sample] = []
    control = replace(job.control, measure=measure or bool(job.best_of))
    for _ in generate(
        job.model.models, job.model.vocabulary, job.start, seed=job.seed, control=control, options=job.options,
        num_samples=max(job.count, job.best_of), samples=samples,
    ):  # fmt: skip
        pass
    if job.best_of:
        samples.sort(key=lambda s: s.nats_per_char if s.characters else float("inf"))
    job.texts += [sample.text for sample in samples[: job.count]]
    return samples[: job.count]


def _plain_texts(job: Job) -> list[str]:
    """The texts of `run_batch` where nothing is measured or ends a sample early, without a look at each symbol."""
    import numpy as np

    from charrnn.data.vocabulary import TextDecoder
    from charrnn.sampling.draw import generate_ids

    steps = generate_ids(
        job.model.models[0], job.start, length=job.control.length, seed=job.seed, num_samples=job.count,
        options=job.options,
    )  # fmt: skip
    decoder = TextDecoder(job.model.vocabulary)  # one for all: `finish` leaves nothing behind
    made = [ids.copy() for ids in steps]
    rows = np.stack(made, axis=1).tolist() if made else [[]] * job.count
    return ["".join(map(decoder.feed, row)) + decoder.finish() for row in rows]


def write_batch(job: Job) -> None:
    """Several samples, one after the other."""
    from charrnn.cli.views.colour import Painter, colours_wanted

    painter = Painter(str(job.colour), enabled=colours_wanted())
    if job.colour is None and not job.best_of and job.is_plain():
        job.texts += _plain_texts(job)
        shown, put = job.texts, job.writer()
    elif job.colour is None:
        shown, put = [sample.text for sample in run_batch(job, measure=False)], job.writer()
    else:
        shown, put = [_painted(job.colour, s, painter) for s in run_batch(job, measure=True)], write
    for index, text in enumerate(shown):
        job.writer()((f"{job.separator}\n" if index else "") + job.shown_prime)
        put(text + "\n")
    if job.colour is not None:
        sys.stderr.write(painter.legend())


def _painted(colour: str, sample: Sample, painter: Painter) -> str:
    values = [(c.text, c.nats if colour == "surprise" else c.entropy) for c in sample.characters]
    return "".join(painter.paint(text, nats / _LN2) for text, nats in values)


def write_as_json(job: Job) -> None:
    """One object: every sample with every character's log-probability (nats) and the entropy there."""
    samples = run_batch(job, measure=True)
    write_json(
        {
            "seed": job.seed,
            "prime": job.shown_prime,
            "samples": [
                {
                    "text": sample.text,
                    **({"bytes": as_base64(sample.text)} if job.of_bytes else {}),
                    "finish": sample.finish,
                    "nats": sample.nats,
                    "bits_per_char": sample.nats_per_char / _LN2,
                    "characters": [
                        {"text": c.text, "logprob": -c.nats, "entropy": c.entropy} for c in sample.characters
                    ],
                }
                for sample in samples
            ],
        }
    )


def write_beams(job: Job, width: int, penalty: float, *, as_json: bool) -> None:
    """The likeliest continuations that a beam search finds, as many as samples are wanted."""
    from charrnn.data.vocabulary import TextDecoder
    from charrnn.sampling.beam import beam_search

    vocabulary = job.model.vocabulary
    ends = [int(k) for text in job.control.stop for k in vocabulary.encode(text, what="--stop", unknown="skip")]
    found = beam_search(
        job.model.models, job.start, length=job.control.length, width=max(width, job.count), length_penalty=penalty,
        ends=ends, banned=job.options.banned(),
    )[: job.count]  # fmt: skip
    beams = []
    for hypothesis in found:
        decoder = TextDecoder(vocabulary)
        pieces = [decoder.feed(symbol) for symbol in hypothesis.ids]
        characters = [{"text": t, "logprob": -x} for t, x in zip(pieces, hypothesis.nats, strict=True)]
        text = "".join(pieces) + decoder.finish()
        raw = {"bytes": as_base64(text)} if job.of_bytes else {}
        beams.append(
            {"text": text, **raw, "nats": sum(hypothesis.nats), "score": hypothesis.score, "characters": characters}
        )
    job.texts += [str(beam["text"]) for beam in beams]
    if as_json:
        write_json({"prime": job.shown_prime, "beams": beams})
        return
    put = job.writer()
    for index, text in enumerate(job.texts):
        put((f"{job.separator}\n" if index else "") + job.shown_prime + text + "\n")


def tell_copied(job: Job, corpus: list[str] | None = None) -> None:
    """On standard error: which share of all samples' n-grams the model has seen."""
    from charrnn.cli.text_options import parts_of
    from charrnn.cli.views.memorised import facts, percent

    loaded = job.model.checkpoints[0]
    found = facts(loaded.vocabulary.encode("".join(job.texts)), parts_of(loaded, corpus)["train"], loaded)
    shares = ", ".join(f"{percent(share)} of {n}" for n, share in found["shares"].items() if share == share)
    sys.stderr.write(
        f"n-grams that stand in the training text: {shares} characters; longest piece: {found['longest']} characters\n"
    )
