"""Trains the runs that are the cases of `test_advice`: `python -m tests.evaluation.make_histories [NAME]...`.

Each run is a real one of some seconds, on a piece of a text that charrnn knows by name, or on one made from it. What
is kept of it in `tests/fixtures/histories` is what a run writes besides weights and samples.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

from tests.conftest import ROOT

KEPT = ROOT / "tests" / "fixtures" / "histories"


def piece(corpus: str, size: int, start: int = 0) -> Callable[[], str]:
    """So many characters of a named corpus."""
    return lambda: named(corpus)[start : start + size]


def named(corpus: str) -> str:
    from charrnn.data.corpora import get

    return get(corpus).read_text(encoding="utf-8")


def words() -> str:
    """The words of Shakespeare, one on each line, in random order."""
    found = sorted({word.strip(".,;:!?'-").lower() for word in named("tiny-shakespeare").split()} - {""})
    random.Random(1).shuffle(found)
    return "\n".join(found) + "\n"


def twice() -> str:
    """A text in which the end was seen before."""
    return piece("python-docs", 90_000)() * 2


def plays_then_code() -> str:
    """A text whose end is of another kind."""
    return piece("tiny-shakespeare", 170_000)() + piece("python-stdlib", 20_000)()


def markov() -> str:
    from charrnn.data.synthetic import build_text, make_task

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "markov.txt"
        build_text("markov", make_task("markov", {}), chars=200_000, seed=1, output=path)
        return path.read_text(encoding="utf-8")


@dataclass(frozen=True)
class Case:
    """A run: its text, its settings, and the advice it needs."""

    text: Callable[[], str]
    settings: dict[str, object]
    needs: tuple[str, ...] = ()
    usual: dict[str, object] = field(
        default_factory=lambda: {
            "batch_size": 16, "seq_length": 32, "epochs": 6.0, "learning_rate": 0.005, "replicas": 1,
            "sample_every": None, "checkpoint_every": 10**6, "warmup_steps": 20,
        }
    )  # fmt: skip


SHAKESPEARE, DOCS, CODE = "tiny-shakespeare", "python-docs", "python-stdlib"
# The validation part of python-docs really repeats a fifth of its passages, so its runs need to be told.
CASES = {
    "tiny-text": Case(
        piece(SHAKESPEARE, 1842),
        {"hidden_size": 256, "epochs": None, "max_steps": 20},
        ("text-too-small", "underfitting"),
    ),
    "climbing": Case(piece(SHAKESPEARE, 1842), {"hidden_size": 256, "epochs": 200}, ("overfitting", "text-too-small")),
    "overfit-lstm": Case(
        piece(DOCS, 30_000), {"hidden_size": 160, "epochs": 60, "schedule": "constant"}, ("overfitting",)
    ),
    "overfit-gru": Case(
        piece(SHAKESPEARE, 12_000),
        {"cell": "gru", "hidden_size": 128, "epochs": 60},
        ("overfitting", "text-too-small"),
    ),
    "overfit-slow": Case(
        piece(SHAKESPEARE, 100_000), {"cell": "gru", "hidden_size": 160, "epochs": 25}, ("overfitting",)
    ),
    "fast-lstm": Case(
        piece(SHAKESPEARE, 200_000), {"hidden_size": 96, "learning_rate": 0.3, "epochs": 3}, ("learning-rate-high",)
    ),
    "fast-rnn": Case(
        piece(SHAKESPEARE, 200_000),
        {"cell": "rnn", "hidden_size": 96, "learning_rate": 0.1, "epochs": 3},
        ("learning-rate-high", "still-units", "saturated-units"),
    ),
    "fast-gru": Case(
        piece(DOCS, 200_000),
        {"cell": "gru", "hidden_size": 96, "learning_rate": 0.1, "grad_clip": None, "epochs": 3},
        ("learning-rate-high", "still-units", "repeated-text"),
    ),
    "fast-sgd": Case(
        piece(DOCS, 200_000),
        {"cell": "lstm", "hidden_size": 96, "optimizer": "sgd", "learning_rate": 20.0, "epochs": 3},
        ("learning-rate-high", "still-units", "repeated-text"),
    ),
    "short-cosine": Case(
        piece(SHAKESPEARE, 600_000), {"cell": "gru", "hidden_size": 128, "epochs": 0.7}, ("underfitting",)
    ),
    "short-constant": Case(
        piece(DOCS, 400_000),
        {"hidden_size": 128, "epochs": 1, "schedule": "constant", "learning_rate": 0.003},
        ("derailing", "underfitting"),
    ),
    "small-net": Case(
        piece(SHAKESPEARE, 500_000), {"cell": "gru", "hidden_size": 12, "epochs": 8}, ("network-too-small",)
    ),
    "repeated": Case(twice, {"cell": "gru", "hidden_size": 96, "epochs": 5}, ("repeated-text", "underfitting")),
    "unlike": Case(plays_then_code, {"cell": "gru", "hidden_size": 96, "epochs": 4}, ("validation-unlike",)),
    # In order, but some could go on: of these three runs, each is twice as long as the one before.
    "gru-1": Case(piece(SHAKESPEARE, 500_000), {"cell": "gru", "hidden_size": 64, "epochs": 1.25}, ("underfitting",)),
    "gru-2": Case(piece(SHAKESPEARE, 500_000), {"cell": "gru", "hidden_size": 64, "epochs": 2.5}, ("underfitting",)),
    "gru-5": Case(piece(SHAKESPEARE, 500_000), {"cell": "gru", "hidden_size": 64, "epochs": 5}, ("underfitting",)),
    "code-2": Case(piece(CODE, 400_000), {"cell": "gru", "hidden_size": 64, "epochs": 2.5}, ("underfitting",)),
    "code-5": Case(piece(CODE, 400_000), {"cell": "gru", "hidden_size": 64, "epochs": 5}, ("underfitting",)),
    "lstm": Case(piece(DOCS, 250_000), {"hidden_size": 64, "epochs": 8}, ("repeated-text", "underfitting")),
    "rnn": Case(
        piece(SHAKESPEARE, 300_000),
        {"cell": "rnn", "hidden_size": 96, "epochs": 8, "learning_rate": 0.002},
        ("underfitting",),
    ),
    "words": Case(words, {"cell": "gru", "hidden_size": 48, "epochs": 12, "documents": "lines", "split": "shuffled"}),
    "markov": Case(markov, {"cell": "gru", "hidden_size": 96, "epochs": 3}),
    "layers": Case(
        piece(DOCS, 200_000),
        {"cell": "gru", "hidden_size": 64, "num_layers": 2, "dropout": 0.2, "epochs": 8},
        ("repeated-text", "underfitting"),
    ),
    "embedding": Case(
        piece(SHAKESPEARE, 300_000),
        {"cell": "gru", "hidden_size": 64, "embedding_size": 24, "epochs": 6},
        ("underfitting",),
    ),
    "average": Case(
        piece(DOCS, 200_000),
        {"hidden_size": 64, "ema_decay": 0.995, "schedule": "constant", "epochs": 9, "learning_rate": 0.003},
        ("repeated-text", "underfitting"),
    ),
    "patience": Case(
        piece(SHAKESPEARE, 100_000),
        {"cell": "gru", "hidden_size": 64, "epochs": 40, "patience": 4, "schedule": "plateau", "learning_rate": 0.004},
    ),
    "small-text": Case(piece(SHAKESPEARE, 60_000), {"cell": "gru", "hidden_size": 32, "epochs": 10}, ("underfitting",)),
}


def make(name: str, folder: Path) -> Path:
    """Train one run in a folder, unless it was, and keep what advice is drawn from."""
    from charrnn.config.load import config_of_names
    from charrnn.runs.directory import RunDirectory
    from charrnn.training.session import train

    case = CASES[name]
    folder.mkdir(parents=True, exist_ok=True)
    os.chdir(folder)  # so that the settings name no folder of this machine
    Path(f"{name}.txt").write_text(case.text(), encoding="utf-8")
    config = config_of_names({"source": f"{name}.txt", **case.usual, **case.settings, **every(case)}, None)
    if not (folder / name / "summary.json").exists():
        for _ in train(config, RunDirectory(Path(name)), overwrite=True):
            pass
    (KEPT / name).mkdir(parents=True, exist_ok=True)
    for file in ("config.yaml", "history.jsonl"):
        shutil.copy(folder / name / file, KEPT / name / file)
    (KEPT / name / "summary.json").write_text(json.dumps(facts(folder / name)) + "\n", encoding="utf-8")
    return KEPT / name


def facts(run: Path) -> dict[str, object]:
    """The end of a run without what was concluded from it; the text of one from before its facts were noted is read."""
    from charrnn.evaluation.text_facts import look_at_text
    from charrnn.runs.checkpoint import load_checkpoint
    from charrnn.runs.reading import Summary, read_summary
    from charrnn.runs.text import corpus_parts

    summary = read_summary(run) or Summary()
    found = {name: summary[name] for name in summary.keys()}  # noqa: SIM118
    if summary.space_share is None:
        loaded = load_checkpoint(run / "last.npz")
        parts = corpus_parts(loaded, [f"{run}.txt"])
        found |= asdict(look_at_text(parts["train"], parts["val"], loaded.vocabulary))
    return found


def every(case: Case) -> dict[str, object]:
    """Some 24 reports and validations in the run, few enough for a fixture."""
    t = {**case.usual, **case.settings}
    predictions = len(case.text()) * 0.9
    total = t.get("max_steps") or t["epochs"] * predictions / (t["batch_size"] * t["seq_length"])
    steps = max(1, int(total) // 24)
    return {"log_every": steps, "eval_every": steps}


if __name__ == "__main__":
    into = Path(os.environ.get("MADE_IN") or tempfile.mkdtemp())
    for wanted in sys.argv[1:] or CASES:
        sys.stderr.write(f"{make(wanted, into)}\n")
