"""The validation loss against one reading of the whole text in one go: 30 small models, some of them trained badly.

The text is the first half of tiny-shakespeare, which has to be in the cache (`charrnn corpus fetch tiny-shakespeare`)
or named with --text. Of each pair of models one is trained as runs were before `training.state_reset`. `streams` is how
losses were measured then: 64 parts side by side, all but the first from a zero state 256 symbols earlier.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from charrnn.config.load import config_from_dict
from charrnn.config.schema import Config
from charrnn.data.corpora import cache_dir, resolve
from charrnn.data.encode import encode_text
from charrnn.data.windows import cut_window, split_bounds
from charrnn.evaluation.loss import evaluate, surprisals
from charrnn.nn.network import CharRNN
from charrnn.nn.params import IdArray
from charrnn.runs.checkpoint import load_checkpoint
from charrnn.runs.directory import RunDirectory
from charrnn.runs.events import RunFinished
from charrnn.training.session import train

CHARACTERS = 550_000
RECIPES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "fast": ({}, {"learning_rate": 0.009}),
    "slow": ({}, {"learning_rate": 0.003}),
    "dropout": (
        {"dropout": 0.2, "variational_dropout": True, "weight_dropout": 0.3},
        {"learning_rate": 0.005},
    ),
    "two layers": ({"num_layers": 2, "hidden_size": 96}, {"learning_rate": 0.009}),
    "too fast": ({}, {"learning_rate": 0.04, "grad_clip": None}),
}


def settings(source: str, cell: str, recipe: str, seed: int, state_reset: float) -> Config:
    """Of one of the models."""
    model, training = RECIPES[recipe]
    return config_from_dict(
        {
            "corpus": {"source": source},
            "model": {"cell": cell, "hidden_size": 128, **model},
            "training": {"batch_size": 32, "seq_length": 32, "epochs": None, "max_steps": 400, "eval_every": None,
                         "sample_every": None, "checkpoint_every": 10**6, "replicas": 1, "seed": seed,
                         "state_reset": state_reset, **training},
        },
        where=recipe,
    )  # fmt: skip


def trained(config: Config, folder: Path) -> tuple[CharRNN, float]:
    """The network and the validation loss that its run ended with."""
    loss = float("nan")
    for event in train(config, RunDirectory(folder)):
        if isinstance(event, RunFinished):
            loss = event.summary["val_loss"]
    return load_checkpoint(folder / "last.npz").build_model(), loss


def in_streams(model: CharRNN, ids: IdArray, *, streams: int = 64, warm_up: int = 256) -> float:
    """The loss as it was measured before."""
    bounds = np.arange(streams + 1, dtype=np.int64) * (len(ids) - 1) // streams
    state, nats = model.zero_state(streams), []
    for first in range(-warm_up, int(np.diff(bounds).min()), 64):
        if first == 0:
            for layer in state:
                layer[:, :, 0] = 0.0
        window = cut_window(ids, bounds[:-1] + first, min(64, int(np.diff(bounds).min()) - first), None)
        nats.append(model.loss(window.inputs, window.targets, state))
    return float(np.concatenate(nats[warm_up // 64 :]).mean(dtype=np.float64))


def cpu_seconds(work: Callable[[], object], repeats: int = 3) -> float:
    """Of this process, for the quickest of several times."""
    times = []
    for _ in range(repeats):
        started = time.process_time()
        work()
        times.append(time.process_time() - started)
    return min(times)


def cost(cell: str, ids: IdArray, first: int, vocab_size: int) -> float:
    """Of a run with the default settings, the share that validations at the default interval take."""
    model = CharRNN(vocab_size, cell=cell)
    model.init(np.random.default_rng(0))
    inputs = ids[: 64 * 64].reshape(64, 64).astype(np.intp)
    state = model.zero_state(64)
    step = cpu_seconds(lambda: [model.loss_and_grad(inputs, inputs, state) for _ in range(5)]) / 5
    return cpu_seconds(lambda: evaluate(model, ids[first:], before=ids[:first])) / (500 * step)


def measure(args: argparse.Namespace) -> tuple[list[Table], dict[str, Any]]:
    """Three cells, five recipes, two seeds; and what a validation costs."""
    table = Table("model", "`val_loss`", "one go", "difference", "in 64 streams", title="Validation losses, nats")
    rows = []
    with tempfile.TemporaryDirectory() as place:
        path = Path(place, "text.txt")
        path.write_text(resolve(args.text)[0].read_text(encoding="utf-8")[:CHARACTERS], encoding="utf-8")
        encoded = encode_text([path], "utf-8", cache_dir() / "encoded")
        first = split_bounds(len(encoded.ids), val_fraction=0.1, test_fraction=0.0)["val"][0]
        for cell in args.cells:
            for recipe in RECIPES:
                for seed, reset in ((1, 0.0), (2, 0.05)):
                    name = f"{cell}, {recipe}{', no resets' if not reset else ''}"
                    config = settings(str(path), cell, recipe, seed, reset)
                    model, loss = trained(config, Path(place, name.replace(" ", "-")))
                    nats = [n for _, n in surprisals(model, encoded.ids, streams=1)]
                    one_go = float(np.concatenate(nats)[first:].mean(dtype=np.float64))
                    before = in_streams(model, encoded.ids[first:])
                    rows.append({"model": name, "val_loss": loss, "one_go": one_go, "streams": before})
                    table.add_row(
                        name, f"{loss:.5f}", f"{one_go:.5f}", f"{loss - one_go:+.5f}", f"{before - one_go:+.5f}"
                    )
                    print(rows[-1], file=sys.stderr, flush=True)
    costs = {cell: cost(cell, encoded.ids, first, len(encoded.vocabulary)) for cell in args.cells}
    shares = Table("cell", "of a run", title="Validation at the default interval, 1x256, by processor time")
    for cell, share in costs.items():
        shares.add_row(cell, f"{share:.1%}")
    return [table, shares], {"models": rows, "cost": costs}
