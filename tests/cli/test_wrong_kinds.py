"""A text where a run or settings are wanted, a run where settings are: the error says what it is and what to do."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.conftest import SENTENCES, Run, assert_one_line_error


@pytest.fixture
def folder(tmp_path: Path, runs: Path) -> Path:
    (tmp_path / "verse.txt").write_text(f"First Citizen:\n{SENTENCES}\nAll:\n  Speak.\n")
    (tmp_path / "checkpoints" / "a").mkdir(parents=True)
    for name in ("config.yaml", "best.npz"):
        shutil.copy(runs / "a" / name, tmp_path / "checkpoints" / "a" / name)
    return tmp_path


@pytest.mark.parametrize("command", ["next", "sample"])
def test_text_in_place_of_a_run_goes_to_the_prompt(charrnn_here: Run, folder: Path, command: str) -> None:
    done = charrnn_here(command, "to be")
    assert_one_line_error(done, 4, "to be: no such run or checkpoint", f"charrnn {command} --prompt 'to be'")


@pytest.mark.parametrize(
    "command", ["eval", *(f"inspect {view}" for view in ("units", "memory", "predictions", "errors"))]
)
def test_text_in_place_of_a_run_goes_to_text(charrnn_here: Run, folder: Path, command: str) -> None:
    done = charrnn_here(*command.split(), "to be")
    assert_one_line_error(done, 4, f"echo 'to be' | charrnn {command} --text -")
    done = charrnn_here(*command.split(), "verse.txt")
    assert_one_line_error(done, 4, "verse.txt: a text, not a run", f"charrnn {command} --text verse.txt")


@pytest.mark.parametrize("command", ["sample", "plot", "watch", "doctor", "report", "export", "inspect weights"])
def test_a_text_in_place_of_a_run_can_be_trained_on(charrnn_here: Run, folder: Path, command: str) -> None:
    done = charrnn_here(*command.split(), "verse.txt", *(("--to", "json", "-o", "x") * (command == "export")))
    code = 3 if command in ("plot", "watch", "doctor", "report") else 4
    assert_one_line_error(done, code, "verse.txt: a text, not a run", "charrnn train verse.txt")


def test_the_order_of_run_and_file(charrnn_here: Run, folder: Path) -> None:
    assert_one_line_error(charrnn_here("rank", "to be"), 3, "echo 'to be' | charrnn rank -")
    assert_one_line_error(charrnn_here("rank", "checkpoints/a", "checkpoints/a"), 3, "charrnn rank FILE CKPT")
    for command in ("compress", "decompress"):
        done = charrnn_here(command, "verse.txt", "checkpoints/a", "-o", "x")
        assert_one_line_error(done, 4, "a text, not a run", f"charrnn {command} CKPT FILE")


def test_a_text_and_the_run_of_its_name(charrnn_here: Run, folder: Path) -> None:
    (folder / "checkpoints" / "a" / "best.npz").rename(folder / "checkpoints" / "a" / "last.npz")
    (folder / "a.txt").write_text(SENTENCES)
    meant = f"did you mean {Path('checkpoints/a')}?"
    assert_one_line_error(charrnn_here("eval", "a.txt"), 4, f"{meant} Otherwise, to read it: ")
    done = charrnn_here("next", "a")
    assert_one_line_error(done, 4, meant)
    assert "--prompt" not in done.stderr


@pytest.mark.parametrize(
    "command", ["train --config", "config show", "find-lr --config", "gradcheck --config", "compare", "sweep"]
)
def test_what_is_no_settings_file(charrnn_here: Run, folder: Path, command: str) -> None:
    words, wanted = command.split(), "not a sweep file" if command == "sweep" else "not a settings file"
    done = charrnn_here(*words, "verse.txt")
    assert_one_line_error(done, 2, f"verse.txt: a text, {wanted}", "charrnn config suggest verse.txt > ")
    assert_one_line_error(charrnn_here(*words, "checkpoints"), 2, f"a directory, {wanted}")
    settings = f"the settings of that run: {Path('checkpoints/a/config.yaml')}"
    assert_one_line_error(charrnn_here(*words, "checkpoints/a/best.npz"), 2, f"a checkpoint, {wanted}", settings)
    if command != "compare":  # which takes runs
        assert_one_line_error(charrnn_here(*words, "checkpoints/a"), 2, f"a directory, {wanted}", settings)


def test_settings_with_a_slip_are_still_settings(charrnn_here: Run, folder: Path) -> None:
    for name, text, message in (
        ("own.conf", "corpus: {source: verse.txt\n", "line 2"), ("own", "trainig: {}\n", "trainig: unknown setting"),
        ("own.yaml", "To be, or not to be: that: is", "line 1"),
    ):  # fmt: skip
        (folder / name).write_text(text)
        assert_one_line_error(charrnn_here("config", "show", name), 2, f"{name}: {message}")
    (folder / "own.yaml").write_text("base: verse.txt\n")
    assert_one_line_error(charrnn_here("sweep", "own.yaml"), 2, "verse.txt: a text, not a settings file")


@pytest.mark.parametrize("command", ["train", "train verse.txt", "config suggest"])
def test_what_is_no_text_to_learn_from(charrnn_here: Run, folder: Path, command: str) -> None:
    words, run = command.split(), Path("checkpoints/a")
    (folder / run / "last.npz").write_bytes((folder / run / "best.npz").read_bytes())
    shutil.copy(run / "best.npz", "own.npz")
    (folder / "page.html").write_text('<!doctype html>\n<meta name="generator" content="charrnn">\nto be')
    resume, start = f"charrnn train --resume {run}; ", "charrnn train TEXT --init-from "
    assert_one_line_error(charrnn_here(*words, run), 3, f"{run}: a run, not a text", resume, f"{start}{run}")
    done = charrnn_here(*words, run / "last.npz")
    assert_one_line_error(done, 3, "last.npz: a checkpoint or", ", not a text", resume, f"{start}{run / 'last.npz'}")
    done = charrnn_here(*words, "own.npz")
    assert_one_line_error(done, 3, f"{start}own.npz")
    assert "--resume" not in done.stderr
    assert_one_line_error(charrnn_here(*words, "page.html"), 3, "page.html: a page that charrnn made, not a text")
    (folder / "many").mkdir()
    (folder / "many" / "sweep.json").write_text("{}")
    assert_one_line_error(charrnn_here(*words, "many"), 3, "a run, not a text", "charrnn sweep FILE --resume")
    if command != "train":  # which takes settings alone
        (folder / "own.yaml").write_text("corpus: {source: verse.txt}\n")
        assert_one_line_error(charrnn_here(*words, "own.yaml"), 3, "settings, not a text", "--config own.yaml")
        assert_one_line_error(charrnn_here(*words, "quickstart"), 3, "a recipe, not a text", "--config quickstart")


def test_a_sweep_file_and_settings_for_each_other(charrnn_here: Run, folder: Path) -> None:
    (folder / "many.yaml").write_text("base: quickstart\ngrid: {model.cell: [lstm, gru]}\n")
    (folder / "own.yaml").write_text("corpus: {source: verse.txt}\n")
    runs = "to run it: charrnn sweep many.yaml"
    for command in (
        "train", "train verse.txt", "train --config", "config suggest", "config show", "find-lr --config",
        "gradcheck --config", "compare", "sample", "doctor",
    ):  # fmt: skip
        done = charrnn_here(*command.split(), "many.yaml")
        assert_one_line_error(done, done.returncode, "many.yaml: a sweep file, not ", runs)
    done = charrnn_here("sweep", "own.yaml")
    assert_one_line_error(done, 2, "not a sweep file", "charrnn train --config own.yaml", "`base: own.yaml`")
    settings = Path("checkpoints/a/config.yaml")
    assert_one_line_error(charrnn_here("sweep", "checkpoints/a"), 2, "a directory, not a sweep", f"`base: {settings}`")
    assert_one_line_error(charrnn_here("sweep", "quickstart"), 2, "no such sweep file", "`base: quickstart`")
    assert_one_line_error(charrnn_here("sample", "own.yaml"), 4, "own.yaml: settings, not a run", "--config own.yaml")


def test_what_is_no_run_to_continue(charrnn_here: Run, folder: Path) -> None:
    last = Path("checkpoints/a/last.npz")
    (folder / last).write_bytes((folder / "checkpoints/a/best.npz").read_bytes())
    for command in (("train", "--resume"), ("doctor",), ("plot",)):
        done = charrnn_here(*command, last)
        assert_one_line_error(done, done.returncode, f"did you mean {last.parent}?")
    assert_one_line_error(charrnn_here("train", "--resume", "checkpoints"), 2, "charrnn runs lists the runs")
    assert_one_line_error(charrnn_here("train", "verse.txt", "--init-from", "verse.txt"), 4, "give a run's directory")


def test_runs_in_a_directory_are_no_texts(charrnn_here: Run, folder: Path) -> None:
    (folder / "checkpoints" / "a" / "history.jsonl").write_text("{}\n")
    assert charrnn_here("corpus", "info", ".", "--json").stdout.count('"files": 1,') == 1  # verse.txt alone
    assert_one_line_error(charrnn_here("train", "checkpoints"), 3, "no files found", "outside of runs")


@pytest.mark.parametrize("command", ["sample {} --prompt-file .", "eval {} --text .", "compress {} . -o packed"])
def test_a_directory_in_the_place_of_a_file(charrnn_here: Run, folder: Path, command: str) -> None:
    error = charrnn_here(*command.format(folder / "checkpoints" / "a").split())
    assert_one_line_error(error, 3, "cannot be read")
    assert "give a file, not a directory" in error.stderr


@pytest.mark.parametrize("command", ["find-lr verse.txt", "gradcheck"])
def test_missing_settings_can_be_written(charrnn_here: Run, command: str) -> None:
    assert_one_line_error(charrnn_here(*command.split()), 2, "charrnn config suggest TEXT > my.yaml")
