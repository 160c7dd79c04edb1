"""Optuna's part: search, early stopping, several processes on one study, going on after a kill."""

from __future__ import annotations

import json
import signal
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from charrnn.locks import FileLock
from charrnn.sweep.executors import unlocked
from tests.conftest import Run, assert_one_line_error
from tests.sweep.processes import begin, wait_until

pytestmark = pytest.mark.extras


@pytest.fixture(autouse=True)
def _needs_optuna() -> None:
    pytest.importorskip("optuna")


SEARCH = (
    "base: base.yaml\nrandom: {{training.learning_rate: {{log_uniform: [1.0e-6, 0.05]}},\n"
    "  model.cell: {{choice: [gru, rnn]}}}}\n"
    "search: {{sampler: {sampler}, trials: {trials}, pruner: {pruner}{more}}}\n"
)


def states(folder: Path, name: str = "s") -> list[str]:
    import optuna
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    storage = JournalStorage(JournalFileBackend(str(folder / "optuna.journal")))
    return [t.state.name for t in optuna.load_study(study_name=name, storage=storage).trials]


def test_hopeless_trials_are_given_up(charrnn: Run, tmp_path: Path, base: Callable[[int], Path]) -> None:
    base(400)
    (tmp_path / "s.yaml").write_text(SEARCH.format(sampler="tpe", trials=8, pruner="asha", more=""))
    done = charrnn("sweep", "s.yaml", "--json", "--jobs", "2")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert sum(result["counts"].values()) == 8
    assert result["counts"]["pruned"] >= 1
    pruned = [run for run in result["runs"] if run["status"] == "pruned"]
    assert all(run["steps"] < 400 for run in pruned)
    best = result["runs"][0]
    assert best["status"] == "done"
    assert best["loss"] < min(run["loss"] for run in pruned)
    assert sorted(states(tmp_path / "checkpoints/s")) == sorted(
        {"done": "COMPLETE", "pruned": "PRUNED"}[run["status"]] for run in result["runs"]
    )


def test_a_killed_search_goes_on_with_the_trials_it_was_running(
    charrnn: Run, tmp_path: Path, base: Callable[[int], Path]
) -> None:
    base(300)
    (tmp_path / "s.yaml").write_text(SEARCH.format(sampler="random", trials=5, pruner="none", more=""))
    sweep = begin(tmp_path, "s.yaml", "--jobs", "2")
    folder = tmp_path / "checkpoints" / "s"

    def unfinished() -> list[Path]:
        return [p.parent for p in sorted(folder.glob("*/last.npz")) if not (p.parent / "summary.json").exists()]

    wait_until(lambda: len(unfinished()) >= 2 and len(list(folder.glob("*/summary.json"))) >= 1)
    sweep.send_signal(signal.SIGKILL)
    sweep.wait()
    begun, alone = [*unfinished(), None][:2]
    if alone:  # one that reaches its end with nobody to tell
        wait_until(lambda: unlocked(alone))
        assert charrnn("train", "--config", alone / "config.yaml", "--run-dir", alone, "--resume", "-q").returncode == 0
    saving = FileLock(begun / ".lock", wait=True)
    saving.__enter__()  # as a trial that is still writing has it
    threading.Timer(1.5, saving.__exit__, (None, None, None)).start()
    done = charrnn("sweep", "s.yaml", "--resume", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["counts"] == {"done": 5}
    assert states(folder) == ["COMPLETE"] * 5
    assert alone is None or json.loads((alone / "trial.json").read_text())["attempts"] == 1
    rates = [run["training.learning_rate"] for run in json.loads(done.stdout)["runs"]]
    assert len(set(rates)) == 5  # a sampler that starts again with its seed would draw the first ones again


def test_a_plan_with_early_stopping_in_two_processes(charrnn: Run, tmp_path: Path, base: Callable[[int], Path]) -> None:
    base(300)
    (tmp_path / "s.yaml").write_text(
        "base: base.yaml\ngrid: {training.learning_rate: [0.01, 1.0e-6, 0.02, 1.1e-6, 0.03, 1.2e-6]}\n"
        "search: {pruner: asha}\n"
    )
    first = begin(tmp_path, "s.yaml", "--jobs", "1")
    folder = tmp_path / "checkpoints" / "s"
    wait_until(lambda: (folder / "optuna.journal").exists() and len(list(folder.glob("*/history.jsonl"))) >= 1)
    second = charrnn("sweep", "s.yaml", "--join", "--jobs", "1", "--quiet")
    assert second.returncode == 0, second.stderr
    assert first.wait(timeout=60) == 0
    found = [json.loads(path.read_text()) for path in folder.glob("*/trial.json")]
    assert len(found) == 6
    assert {trial["attempts"] for trial in found} == {1}
    assert len(states(folder)) == 6
    refused = charrnn("sweep", "s.yaml", "--join", "--set", "model.hidden_size=9")
    assert_one_line_error(refused, 2, "base settings that differ")
    assert_one_line_error(charrnn("sweep", "s.yaml", "--join", "--dir", "nowhere"), 2, "no sweep to join")
    again = charrnn("sweep", "s.yaml", "--resume", "--quiet", "--json")
    assert {trial["attempts"] for trial in (json.loads(p.read_text()) for p in folder.glob("*/trial.json"))} == {1}
    assert again.returncode == 0


def test_a_search_shared_by_two_processes_in_a_database(
    charrnn: Run, tmp_path: Path, base: Callable[[int], Path]
) -> None:
    base(300)
    more = ", storage: 'sqlite:///study.db'"
    (tmp_path / "s.yaml").write_text(SEARCH.format(sampler="tpe", trials=8, pruner="asha", more=more))
    first = begin(tmp_path, "s.yaml", "--jobs", "1")
    folder = tmp_path / "checkpoints" / "s"
    wait_until(lambda: len(list(folder.glob("*/history.jsonl"))) >= 1)
    second = charrnn("sweep", "s.yaml", "--join", "--jobs", "1", "--json")
    assert second.returncode == 0, second.stderr
    assert first.wait(timeout=60) == 0
    import optuna

    study = optuna.load_study(study_name="s", storage=f"sqlite:///{tmp_path / 'study.db'}")
    assert len(study.trials) == 8
    assert {t.state.name for t in study.trials} <= {"COMPLETE", "PRUNED"}
    recorded = {t.user_attrs["charrnn_name"] for t in study.trials}
    assert recorded == {path.parent.name for path in folder.glob("*/trial.json")}
    for trial in study.trials:
        facts = json.loads((folder / trial.user_attrs["charrnn_name"] / "trial.json").read_text())
        assert facts["attempts"] == 1
        if trial.state.name == "COMPLETE":
            assert facts["loss"] == trial.value


def test_gaussian_processes(charrnn: Run, tmp_path: Path, base: Callable[[int], Path]) -> None:
    pytest.importorskip("scipy")
    pytest.importorskip("torch")
    base(3)
    (tmp_path / "s.yaml").write_text(SEARCH.format(sampler="gp", trials=11, pruner="none", more=""))
    done = charrnn("sweep", "s.yaml", "--json")  # ten by chance, then one by the model
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["counts"] == {"done": 11}


def test_storages(charrnn: Run, tmp_path: Path, base: Callable[[int], Path]) -> None:
    base(10)
    more = ", storage: 'sqlite:///study.db'"
    (tmp_path / "s.yaml").write_text(SEARCH.format(sampler="random", trials=2, pruner="median", more=more))
    assert charrnn("sweep", "s.yaml", "--quiet").returncode == 0
    assert (tmp_path / "study.db").exists()
    taken = charrnn("sweep", "s.yaml", "--dir", "elsewhere")
    assert_one_line_error(taken, 2, "search.storage", "holds a study named s already")
    assert not (tmp_path / "elsewhere").exists()
    again = charrnn("sweep", "s.yaml", "--overwrite", "--json")
    assert json.loads(again.stdout)["counts"]["done"] >= 1
    assert len(json.loads(again.stdout)["runs"]) == 2
    more = ", storage: 'nosuch:///study.db'"
    (tmp_path / "t.yaml").write_text(SEARCH.format(sampler="random", trials=2, pruner="none", more=more))
    assert_one_line_error(charrnn("sweep", "t.yaml"), 2, "search.storage")
    assert_one_line_error(charrnn("sweep", "s.yaml", "--dry-run"), 2, "a search has no list")


def test_without_optuna_one_line_says_what_to_install(
    charrnn_here: Run, tmp_path: Path, base: Callable[[int], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    base(10)
    (tmp_path / "s.yaml").write_text(SEARCH.format(sampler="random", trials=2, pruner="none", more=""))
    with monkeypatch.context() as hidden:
        hidden.setattr("charrnn.sweep.search.find_spec", lambda name: None)
        (tmp_path / "g.yaml").write_text(SEARCH.format(sampler="gp", trials=2, pruner="none", more=""))
        assert_one_line_error(charrnn_here("sweep", "g.yaml"), 6, "SciPy", 'pip install "charrnn[gp]"')
    monkeypatch.setitem(sys.modules, "optuna", None)
    assert_one_line_error(charrnn_here("sweep", "s.yaml"), 6, "optuna", 'pip install "charrnn[sweep]"')


def test_a_search_that_is_replaced_begins_anew(charrnn: Run, tmp_path: Path, base: Callable[[int], Path]) -> None:
    base(3)
    (tmp_path / "s.yaml").write_text(SEARCH.format(sampler="random", trials=2, pruner="none", more=""))
    first = json.loads(charrnn("sweep", "s.yaml", "--json").stdout)
    again = json.loads(charrnn("sweep", "s.yaml", "--overwrite", "--json").stdout)
    assert again["counts"] == first["counts"] == {"done": 2}
    assert len(again["runs"]) == 2
    assert states(tmp_path / "checkpoints" / "s") == ["COMPLETE"] * 2
