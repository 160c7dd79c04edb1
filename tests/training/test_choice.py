"""Settings for a text that nobody has written any for."""

from __future__ import annotations

from pathlib import Path

import pytest

from charrnn.config.load import config_to_dict, parse_config
from charrnn.errors import DataError, SettingsError
from charrnn.training import choice
from charrnn.training.choice import MINUTES, choose_settings
from tests.conftest import SENTENCES


@pytest.fixture
def text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(choice, "measure_speed", lambda *arguments, **options: 60_000.0)
    path = tmp_path / "my: text.txt"
    path.write_text(SENTENCES * 40, encoding="utf-8")
    return str(path)


def test_the_machine_is_measured_on_the_text_itself(text_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choice, "_MEASURED_SECONDS", 0.01)
    found = choose_settings(str(text_file), overrides=["training.kernels=numpy", "training.replicas=1"])
    assert found.config.corpus.source == str(text_file)
    assert found.config.training.max_minutes == MINUTES
    assert found.config.training.kernels == "numpy"


def test_a_written_file_reads_back_as_the_same_settings(text: str) -> None:
    chosen = choose_settings(text, minutes=20, overrides=["corpus.normalize=nfc", "model.num_layers=2"])
    written = chosen.as_yaml()
    assert parse_config(written, where="test") == chosen.config
    assert "num_layers: 2" in written
    assert written.count("# as you set it") == 2  # layers and minutes
    assert written.splitlines()[0].startswith(f"# text: {text}")
    for line in written.splitlines()[3:]:
        assert "#" in line or line.endswith(":") or line.split(":")[0].strip() in ("source", "normalize"), line


def test_a_settings_file_wins_over_what_is_chosen_and_overrides_win_over_both(text: str) -> None:
    free = choose_settings(text).config
    corpus = {"source": "elsewhere.txt", "val_fraction": 0.25}
    given = {"model": {"hidden_size": 24}, "training": {"learning_rate": 0.5}, "corpus": corpus}
    config = choose_settings(text, given=given, overrides=["training.learning_rate=0.25"]).config
    assert config.model.hidden_size == 24
    assert config.training.learning_rate == 0.25
    assert config.corpus.source == text  # named on the command line, so no file's is meant
    assert config.corpus.val_fraction == 0.25
    chosen, mine = config_to_dict(free)["training"], config_to_dict(config)["training"]
    assert {k for k in chosen if chosen[k] != mine[k]} <= {
        "learning_rate", "eval_every", "sample_every", "log_every", "checkpoint_every",
    }  # fmt: skip


@pytest.mark.parametrize("minutes", [None, 1.5])
def test_the_time_is_that_of_the_settings_where_none_is_given(text: str, minutes: float | None) -> None:
    config = choose_settings(text, minutes=minutes, overrides=["training.max_minutes=7"]).config
    assert config.training.max_minutes == 7
    assert choose_settings(text, minutes=minutes).config.training.max_minutes == (minutes or MINUTES)


def test_wrong_settings_and_texts_are_refused(text: str, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"model\.cell"):
        choose_settings(text, overrides=["model.cell=ltsm"])
    with pytest.raises(SettingsError, match="a mapping"):
        choose_settings(text, given=["no settings"], where="my.yaml")  # type: ignore[arg-type]
    (tmp_path / "empty.txt").touch()
    with pytest.raises(DataError, match="the text is empty"):
        choose_settings(str(tmp_path / "empty.txt"))


def test_too_short_a_text_is_refused_when_the_machine_is_measured(tmp_path: Path) -> None:
    (tmp_path / "short.txt").write_text("too short", encoding="utf-8")
    with pytest.raises(DataError, match="the training part has 8 symbols"):
        choose_settings(str(tmp_path / "short.txt"))
