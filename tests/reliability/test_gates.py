"""Files that anybody may have written: each is read as what it should be, or refused by an error of one line."""

from __future__ import annotations

import io
import json
import struct
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from rich.console import Console

from charrnn.cli.commands import report, watch
from charrnn.cli.views import runs as views
from charrnn.cli.views.training import RichView
from charrnn.data.synthetic import generator_nats
from charrnn.data.vocabulary import Vocabulary
from charrnn.errors import CharRNNError, CheckpointError, DataError
from charrnn.evaluation.compression.codec import compress, decompress
from charrnn.formats import exporter
from charrnn.formats.load import import_model, read_vocabulary
from charrnn.inspection.plots.curves import curve_data
from charrnn.inspection.report import finite, render
from charrnn.runs.checkpoint import load_checkpoint, save_checkpoint
from charrnn.runs.effects import effects
from charrnn.runs.history import read_history
from charrnn.runs.reading import Note, Row
from charrnn.runs.table import find_runs, ranked
from charrnn.sweep.directory import SweepDirectory
from tests.checkpoints import make
from tests.reliability.mutations import (
    ROWS,
    SHAPES,
    assert_one_line,
    damaged_bytes,
    json_bytes,
    json_values,
    lying_archives,
    pickles,
    safetensors,
    safetensors_header,
    torch_file,
    torch_pickle,
)

SUMMARY = {
    "reason": "max_steps",
    "steps": 10,
    "train_loss": 3.0,
    "val_loss": 3.1,
    "best_val_loss": 3.1,
    "parameters": 99,
}
TRIAL = {
    "name": "cell=gru",
    "overrides": {"model.cell": "gru"},
    "status": "done",
    "attempts": 1,
    "exit_code": 0,
    "loss": 3.1,
}
CONTENT = ("the cat sat on the mat. " * 8).encode()


@dataclass(frozen=True)
class Gate:
    """A kind of file: damaged ones, and what must hold for each."""

    inputs: st.SearchStrategy[Any]
    check: Callable[[Path, Any], None]


def refused(act: Callable[[], Any], *kinds: type[CharRNNError]) -> Any:
    """The result, or None where it is refused as it should be."""
    try:
        return act()
    except kinds as error:
        assert_one_line(error, 4 if isinstance(error, CheckpointError) else 3)
        return None


@contextmanager
def at_most(limit: int) -> Iterator[None]:
    """The block takes no more memory; looked at where memory is traced, which makes everything slow."""
    if tracemalloc.is_tracing():
        tracemalloc.reset_peak()
        before = tracemalloc.get_traced_memory()[0]
    yield
    if tracemalloc.is_tracing():
        assert tracemalloc.get_traced_memory()[1] - before < limit


# --- runs and sweeps ------------------------------------------------------------------------------------------------


def check_history(folder: Path, data: bytes) -> None:
    (folder / "history.jsonl").write_bytes(data)
    left_out: list[str] = []
    found = find_runs(folder, left_out=left_out.append)
    assert len(found) + len(left_out) == 1
    assert all(reason.isprintable() for reason in left_out)
    history = refused(lambda: read_history(folder), DataError)
    assert (history is None) == bool(left_out)
    if history is None:
        return
    assert all(isinstance(row, Row) and type(row.step) is int for row in history.rows)
    assert all(isinstance(note, Note) for note in history.events)
    json.dumps(finite(curve_data([history])), allow_nan=False)
    render({"runs": [report._run(history)]})
    console = Console(file=io.StringIO(), width=100, height=40)
    view = RichView(console, live=False)
    watch._feed(view.show, history, 0)
    view.print_once()
    show(found)


def show(runs: list[Any]) -> None:
    """Everything that a table of runs is asked for."""
    columns = views.table_columns(runs)
    views.as_csv(ranked(runs, "loss"), columns)
    json.dumps(finite(views.rows_of(runs, columns)), allow_nan=False)
    for run in runs:
        assert all(isinstance(views._shown(column, run.value(column)), str) for column in columns)
    effects(runs)


@st.composite
def histories(draw: Any) -> bytes:
    rows: list[Any] = list(ROWS)
    for _ in range(draw(st.integers(1, 2))):
        place = draw(st.integers(0, len(rows) - 1))
        rows[place] = draw(json_values(rows[place]))
    data = "".join(json.dumps(row) + "\n" for row in rows).encode()
    return draw(damaged_bytes(data)) if draw(st.booleans()) else data


def check_facts(folder: Path, files: dict[str, bytes]) -> None:
    (folder / "history.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    for name, data in files.items():
        (folder / name).write_bytes(data)
    left_out: list[str] = []
    found = find_runs(folder, left_out=left_out.append)
    assert len(found) + len(left_out) == 1
    show(found)
    sweep = SweepDirectory(folder.parent)
    for trial in sweep.trials():
        assert sweep.status(trial) in ("missing", "begun", "done", "pruned", "failed")
        assert isinstance(sweep.loss_of(trial), float | int | None)
        assert isinstance(sweep.recorded(trial).get("attempts", 0), int)
        assert sweep.error_of(trial.name)


# --- weights --------------------------------------------------------------------------------------------------------


def check_checkpoint(folder: Path, data: bytes) -> None:
    path = folder / "a.npz"
    path.write_bytes(data)
    with at_most(6_000_000 + 4 * len(data)):  # the table of all code points is 4.5 MB, whatever the file
        refused(lambda: load_checkpoint(path).build_model(), CheckpointError)


def check_import(suffix: str) -> Callable[[Path, bytes], None]:
    def check(folder: Path, data: bytes) -> None:
        path = folder / f"weights{suffix}"
        path.write_bytes(data)
        vocabulary = None if suffix == ".json" else Vocabulary.of("abcd")
        loaded = refused(lambda: import_model(path, vocabulary, source="x"), CheckpointError)
        if loaded is not None:
            loaded.build_model()

    return check


def exported(form: str, folder: Path) -> bytes:
    """A small model in a format of ours."""
    exporter(form)(make("gru"), folder / "sound")
    return (folder / "sound").read_bytes()


def saved(folder: Path) -> bytes:
    """A small checkpoint."""
    save_checkpoint(folder / "sound.npz", MODEL)
    return (folder / "sound.npz").read_bytes()


def check_vocabulary(folder: Path, data: bytes) -> None:
    (folder / "v.json").write_bytes(data)
    refused(lambda: read_vocabulary(folder / "v.json"), CheckpointError)


# --- texts ----------------------------------------------------------------------------------------------------------

MODEL = make("gru")
NETWORK = MODEL.build_model()
COMPRESSED = compress(CONTENT, NETWORK, MODEL.vocabulary, streams=3)[0]


def check_stream(folder: Path, data: bytes) -> None:
    with at_most(4_000_000):
        found = refused(lambda: decompress(data, NETWORK, MODEL.vocabulary), DataError, CheckpointError)
    assert found in (None, CONTENT)


@st.composite
def streams(draw: Any) -> bytes:
    data = bytearray(COMPRESSED)
    for offset, kind in draw(st.lists(st.sampled_from([(4, "B"), (5, "B"), (6, "<H"), (8, "<Q")]), max_size=2)):
        limit = 256 ** struct.calcsize(kind) - 1
        value = draw(st.sampled_from([0, 1, 2, 64, 65, len(CONTENT), 65535, 2**31, 2**62, 2**64 - 1]))
        struct.pack_into(kind, data, offset, min(value, limit))
    return draw(damaged_bytes(bytes(data))) if draw(st.booleans()) else bytes(data)


def check_task(folder: Path, data: bytes) -> None:
    (folder / "text.txt").write_text("abcabd")
    (folder / "text.txt.task.json").write_bytes(data)
    found = generator_nats(folder / "text.txt")
    assert found is None or len(found[1]) == 6


# --------------------------------------------------------------------------------------------------------------------


def gates(folder: Path) -> dict[str, Gate]:
    header, program = safetensors_header(), torch_pickle(SHAPES)
    said = json_values(header).map(safetensors)
    lengths = st.integers(-9, 99).map(lambda n: safetensors(header, extra=n))
    archive = torch_file(program)
    return {
        "history": Gate(histories(), check_history),
        "summary": Gate(json_bytes(SUMMARY).map(lambda data: {"summary.json": data}), check_facts),
        "trial": Gate(json_bytes(TRIAL).map(lambda data: {"trial.json": data}), check_facts),
        "checkpoint": Gate(st.one_of(lying_archives(saved(folder)), damaged_bytes(saved(folder))), check_checkpoint),
        "json": Gate(json_bytes(json.loads(exported("json", folder))), check_import(".json")),
        "safetensors": Gate(
            st.one_of(said, damaged_bytes(safetensors(header)), lengths), check_import(".safetensors")
        ),
        "torch": Gate(
            st.one_of(pickles(program).map(torch_file), lying_archives(archive), damaged_bytes(archive)),
            check_import(".pt"),
        ),
        "vocabulary": Gate(json_bytes(["a", "b", "é", "😀"]), check_vocabulary),
        "compressed": Gate(streams(), check_stream),
        "task": Gate(json_bytes({"task": "markov", "parameters": {"order": 2, "symbols": 4, "seed": 1}}), check_task),
    }  # fmt: skip


NAMES = [
    "history",
    "summary",
    "trial",
    "checkpoint",
    "json",
    "safetensors",
    "torch",
    "vocabulary",
    "compressed",
    "task",
]


@pytest.fixture
def run_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "sweep" / "cell=gru"
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text("corpus: {source: x}\nmodel: {cell: gru}\n")
    return folder


def fuzz(gate: Gate, folder: Path, examples: int) -> None:
    @settings(
        max_examples=examples,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate, Phase.shrink],
    )
    @given(gate.inputs)
    def run(data: Any) -> None:
        gate.check(folder, data)

    run()


@pytest.mark.parametrize("name", NAMES)
def test_damaged_files_are_read_or_refused(run_folder: Path, name: str) -> None:
    gate = gates(run_folder)[name]
    tracemalloc.start()
    try:
        fuzz(gate, run_folder, 40)
    finally:
        tracemalloc.stop()


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_twenty_thousand_damaged_files(run_folder: Path, name: str) -> None:
    fuzz(gates(run_folder)[name], run_folder, 20_000)


@pytest.mark.parametrize("name", NAMES)
def test_sound_files_pass(run_folder: Path, name: str) -> None:
    """Or nothing would have been tried: what is damaged above is accepted while it is sound."""
    (run_folder / "history.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    (run_folder / "summary.json").write_text(json.dumps(SUMMARY))
    (run_folder / "trial.json").write_text(json.dumps(TRIAL))
    sound: dict[str, Callable[[], Any]] = {
        "history": lambda: len(read_history(run_folder).rows) == 5,
        "summary": lambda: find_runs(run_folder)[0].status == "done",
        "trial": lambda: SweepDirectory(run_folder.parent).trials(),
        "compressed": lambda: decompress(COMPRESSED, NETWORK, MODEL.vocabulary) == CONTENT,
    }  # fmt: skip
    for form, data in (
        ("json", exported("json", run_folder)),
        ("safetensors", safetensors(safetensors_header())),
        ("torch", torch_file(torch_pickle(SHAPES))),
    ):
        path = run_folder / f"w.{form}"
        path.write_bytes(data)
        vocabulary = None if form == "json" else Vocabulary.of("abcd")
        sound[form] = lambda path=path, v=vocabulary: import_model(path, v, source="x")
    (run_folder / "v.json").write_text(json.dumps(["a", "b", "é"]))
    (run_folder / "t.txt").write_text("abcabd")
    (run_folder / "t.txt.task.json").write_text(
        '{"task": "markov", "parameters": {"order": 2, "symbols": 4, "seed": 1}}'
    )
    saved(run_folder)
    sound["checkpoint"] = lambda: load_checkpoint(run_folder / "sound.npz")
    sound["vocabulary"] = lambda: read_vocabulary(run_folder / "v.json")
    sound["task"] = lambda: generator_nats(run_folder / "t.txt")
    assert sound[name]()
