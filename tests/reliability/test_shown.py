"""Nothing from a file, a path or an argument reaches a terminal as a control character."""

from __future__ import annotations

import ast
import json
import os
import pty
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from charrnn.cli import app, output
from tests.conftest import ROOT, Run
from tests.reliability.processes import write_settings

NAME = "a\x1b[2J\x9b1m\x07\tb"  # clears the screen where it is obeyed
RAW = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f]")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Settings, a text and a run, with such names."""
    made = tmp_path_factory.mktemp("shown")
    settings = write_settings(made, steps=4)
    assert app.run(["train", "-c", str(settings), "--run-dir", str(made / NAME / NAME), "-q"]) == 0
    shutil.copy(made / "text.txt", made / f"{NAME}.txt")
    return made


def commands(folder: Path) -> list[tuple[object, ...]]:
    run, ck, text = folder / NAME / NAME, folder / NAME, folder / f"{NAME}.txt"
    train = ("train", "-c", folder / "run.yaml", "--run-dir", ck / "other", "--overwrite", "--progress")
    return [
        (*train, "rich"), (*train, "tqdm"),
        ("train", "-c", f"{NAME}.yaml"), ("train", "-c", folder / "run.yaml", "--set", f"{NAME}=1"), (NAME,),
        ("runs", ck), ("runs", ck, "--csv"), ("runs", ck, "--json"), ("runs", ck, "--sort", NAME), ("runs", NAME),
        ("watch", run, "--once"), ("report", run, "--no-activations", "-o", folder / f"{NAME}.html"),
        ("export", run, "--to", "json", "-o", folder / f"{NAME}.json"), ("import", f"{NAME}.pt", "--run-dir", NAME),
        ("sample", run, "--length", "5", "--seed", "1", "--json", "--prime", "th"), ("sample", NAME),
        ("sample", run, "--prime", NAME), ("eval", run, "--text", text, "--no-baselines"),
        ("rank", text, run, "--top", 1), ("rank", text, run, "--by", NAME), ("corpus", "info", text),
        ("compress", run, text, "-o", ck / "x" / NAME), ("compress", run, text, "-o", ck / NAME),
        ("sweep", f"{NAME}.yaml"),
    ]  # fmt: skip


def test_nothing_raw_is_printed(charrnn_here: Run, folder: Path) -> None:
    (folder / NAME / f"bad{NAME}").mkdir(exist_ok=True)
    (folder / NAME / f"bad{NAME}" / "config.yaml").write_bytes(b"\x9b")
    (folder / NAME / f"bad{NAME}" / "history.jsonl").write_bytes(b"\x1b[2J")
    codes = set()
    for words in commands(folder):
        done = charrnn_here(*words)
        codes.add(done.returncode)
        shown = done.stderr.replace("\r", "") if "tqdm" in words else done.stderr  # a bar goes back to its line's start
        assert not RAW.search(shown), (words, done.stderr)
        if "--csv" not in words:  # a file's content, for programs; on a terminal see below
            assert not RAW.search(done.stdout), (words, done.stdout)
        assert done.returncode in (0, 2, 3, 4), (words, done.stderr)
    assert codes >= {0, 2, 4}


def test_a_table_for_programs_keeps_its_columns(charrnn_here: Run, folder: Path) -> None:
    lines = charrnn_here("runs", folder / NAME).stdout.splitlines()
    assert len({line.count("\t") for line in lines}) == 1
    found = json.loads(charrnn_here("runs", folder / NAME, "--json").stdout)["runs"]
    assert NAME in [run["name"] for run in found]


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="pseudo-terminals of POSIX")
def test_a_terminal_gets_nothing_raw(folder: Path) -> None:
    """`--csv` and `--paths`, which are unchanged in a pipe."""
    main, terminal = pty.openpty()
    words = [sys.executable, "-m", "charrnn", "runs", str(folder / NAME), "--csv", "--columns", "name,path"]
    child = subprocess.Popen(
        words, stdout=terminal, stderr=subprocess.DEVNULL, env={**os.environ, "PYTHONPATH": str(ROOT)}
    )
    os.close(terminal)
    shown = b""
    try:
        while piece := os.read(main, 65536):
            shown += piece
    except OSError:  # the other end is closed
        pass
    os.close(main)
    assert child.wait() == 0
    text = shown.decode().replace("\r\n", "\n")
    assert r"a\x1b[2J\x9b1m\x07" in text
    assert not RAW.search(text.replace("\t", ""))


def test_lines_and_json_are_escaped(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    output.tell(f"wrote {NAME}", "two\nlines")
    assert capsys.readouterr().err == "wrote a\\x1b[2J\\x9b1m\\x07\\tb\ntwo lines\n"
    output.write_json({NAME: "é\x85\x7f"})
    written = capsys.readouterr().out
    assert not RAW.search(written)
    assert json.loads(written) == {NAME: "é\x85\x7f"}
    output.write(NAME)
    assert capsys.readouterr().out == NAME
    monkeypatch.setattr(output, "on_terminal", lambda: True)
    output.write(NAME)
    assert capsys.readouterr().out == "a\\x1b[2J\\x9b1m\\x07\tb"


def test_only_one_module_writes_foreign_text() -> None:
    """`sys.stderr.write` and its like take nothing but what is constant, or a legend, outside of it."""
    for path in sorted((ROOT / "charrnn" / "cli").rglob("*.py")):
        if path.name in ("output.py", "streams.py"):
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and re.fullmatch(r"sys\.std(out|err)\.write|print", ast.unparse(node.func)):
                said = ast.unparse(node.args[0])
                allowed = "__version__" in said or said == "painter.legend()" or said.count("printable(") == 1
                assert allowed or isinstance(node.args[0], ast.Constant), (path, said)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device of Linux")
def test_nothing_to_say_is_no_error_on_a_full_device() -> None:
    """The system refuses even an empty text there, and `train -q >/dev/full` has nothing to say."""
    for text in ("", "x"):
        program = f"from charrnn.cli.output import write; write({text!r})"
        with open("/dev/full", "wb") as full:
            words = [sys.executable, "-c", program]
            done = subprocess.run(words, stdout=full, stderr=subprocess.DEVNULL, cwd=ROOT, check=False)
        assert bool(done.returncode) == bool(text)  # which code is for the command line to say, not for a bare write
