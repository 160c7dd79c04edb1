"""Whether samples begin well: `python -m benchmarks.starts CKPT... [--text FILE]`.

For each model, samples of 300 characters at temperatures from 0.5 to 1 after prompts of 0, 1, 2 and 5 characters of the
training text, 1,000 in all. Two things are judged.

None may derail: the mean surprise of no 50 characters in a row may exceed twice the validation loss plus 1 nat, neither
to the network that writes nor to the same network that has read the real text instead of a sample's start.

And the first 20 characters must be as surprising as they should be, within 0.3 bits: as those of other samples, at the
same temperatures and after the same prompts, that begin in the state in which the real text leaves the network. This
text ends where the checkpoint's opening does, or else at line ends anywhere: column "begins". The plain difference to
the characters 200 to 220 is shown beside it, also for the samples at temperature 1 alone. It depends as well on what
comes after such a place (names of speakers are easy to guess), and on what becomes of a text at a low temperature
(blanks and nothing else).
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from charrnn.api import TrainedModel, load
from charrnn.data.vocabulary import default_prime
from charrnn.evaluation.loss import evaluate
from charrnn.evaluation.reading import Reader, state_before
from charrnn.nn.head import log_softmax
from charrnn.nn.params import Array, IdArray
from charrnn.runs.kernels import speed_up_reading
from charrnn.runs.start import TextStepper
from charrnn.runs.text import corpus_parts
from charrnn.sampling.draw import Sampler

LENGTH, BEGINNING, PROMPTS = 300, 20, (0, 1, 2, 5)
TEMPERATURES = np.array([0.5, 0.7, 0.85, 1.0])
_BEFORE = 300  # characters of the real text that are read before a place, from a state that it left elsewhere
_SURE = 20_000  # of the validation part, for its loss

Ids = npt.NDArray[np.intp]
Begun = tuple[TextStepper, Array]  # of B streams, and the logits of what follows


def worst_window(nats: np.ndarray, width: int = 50) -> np.ndarray:
    """(T, N) nats -> (N,) the largest mean of `width` in a row."""
    means = np.lib.stride_tricks.sliding_window_view(nats, width, axis=0).mean(axis=-1)
    worst: np.ndarray = means.max(axis=0)
    return worst


class Beginnings:
    """The two ways in which a model's samples begin here.

    Args:
        model: one network.
        train: its training text.
        cold: ours begin from the zero state.
    """

    def __init__(self, model: TrainedModel, train: IdArray, *, cold: bool) -> None:
        self._text, self._cold = model.text_model, cold
        self._reader = Reader(model.models[0], train, separator=self._text.separator)
        lead = self._text.starts[0].lead
        self._end, self._places = _places_after(
            train,
            np.asarray(model.checkpoints[0].opening, np.intp),
            lead if len(lead) else default_prime(model.vocabulary),
        )
        # As evaluation finds it, which owes nothing to how samples begin.
        first = int(self._places[-1]) - len(self._end) - _BEFORE
        self._sound = state_before(model.models[0], train[first:], train[:first], separator=self._text.separator)

    def ours(self, prompts: Ids) -> Begun:
        """As `charrnn sample` begins after each of the (P, B) prompts."""
        size, columns = prompts.shape
        if self._cold and size:  # nothing comes before a prompt
            stepper, logits = TextStepper(self._text.models, columns, self._text.separator), np.empty(0)
        else:
            stepper, logits = self._text.begin(batch_size=columns)
        return stepper, _fed(stepper, logits, prompts)

    def after_real_text(self, prompts: Ids, rng: np.random.Generator) -> Begun:
        """After the training text up to some place, and then each of the (P, B) prompts."""
        columns = prompts.shape[1]
        stepper = TextStepper(self._text.models, columns, self._text.separator)
        state = [np.repeat(layer, columns, axis=2) for layer in self._sound]
        first = rng.choice(self._places, columns) - len(self._end) - _BEFORE
        for begin in range(0, _BEFORE, 50):
            self._reader.skip(first + begin, 50, state)
        stepper.state = state
        end = np.repeat(self._end[:, None], columns, axis=1)
        return stepper, _fed(stepper, np.empty(0), np.concatenate((end, prompts)))


def _places_after(text: IdArray, opening: Ids, lead: npt.NDArray[np.integer]) -> tuple[Ids, Ids]:
    """What is read last, and the places after it: the end of the opening, or of all leads."""
    if len(opening):
        tail = text[-8 * len(opening) :]
        found = np.all(np.lib.stride_tricks.sliding_window_view(tail, len(opening)) == opening, axis=1)
        if found.any():
            return opening[-2:], np.flatnonzero(found)[-1:] + len(text) - len(tail) + len(opening)
    found = np.all(np.lib.stride_tricks.sliding_window_view(text, len(lead)) == lead, axis=1)
    places = np.flatnonzero(found) + len(lead)
    return lead.astype(np.intp), places[places > 2 * _BEFORE]


def _fed(stepper: TextStepper, logits: Array, rows: Ids) -> Array:
    for ids in rows:
        logits = stepper.step(ids)
    return logits


def write(begun: Begun, length: int, seed: int) -> tuple[Ids, np.ndarray]:
    """Samples, at each temperature in turn: (T, B) ids and (T, B) nats to the writer."""
    stepper, logits = begun
    columns = np.arange(stepper.batch_size)
    temperatures = np.resize(TEMPERATURES, len(columns))
    sampler = Sampler(len(logits), len(columns), seed=seed)
    ids, nats = np.empty((length, len(columns)), np.intp), np.empty((length, len(columns)))
    for step in range(length):
        ids[step] = sampler.sample(logits / temperatures)
        nats[step] = -log_softmax(logits)[ids[step], columns]
        logits = stepper.step(ids[step])
    return ids, nats


def read(begun: Begun, ids: Ids) -> np.ndarray:
    """(T, B) nats of the ids to another reader."""
    stepper, logits = begun
    nats, columns = np.empty(ids.shape), np.arange(stepper.batch_size)
    for step, row in enumerate(ids):
        nats[step] = -log_softmax(logits)[row, columns]
        logits = stepper.step(row)
    return nats


@dataclass
class Found:
    """What samples of one model are like.

    Attributes:
        loss: of its validation part, nats.
        worst: nats per character of the worst 50, to the writer.
        worst_read: to the reader.
        derailed: samples.
        later: bits that the first characters of all samples are more surprising than the later ones.
        later_plain: the same at temperature 1.
        begins: for each length of prompts, bits that they are more surprising than those that follow the real text.
    """

    loss: float
    worst: float
    worst_read: float
    derailed: int
    later: float
    later_plain: float
    begins: list[float]

    @property
    def limit(self) -> float:
        """Nats per character above which 50 characters are derailed."""
        return 2 * self.loss + 1

    @property
    def good(self) -> bool:
        """Whether both demands are met."""
        return self.derailed == 0 and all(abs(bits) <= 0.3 for bits in self.begins)

    def row(self) -> list[str]:
        """Of the table."""
        return [
            f"{self.loss:.3f}", f"{self.limit:.2f}", f"{self.worst:.2f}", f"{self.worst_read:.2f}", str(self.derailed),
            f"{self.later:+.2f}", f"{self.later_plain:+.2f}", ", ".join(f"{bits:+.2f}" for bits in self.begins),
        ]  # fmt: skip


HEADER = (
    "model", "nats", "limit", "worst 50", "read again", "derailed", "later", "at 1.0", "begins (prompts of 0, 1, 2, 5)",
)  # fmt: skip


def judge(beginnings: Beginnings, text: IdArray, count: int, loss: float) -> Found:
    """Write `count` samples after prompts of each length, drawn from the text."""
    each, again, begins = [], [], []
    for size in PROMPTS:
        rng = np.random.default_rng(size)
        at = rng.integers(0, len(text) - size, count).repeat(len(TEMPERATURES))[:count]  # each at all temperatures
        prompts = text[at[None, :] + np.arange(size)[:, None]].astype(np.intp).reshape(size, count)
        ids, nats = write(beginnings.ours(prompts), LENGTH, seed=size)
        _, real = write(beginnings.after_real_text(prompts, rng), BEGINNING, seed=size)
        each.append(nats)
        again.append(read(beginnings.after_real_text(prompts, rng), ids))
        begins.append(float(nats[:BEGINNING].mean() - real.mean()) / math.log(2))
    own = np.stack(each, axis=2)
    plain = own[:, np.resize(TEMPERATURES, count) == 1.0]
    later, at_one = (float(x[:BEGINNING].mean() - x[200:220].mean()) / math.log(2) for x in (own, plain))
    worst, worst_read = worst_window(np.concatenate(each, axis=1)), worst_window(np.concatenate(again, axis=1))
    derailed = int((np.maximum(worst, worst_read) > 2 * loss + 1).sum())
    return Found(loss, float(worst.max()), float(worst_read.max()), derailed, later, at_one, begins)


def measure(path: Path, corpus: Sequence[str], count: int, *, cold: bool) -> Found:
    """Load a model and its text, and judge its samples."""
    model = load(path, cold=cold)
    parts = corpus_parts(model.checkpoints[0], corpus)
    train, val = parts["train"], parts["val"]
    speed_up_reading(model.checkpoints, model.models, 2 * count * LENGTH)
    loss = evaluate(model.models[0], val[:_SURE], separator=model.text_model.separator, before=train).loss
    return judge(Beginnings(model, train, cold=cold), train, count // len(PROMPTS), loss)


def main() -> int:
    """Print a line for each model, which can go into a table; 1 where one fails."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoints", nargs="+", type=Path)
    parser.add_argument("--text", action="append", default=[], help="where a model's text is, if it has moved")
    parser.add_argument("--samples", type=int, default=1000, help="per model")
    parser.add_argument("--cold", action="store_true", help="begin from the zero state, for comparison")
    args = parser.parse_args()
    good = True
    print("", *HEADER, "", sep=" | ")
    for path in args.checkpoints:
        started = time.process_time()
        found = measure(path, args.text, args.samples, cold=args.cold)
        print("", path.stem, *found.row(), "", sep=" | ", flush=True)
        print(f"{path}: {time.process_time() - started:.0f} s", file=sys.stderr)
        good &= found.good
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
