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
    words = command.split()
    done = charrnn_here(*words, "verse.txt")
    assert_one_line_error(done, 2, "verse.txt: a text, not a settings file", "charrnn config suggest verse.txt > ")
    assert_one_line_error(charrnn_here(*words, "checkpoints"), 2, "a directory, not a settings file")
    settings = f"the settings of that run: {Path('checkpoints/a/config.yaml')}"
    assert_one_line_error(charrnn_here(*words, "checkpoints/a/best.npz"), 2, "a checkpoint, not a sett", settings)
    if command != "compare":  # which takes runs
        assert_one_line_error(charrnn_here(*words, "checkpoints/a"), 2, "a directory, not a settings file", settings)


def test_settings_with_a_slip_are_still_settings(charrnn_here: Run, folder: Path) -> None:
    for name, text, message in (
        ("own.conf", "corpus: {source: verse.txt\n", "line 2"), ("own", "trainig: {}\n", "trainig: unknown setting"),
        ("own.yaml", "To be, or not to be: that: is", "line 1"),
    ):  # fmt: skip
        (folder / name).write_text(text)
        assert_one_line_error(charrnn_here("config", "show", name), 2, f"{name}: {message}")
    (folder / "own.yaml").write_text("base: verse.txt\n")
    assert_one_line_error(charrnn_here("sweep", "own.yaml"), 2, "verse.txt: a text, not a settings file")
    done = charrnn_here("sweep", "checkpoints/a/config.yaml")
    assert_one_line_error(done, 2, "settings of one run, not a sweep file", "base: FILE")
