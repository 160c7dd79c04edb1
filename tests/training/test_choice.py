"""Settings for a text that nobody has written any for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from charrnn.config.load import config_to_dict, parse_config
from charrnn.config.schema import CorpusSettings
from charrnn.config.suggest import Suggestion, TextOutline
from charrnn.data.encode import encode_text
from charrnn.errors import DataError, DivergenceError, SettingsError
from charrnn.runs.text import encode_corpus
from charrnn.training import choice
from charrnn.training.choice import MINUTES, Choice, choose_settings, measure_speed, outline_of
from charrnn.training.progress import Counters
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


def test_the_reference_is_trained_for_a_while_and_its_first_step_does_not_count(
    text_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[tuple[Any, ...]] = []
    done: list[str] = []

    class Stub:
        def __init__(self, *arguments: Any, **options: Any) -> None:
            made.append((*arguments, options))
            self.counters = Counters()
            self.group = SimpleNamespace(start=lambda: done.append("start"), close=lambda: done.append("close"))

        def take_step(self) -> None:
            first = done == ["start"]
            done.append("step")
            self.counters.chars += 1000 if first else 64
            self.counters.seconds += 10.0 if first else 0.3
            if len(done) == 99:
                raise DivergenceError("once it is", step=1)

    monkeypatch.setattr(choice, "Trainer", Stub)
    settings = parse_config(
        f"corpus: {{source: {text_file}}}\nmodel: {{cell: rnn, hidden_size: 5, num_layers: 3, dropout: 0.5}}\n"
        "training: {max_steps: 9, seed: 3, batch_size: 2, optimizer: sgd}\n",
        where="test",
    )
    bar: list[tuple[object, ...]] = []
    text: Any = object()
    speed = measure_speed(settings, text, 7.0, bar=lambda *told: bar.append(told), clock=len)  # type: ignore[arg-type]
    assert speed == pytest.approx(3 * 64 / (3 * 0.3))  # 0.8 seconds or more
    assert done == ["start", *["step"] * 4, "close"]
    ((reference, encoded, folder, options),) = made
    assert (encoded, folder.path, options.pop("clock")) == (text, Path(), len)
    options.pop("compiling")()
    assert (bar, options) == ([("compiling kernels", "kernel")], {})
    expected = config_to_dict(settings)
    expected["model"] |= {"cell": "gru", "hidden_size": 256, "num_layers": 1}
    expected["training"] |= {"batch_size": 32, "seq_length": 32, "epochs": None, "max_steps": None, "max_minutes": 7.0}
    assert config_to_dict(reference) == expected
    monkeypatch.setattr(choice, "_MEASURED_SECONDS", 1e9)
    with pytest.raises(DivergenceError):
        measure_speed(settings, text, 7.0)
    assert done[-1] == "close"


def test_a_settings_file_in_full() -> None:
    chosen = {"model": {"cell": "gru"}, "training": {"learning_rate": 0.003}}  # both defaults or not: they were chosen
    remarks = {"model.cell": "learns faster", "corpus.source": "the text"}
    sections = (
        'corpus: {source: [a.txt, "b c.txt"], normalize: nfc}\nmodel: {cell: gru}\ntraining: {max_minutes: 2.5}\n'
    )
    found = Choice(parse_config(sections, where="test"), Suggestion(chosen, remarks, ("text: a", "so\x1b", "then")))
    assert found.as_yaml().splitlines() == [
        "# text: a",
        r"# so\x1b",
        "# then",
        "corpus:",
        '  source: ["a.txt", "b c.txt"]   # the text',
        "  normalize: nfc",
        "model:",
        "  cell: gru                      # learns faster",
        "training:",
        "  max_minutes: 2.5",
        "  learning_rate: 0.003",
    ]
    assert found.as_yaml().endswith("0.003\n")


def test_what_the_rule_wants_to_know_of_a_text(tmp_path: Path) -> None:
    words = "".join(f"{a}{b}\n" for a in "abcdefghij" for b in "abcdefghij")
    for text, in_order in ((words, True), (words[::-1].strip() * 2, False), (words.replace("\n", " "), False)):
        (tmp_path / "text.txt").write_text(text, encoding="utf-8")
        encoded = encode_text([tmp_path / "text.txt"], "utf-8", tmp_path / "cache")
        found = outline_of("a", encoded)
        assert replace(found, lines=None) == TextOutline("a", len(text), len(set(text)), in_order)


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


def words(count: int) -> list[str]:
    """Different names, in no order."""
    syllables = [a + b for a in "bdfklmnprst" for b in ("a", "e", "i", "o", "u")]
    return [
        "".join(syllables[k * step % len(syllables)] for step in (7, 31, 1 + k // len(syllables))).capitalize()
        for k in range(count)
    ]


VERSE = [f"{a} {b} and {c} so {a}," for a, b, c in zip(words(300), words(400)[9:], words(400)[50:], strict=False)]


@pytest.mark.parametrize(
    ("lines", "kind"),
    [
        (words(300), "a list"), (sorted(words(300)), "a sorted list"), ([f"{w} {w}" for w in words(300)], "a list"),
        (VERSE, None), ([f"{w}." for w in words(300)], None), ([f"  {w}" for w in words(300)], None),
        ([str(k * 7919 % 1000) for k in range(300)], None), (words(300)[:20] * 15, None), (words(60), None),
        (words(300)[:-200:2] + [""] * 9 + words(300), None), (sorted(VERSE), "its sorted lines"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("encoding", ["utf-8", "bytes"])
def test_a_list_is_told_from_a_text(tmp_path: Path, lines: list[str], kind: str | None, encoding: str) -> None:
    path = tmp_path / "lines.txt"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    text = encode_corpus(CorpusSettings(source=str(path), encoding=encoding, val_fraction=0.0))
    apart = choice.outline_of("lines.txt", text).apart
    assert apart == kind if kind is None or kind.startswith("its") else (apart or "").startswith(f"{kind}, ")


def test_a_large_list_is_looked_at_in_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choice, "_LOOKED", 500)
    path = tmp_path / "lines.txt"
    for lines, share in ((words(2000), 0.0), (words(1000) + VERSE * 3, 0.2)):
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        outline = choice.outline_of("", encode_corpus(CorpusSettings(source=str(path), val_fraction=0.0))).lines
        assert outline is not None
        assert (outline.prose > share, outline.is_list) == (share > 0, share == 0)
        assert outline.count < 600
        assert outline.distinct > 0.85
