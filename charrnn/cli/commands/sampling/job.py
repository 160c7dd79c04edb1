"""What `charrnn sample` does once its flags are read: a stream, a batch, items, JSON, beams."""

from __future__ import annotations

import contextlib
import sys
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from charrnn.cli.byte_output import as_base64, byte_writer
from charrnn.cli.output import on_terminal, tell, write, write_json, write_raw

if TYPE_CHECKING:
    from charrnn.api import TrainedModel
    from charrnn.cli.views.colour import Painter
    from charrnn.nn.params import IdArray
    from charrnn.sampling.generate import Request, Sample, StopConditions
    from charrnn.sampling.options import SamplingOptions

_LN2 = 0.6931471805599453


@dataclass
class Job:
    """Everything a sample depends on, and how it is shown.

    Attributes:
        model: one model or several.
        options: filters and temperature.
        prime: (P,) ids, perhaps none.
        stop: when samples end.
        seed: of all draws.
        count: samples to show.
        best_of: samples to make for that, if more.
        separator: line between two samples.
        include_prime: write the prime first.
        raw: control characters unchanged, even on a terminal.
        colour: "surprise", "entropy" or None.
        output_encoding: of a model of bytes, for a terminal.
        keep: whether `texts` is used later; a text may have no end.
        texts: the generated texts, for later use.
    """

    model: TrainedModel
    options: SamplingOptions
    prime: IdArray
    stop: StopConditions
    seed: int
    count: int = 1
    best_of: int = 0
    separator: str = "---"
    include_prime: bool = True
    raw: bool = False
    colour: str | None = None
    output_encoding: str = "utf-8"
    keep: bool = True
    texts: list[str] = field(default_factory=list)

    @property
    def shown_prime(self) -> str:
        """What is written before a sample."""
        text = self.model.vocabulary.decode(self.prime) if self.include_prime else ""
        return text if isinstance(text, str) else text.decode("utf-8", "surrogateescape")

    @property
    def of_bytes(self) -> bool:
        """Whether symbols are bytes."""
        return self.model.vocabulary.encoding == "bytes"

    def request(self, **changes: Any) -> Request:
        """What the generator is asked for: one sample, unless `changes` say otherwise."""
        from charrnn.sampling.generate import Request

        return replace(Request(self.prime, self.seed, self.stop, self.options), **changes)

    def writer(self) -> Callable[[str], None]:
        """Writes to standard output, harmless on a terminal."""
        if self.of_bytes:
            return byte_writer(self.output_encoding, raw=self.raw)
        return write_raw if self.raw else write


def speed_up(job: Job) -> None:
    """Take compiled kernels for a long text."""
    from charrnn.cli.views.progress import byte_progress
    from charrnn.runs.kernels import speed_up_writing

    with byte_progress("compiling kernels", "kernel") as tick:
        loaded, streams = job.model, max(job.count, job.best_of)
        speed_up_writing(loaded.checkpoints, loaded.models, job.stop.length, streams, tick=tick)


def stream(job: Job) -> None:
    """One sample, each character as soon as it is certain."""
    from charrnn.sampling.generate import generate

    put = job.writer()
    put(job.shown_prime)
    if job.colour is not None:
        _stream_coloured(job)
        return
    pieces: deque[str] = deque(maxlen=None if job.keep else 0)
    for _, character in generate(job.model.text_model, job.request()):
        put(character.text)
        pieces.append(character.text)
    job.texts.append("".join(pieces))
    if on_terminal() or not job.of_bytes:  # a pipe gets the bytes that were made, and no other
        put("\n")


def _stream_coloured(job: Job) -> None:
    from charrnn.cli.views.colour import Painter, colours_wanted
    from charrnn.sampling.generate import generate

    painter = Painter(str(job.colour), enabled=colours_wanted())
    pieces: deque[str] = deque(maxlen=None if job.keep else 0)
    for _, character in generate(job.model.text_model, job.request(measure=True)):
        nats = character.nats if job.colour == "surprise" else character.entropy
        write_raw(painter.paint(character.text, nats / _LN2))
        pieces.append(character.text)
    job.texts.append("".join(pieces))
    write("\n")
    sys.stderr.write(painter.legend())


def run_batch(job: Job) -> list[Sample]:
    """All samples at once, measured; with `best_of` those most likely per character, best first."""
    from charrnn.sampling.generate import generate_samples

    wanted = job.request(num_samples=max(job.count, job.best_of), measure=True)
    samples = generate_samples(job.model.text_model, wanted)
    if job.best_of:
        samples.sort(key=lambda s: s.nats_per_char if s.characters else float("inf"))
    job.texts += [sample.text for sample in samples[: job.count]]
    return samples[: job.count]


def write_batch(job: Job) -> None:
    """Several samples, one after the other."""
    from charrnn.cli.views.colour import Painter, colours_wanted
    from charrnn.sampling.generate import generate_texts

    painter = Painter(str(job.colour), enabled=colours_wanted())
    if job.colour is None and not job.best_of:
        job.texts += generate_texts(job.model.text_model, job.request(num_samples=job.count))
        shown, put = job.texts, job.writer()
    elif job.colour is None:
        shown, put = [sample.text for sample in run_batch(job)], job.writer()
    else:
        shown, put = [_painted(job.colour, s, painter) for s in run_batch(job)], write_raw
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
    samples = run_batch(job)
    write_json(
        {
            "seed": job.seed,
            "prime": job.shown_prime,
            "samples": [
                {
                    "text": sample.text,
                    **({"bytes": as_base64(sample.text)} if job.of_bytes else {}),
                    "finish_reason": sample.finish_reason,
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
    """The most likely continuations that a beam search finds, as many as samples are wanted."""
    from charrnn.data.vocabulary import TextDecoder
    from charrnn.sampling.beam import beam_search

    vocabulary = job.model.vocabulary
    found = beam_search(
        job.model.text_model, job.prime, length=job.stop.length, width=max(width, job.count), length_penalty=penalty,
        ends=_ends(job), banned=job.options.banned(),
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


def _ends(job: Job) -> list[int]:
    """Ids at which a beam ends."""
    from charrnn.errors import DataError, SettingsError

    ends = []
    for text in job.stop.stop:
        with contextlib.suppress(DataError):  # it holds what the model cannot write
            ends.append(job.model.vocabulary.encode(text))
    if any(len(ids) > 1 for ids in ends):
        unit = "bytes" if job.of_bytes else "characters"
        raise SettingsError(f"--beam ends at single {unit} only", hint="a shorter --stop, or --stop-on-newline")
    return [int(ids[0]) for ids in ends]


def tell_copied(job: Job, source: IdArray) -> None:
    """On standard error: which share of all samples' n-grams the model has seen in the (M,) training part."""
    from charrnn.cli.views.memorised import facts, percent

    vocabulary = job.model.vocabulary
    found = facts([vocabulary.encode(text) for text in job.texts] or [source[:0]], source, vocabulary)
    shares = ", ".join(f"{percent(share)} of {n}" for n, share in found["shares"].items() if share == share)
    said = f"n-grams that occur in the training text: {shares} characters; " if shares else "of the training text, "
    tell(f"{said}longest piece: {found['longest']} characters")
