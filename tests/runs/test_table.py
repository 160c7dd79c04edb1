"""Many runs as a table, and which settings mattered: against data whose effects are known."""

from __future__ import annotations

import csv
import io
import json
import random
from pathlib import Path

import pytest

from charrnn.errors import SettingsError
from charrnn.runs.effects import effects
from charrnn.runs.table import Run as Row
from charrnn.runs.table import column_name, find_runs, ranked, selected, texts_of, varied_settings
from tests.conftest import Run, assert_one_line_error


def row(loss: float | None, **settings: object) -> Row:
    paths = {f"training.{k}" if k in ("seed", "learning_rate") else f"model.{k}": v for k, v in settings.items()}
    return Row(Path("x"), f"r{loss}", "done", {"loss": loss, "steps": 3}, paths)


def test_planted_effects_are_found() -> None:
    noise = random.Random(5)
    cells = {"gru": 0.0, "lstm": 0.1, "rnn": 0.5}
    rows = [
        row(
            1.5 + cells[cell] + (0.2 if size == 8 else 0.0) + noise.gauss(0, 0.01),
            cell=cell,
            hidden_size=size,
            seed=seed,
        )
        for cell in cells
        for size in (8, 16)
        for seed in range(5)
    ]
    first, second = effects(rows)
    assert first.setting == "model.cell"
    assert [level.label for level in first.levels] == ["gru", "lstm", "rnn"]
    assert first.size == pytest.approx(0.5, abs=0.02)
    assert [level.runs for level in first.levels] == [10, 10, 10]
    assert second.setting == "model.hidden_size"
    assert second.size == pytest.approx(0.2, abs=0.02)
    assert first.seed_spread == pytest.approx(0.01, rel=0.5)


def test_many_numbers_become_three_ranges_and_one_seed_has_no_spread() -> None:
    rows = [row(1.0 + abs(k - 9) / 10, learning_rate=0.001 * (k + 1)) for k in range(12)]
    (effect,) = effects(rows)
    assert [level.runs for level in effect.levels] == [4, 4, 4]
    assert effect.levels[0].label == "0.009 to 0.012"
    assert effect.seed_spread is None


def test_more_seeds_do_not_weigh_more() -> None:
    rows = [row(1.0, cell="gru", hidden_size=8, seed=k) for k in range(9)]
    rows += [row(2.0, cell="gru", hidden_size=16, seed=1), row(3.0, cell="rnn", hidden_size=8, seed=1)]
    cell = next(e for e in effects(rows) if e.setting == "model.cell")
    assert {level.label: level.mean for level in cell.levels} == {"gru": 1.5, "rnn": 3.0}


def test_selection_and_order() -> None:
    rows = [
        row(2.0, cell="gru", hidden_size=8),
        row(None, cell="rnn", hidden_size=16),
        row(1.0, cell="gru", hidden_size=32),
    ]
    assert [r.facts["loss"] for r in ranked(rows, "loss")] == [1.0, 2.0, None]
    assert [r.facts["loss"] for r in ranked(rows, "loss", reverse=True)] == [2.0, 1.0, None]
    assert [r.facts["loss"] for r in selected(rows, ["cell=gru", "hidden_size>=16"])] == [1.0]
    assert [r.facts["loss"] for r in selected(rows, ["model.cell != gru"])] == [None]
    assert [r.facts["loss"] for r in selected(rows, ["loss<1.5"])] == [1.0]
    assert varied_settings(rows) == ["model.cell", "model.hidden_size"]
    assert column_name("cell", rows) == "model.cell"
    with pytest.raises(SettingsError, match="did you mean cell"):
        column_name("cel", rows)
    with pytest.raises(SettingsError, match="only numbers"):
        selected(rows, ["hidden_size<large"])


def test_the_command(charrnn_here: Run, tmp_path: Path, config_file: Path) -> None:
    for name, cell, seed in (("a", "gru", 1), ("b", "rnn", 1), ("deep/c", "gru", 2)):
        done = charrnn_here(
            "train", "--config", config_file, "--quiet", "--run-dir", f"checkpoints/{name}", "--set",
            f"model.cell={cell}", "--set", f"training.seed={seed}",
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
    (tmp_path / "checkpoints" / "junk").mkdir()
    (tmp_path / "checkpoints" / "junk" / "config.yaml").write_text("nonsense")
    table = json.loads(charrnn_here("runs", "--json").stdout)["runs"]
    assert sorted(r["name"] for r in table) == ["a", "b", "deep/c"]
    assert [r["loss"] for r in table] == sorted(r["loss"] for r in table)
    assert {r["status"] for r in table} == {"done"}
    assert set(table[0]) >= {"model.cell", "training.seed", "path", "bits_per_char"}
    text = charrnn_here("runs", "--csv", "--columns", "name,loss,cell", "--where", "cell=gru").stdout
    parsed = list(csv.DictReader(io.StringIO(text)))
    assert {r["model.cell"] for r in parsed} == {"gru"}
    assert float(parsed[0]["loss"]) == min(r["loss"] for r in table if r["model.cell"] == "gru")
    paths = charrnn_here("runs", "--paths", "--top", "2", "--sort", "name").stdout.splitlines()
    assert paths == ["checkpoints/a", "checkpoints/b"]
    assert charrnn_here("plot", *paths, "--json").returncode == 0
    effect = json.loads(charrnn_here("runs", "--effects", "--json").stdout)["effects"][0]
    assert effect["setting"] == "model.cell"
    assert effect["seed_spread"] > 0
    assert "model.cell" in charrnn_here("runs", "--effects").stdout
    assert charrnn_here("runs", "--effects", "--csv").stdout.startswith("setting,value")
    assert charrnn_here("runs", "--reverse", "--sort", "steps").returncode == 0
    assert_one_line_error(charrnn_here("runs", "nowhere"), 2, "no such directory")
    assert_one_line_error(charrnn_here("runs", "--where", "a b"), 2, "not COLUMN=VALUE")
    digits = charrnn_here("runs", "--where", "beta1=0.9", "--json")
    assert len(json.loads(digits.stdout)["runs"]) == 3, digits.stderr
    assert len(find_runs(tmp_path / "checkpoints" / "a")) == 1


def test_texts_are_what_was_read_not_what_it_was_called() -> None:
    def read(source: str, sha256: str | None, **others: object) -> Row:
        settings = {"corpus.source": source, **{f"corpus.{key}": value for key, value in others.items()}}
        return Row(Path("x"), "r", "done", {"loss": 1.0}, settings, sha256)

    def texts(*runs: Row) -> int:
        return len(set(texts_of(runs)))

    assert texts(read("a.txt", "1"), read("-", "1")) == 1
    assert texts(read("-", "1"), read("-", "2")) == 2
    assert texts(read("a.txt", "1"), read("a.txt", "1", split="shuffled")) == 2
    assert texts(read("a.txt", None), read("a.txt", "1")) == 1  # one that is not over yet
    assert texts(read("a.txt", None), read("b.txt", "1")) == 2


def test_two_texts_that_share_a_name_count_as_two(charrnn_here: Run, config_file: Path) -> None:
    text = config_file.parent / "text.txt"
    for name in ("a", "b"):
        assert charrnn_here("train", "-c", config_file, "--run-dir", f"runs/{name}", "-q").returncode == 0
        assert ("2 different texts" in charrnn_here("runs", "runs").stderr) == (name == "b")
        text.write_text(text.read_text().upper())
    assert "--where" not in charrnn_here("runs", "runs").stderr
