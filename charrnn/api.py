"""A trained model in a few lines of Python.

import charrnn

model = charrnn.load("checkpoints/quickstart")
print("".join(model.sample("The ", length=200, temperature=0.7, seed=1)))
print(model.evaluate("Names are bound to objects.").bits_per_char)
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from charrnn.data.vocabulary import Vocabulary, default_prime
from charrnn.errors import CheckpointError
from charrnn.evaluation.loss import Score
from charrnn.nn.network import CharRNN
from charrnn.runs.checkpoint import Checkpoint, find_checkpoint, load_checkpoint
from charrnn.sampling.generate import Control, Sample, generate
from charrnn.sampling.options import SamplerOptions


class TrainedModel:
    """One checkpoint, or several of one vocabulary whose probabilities are averaged.

    Args:
        checkpoints: at least one.

    Attributes:
        checkpoints: what was given.
        vocabulary: of all of them.
        models: the networks.

    Raises:
        CheckpointError: different vocabularies.
    """

    def __init__(self, checkpoints: Sequence[Checkpoint]) -> None:
        self.checkpoints = list(checkpoints)
        self.vocabulary: Vocabulary = self.checkpoints[0].vocabulary
        if any(c.vocabulary != self.vocabulary for c in self.checkpoints):
            raise CheckpointError(
                "these models have different vocabularies, so their probabilities cannot be averaged",
                hint="train them on the same text, or with `init_from` on texts of the same characters",
            )
        self.models: list[CharRNN] = [c.build_model() for c in self.checkpoints]

    def sample(
        self, prime: str = "", *, length: int = 500, seed: int = 0, stop: Sequence[str] = (), **options: Any
    ) -> Iterator[str]:
        """Continue a text, character by character.

        Args:
            prime: the text; its characters must be known to the model.
            length: characters at most.
            seed: same seed, same text.
            stop: texts at which it ends.
            options: fields of `SamplerOptions`, such as temperature=0.7 or top_p=0.9.

        Yields:
            What has been made, without the prime.

        Raises:
            DataError: characters of the prime that the model does not know.
            SettingsError: options that are not possible.
        """
        ids = self.vocabulary.encode(prime, what="the prime")
        start = ids if len(ids) else default_prime(self.vocabulary)
        control = Control(length=length, stop=tuple(stop))
        chosen = SamplerOptions(**options)
        pieces = generate(self.models, self.vocabulary, start, seed=seed, control=control, options=chosen)
        return (character.text for _, character in pieces if character.text)

    def samples(self, count: int, prime: str = "", *, length: int = 500, seed: int = 0, **options: Any) -> list[Sample]:
        """`count` samples at once, with nats and entropy of every character; see `sample`."""
        ids = self.vocabulary.encode(prime, what="the prime")
        start = ids if len(ids) else default_prime(self.vocabulary)
        made: list[Sample] = []
        control, chosen = Control(length=length, measure=True), SamplerOptions(**options)
        for _ in generate(
            self.models, self.vocabulary, start, seed=seed, control=control, options=chosen, num_samples=count,
            samples=made,
        ):  # fmt: skip
            pass
        return made

    def logprobs(self, text: str) -> npt.NDArray[np.float64]:
        """(N - 1,) natural logarithms of the probability of each character after the first, given those before it.

        Raises:
            DataError: characters that the model does not know.
        """
        return -self._nats(text)

    def evaluate(self, text: str) -> Score:
        """Nats, bits per character and perplexity of a text read from its beginning, its documents apart."""
        nats = self._nats(text)
        return Score(float(nats.sum()), nats.size)

    def _nats(self, text: str) -> npt.NDArray[np.float64]:
        from charrnn.evaluation.loss import mixed_surprisals
        from charrnn.runs.text import separator_ids

        separator = separator_ids(self.checkpoints[0].config.corpus, self.vocabulary)
        return mixed_surprisals(self.models, self.vocabulary.encode(text), separator=separator)


def load(*paths: str | Path) -> TrainedModel:
    """A trained model from a checkpoint or run directory; from several, their average; from none, the newest run.

    Raises:
        CheckpointError: no checkpoint there, a damaged one, or different vocabularies.
    """
    found: list[Path | None] = [Path(path) for path in paths]
    return TrainedModel([load_checkpoint(find_checkpoint(path)) for path in found or [None]])
