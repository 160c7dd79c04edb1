"""Whether samples begin well: `python -m benchmarks.starts CKPT... --text FILE`.

For each model, samples of 300 characters at temperatures from 0.5 to 1 after prompts of 0, 1, 2 and 5 characters of the
text. None may derail: the mean surprise of no 50 characters in a row may exceed twice the validation loss plus 1 nat,
neither to the network that writes nor to the same network reading it after a piece of the real text. And the first 20
characters must be as surprising as those from 200 to 220, within 0.3 bits.
"""

from __future__ import annotations

import argparse
import math
import sys
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from charrnn.api import TrainedModel, load
from charrnn.evaluation.scoring import text_nats
from charrnn.nn.params import IdArray
from charrnn.sampling.generate import Request, StopConditions, generate_samples
from charrnn.sampling.options import SamplingOptions

LENGTH, TEMPERATURES, PROMPTS = 300, (0.5, 0.7, 0.85, 1.0), (0, 1, 2, 5)
_PLACES = 7  # prompts of each length and temperature
_BEFORE = 200  # characters of the text that the second reader reads first


def worst_window(nats: np.ndarray, width: int = 50) -> np.ndarray:
    """(T, N) nats -> (N,) the largest mean of `width` in a row."""
    sums = np.cumsum(np.pad(nats, ((1, 0), (0, 0))), axis=0)
    means: np.ndarray = ((sums[width:] - sums[:-width]) / width).max(axis=0)
    return means


def written(model: TrainedModel, text: IdArray, count: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    """(T, N) nats of about `count` samples after prompts of `size`, to the writer and to the second reader."""
    rng, own, reread = np.random.default_rng(size), [], []
    for temperature in TEMPERATURES:
        for place in rng.integers(_BEFORE, len(text) - 10, _PLACES if size else 1):
            each = max(1, count // len(TEMPERATURES) // (_PLACES if size else 1))
            request = Request(
                text[place : place + size], int(place), StopConditions(LENGTH), SamplingOptions(temperature), each,
                measure=True,
            )  # fmt: skip
            samples = generate_samples(model.text_model, request)
            own.append(np.array([[c.nats for c in s.characters] for s in samples]).T)
            ids = np.array([model.vocabulary.encode(s.text) for s in samples]).T
            reread.append(text_nats(model.text_model, ids, text[place - _BEFORE : place + size]))
    return np.concatenate(own, axis=1), np.concatenate(reread, axis=1)


def judge(
    model: TrainedModel, text: IdArray, count: int, loss: float
) -> list[tuple[int, int, float, float, int, float]]:
    """For each prompt length: samples, worst 50 characters to the writer and to the reader, derailed, bits too many."""
    rows = []
    for size in PROMPTS:
        own, reread = written(model, text, count // len(PROMPTS), size)
        worst, worst_read = worst_window(own), worst_window(reread)
        limit = 2 * loss + 1
        derailed = int(((worst > limit) | (worst_read > limit)).sum())
        difference = float(own[:20].mean() - own[200:220].mean()) / math.log(2)
        rows.append((size, own.shape[1], float(worst.max()), float(worst_read.max()), derailed, difference))
    return rows


def main() -> int:
    """Print a table; 1 where a sample derails or begins too surprisingly."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoints", nargs="+", type=Path)
    parser.add_argument("--text", type=Path, required=True, help="the text that the models were trained on")
    parser.add_argument("--samples", type=int, default=1000, help="per model")
    parser.add_argument("--cold", action="store_true", help="begin from the zero state, for comparison")
    args = parser.parse_args()
    good = True
    for path in args.checkpoints:
        model = load(path, cold=args.cold)
        text = model.vocabulary.encode(args.text.read_text(encoding="utf-8"), unknown="skip")
        # Read in one go: a validation that started in the middle of words could be wrong for the same reason.
        part = text[int(0.9 * len(text)) :][:20_000]
        loss = float(text_nats(model.text_model, part[:, None])[1:].mean())
        table = Table(
            "prompt", "samples", "worst 50, nats", "worst 50, read again", "derailed", "first 20, bits too many",
            title=f"{path}: {loss:.3f} nats, limit {2 * loss + 1:.2f}",
        )  # fmt: skip
        for size, count, worst, reread, derailed, bits in judge(model, text, args.samples, loss):
            table.add_row(str(size), str(count), f"{worst:.2f}", f"{reread:.2f}", str(derailed), f"{bits:+.3f}")
            good &= derailed == 0 and abs(bits) <= 0.3
        Console().print(table)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
