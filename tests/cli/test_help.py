"""The help pages: what they list, how they are laid out, and that they load nothing."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

import pytest
import typer

from charrnn.cli.commands import LISTED, LoadedOnUse, load
from charrnn.cli.commands.sample import COMMON, PANELS
from charrnn.cli.help import first_sentence, page
from tests.cli_reference import commands
from tests.conftest import Run

COMMANDS = dict(commands())


def help_of(name: str, monkeypatch: pytest.MonkeyPatch, width: int = 80, *words: str) -> str:
    monkeypatch.setenv("COLUMNS", str(width))
    command = COMMANDS[name]
    return str(command.get_help(typer.Context(command, info_name=name)))  # type: ignore[attr-defined]


def test_commands_are_listed_as_they_introduce_themselves() -> None:
    for name, listed in LISTED.items():
        assert first_sentence(load(name).help) == listed.help, name


def test_a_command_is_loaded_once_and_only_when_it_is_looked_up(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: list[str] = []
    monkeypatch.setattr("charrnn.cli.commands.load", lambda name: loaded.append(name) or name.upper())
    found = LoadedOnUse()
    assert (list(found), len(found), loaded) == (list(LISTED), len(LISTED), [])
    assert (found["runs"], found["runs"], loaded) == ("RUNS", "RUNS", ["runs"])


@pytest.mark.parametrize("width", [50, 80, 120])
def test_pages_fit_their_terminal_and_show_no_types_of_python(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in COMMANDS:
        text = help_of(name, monkeypatch, width)
        assert not re.search(r"<\w+>|\blist\[|\bbool\b", text), name
        body = text[: text.rindex("\n\nExample")]
        wide = [line for line in body.splitlines() if len(line) > min(width, 100)]
        assert all(line.startswith("    ") or len(line.split()) < 3 for line in wide), (name, wide)


def test_every_option_is_on_its_page(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(COMMANDS["charrnn sample"], "common", None)
    for name, command in COMMANDS.items():
        words = set(re.findall(r"--[a-z][a-z-]*", help_of(name, monkeypatch)))
        for parameter in command.params:  # type: ignore[attr-defined]
            if parameter.param_type_name == "option":
                assert next(o for o in parameter.opts if o.startswith("--")) in words, name


def test_sampling_shows_the_ten_most_used_options_in_panels(charrnn_here: Run) -> None:
    short, long = charrnn_here("sample", "-h").stdout, charrnn_here("sample", "a", "--length", "3", "--help-all").stdout
    shown = re.findall(r"^  (?:-\w, )?--([a-z-]+)", short, re.MULTILINE)
    assert len(COMMON) == 10
    spelled = {"colour": "color", "as_json": "json"}
    ordered = [spelled.get(n, n).replace("_", "-") for panel in PANELS.values() for n in panel if n in COMMON]
    assert shown == [*ordered, "help", "help-all"]
    assert [line for line in short.splitlines() if line in PANELS] == list(PANELS)
    every = re.findall(r"^  (?:-\w, )?--([a-z-]+)", long, re.MULTILINE)
    assert f"Show {len(every) - len(shown) + 1} more options." in short
    assert charrnn_here("sample", "--prompt", "--help-all", "--", "--help-all").returncode == 0


def test_help_in_other_words(charrnn_here: Run) -> None:
    for words in (("sample",), ("inspect", "units"), ("corpus",), ()):
        spelled = [(*words, "--help"), (*words, "-h"), ("help", *words), (*words[:-1], "help", *words[-1:])]
        if words != ("sample",):  # where it shows more
            spelled.append((*words, "--help-all"))
        pages = [charrnn_here(*line) for line in spelled]
        assert {page.returncode for page in pages} == {0}, pages
        assert len({page.stdout for page in pages}) == 1
        assert "\nExample" in pages[0].stdout
    assert charrnn_here("help", "nothing").returncode == 2


def test_no_command_shows_the_help_and_is_an_error(charrnn_here: Run) -> None:
    for words in ((), ("inspect",)):
        done = charrnn_here(*words)
        assert (done.returncode, done.stdout) == (2, ""), done.stderr
        assert done.stderr == charrnn_here(*words, "--help").stdout


def test_the_sweep_file_of_the_help_is_one(tmp_path: Path) -> None:
    from charrnn.sweep.plan import read_plan

    text = COMMANDS["charrnn sweep"].help  # type: ignore[attr-defined]
    lines = [line for line in text.splitlines() if line.startswith("    ")]
    (tmp_path / "sweep.yaml").write_text(textwrap.dedent("\n".join(lines)))
    assert len(read_plan(tmp_path / "sweep.yaml", []).trials) == 8
    assert "= 8 trials" in text


def test_colours_are_for_terminals_that_have_them(monkeypatch: pytest.MonkeyPatch) -> None:
    def shown(**variables: str) -> str:
        for name in ("NO_COLOR", "CLICOLOR_FORCE", "TERM"):
            monkeypatch.setenv(name, variables.get(name, "xterm" if name == "TERM" else ""))
        return page("Usage: x", "What it does.", {"Options": [("--a", "first")]}, "Example: x; y")

    assert "\x1b[1mOptions\x1b[0m\n  \x1b[36m--a\x1b[0m  first\n" in shown(CLICOLOR_FORCE="1")
    plain = shown()
    assert plain == "Usage: x\n\nWhat it does.\n\nOptions\n  --a  first\n\nExamples\n  x\n  y\n"
    assert shown(CLICOLOR_FORCE="1", NO_COLOR="1") == shown(CLICOLOR_FORCE="1", TERM="dumb") == plain
