"""Checkpoints come back as they were, and whatever is not a sound one is refused."""

from __future__ import annotations

import contextlib
import io
import json
import zipfile
from pathlib import Path
from typing import IO

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from charrnn.errors import CheckpointError, DataError
from charrnn.files import atomic_writer
from charrnn.runs.checkpoint import find_checkpoint, load_checkpoint, save_checkpoint
from charrnn.runs.npz import write_arrays
from charrnn.runs.reading import read_rows, run_meant
from tests.checkpoints import make


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    save_checkpoint(tmp_path / "a.npz", make())
    return tmp_path / "a.npz"


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
def test_a_checkpoint_comes_back(tmp_path: Path, cell: str) -> None:
    before = make(cell)
    save_checkpoint(tmp_path / "a.npz", before)
    after = load_checkpoint(tmp_path / "a.npz")
    assert after.config == before.config
    assert after.vocabulary == before.vocabulary
    assert (after.counters, after.cursor, after.kernel, after.version) == ({"step": 7}, (2, 5), "kernel", "0.1.0")
    for name, values in before.params.items():
        np.testing.assert_array_equal(after.params[name], values)
    np.testing.assert_array_equal(after.moments["mean"], before.moments["mean"])
    for a, b in zip(after.state, before.state, strict=True):
        np.testing.assert_array_equal(a, b)


def test_the_file_is_plain_arrays(saved: Path) -> None:
    with np.load(saved, allow_pickle=False) as arrays:
        assert int(arrays["format"]) == 1
        assert json.loads(str(arrays["meta"]))["counters"] == {"step": 7}
        assert arrays["params/layers.0.weight_hh"].shape == (16, 4)
        assert arrays["state/1/c"].shape == (4, 3)
        assert arrays["cursor"].tolist() == [2, 5]


def rewrite(path: Path, **changes: np.ndarray | None) -> None:
    """Write the same file with some arrays replaced (None: left out)."""
    with np.load(path, allow_pickle=False) as old:
        arrays = {name: old[name] for name in old.files}
    for name, value in changes.items():
        arrays.pop(name.replace("__", "/"), None)
        if value is not None:
            arrays[name.replace("__", "/")] = value
    np.savez(path, **arrays)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": np.array(2)}, "format 2"),
        ({"format": None}, "no format"),
        ({"meta": None}, "no meta"),
        ({"meta": np.array("{")}, "meta is damaged"),
        ({"meta": np.array("[]")}, "Expected `object`"),
        ({"params__head.bias": None}, "params/head.bias is missing"),
        ({"params__head.bias": np.zeros(9, np.float32)}, "its settings need"),
        ({"params__head.bias": np.zeros(5, np.float64)}, "float64"),
        ({"params__head.bias": np.full(5, np.nan, np.float32)}, "not finite"),
        ({"optim__mean": np.zeros(3, np.float32)}, "optim/mean"),
        ({"cursor": np.zeros(3, np.int64)}, "cursor"),
        ({"extra": np.zeros(3)}, "'extra'"),
        ({"state__0__c": np.zeros((4, 9), np.float32)}, "state/0/c"),
    ],
    ids=str,
)
def test_unsound_files_are_refused(saved: Path, changes: dict[str, np.ndarray | None], message: str) -> None:
    rewrite(saved, **changes)
    with pytest.raises(CheckpointError, match=message):
        load_checkpoint(saved)


def test_pickles_compression_and_foreign_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    np.savez(path, a=np.array([{}], dtype=object))
    with pytest.raises(CheckpointError):
        load_checkpoint(path)
    np.savez_compressed(path, a=np.zeros(10**6))
    with pytest.raises(CheckpointError, match="compressed"):
        load_checkpoint(path)
    path.write_text("hello")
    with pytest.raises(CheckpointError, match="not a charrnn checkpoint"):
        load_checkpoint(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.txt", "hello")
    with pytest.raises(CheckpointError):
        load_checkpoint(path)
    with pytest.raises(CheckpointError, match="no such"):
        load_checkpoint(tmp_path / "none.npz")
    with pytest.raises(CheckpointError):
        load_checkpoint(tmp_path)


def test_a_header_that_claims_a_huge_array_allocates_nothing(tmp_path: Path) -> None:
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": "<f4", "fortran_order": False, "shape": (1 << 50,)})
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
        archive.writestr("format.npy", stream.getvalue() + b"1234")
    with pytest.raises(CheckpointError, match="size that does not match"):
        load_checkpoint(tmp_path / "x.npz")


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(data=st.data())
def test_damaged_bytes_never_do_anything_but_load_or_be_refused(saved: Path, data: st.DataObject) -> None:
    sound = saved.read_bytes()
    damaged = bytearray(sound)
    for _ in range(data.draw(st.integers(1, 3))):
        damaged[data.draw(st.integers(0, len(sound) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(sound)))
    target = saved.with_name("damaged.npz")
    target.write_bytes(bytes(damaged)[: cut if data.draw(st.booleans()) else None])
    with contextlib.suppress(CheckpointError):
        load_checkpoint(target)


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "a"
    target.write_text("old")

    def fail() -> None:
        with atomic_writer(target) as file:
            file.write(b"new")
            raise OSError("full")

    with pytest.raises(OSError, match="full"):
        fail()
    assert target.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


def test_a_run_directory_means_its_best_else_its_last(tmp_path: Path) -> None:
    run = tmp_path / "runs" / "a"
    run.mkdir(parents=True)
    with pytest.raises(CheckpointError, match=r"neither best\.npz nor last\.npz"):
        find_checkpoint(run)
    (run / "last.npz").touch()
    assert find_checkpoint(run).name == "last.npz"
    (run / "best.npz").touch()
    assert find_checkpoint(run).name == "best.npz"
    assert find_checkpoint(None, runs_dir=tmp_path / "runs") == run / "best.npz"
    with pytest.raises(CheckpointError, match="no run under"):
        find_checkpoint(None, runs_dir=tmp_path / "none")


@pytest.mark.parametrize("given", ["poems", "poems.txt", "poem", "folder/poems", "checkpoints/poem"])
def test_a_run_is_suggested_where_its_name_alone_was_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "checkpoints/poems").mkdir(parents=True)
    save_checkpoint(tmp_path / "checkpoints/poems/last.npz", make())
    (tmp_path / "poems.txt").write_text("a text is no checkpoint", encoding="utf-8")
    (tmp_path / "folder/poems").mkdir(parents=True)
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(find_checkpoint(Path(given)))
    assert caught.value.hint == f"did you mean {Path('checkpoints/poems')}?"
    with pytest.raises(DataError) as none:
        list(read_rows(Path(given) / "history.jsonl"))
    assert none.value.hint == caught.value.hint


def test_a_name_with_a_dot_is_not_taken_for_another_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("gru", "gru.25", "gru.5"):
        (tmp_path / "checkpoints" / name).mkdir(parents=True)
        save_checkpoint(tmp_path / "checkpoints" / name / "last.npz", make())
    assert run_meant(Path("gru.25"), None) == f"did you mean {Path('checkpoints/gru.25')}?"
    assert run_meant(Path("checkpoints/gru"), None) is None
    (tmp_path / "grue.txt").touch()
    assert run_meant(Path("grue.txt"), None) is None


def test_no_run_is_suggested_where_none_is_like_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for _ in range(2):  # without a directory of runs, and with one
        with pytest.raises(CheckpointError) as caught:
            load_checkpoint(find_checkpoint(Path("poems")))
        assert caught.value.hint == "train one: charrnn train my.txt"
        (tmp_path / "checkpoints/gru").mkdir(parents=True, exist_ok=True)


def test_every_numpy_writes_what_can_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def savez(file: IO[bytes], **arrays: object) -> None:  # as before NumPy 2.2: every keyword is an array's name
        with zipfile.ZipFile(file, "w") as archive:
            for name, array in arrays.items():
                with archive.open(f"{name}.npy", "w") as member:
                    np.lib.format.write_array(member, np.asanyarray(array))

    monkeypatch.setattr(np, "savez", savez)
    save_checkpoint(tmp_path / "a.npz", make())
    assert load_checkpoint(tmp_path / "a.npz").params.keys() == make().params.keys()


def test_arrays_of_objects_are_not_written() -> None:
    with pytest.raises(ValueError, match=r"[Oo]bject arrays"):
        write_arrays(io.BytesIO(), {"a": np.array([{}], dtype=object)})
