"""A trained model: it generates and scores texts and predicts the next character."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from copy import copy
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from charrnn.data.decoding import TextRules
from charrnn.data.vocabulary import UNKNOWN_HINT, Vocabulary
from charrnn.errors import CheckpointError, DataError, SettingsError
from charrnn.evaluation.loss import Score
from charrnn.nn.network import CharRNN
from charrnn.nn.params import IdArray
from charrnn.runs.checkpoint import Checkpoint, find_checkpoint, load_checkpoint
from charrnn.runs.start import TextModel, text_model
from charrnn.sampling.generate import Request, Sample, StopConditions, generate, generate_samples
from charrnn.sampling.options import SamplingOptions, check_whole

if TYPE_CHECKING:
    from charrnn.evaluation.mixture import Mixture


class NextChar(NamedTuple):
    r"""A character that may come next.

    Attributes:
        text: the character; a byte that is no character by itself as `\xff`.
        probability: of it.
    """

    text: str
    probability: float


class TrainedModel:
    """One checkpoint, or several of one vocabulary whose probabilities are averaged.

    A prompt is text to continue; without one, a text begins as texts did in training; see `charrnn.runs.start`.

    Args:
        checkpoints: at least one.
        cold: begin texts from the bare zero state, which training hardly saw.

    Attributes:
        checkpoints: what was given.
        vocabulary: of all of them.
        models: the networks.
        mixture: n-gram counts mixed with the networks; see `with_ngram`.

    Raises:
        CheckpointError: different vocabularies or ends of documents.
    """

    def __init__(self, checkpoints: Sequence[Checkpoint], *, cold: bool = False) -> None:
        self.checkpoints, self._cold = list(checkpoints), cold
        self.mixture: Mixture | None = None
        self.vocabulary: Vocabulary = self.checkpoints[0].vocabulary
        if any(c.vocabulary != self.vocabulary for c in self.checkpoints):
            raise CheckpointError(
                "these models have different vocabularies, so their probabilities cannot be averaged",
                hint="train them on the same text, or with `init_from` on texts of the same characters",
            )
        if len({c.config.corpus.document_separator for c in self.checkpoints}) > 1:
            raise CheckpointError(
                "these models end documents differently, so their probabilities cannot be averaged",
                hint="train them with the same corpus.documents and corpus.document_separator",
            )
        self.models: list[CharRNN] = [c.build_model() for c in self.checkpoints]

    def __repr__(self) -> str:
        """What it is: cell, size, text and how well it predicts.

        Example:
            >>> charrnn.load("tiny")
            <TrainedModel: gru 1 x 24, 3,473 parameters, 17 symbols, trained on ...tiny.txt, best validation loss ...>
        """
        parts = []
        for c, model in zip(self.checkpoints, self.models, strict=True):
            m, loss = c.config.model, c.counters.get("best_val_loss")
            parts.append(
                f"{m.cell} {m.num_layers} x {m.hidden_size}, {model.params.size:,} parameters, {len(c.vocabulary)} "
                f"symbols, trained on {c.config.corpus.source}"
                + (f", best validation loss {loss:.3f} nats" if isinstance(loss, float) else "")
            )
        return f"<TrainedModel: {'; '.join(parts)}>"

    @cached_property
    def text_model(self) -> TextModel:
        """The networks and where their texts begin, as the functions of `charrnn.sampling` take them."""
        return replace(text_model(self.checkpoints, self.models, cold=self._cold), companion=self.mixture)

    def with_ngram(self, corpus: Sequence[str] = (), *, longest: int | None = None) -> TrainedModel:
        """The same networks, mixed with n-gram counts of their training text; see `charrnn.evaluation.mixture`.

        Args:
            corpus: where the training text is now, if it has moved.
            longest: most characters of context to count; None: 16.

        Raises:
            DataError: the training text is missing, or has no validation part to weigh the counts on.

        Example:
            >>> model = charrnn.load("tiny")
            >>> model.with_ngram().evaluate("the cat sat.").loss < model.evaluate("the cat sat.").loss
            True
        """
        from charrnn.evaluation.mixture import learn_mixture
        from charrnn.runs.text import corpus_parts

        loaded = self.checkpoints[0]
        parts = corpus_parts(loaded, corpus)
        if len(parts["val"]) < 2 or not len(parts["train"]):
            where = loaded.config.corpus.title
            raise DataError(
                f"{where}: no validation part from which to learn the weights of the n-gram mixture",
                hint="train with a corpus.val_fraction above 0",
            )
        out = copy(self)
        out.__dict__.pop("text_model", None)  # made anew, with the mixture
        separator = self.text_model.separator
        out.mixture = learn_mixture(out.models, parts["train"], parts["val"], separator, longest=longest)
        return out

    def generate(
        self, prompt: str = "", *, length: int = 500, seed: int = 0, stop: str | Sequence[str] = (), **options: Any
    ) -> str:
        """Continue a text.

        Args:
            prompt: the text; its characters must be known to the model.
            length: characters at most.
            seed: same seed, same text.
            stop: text at which it ends, or several.
            options: fields of `SamplingOptions`, such as temperature=0.7 or top_p=0.9.

        Returns:
            What was written, without the prompt.

        Raises:
            DataError: characters of the prompt that the model does not know.
            SettingsError: a length, seed, stop or option that is not possible.

        Example:
            >>> model = charrnn.load("tiny")
            >>> text = model.generate("the ", length=40, temperature=0.5, seed=1)
            >>> text == model.generate("the ", length=40, temperature=0.5, seed=1)
            True
        """
        return "".join(self.stream(prompt, length=length, seed=seed, stop=stop, **options))

    def stream(
        self, prompt: str = "", *, length: int = 500, seed: int = 0, stop: str | Sequence[str] = (), **options: Any
    ) -> Iterator[str]:
        """The same, one character at a time; see `generate`.

        Example:
            >>> model = charrnn.load("tiny")
            >>> for character in model.stream("the ", length=3, seed=1):
            ...     print(len(character))
            1
            1
            1
        """
        made = generate(self.text_model, self._request(prompt, length, seed, stop, options))
        return (character.text for _, character in made if character.text)

    def generate_many(
        self,
        count: int,
        prompt: str = "",
        *,
        length: int = 500,
        seed: int = 0,
        stop: str | Sequence[str] = (),
        **options: Any,
    ) -> list[Sample]:
        """Several texts at once, with the surprise and entropy of every character; see `generate`.

        Example:
            >>> samples = charrnn.load("tiny").generate_many(3, "the ", length=20)
            >>> [len(sample.text) for sample in samples], samples[0].finish_reason
            ([20, 20, 20], 'length')
        """
        return generate_samples(
            self.text_model, self._request(prompt, length, seed, stop, options, num_samples=count, measure=True)
        )

    def items(
        self, count: int, prompt: str = "", *, length: int = 500, seed: int = 0, unique: bool = False, **options: Any
    ) -> Iterator[str]:
        """Whole documents, prompt included, if the model was trained on documents; otherwise whole lines.

        Args:
            count: items wanted; fewer come if the model can offer no more.
            prompt: with which each begins.
            length: characters at most; an item that reaches it is left out.
            seed: same seed, same items.
            unique: none twice.
            options: fields of `SamplingOptions`.

        Example:
            >>> list(charrnn.load("names").items(2, seed=3, unique=True))
            ['...', '...']
        """
        from charrnn.sampling.items import generate_items

        check_whole("count", count, low=0)
        request = self._request(prompt, length, seed, (), options)
        made = generate_items(self.text_model, request, count, unique=unique)
        return (prompt + sample.text for sample in made)

    def _request(
        self, prompt: str, length: int, seed: int, stop: str | Sequence[str], options: dict[str, Any], **more: Any
    ) -> Request:
        stops = (stop,) if isinstance(stop, str) else tuple(stop)
        return Request(
            self._encode(prompt, "the prompt"), seed, StopConditions(length, stops), SamplingOptions(**options), **more
        )

    @cached_property
    def rules(self) -> TextRules:
        """How the texts of training became symbols; prompts and other texts follow them."""
        return TextRules.of(self.checkpoints[0].config.corpus)

    def _encode(self, text: str, what: str) -> IdArray:
        try:
            return self.vocabulary.encode(self.rules.convert(text), what=what)
        except DataError as error:
            hint = error.hint and error.hint.replace(UNKNOWN_HINT, "leave out what it does not know")
            raise DataError(error.message, hint=hint) from None

    def next(self, prompt: str = "", *, top: int = 10) -> list[NextChar]:
        """The most likely next characters, most likely first.

        Args:
            prompt: what was written before; empty for the first character of a text.
            top: how many.

        Raises:
            DataError: characters of the prompt that the model does not know.

        Example:
            >>> for text, probability in charrnn.load("tiny").next("the ", top=2):
            ...     print(repr(text), round(probability, 2))
            '...' 0...
            '...' 0...
        """
        from charrnn.nn.head import log_softmax

        check_whole("top", top, low=1)
        _, logits = self.text_model.begin(self._encode(prompt, "the prompt"))
        p = np.exp(log_softmax(logits)[:, 0])
        best = np.argsort(-p, kind="stable")[:top]
        texts = [self.vocabulary.decode([k]) for k in best]
        return [
            NextChar(t if isinstance(t, str) else t.decode("utf-8", "backslashreplace"), float(p[k]))
            for k, t in zip(best, texts, strict=True)
        ]

    def score(self, text: str, prompt: str = "") -> Score:
        """How surprising a whole text is after a prompt, its first character included.

        For a model of documents the text is a document, and its end is scored too, so that "anna" and "annabel"
        compare fairly.

        Raises:
            DataError: characters that the model does not know.

        Example:
            >>> model = charrnn.load("tiny")
            >>> model.score("the cat").loss < model.score("tac eht").loss
            True
        """
        from charrnn.evaluation.scoring import candidate_nats

        ids, end = self._encode(text, "the text"), self.text_model.separator
        (nats,) = candidate_nats(self.text_model, self._encode(prompt, "the prompt"), [ids], end=end)
        return Score(nats, len(ids) + (0 if end is None else len(end)))

    def evaluate(self, text: str) -> Score:
        """Nats, bits per character and perplexity of a text read from its beginning, as `charrnn eval` reads a file.

        Its first character is not scored; `score` compares whole texts.

        Example:
            >>> 0 < charrnn.load("tiny").evaluate("the cat sat.").bits_per_char < 8
            True
        """
        nats = self._nats(text)
        return Score(float(nats.sum()), nats.size)

    def logprobs(self, text: str) -> npt.NDArray[np.float64]:
        """(N - 1,) natural logarithms of the probability of each character after the first, given those before it.

        Example:
            >>> charrnn.load("tiny").logprobs("the cat").shape
            (6,)
        """
        return -self._nats(text)

    def _nats(self, text: str) -> npt.NDArray[np.float64]:
        from charrnn.evaluation.loss import mixed_surprisals

        ids = self._encode(text, "the text")
        nats = mixed_surprisals(self.models, ids, separator=self.text_model.separator)
        return nats if self.mixture is None else self.mixture.nats(nats, ids)

    def export(self, output: str | Path, format: str | None = None) -> list[Path]:
        """Write the model in another format.

        Args:
            output: the file.
            format: a key of `charrnn.formats.EXPORTERS`; None goes by the file's suffix.

        Returns:
            The files written.

        Raises:
            SettingsError: no such format or not that of the suffix, several models, or a file that cannot be written.
            MissingExtraError: a package that the format needs is missing.

        Example:
            >>> charrnn.load("tiny").export("tiny.html")
            [PosixPath('tiny.html')]
        """
        from charrnn.files import writing
        from charrnn.formats import exporter, format_of

        if self.mixture is not None:
            raise SettingsError("n-gram counts cannot be exported", hint="export the network alone")
        if len(self.checkpoints) > 1:
            raise SettingsError("several models cannot be exported as one", hint="export one checkpoint at a time")
        write = exporter(format_of(Path(output), format))
        with writing(Path(output)):
            return write(self.checkpoints[0], Path(output))

    sample, samples = stream, generate_many  # their names before


def load(*paths: str | Path, cold: bool = False) -> TrainedModel:
    """A trained model from a checkpoint or run directory; from several, their average; from none, the newest run.

    Args:
        paths: of checkpoints or run directories.
        cold: begin texts from the bare zero state, which training hardly saw.

    Raises:
        CheckpointError: no checkpoint there, a damaged one, or different vocabularies.

    Example:
        >>> charrnn.load("tiny", "tiny").generate(length=5, seed=1) == charrnn.load("tiny").generate(length=5, seed=1)
        True
    """
    found: list[Path | None] = [Path(path) for path in paths]
    return TrainedModel([load_checkpoint(find_checkpoint(path)) for path in found or [None]], cold=cold)
