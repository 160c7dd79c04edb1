"""Histories are read as they stand."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from charrnn.errors import DataError
from charrnn.runs.history import read_histories, read_history


def test_rows_events_and_a_torn_end(tmp_path: Path) -> None:
    (tmp_path / "history.jsonl").write_text(
        '{"step": 1, "train_loss": 3.0, "val_loss": null}\n{"event": "rollback", "step": 2}\n'
        '{"step": 3, "train_loss": 2.0, "val_loss": 2.5}\n{"step": 4, "trai'
    )
    history = read_history(tmp_path)
    assert history.column("step") == [1.0, 3.0]
    assert math.isnan(history.column("val_loss")[0])
    assert history.best == history.rows[1]
    assert [event["event"] for event in history.events] == ["rollback"]
    assert read_history(tmp_path / "history.jsonl") == history


def test_runs_whose_directories_share_a_name_get_different_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [tmp_path / place for place in ("a/x/fr", "b/x/fr", "b/y/fr", "lstm")]
    for path in paths:
        path.mkdir(parents=True)
        (path / "history.jsonl").touch()
    names = [history.name for history in read_histories(paths)]
    assert names == [*(str(Path(name)) for name in ("a/x/fr", "b/x/fr", "y/fr")), "lstm"]
    monkeypatch.chdir(paths[3])
    assert [read_history(Path(path)).name for path in (".", "../lstm", "history.jsonl")] == ["lstm"] * 3


@pytest.mark.parametrize("content", ["x\n", "[]\n", '{"train_loss": 1}\n', '{"step": "a"}\n'])
def test_what_is_no_history_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "history.jsonl").write_text(content)
    with pytest.raises(DataError, match="line 1"):
        read_history(tmp_path)
    with pytest.raises(DataError, match=r"no history\.jsonl"):
        read_history(tmp_path / "nowhere")
