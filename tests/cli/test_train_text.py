"""`charrnn train TEXT` and `charrnn config suggest`, as someone uses them who has a text and nothing else."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from charrnn.cli import choosing
from charrnn.config.builtin import recipes
from charrnn.config.load import load_config
from charrnn.config.schema import CorpusSettings
from charrnn.runs.directory import run_name
from charrnn.training import choice
from charrnn.training.trainer import Trainer
from tests.conftest import SENTENCES, Run, assert_one_line_error

SHORT = ("--set", "training.max_steps=3", "--set", "model.hidden_size=8", "--set", "training.replicas=1")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(choice, "measure_speed", lambda *arguments, **options: 60_000.0)
    (tmp_path / "my.txt").write_text(SENTENCES * 8, encoding="utf-8")
    return tmp_path


def test_a_text_is_all_it_takes_and_no_run_is_overwritten(charrnn_here: Run, folder: Path) -> None:
    done = charrnn_here("train", "my.txt", *SHORT)
    assert done.returncode == 0, done.stderr
    lines = done.stderr.splitlines()
    assert [line.partition(":")[0] for line in lines[:3]] == ["text", "network", "training"]
    config = load_config(folder / "checkpoints/my/config.yaml")
    chosen = (config.corpus.source, config.model.cell, config.model.hidden_size)
    assert chosen == ("my.txt", "gru", 8)  # so small a text
    assert config.training.max_minutes == 3.0
    written = (folder / "checkpoints/my/config.yaml").read_text(encoding="utf-8").splitlines()
    assert [line[2:] for line in written[:3]] == lines[:3]
    assert "  cell: gru                      # learns faster than an LSTM of equal size" in written
    assert "  beta1: 0.9" in written  # all settings, so that a later version with other defaults trains the same
    first = (folder / "checkpoints/my/last.npz").read_bytes()
    assert charrnn_here("train", "my.txt", "-q", *SHORT).stderr == ""
    assert charrnn_here("train", "my.txt", "--run-dir", "mine", *SHORT).returncode == 0
    assert sorted(p.name for p in (folder / "checkpoints").iterdir()) == ["my", "my-2"]
    assert (folder / "checkpoints/my/last.npz").read_bytes() == first
    assert charrnn_here("train", "my.txt", "--overwrite", "--set", "training.seed=2", *SHORT).returncode == 0
    assert (folder / "checkpoints/my/last.npz").read_bytes() != first
    grown = charrnn_here("train", "my.txt", "--run-dir", "grown", "--init-from", "checkpoints/my", "-q", *SHORT[:2])
    assert grown.returncode == 0, grown.stderr  # the network is that of the checkpoint


def test_the_settings_that_a_run_wrote_are_there_to_be_edited(charrnn_here: Run, folder: Path) -> None:
    assert charrnn_here("train", "my.txt", "-q", *SHORT).returncode == 0
    written = folder / "checkpoints/my/config.yaml"
    text = written.read_text(encoding="utf-8")
    assert charrnn_here("train", "--resume", "checkpoints/my", "-q").returncode == 0
    assert written.read_text(encoding="utf-8") == text
    assert charrnn_here("train", "--resume", "checkpoints/my", "-q", "--set", "training.max_steps=4").returncode == 0
    assert load_config(written).training.max_steps == 4
    changed = {*written.read_text(encoding="utf-8").splitlines()} ^ {*text.splitlines()}
    assert {line.split("#")[0].strip() for line in changed} == {"max_steps: 3", "max_steps: 4"}
    edited = written.read_text(encoding="utf-8").replace("max_steps: 4", "max_steps: 6  # mine")
    written.write_text(edited, encoding="utf-8")
    again = charrnn_here("train", "--resume", "checkpoints/my", "-q", "--json")
    assert json.loads(again.stdout)["steps"] == 6
    assert written.read_text(encoding="utf-8") == edited
    for right, wrong, said in (
        ("hidden_size: 8", "hidden_size: 9", "model.hidden_size: cannot change"),
        ("cell: gru", "cell: grr", "model.cell: found 'grr'"),
    ):
        written.write_text(edited.replace(right, wrong), encoding="utf-8")
        refused = charrnn_here("train", "--resume", "checkpoints/my")
        assert_one_line_error(refused, 2, f"{Path('checkpoints/my/config.yaml')}: {said}")
    (folder / "elsewhere.yaml").write_text(edited, encoding="utf-8")
    written.unlink()
    written.symlink_to(folder / "elsewhere.yaml")  # as a stranger's directory may have it
    assert_one_line_error(charrnn_here("train", "--resume", "checkpoints/my"), 3, "config.yaml: cannot be read")
    written.unlink()
    assert charrnn_here("train", "--resume", "checkpoints/my", "-q").returncode == 0
    assert load_config(written).training.max_steps == 6
    for _ in range(2):
        assert charrnn_here("train", "--config", str(written), "-q").returncode == 0
    assert {path.name for path in (folder / "checkpoints").iterdir()} == {"my", "my-2", "my-3"}
    (folder / "mine.yaml").write_text(text.replace("cell: gru", "cell: rnn"), encoding="utf-8")
    assert charrnn_here("train", "mine.yaml", "-q").returncode == 0
    assert load_config(folder / "checkpoints/mine/config.yaml").model.cell == "rnn"


def test_steps_that_the_user_allows_are_what_the_choice_is_for(charrnn_here: Run, folder: Path) -> None:
    done = charrnn_here("train", "my.txt", *SHORT, "--run-dir", "new/folder/a b")
    assert done.returncode == 0
    config = load_config(folder / "new/folder/a b/config.yaml")
    assert config.training.eval_every in (1, 2)  # of three steps
    assert "3 steps in " in done.stderr
    assert f"now: charrnn sample '{Path('new/folder/a b')}' --temperature" in done.stderr
    one = charrnn_here("train", "my.txt", *SHORT, "--set", "training.max_steps=1", "--run-dir", "one").stderr
    assert "\n1 step in " in one
    assert "1 step is only a start" in one


def test_standard_input_is_called_so(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(choosing, "tell", lambda *lines: said.extend(lines))
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.chdir(folder)
    monkeypatch.setattr(choosing, "chosen", lambda texts, *others, **options: choice.choose_settings("my.txt"))
    assert choosing.new_run(["-"], None, [], None, quiet=False).name == "stdin"
    assert said[0] == "reading standard input and measuring this machine"


def test_directories_globs_several_files_and_standard_input(charrnn_here: Run, folder: Path) -> None:
    (folder / "texts").mkdir()
    for name in ("a.txt", "b.txt.gz"):
        (folder / "texts" / name).write_text(SENTENCES * 3, encoding="utf-8")
    for text in ("texts", "texts/*.txt", "-"):
        assert charrnn_here("train", text, "-q", *SHORT, stdin=SENTENCES * 4).returncode == 0, text
    assert charrnn_here("train", "my.txt", "texts/a.txt", "-q", *SHORT).returncode == 0
    made = {p.name: load_config(p / "config.yaml").corpus.source for p in (folder / "checkpoints").iterdir()}
    assert made == {
        "texts": "texts", "texts-2": "texts/*.txt", "stdin": "-", "my": ("my.txt", "texts/a.txt"),
    }  # fmt: skip


def test_a_run_is_named_after_what_it_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = tmp_path / "here" / "below"
    here.mkdir(parents=True)
    monkeypatch.chdir(here)
    names = {
        "a/b.txt.gz": "b", "texts/**/*.txt": "texts", "a/b*/c?/[de].txt": "a", "a/*/b.txt": "b", "*.txt": "below",
        ".": "below", "..": "here", "../*": "here", ".hidden": "hidden", "-": "stdin",
    }  # fmt: skip
    assert {text: run_name(text) for text in names} == names
    assert CorpusSettings(source="texts/**/*.txt").label == "texts"


def test_a_recipe_by_its_name_or_file(charrnn_here: Run, folder: Path) -> None:
    named = ("--set", "corpus.source=my.txt", "-q", *SHORT)
    for _ in range(2):
        assert charrnn_here("train", "quickstart", "--minutes", "0.5", *named).returncode == 0
    config = load_config(folder / "checkpoints/quickstart-2/config.yaml")
    assert config.training.max_minutes == 0.5
    assert config.training.schedule == "cosine"
    (folder / "own.yaml").write_text("corpus: {source: my.txt}\nmodel: {cell: rnn}\n", encoding="utf-8")
    assert charrnn_here("train", "own.yaml", *named).returncode == 0
    assert load_config(folder / "checkpoints/own/config.yaml").model.cell == "rnn"
    assert charrnn_here("train", "my.txt", "--config", "own.yaml", *named).returncode == 0
    assert load_config(folder / "checkpoints/my/config.yaml").model.cell == "rnn"


def test_the_recipe_of_a_corpus_gives_way_to_the_corpus_where_minutes_are_given() -> None:
    from charrnn.cli.choosing import is_recipe

    assert is_recipe("tiny-shakespeare", None)
    assert not is_recipe("tiny-shakespeare", 20.0)
    assert is_recipe("quickstart", 20.0)
    assert not is_recipe("python-docs", None)


@pytest.mark.parametrize(
    ("text", "content", "code", "message"),
    [
        ("empty.txt", b"", 3, "the text is empty"),
        ("latin.txt", "caf\xe9 cr\xe8me\n".encode("latin-1") * 50, 3, "--set corpus.encoding=latin-1"),
        ("nothing.txt", None, 3, "no such file, directory, named corpus or recipe"),
        ("quickstrat", None, 3, "did you mean quickstart?"),
        ("my.text", None, 3, "did you mean my.txt?"),
        ("few.txt", b"too short", 3, "few.txt: the training part has 8 symbols"),
        ("--config=verse.txt", None, 2, "verse.txt: no such settings file"),
        ("--config=.", None, 2, "not a settings file"),
    ],
)
def test_texts_that_teach_nothing(
    charrnn_here: Run, folder: Path, monkeypatch: pytest.MonkeyPatch, text: str, content: bytes | None, code: int,
    message: str,
) -> None:  # fmt: skip
    monkeypatch.undo()
    monkeypatch.chdir(folder)
    if content is not None:
        (folder / text).write_bytes(content)
    assert_one_line_error(charrnn_here("train", text), code, message)
    assert not (folder / "checkpoints").exists()


def test_a_wrong_value_is_refused_in_few_words(charrnn_here: Run) -> None:
    minutes = [("train", "my.txt", "--minutes", value) for value in ("abc", "inf", "nan", "0")]
    for words in (*minutes, ("export", "--to", "hmtl")):
        done = charrnn_here(*words)
        assert_one_line_error(done, 2, f"Invalid value for '{words[-2]}'", words[-1])
        assert "Value error" not in done.stderr
        assert "unable to parse" not in done.stderr


def test_a_run_is_not_continued_and_replaced_at_once(charrnn_here: Run) -> None:
    assert_one_line_error(charrnn_here("train", "--resume", "checkpoints/a", "--overwrite"), 2, "only one of the two")


def test_suggested_settings_go_to_standard_output_and_train(charrnn_here: Run, folder: Path) -> None:
    done = charrnn_here("config", "suggest", "my.txt", "--minutes", "20", "--set", "model.num_layers=2")
    assert done.returncode == 0, done.stderr
    (folder / "my.yaml").write_text(done.stdout, encoding="utf-8")
    config = load_config(folder / "my.yaml")
    assert (config.training.max_minutes, config.model.num_layers) == (20.0, 2)
    assert not (folder / "checkpoints").exists()


def test_every_recipe_is_listed_with_what_it_is_for(charrnn_here: Run) -> None:
    listed = charrnn_here("config", "list").stdout.splitlines()[1:]
    assert {line.partition("\t")[0] for line in listed} == set(recipes()) >= {"quickstart", "tiny-shakespeare"}
    assert all(len(line.partition("\t")[2]) > 20 for line in listed)
    assert "two minutes" in json.loads(charrnn_here("config", "list", "--json").stdout)["recipes"][3]["what"]


def before_the_third_step(monkeypatch: pytest.MonkeyPatch, happens: Callable[[], None]) -> None:
    step = Trainer.take_step

    def take_step(self: Trainer, rate: float | None = None) -> float:
        if self.counters.step == 2:
            happens()
        return step(self, rate)

    monkeypatch.setattr(Trainer, "take_step", take_step)


def interrupted(*arguments: object, **options: object) -> float:
    raise KeyboardInterrupt


def test_a_stop_is_no_error_and_names_the_command_that_continues(
    charrnn_here: Run, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before_the_third_step(monkeypatch, lambda: os.kill(os.getpid(), signal.SIGINT))
    late = ("--set", "training.max_steps=9", "--set", "training.log_every=50", "--set", "training.eval_every=50")
    done = charrnn_here("train", "my.txt", "--run-dir", "my run", *SHORT, *late)
    assert done.returncode == 130
    assert done.stderr.splitlines()[-2:] == [
        f"charrnn: stopped after step 3; saved in {Path('my run') / 'last.npz'}",
        "  continue with: charrnn train --resume 'my run'",
    ]
    assert "error" not in done.stderr
    assert "Ctrl-C again" not in done.stderr  # only where it takes long
    assert charrnn_here("doctor", "my run").stdout.startswith("my run: nothing reported yet\n")
    assert json.loads(charrnn_here("runs", "my run", "--json").stdout)["runs"][0]["status"] == "stopped"
    resumed = charrnn_here("train", "--resume", "my run", "--progress", "rich", "--set", "training.max_steps=4")
    assert resumed.returncode == 0
    assert "the display failed" not in resumed.stderr
    assert json.loads(charrnn_here("train", "--resume", "my run", "-q", "--json", *late).stdout)["steps"] == 9


def test_ctrl_c_before_the_first_step_says_that_nothing_was_saved(
    charrnn_here: Run, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(choice, "measure_speed", interrupted)
    done = charrnn_here("train", "my.txt")
    assert (done.returncode, done.stderr) == (130, "charrnn: stopped before anything was saved\n")


def test_a_stop_at_once_leaves_none_of_the_folders_that_it_made(
    charrnn_here: Run, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Trainer, "take_step", interrupted)
    (folder / "old").mkdir()
    for place in ("new/a b/c", "old/c"):
        assert charrnn_here("train", "my.txt", "--run-dir", place, *SHORT).returncode == 130
    assert sorted(p.name for p in folder.iterdir()) == ["my.txt", "old"]
    assert not list((folder / "old").iterdir())


def test_a_stop_at_once_before_the_first_checkpoint_names_what_there_is(
    charrnn_here: Run, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before_the_third_step(monkeypatch, interrupted)
    sooner = ("--set", "training.eval_every=1", "--set", "training.checkpoint_every=50")
    done = charrnn_here("train", "my.txt", *SHORT, *sooner)
    assert done.returncode == 130
    assert done.stderr.splitlines()[-2:] == [
        f"charrnn: stopped at once; saved before: {Path('checkpoints/my/best.npz')}",
        f"  it cannot be continued, but sampled: charrnn sample {Path('checkpoints/my')}",
    ]
    assert charrnn_here("sample", "checkpoints/my", "--length", "5").returncode == 0
