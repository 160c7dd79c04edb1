"""Every setting changes the run as its formula says: whole runs against a plain loop of the tests, `reference_loop`.

A row has a value of a setting, what must be given with it, and what it changes: what the package does with the value is
what the plain loop does, and not what the package does with the default. A setting without a row fails.
"""

from __future__ import annotations

import functools
import json
import sys
from dataclasses import dataclass
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any, Literal, get_args, get_type_hints

import msgspec
import numpy as np
import pytest

from charrnn.config.load import config_to_dict, parse_config
from charrnn.config.schema import Config, CorpusSettings, ModelSettings, TrainingSettings
from charrnn.nn.cells import CELLS
from charrnn.nn.clip import CLIPPERS
from charrnn.nn.optimizers import OPTIMIZERS
from charrnn.nn.schedule import SCHEDULES
from charrnn.training import tensorboard
from tests.conftest import Run
from tests.training.reference_loop import Loop
from tests.training.runs_as_events import Outcome, run, step_seconds

TEXTS = {
    "text.txt": "the cat sat on the mát. the dog ran to the cat.\n\na cat and a dog met on the mat; the mat was red "
    "and the dög was big.\n\nthe cat saw the red mat and sat on it again. a dog ran.\n\nthe end of the tale was a mat.",
    "ends.txt": "the cat sat on the mat.\r\nthe dog ran to the cat.\ra cat met a dog.\r\n" * 3,
    "forms.txt": "cafe\u0301 \ufb01ne \u00e1 pa\u0308r \u00bd of it. the \u0439 and the \u2460 are there.\n" * 4,
    "lines.txt": "ann one\nbob two\ncleo three\ndan four\neve five\nfay six\ngus seven\nhal eight\n" * 2,
    "other.txt": "seven slow ships sail south; several swans see seven slow ships sink.\n" * 3,
}
BASE = """
corpus: {source: text.txt, val_fraction: 0.2}
model: {cell: gru, hidden_size: 5, num_layers: 2, dropout: 0.2}
training: {batch_size: 3, seq_length: 7, epochs: null, max_steps: 16, eval_every: 5, checkpoint_every: 4,
  sample_every: 9, sample_length: 7, log_every: 3, learning_rate: 0.02, warmup_steps: 3, replicas: 1}
"""


@dataclass(frozen=True)
class Row:
    """A setting under test.

    Attributes:
        setting, value: its path and a value that is not the default.
        changes: what is not as under the default, of `Outcome.observed`. Where "weights" is not among them, the
            weights are the same to the last bit.
        given: other settings, without which it would do nothing.
        diverging: calls of a step, from 0, whose loss is not a number.
        single: in float32, because checkpoints are read back.
        against: a value to compare with instead of the default.
    """

    setting: str
    value: str
    changes: str = "weights report"
    given: str = ""
    diverging: tuple[int, ...] = ()
    single: bool = False
    against: str | None = None


SGD = "training.optimizer=sgd training.learning_rate=0.5 training.grad_clip=0.3"
RESTLESS = "training.schedule=constant training.learning_rate=0.3 training.eval_every=1"  # the loss goes up and down
OFTEN = "training.sample_every=6"  # for what shows in few samples
BACK = f"{SGD} training.on_divergence=rollback"
EVERYTHING = (
    "model.weight_dropout=0.3 model.variational_dropout=true training.random_offsets=true training.ema_decay=0.9 "
    r'corpus.document_separator="\n\n" training.weight_decay=0.02 training.grad_clip=0.3 '
    "training.schedule=linear training.epochs=2 training.seq_length=6 training.batch_size=4"
)
LINES = "corpus.source=lines.txt corpus.documents=lines"
UNCOMPILED = "training.kernels=numpy"  # what is long enough for compiled kernels would wait for a compiler
TIMED = f"training.max_minutes=0.3 training.max_steps=null {UNCOMPILED}"
ROWS = [
    Row("corpus.source", "other.txt", "first weights report sample", against="text.txt"),
    Row("corpus.encoding", "bytes", "first weights report sample"),
    Row("corpus.encoding", "cp1252", "first weights report sample"),
    Row("corpus.newlines", "unix", "first weights report sample", f"corpus.source=ends.txt {OFTEN}"),
    Row("corpus.normalize", "nfc", "weights report", "corpus.source=forms.txt"),
    Row("corpus.normalize", "nfd", "weights report", "corpus.source=forms.txt"),
    Row("corpus.normalize", "nfkc", "weights report", "corpus.source=forms.txt"),
    Row("corpus.normalize", "nfkd", "weights report", "corpus.source=forms.txt"),
    Row("corpus.documents", "lines", "weights report evaluated", "corpus.source=lines.txt"),
    Row("corpus.documents", "files", "first weights report sample"),
    Row("corpus.split", "shuffled", "weights evaluated", f"{LINES} corpus.test_fraction=0.2"),
    Row("corpus.split", "shuffled", "weights evaluated", r'corpus.document_separator="\n\n"'),
    Row("corpus.split_seed", "5", "weights evaluated", f"{LINES} corpus.split=shuffled"),
    Row("corpus.val_fraction", "0.3", "weights evaluated"),
    Row("corpus.test_fraction", "0.25", "weights evaluated"),
    Row("corpus.document_separator", r'"\n\n"', "weights evaluated"),
    Row("corpus.document_separator", r'"á"', "weights report", "corpus.encoding=bytes"),
    Row("model.cell", "rnn", "first weights report"),
    Row("model.cell", "gru", "first weights report"),
    Row("model.cell", "milstm", "weights report"),
    Row("model.hidden_size", "6", "first weights report"),
    Row("model.num_layers", "3", "first weights report"),
    Row("model.embedding_size", "4", "first weights report"),
    Row("model.tie_weights", "true", "first weights report"),
    Row("model.dropout", "0.4", "weights report"),
    Row("model.variational_dropout", "true", "weights report"),
    Row("model.weight_dropout", "0.4", "weights report"),
    Row("model.weight_dropout", "0.4", "weights report", "model.cell=lstm model.variational_dropout=true"),
    Row("model.forget_bias", "2.5", "first weights report", "model.cell=lstm"),
    Row("model.forget_bias", "-1.5", "first weights report"),
    Row("training.batch_size", "4", "weights report"),
    # More columns than a block of a mask has.
    Row("training.batch_size", "18", "weights report", "model.variational_dropout=true"),
    Row("training.seq_length", "5", "weights report"),
    Row("training.epochs", "1.6", "weights report", "training.max_steps=null"),
    Row("training.max_steps", "11", "weights report saved", "training.epochs=3"),
    Row("training.max_minutes", "0.3", "weights report saved finished", f"training.schedule=linear {UNCOMPILED}"),
    Row("training.optimizer", "sgd"),
    Row("training.optimizer", "adagrad"),
    Row("training.optimizer", "rmsprop"),
    Row("training.optimizer", "adamw", given="training.weight_decay=0.1"),
    Row("training.optimizer", "muon"),
    Row("training.optimizer", "muon", given="training.weight_decay=0.1 model.num_layers=2 model.tie_weights=true"),
    Row("training.optimizer", "muon", given="model.cell=lstm model.embedding_size=3 training.ema_decay=0.6"),
    Row("training.momentum", "0.5", given=SGD),
    Row("training.nesterov", "true", given=SGD),
    Row("training.beta1", "0.5"),
    Row("training.beta2", "0.7"),
    Row("training.rho", "0.6", given="training.optimizer=rmsprop"),
    Row("training.epsilon", "0.001"),
    Row("training.epsilon", "0.01", given="training.optimizer=rmsprop"),
    Row("training.epsilon", "0.01", given="training.optimizer=adagrad"),
    Row("training.learning_rate", "0.05"),
    Row("training.schedule", "constant"),
    Row("training.schedule", "linear"),
    Row("training.schedule", "step", given="training.lr_decay_steps=4"),
    Row("training.schedule", "exponential", given="training.lr_decay_steps=4"),
    Row("training.schedule", "plateau", given=RESTLESS),
    Row("training.schedule", "linear", given=TIMED),
    Row("training.warmup_steps", "6"),
    Row("training.warmup_steps", "5", given="training.schedule=step training.lr_decay_steps=4"),
    Row("training.warmup_steps", "5", given="training.schedule=exponential training.lr_decay_steps=4"),
    Row("training.warmup_steps", "5", given=f"training.schedule=linear {TIMED}"),
    Row("training.warmup_steps", "0", given="training.schedule=linear"),
    Row("training.min_lr_ratio", "0.4"),
    Row("training.min_lr_ratio", "0.4", given="training.schedule=linear"),
    Row("training.plateau_patience", "1", given=f"{RESTLESS} training.schedule=plateau"),
    Row("training.lr_decay_steps", "4", given="training.schedule=step"),
    Row("training.lr_decay_steps", "4", given="training.schedule=exponential"),
    Row("training.lr_decay", "0.8", given="training.schedule=step training.lr_decay_steps=4"),
    Row("training.lr_decay", "0.8", given="training.schedule=exponential training.lr_decay_steps=4"),
    Row("training.lr_decay", "0.8", given=f"{RESTLESS} training.schedule=plateau"),
    Row("training.grad_clip", "0.2", given="training.optimizer=sgd"),
    Row("training.grad_clip", "null", given="training.optimizer=sgd training.learning_rate=9"),
    Row("training.grad_clip_mode", "value", given="training.grad_clip=0.02 training.optimizer=sgd"),
    Row("training.on_divergence", "rollback", "weights report finished", SGD, (6,), single=True),
    Row("training.max_rollbacks", "1", "weights finished report", BACK, (6, 7), single=True),
    Row("training.rollback_lr_factor", "0.1", "weights report", BACK, (6, 9), single=True),
    Row("training.weight_decay", "0.1"),
    Row("training.weight_decay", "0.1", given="training.optimizer=adamw"),
    Row("training.weight_decay", "0.1", given=SGD),
    Row("training.ema_decay", "0.6", "kept evaluated sample", OFTEN),
    Row("training.ema_decay", "0.1", "kept evaluated"),
    Row("training.state_reset", "0.4"),
    Row("training.state_reset", "0.0", against="0.1", given="training.batch_size=18 model.cell=lstm"),
    Row("training.random_offsets", "true"),
    Row("training.seed", "7", "first weights report sample"),
    Row("training.seed", "8", "first weights report sample", f"{EVERYTHING} model.cell=rnn training.optimizer=adamw"),
    Row("training.seed", "9", "first weights report sample", f"{EVERYTHING} model.cell=lstm model.embedding_size=3"),
    Row("training.seed", "10", "first weights report sample", f"{EVERYTHING} model.tie_weights=true"),
    Row("training.replicas", "2", "replicas", "training.batch_size=5 training.state_reset=0.3"),
    Row("training.kernels", "compiled", "kernels"),
    Row("training.kernels", "compiled", "kernels", "model.cell=lstm training.replicas=2", against="numpy"),
    Row("training.kernels", "compiled", "kernels", f"{EVERYTHING} model.cell=rnn model.tie_weights=true"),
    Row("training.kernels", "numpy", "kernels", against="compiled"),
    Row("training.log_every", "2", "report"),
    Row("training.eval_every", "3", "evaluated report"),
    Row("training.eval_every", "null", "evaluated report", against="5"),
    Row("training.checkpoint_every", "6", "saved"),
    Row("training.sample_every", "4", "sample"),
    Row("training.sample_every", "null", "sample"),
    Row("training.sample_length", "12", "sample"),
    Row("training.patience", "2", "weights finished", RESTLESS),
]  # fmt: skip
ELSEWHERE = {"training.tensorboard"}  # `test_tensorboard_gets_every_report` below: the trainer does not know of it


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("settings")
    for name, text in TEXTS.items():
        (made / name).write_text(text, encoding="utf-8")
    return made


@pytest.fixture(autouse=True)
def _no_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.fsync", lambda handle: None)  # half of the time; nothing is killed here
    # At the end of a run, and no event.
    monkeypatch.setattr("charrnn.training.trainer.health_summary", lambda *arguments: {})


@functools.cache
def settings_of(folder: Path, *overrides: str) -> Config:
    parsed = parse_config(BASE, where="test", overrides=overrides)
    source = str(folder / parsed.corpus.source)
    return msgspec.structs.replace(parsed, corpus=msgspec.structs.replace(parsed.corpus, source=source))


def outcome(folder: Path, row: Row, value: str) -> Outcome:
    settings = settings_of(folder, *row.given.split(), f"{row.setting}={value}")
    return cached(folder, settings, row.diverging, row.single)


@functools.cache
def cached(folder: Path, settings: Config, diverging: tuple[int, ...], single: bool) -> Outcome:
    return run(folder, settings, diverging=diverging, dtype="float32" if single else "float64")


@functools.cache
def default_of(setting: str) -> Any:
    defaults = config_to_dict(parse_config("corpus: {source: x}", where="test"))
    section, _, name = setting.partition(".")
    return defaults[section][name]


def row_name(row: Row) -> str:
    return f"{row.setting}={row.value}" + (f" given {row.given}" if row.given else "")


def assert_alike(found: Any, expected: Any, tolerance: float, what: str) -> None:
    if isinstance(expected, dict):
        assert found.keys() == expected.keys(), what
        for name, values in expected.items():
            np.testing.assert_allclose(found[name], values, rtol=tolerance, atol=tolerance, err_msg=f"{what} {name}")
        return
    assert [e[:2] for e in found] == [e[:2] for e in expected], what
    for a, b in zip(found, expected, strict=True):
        assert a == tuple(pytest.approx(x, rel=tolerance) if isinstance(x, float) else x for x in b), what


def parameter(row: Row) -> Any:
    return pytest.param(row, id=row_name(row), marks=[pytest.mark.extras] if row.setting == "training.kernels" else [])


@pytest.mark.parametrize("row", [parameter(row) for row in ROWS])
def test_a_setting_does_what_its_formula_says(folder: Path, row: Row) -> None:
    found, tolerance = outcome(folder, row, row.value), 2e-5 if row.single else 1e-9
    settings = settings_of(folder, *row.given.split(), f"{row.setting}={row.value}")
    text = Path(settings.corpus.source).read_bytes()
    loop = Loop(config_to_dict(settings), text, found.first, step_seconds=step_seconds, diverging=row.diverging)
    assert_alike(found.events, loop.run(), tolerance, "event")
    assert_alike(found.last, loop.now.params, tolerance, "weights")
    assert_alike(found.kept, loop.best_params or {}, tolerance, "kept")
    assert_first(found.first, settings)
    assert_not_the_default(folder, row)


def assert_not_the_default(folder: Path, row: Row) -> None:
    other = row.against or json.dumps(default_of(row.setting))
    with_value, without = (outcome(folder, row, value).observed() for value in (row.value, other))
    for name in row.changes.split():
        assert differs(with_value[name], without[name]), f"{name} is as under {row.setting}={other}"
    if "weights" not in row.changes:
        # Another number of replicas adds up in another order, and so do other kernels, throughout.
        tolerance = {"training.replicas": 1e-12, "training.kernels": 1e-9}.get(row.setting, 0.0)
        np.testing.assert_allclose(with_value["weights"], without["weights"], rtol=tolerance, atol=tolerance)


def differs(a: Any, b: Any) -> bool:
    if isinstance(a, np.ndarray):
        return a.shape != b.shape or not np.allclose(a, b, rtol=1e-4, atol=1e-5)
    return bool(a != b)


def assert_first(first: dict[str, np.ndarray], settings: Config) -> None:
    """The parameters before the first step follow the rules for them."""
    m = settings.model
    gates, H = {"rnn": "h", "lstm": "ifgo", "gru": "rzn", "milstm": "ifgo"}[m.cell], m.hidden_size
    bound = 1.0 / np.sqrt(H)
    remembering = {"rnn": "", "lstm": "f", "gru": "z", "milstm": "f"}[m.cell]
    for name, values in first.items():
        kind = name.rpartition(".")[2]
        if kind == "weight_hh":
            for block in np.split(values, len(gates)):
                np.testing.assert_allclose(block @ block.T, np.eye(H), atol=1e-6)
        elif name == "embedding.weight":
            assert 0.6 < values.std() * np.sqrt(values.shape[1]) < 1.5
        elif kind.startswith("weight"):
            assert 0.85 * bound < abs(values).max() <= bound, name
            assert abs(values.mean()) < 0.3 * bound, name
        else:
            expected = np.zeros(values.shape)
            if kind == "bias" and remembering and not name.startswith("head."):
                expected[gates.index(remembering) * H :][:H] = m.forget_bias
            np.testing.assert_array_equal(values, expected, err_msg=name)


def test_every_setting_has_a_row_and_every_row_a_setting() -> None:
    sections = {"corpus": CorpusSettings, "model": ModelSettings, "training": TrainingSettings}
    assert set(Config.__struct_fields__) == set(sections)
    settings = {f"{section}.{name}" for section, struct in sections.items() for name in struct.__struct_fields__}
    assert {row.setting for row in ROWS} | ELSEWHERE == settings


def test_every_choice_has_a_row() -> None:
    # Not those of other packages, of which another test may have left one behind.
    own = {name for name, cell in CELLS.items() if cell.__module__.startswith("charrnn.")}
    choices: dict[str, set[str]] = {
        "model.cell": own, "training.optimizer": set(OPTIMIZERS), "training.schedule": set(SCHEDULES),
        "training.grad_clip_mode": set(CLIPPERS),
    }  # fmt: skip
    for section, struct in (("corpus", CorpusSettings), ("model", ModelSettings), ("training", TrainingSettings)):
        for name, kind in get_type_hints(struct).items():
            options = {arg for part in (kind, *get_args(kind)) for arg in literals(part)}
            if options:
                choices[f"{section}.{name}"] = options
    for setting, names in choices.items():
        tried = {row.value for row in ROWS if row.setting == setting} | {str(default_of(setting))}
        assert names <= tried, (setting, names - tried)


def literals(kind: Any) -> set[str]:
    return set(get_args(kind)) if getattr(kind, "__origin__", None) is Literal else set()


def test_tensorboard_gets_every_report(folder: Path, charrnn_here: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[tuple[str, float, int]] = []

    def begin(self: object, folder: Path) -> None:
        assert folder.name == "tensorboard"

    monkeypatch.setitem(sys.modules, "tensorboard", module := ModuleType("tensorboard"))  # stands in for the extra
    module.__spec__ = ModuleSpec("tensorboard", None)
    monkeypatch.setattr(tensorboard, "_scalar", lambda tag, value, step: written.append((tag, value, step)))
    monkeypatch.setattr(tensorboard.TensorBoardLog, "__init__", begin)
    monkeypatch.setattr(tensorboard.TensorBoardLog, "_write", lambda self, records: None)
    (folder / "base.yaml").write_text(BASE.replace("text.txt", str(folder / "text.txt")), encoding="utf-8")
    command = ("train", "-c", folder / "base.yaml", "-q", "--set", "training.tensorboard=true")
    done = charrnn_here(*command, "--run-dir", folder / "board")
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in (folder / "board" / "history.jsonl").read_text().splitlines()]
    tags = {
        "loss/train_nats": "train_loss", "loss/val_nats": "val_loss", "training/learning_rate": "learning_rate",
        "training/grad_norm": "grad_norm", "training/chars_per_second": "chars_per_second",
    }  # fmt: skip
    for tag, column in tags.items():
        expected = [(row[column], row["step"]) for row in rows if row[column] is not None]
        assert [(value, step) for name, value, step in written if name == tag] == expected, tag
    written.clear()
    assert charrnn_here(*command[:-1], "training.tensorboard=false", "--run-dir", folder / "none").returncode == 0
    assert not written
