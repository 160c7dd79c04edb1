"""A network, n-gram counts and the two mixed, on texts of many kinds: which is least surprised, and what mixing costs.

Each text is cut into 80% for training, 10% for validation (the network's stopping point, the order of the counts, the
weights) and 10% for the test, on which nothing was fitted. The validation column of the mixture is cross-fitted: each
half with the weights that the other half teaches. tiny-shakespeare has to be in the cache or named with --text.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from charrnn.api import TrainedModel, load
from charrnn.config.load import config_from_dict
from charrnn.data.corpora import resolve
from charrnn.data.synthetic import build_text, make_task
from charrnn.evaluation.loss import mixed_surprisals
from charrnn.evaluation.mixture import Mixture, cross_fitted, weigh
from charrnn.evaluation.ngram import NgramModel, choose_order
from charrnn.runs.directory import RunDirectory
from charrnn.runs.text import corpus_parts
from charrnn.training.session import train

CHARACTERS = 300_000
STEPS = (300, 1200)
DOCUMENTS = {"document_separator": "\n\n", "split": "shuffled"}
FloatArray = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True)
class Losses:
    """Nats per character of one text: of the network, of the counts, of both."""

    network: float
    counts: float
    mixture: float

    @property
    def gain(self) -> float:
        """Of the mixture over the better of the two; below 0 where it is worse."""
        return min(self.network, self.counts) - self.mixture


def slice_of(source: str) -> str:
    """The first characters of a named corpus or file."""
    return resolve(source)[0].read_text(encoding="utf-8")[:CHARACTERS]


def task(name: str) -> str:
    """A text of known entropy."""
    with tempfile.TemporaryDirectory() as place:
        build_text(name, make_task(name, {}), chars=CHARACTERS // 2, seed=1, output=Path(place, "t"))
        return Path(place, "t").read_text(encoding="utf-8")


def texts(shakespeare: str) -> dict[str, tuple[Callable[[], str], dict[str, Any]]]:
    """Every text by its name, with the settings of its corpus."""
    return {
        "tiny-shakespeare": (lambda: slice_of(shakespeare), {}),
        "python-docs": (lambda: slice_of("python-docs"), {}),
        "python-docs, paragraphs": (lambda: slice_of("python-docs"), DOCUMENTS),
        "python-stdlib": (lambda: slice_of("python-stdlib"), {}),
        "python-names": (lambda: slice_of("python-names"), {"documents": "lines", "split": "shuffled"}),
        **{name: (lambda name=name: task(name), {}) for name in ("recall", "brackets", "markov")},
    }


def trained(path: Path, corpus: dict[str, Any], steps: int, folder: Path) -> TrainedModel:
    """A small GRU, trained for `steps` steps."""
    config = config_from_dict(
        {
            "corpus": {"source": str(path), "val_fraction": 0.1, "test_fraction": 0.1, **corpus},
            "model": {"cell": "gru", "hidden_size": 96},
            "training": {"batch_size": 32, "seq_length": 32, "epochs": None, "max_steps": steps, "eval_every": 500,
                         "sample_every": None, "checkpoint_every": 10**6, "replicas": 1, "kernels": "numpy",
                         "learning_rate": 0.009},
        },
        where="benchmark",
    )  # fmt: skip
    for _ in train(config, RunDirectory(folder), overwrite=True):
        pass
    return load(folder)


def losses(model: TrainedModel) -> tuple[Losses, Losses, Mixture, float]:
    """On the validation and on the test part, with the mixture and the processor seconds that it took to fit."""
    parts = corpus_parts(model.checkpoints[0])
    separator = model.text_model.separator
    started = time.process_time()
    ngram, _ = choose_order(parts["train"], parts["val"], len(model.vocabulary))
    val = mixed_surprisals(model.models, parts["val"], separator=separator, before=parts["train"])
    mixture = weigh(ngram, val, parts["val"])
    fitting = time.process_time() - started
    test = mixed_surprisals(model.models, parts["test"], separator=separator, before=parts["val"])
    return (
        _losses(ngram, val, parts["val"], cross_fitted(ngram, val, parts["val"])),
        _losses(ngram, test, parts["test"], mixture.nats(test, parts["test"])),
        mixture,
        fitting,
    )


def _losses(ngram: NgramModel, network: FloatArray, ids: np.ndarray[Any, Any], mixed: FloatArray) -> Losses:
    nats, count = ngram.log_loss(ids)
    return Losses(float(network.mean()), nats / count, float(mixed.mean()))


def seconds_per_character(model: TrainedModel, *, length: int = 2000) -> float:
    """Of processor time, while a text is written."""
    model.generate(length=100)
    started = time.process_time()
    model.generate(length=length, temperature=0.8)
    return (time.process_time() - started) / length


def measure(args: argparse.Namespace) -> tuple[list[Table], dict[str, Any]]:
    """Every text, after few steps and after many."""
    columns = [f"{part}: {what}" for part in ("validation", "test") for what in ("network", "counts", "mixture")]
    table = Table("text", "steps", "order", *columns, "gain", title="Nats per character")
    costs = Table("text", "fitting, s", "a character, us", "with counts, us", title="Processor time of mixing")
    rows = []
    with tempfile.TemporaryDirectory() as place:
        for name, (make, corpus) in texts(args.text).items():
            path = Path(place, "text.txt")
            path.write_text(make(), encoding="utf-8")
            for steps in STEPS:
                model = trained(path, corpus, steps, Path(place, "run"))
                val, test, mixture, fitting = losses(model)
                alone = seconds_per_character(model)
                model = TrainedModel(model.checkpoints)
                model.mixture = mixture
                mixed = seconds_per_character(model)
                figures = [f"{v:.4f}" for part in (val, test) for v in (part.network, part.counts, part.mixture)]
                table.add_row(name, str(steps), str(mixture.ngram.order), *figures, f"{test.gain:+.4f}")
                costs.add_row(name, f"{fitting:.2f}", f"{alone * 1e6:.0f}", f"{mixed * 1e6:.0f}")
                rows.append({"text": name, "steps": steps, "order": mixture.ngram.order, "val": vars(val),
                             "test": vars(test), "gain": test.gain, "fitting": fitting, "alone": alone,
                             "mixed": mixed})  # fmt: skip
                print(rows[-1], file=sys.stderr, flush=True)
    return [table, costs], {"texts": rows}
