"""A training from settings to its last checkpoint: begun, resumed, begun from another's weights, refused."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import numpy as np
import pytest

from charrnn.blas import available_cores, blas_threads
from charrnn.config.schema import Config
from charrnn.data.windows import WindowStream
from charrnn.errors import CharRNNError, DataError, SettingsError
from charrnn.nn.network import CharRNN
from charrnn.runs.checkpoint import load_checkpoint
from charrnn.runs.directory import RunDirectory
from charrnn.runs.events import Event, Note, RunFinished, RunStarted, StepReport
from charrnn.runs.text import Origin
from charrnn.training import session
from charrnn.training.group import LocalGroup, ReplicaSpec, Share, group_of, replica_spec
from charrnn.training.mpi import MpiGroup
from charrnn.training.progress import StopFlag
from charrnn.training.session import train
from tests.training.small_runs import config


@pytest.fixture(autouse=True)
def _no_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.fsync", lambda handle: None)


def settings(folder: Path, *overrides: str, text: str = "the cat sat on the mat. " * 40) -> Config:
    (folder / "text.txt").write_text(text, encoding="utf-8")
    short = ("training.max_steps=3", "training.sample_every=null", "training.checkpoint_every=2", "model.num_layers=1")
    found = config("rnn", *short, *overrides)
    return msgspec.structs.replace(found, corpus=msgspec.structs.replace(found.corpus, source=str(folder / "text.txt")))


def events_of(settings: Config, folder: Path, **options: Any) -> list[Event]:
    return list(train(settings, RunDirectory(folder), **options))


@pytest.mark.parametrize("made", [False, True])
def test_a_stop_before_the_first_step_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, made: bool
) -> None:
    def stopped(group: LocalGroup) -> None:
        assert (tmp_path / "run" / "config.yaml").is_file()
        raise KeyboardInterrupt

    monkeypatch.setattr(LocalGroup, "start", stopped)
    if made:
        (tmp_path / "run").mkdir()
    with pytest.raises(KeyboardInterrupt):
        events_of(settings(tmp_path), tmp_path / "run")
    assert (tmp_path / "run").exists() == made
    assert RunDirectory(tmp_path / "run").is_free


def test_a_run_is_begun_resumed_and_not_overwritten_by_chance(tmp_path: Path) -> None:
    labels: list[tuple[object, ...]] = []

    @contextmanager
    def bar(*label: object) -> Iterator[Any]:
        labels.append(label)
        yield lambda done, total: None

    whole, run = settings(tmp_path), tmp_path / "run"
    events = events_of(whole, tmp_path / "whole", bar=bar)
    assert isinstance(events[0], RunStarted)
    assert isinstance(events[-1], RunFinished)
    assert "text.txt" in str(labels[0][0])
    assert labels[-1] == ("compiling kernels", "kernel")
    events_of(settings(tmp_path, "training.max_steps=2"), run)
    with pytest.raises(SettingsError, match="holds a run already"):
        events_of(whole, run)
    history = run / "history.jsonl"
    history.write_text(history.read_text() + "what a kill left behind\n")
    stop = StopFlag()
    resumed = events_of(whole, run, resume=True, stop=stop)
    assert isinstance(resumed[0], RunStarted)
    assert resumed[0].step == 2
    assert "kill" not in history.read_text()
    a, b = (load_checkpoint(folder / "last.npz") for folder in (tmp_path / "whole", run))
    assert all((a.params[name] == b.params[name]).all() for name in a.params)
    assert "max_steps: 3" in (run / "config.yaml").read_text()
    assert load_checkpoint(run / "last.npz").opening == a.opening != ()
    other = settings(tmp_path, "training.seed=5")
    events_of(other, run, overwrite=True)
    assert load_checkpoint(run / "last.npz").config.training.seed == 5
    with pytest.raises(SettingsError, match=r"training\.seed"):
        events_of(whole, run, resume=True)


def test_weights_of_another_run_are_where_a_new_one_begins(tmp_path: Path) -> None:
    events_of(settings(tmp_path), tmp_path / "a")
    still = settings(tmp_path, "training.learning_rate=1e-30", "training.seed=9", text="a mat on the mat. " * 60)
    events_of(still, tmp_path / "b", init_from=tmp_path / "a")
    a, b = (load_checkpoint(tmp_path / name / "last.npz") for name in "ab")
    assert a.vocabulary == b.vocabulary  # that of the weights, although the new text has fewer symbols
    assert all(np.allclose(a.params[name], b.params[name], atol=1e-12) for name in a.params)
    both = "^`resume` and `init_from` cannot be combined: one continues a run, the other starts a new one$"
    with pytest.raises(SettingsError, match=both):
        events_of(still, tmp_path / "b", init_from=tmp_path / "a", resume=True)
    with pytest.raises(CharRNNError, match="hidden_size"):
        events_of(settings(tmp_path, "model.hidden_size=5"), tmp_path / "c", init_from=tmp_path / "a")
    assert not (tmp_path / "c").exists()


@pytest.mark.parametrize("bound", ["max_steps", "epochs", "max_minutes"])
def test_a_run_that_has_ended_says_so_when_it_is_resumed(tmp_path: Path, bound: str) -> None:
    limits = {"max_steps": "null", "epochs": "null", "max_minutes": "null", bound: "0.0001" if "min" in bound else "1"}
    ended = settings(tmp_path, *(f"training.{name}={value}" for name, value in limits.items()))
    first, *_ = events_of(ended, tmp_path / "a")
    again, *_ = events_of(ended, tmp_path / "a", resume=True)
    assert isinstance(first, RunStarted)
    assert isinstance(again, RunStarted)
    assert not any("nothing is left" in note for note in first.notes)
    assert f"training.{bound}" in next(note for note in again.notes if "nothing is left to train" in note)


def test_a_run_beyond_its_lowered_limit_names_that_limit(tmp_path: Path) -> None:
    events_of(settings(tmp_path, "training.max_steps=3", "training.epochs=null"), tmp_path / "a")
    lowered = settings(tmp_path, "training.max_steps=2", "training.epochs=null")
    again, *_ = events_of(lowered, tmp_path / "a", resume=True)
    assert isinstance(again, RunStarted)
    assert "training.max_steps" in next(note for note in again.notes if "nothing is left to train" in note)


def test_a_stop_ends_it_after_a_step(tmp_path: Path) -> None:
    stop = StopFlag(stop_requested=True)
    finished = events_of(settings(tmp_path), tmp_path / "a", stop=stop)[-1]
    assert isinstance(finished, RunFinished)
    assert (finished.reason, finished.summary["steps"]) == ("stopped", 1)
    assert "still_units" not in finished.summary  # only a run that has come to its end is examined
    assert events_of(settings(tmp_path), tmp_path / "a", resume=True, stop=stop)[-1].summary["steps"] == 2  # type: ignore[union-attr]


def test_what_cannot_begin_leaves_no_directory_of_its_own(tmp_path: Path) -> None:
    unusable = settings(tmp_path, text="x")
    (tmp_path / "there").mkdir()
    for name in ("new", "there"):
        with pytest.raises(CharRNNError):
            events_of(unusable, tmp_path / name)
    assert not (tmp_path / "new").exists()
    assert (tmp_path / "there").is_dir()
    with pytest.raises(SettingsError) as caught:
        events_of(settings(tmp_path), tmp_path / "none", resume=True)
    assert caught.value.message == f"{tmp_path / 'none'}: there is no run to resume (no last.npz)"
    assert caught.value.hint == "start it without `resume`"
    assert not (tmp_path / "none").exists()


def test_a_file_system_without_locks_is_noted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("charrnn.locks._lock", lambda handle, wait: False)
    started = next(train(settings(tmp_path), RunDirectory(tmp_path / "a")))
    assert isinstance(started, RunStarted)
    assert started.notes == (session._NO_LOCK,)


def test_tensorboard_is_given_up_with_a_note_once_it_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[Event] = []

    class Log:
        def __init__(self, folder: Path) -> None:
            assert folder == tmp_path / "a" / "tensorboard"

        def show(self, event: Event) -> None:
            shown.append(event)
            if len(shown) == 2:
                raise OSError(28, "No space left on device")

    module: Any = SimpleNamespace(TensorBoardLog=Log, check_installed=lambda: None)
    monkeypatch.setitem(sys.modules, "charrnn.training.tensorboard", module)
    events = events_of(settings(tmp_path, "training.tensorboard=true"), tmp_path / "a")
    notes = [event for event in events if isinstance(event, Note)]
    assert len(shown) == 2
    assert [note.text for note in notes] == [
        "TensorBoard files cannot be written and are given up: No space left on device"
    ]
    assert events.index(notes[0]) == events.index(shown[1]) + 1


class Ranks:
    """Stands in for the ranks of MPI: two, of which this is one; what the first shares is kept for the second."""

    size = 2

    def __init__(self, rank: int, shared: Any = None) -> None:
        self.rank, self.shared, self.checked = rank, shared, {}

    def share(self, value: Any) -> Any:
        self.shared = self.shared if value is None else value
        return self.shared

    def check_same(self, value: str, what: str) -> None:
        self.checked[what] = value


class Member(LocalGroup):
    """A rank that computes everything itself, and leads or not."""

    def __init__(self, plan: ReplicaSpec, stream: WindowStream, *, ranks: Ranks) -> None:
        super().__init__(plan, stream)
        self.leads = ranks.rank == 0  # type: ignore[misc]


def of_ranks(monkeypatch: pytest.MonkeyPatch, ranks: Ranks | None) -> None:
    monkeypatch.setattr("charrnn.training.mpi.launched", lambda: ranks is not None)
    monkeypatch.setattr("charrnn.training.mpi.world", lambda: ranks)
    monkeypatch.setattr("charrnn.training.mpi.MpiGroup", Member)


@pytest.mark.parametrize("way", ["new", "resumed", "from weights"])
def test_ranks_train_along_with_the_one_that_leads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str) -> None:
    """Each finds the text by its own settings; checkpoints come from the first, which alone writes."""
    wanted, options = settings(tmp_path, "training.sample_every=2"), {}
    if way == "resumed":
        events_of(settings(tmp_path, "training.sample_every=2", "training.max_steps=1"), tmp_path / "a")
        options = {"resume": True}
    elif way == "from weights":
        events_of(settings(tmp_path, "training.seed=5"), tmp_path / "b")
        options = {"init_from": tmp_path / "b"}
    first = Ranks(0)
    of_ranks(monkeypatch, first)
    assert session.leads()
    led = events_of(wanted, tmp_path / "a", **options)
    second = Ranks(1, first.shared)
    assert [part is not None for part in second.shared] == [True, False, way == "resumed", way == "from weights"]
    of_ranks(monkeypatch, second)
    assert not session.leads()
    monkeypatch.chdir(tmp_path / "a")
    there = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    followed = list(session.follow())
    assert first.checked == second.checked == {"the text": session.read_corpus(wanted).sha256}
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == there
    losses = [[event.train_loss for event in events if isinstance(event, StepReport)] for events in (led, followed)]
    assert losses[0] == losses[1] != []
    stopped = list(session.follow(stop=StopFlag(stop_requested=True)))[-1]
    assert isinstance(stopped, RunFinished)
    assert stopped.reason == "stopped"
    of_ranks(monkeypatch, None)
    assert session.leads()


def test_ranks_know_a_piped_text_by_its_hash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    of_ranks(monkeypatch, ranks := Ranks(0))
    wanted = settings(tmp_path)
    text: Any = SimpleNamespace(sha256="abc")
    for source, origin in ((wanted.corpus.source, None), ("-", Origin("abc")), (["a.txt", "-"], Origin("abc"))):
        piped = msgspec.structs.replace(wanted, corpus=msgspec.structs.replace(wanted.corpus, source=source))
        session._lead(ranks, piped, text, None, None)  # type: ignore[arg-type]
        assert ranks.shared == (piped, origin, None, None)
    assert session._lead(None, wanted, text, None, None) is group_of
    of_ranks(monkeypatch, Ranks(1, (wanted, Origin("abc"), None, None)))
    with pytest.raises(DataError):  # there is a text, but another
        next(iter(session.follow()))


def test_another_process_makes_the_windows_of_this_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = settings(tmp_path, "training.random_offsets=true", "training.batch_size=3", "training.seq_length=7")
    text = session.read_corpus(found)
    separator = np.array([1, 2], np.uint8)
    spec = replica_spec(found, text, 500, separator, 2)
    assert (spec.kernels, spec.state_reset, spec.count) == ("numpy", found.training.state_reset, 2)
    stream = spec.stream()
    np.testing.assert_array_equal(stream.ids, text.ids[:500])
    assert stream.ids.dtype == text.ids.dtype
    assert (stream.columns, stream.window_steps(0)) == (3, 7)
    assert (stream.offset(1, 0), stream.offset(1, 1)) != (0, 0)
    assert stream.separator.tolist() == [1, 2]  # type: ignore[union-attr]
    assert replica_spec(found, text, 500, None, 2).stream().separator is None
    with pytest.raises(SettingsError) as caught:
        group_of(replace(spec, cell_module="__main__"), stream)
    assert caught.value.message.startswith("the cell 'rnn' is defined in the program itself, where replicas cannot")
    assert caught.value.hint == "put it into a module of its own, or set training.replicas to 1"
    monkeypatch.setattr("charrnn.training.replicas.ReplicaGroup", lambda *told: told)
    assert group_of(spec, stream) == (spec, stream)
    assert isinstance(group_of(replace(spec, count=1), stream), LocalGroup)


def test_the_plan_of_a_run_has_all_of_its_settings(tmp_path: Path) -> None:
    found = settings(tmp_path, "model.dropout=0.25", "model.cell=gru", "training.state_reset=0.125")
    text = session.read_corpus(found)
    assert replica_spec(found, text, 500, np.array([1, 2], np.uint8), 3, "compiled") == ReplicaSpec(
        vocab_size=len(text.vocabulary), sizes=found.model.sizes(), network=found.model.network(),
        cell_module="charrnn.nn.cells.gru", ids_path=str(text.path), ids_dtype="|u1", train_size=500, separator=[1, 2],
        offsets=False, batch_size=4, seq_length=16, state_reset=0.125, count=3, rank=0, dtype="float32",
        kernels="compiled",
    )  # fmt: skip


def test_columns_are_shared_out_over_threads_of_compiled_kernels_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: list[int] = []
    monkeypatch.setattr(CharRNN, "use_compiled", lambda self, threads=0, told=threads: told.append(threads))
    spec = replica_spec(settings(tmp_path), session.read_corpus(settings(tmp_path)), 500, None, 3, "compiled")
    stream = spec.stream()
    group = group_of(spec, stream)
    assert isinstance(group, LocalGroup)
    assert (group.count, group._share.columns, threads) == (3, slice(0, 4), [3])
    assert Share(replace(spec, rank=1), stream).columns == slice(1, 2)
    assert threads == [3, 1]
    Share(replace(spec, kernels="numpy"), stream)
    assert threads == [3, 1]


@pytest.mark.extras
def test_blas_leaves_the_cores_to_threads_of_compiled_kernels(tmp_path: Path) -> None:
    """Its own threads spin for a while after each product, as those of an optimiser between two windows."""
    pytest.importorskip("numba")
    from threadpoolctl import threadpool_info

    def most() -> int:
        return max(library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas")

    for kernels, limited, between in (("compiled", 1, available_cores()), ("numpy", 2, 2)):
        spec = replica_spec(settings(tmp_path), session.read_corpus(settings(tmp_path)), 500, None, 1, kernels)
        group = group_of(spec, spec.stream())
        with blas_threads(2):
            group.start()
            assert most() == limited
            assert group.once(most) == between
            group.close()
            assert most() == 2
    alone: Any = SimpleNamespace(rank=0, size=1, local_size=1)
    spec = replace(spec, kernels="compiled")
    ranks = MpiGroup(spec, spec.stream(), ranks=alone)
    with blas_threads(2):
        ranks.start()
        assert most() == 1
        ranks.close()
        assert most() == 2


def test_a_gradient_is_of_the_mean_over_the_window(tmp_path: Path) -> None:
    found = settings(tmp_path, "model.dropout=0", "training.state_reset=0")
    text = session.read_corpus(found)
    spec = replace(replica_spec(found, text, 500, None, 1), dtype="float64")
    stream, params = spec.stream(), CharRNN(len(text.vocabulary), **found.model.network(), dtype=np.float64).params
    share = Share(spec, stream, params=params)
    assert share.model.params is params
    share.model.init(np.random.default_rng(0))
    share.run(0, 0, 1, 2)
    first, window = share.model.grads.flat.copy(), stream.window(0)
    share.model.loss_and_grad(window.inputs, window.targets, share.model.zero_state(stream.columns))
    np.testing.assert_allclose(first, share.model.grads.flat, rtol=1e-12)
