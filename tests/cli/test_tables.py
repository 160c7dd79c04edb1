"""Tables at any width: whole numbers, names that stay apart, no line too long, what is left out is named."""

from __future__ import annotations

import sys
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from charrnn.cli.views.runs import table_columns
from charrnn.cli.views.table import layout, print_table, shortened
from charrnn.runs import table
from tests.conftest import Run

RUNS = [
    ("compare/lstm-baseline-256", "done", "0.2934", "1.9e-05", "1,200", "lstm"),
    ("compare/gru-baseline-256", "done", "1.2934", "2.4e-11", "12,001,200", "gru"),
    ("compare/rnn-baseline-256", "stopped", "nan", "7.7e-45", "3", "rnn"),
    ("quickstart", "done", "12.2934", "-", "70,000", "lstm"),
]
HEADS = ("name", "status", "loss", "gradient norm", "steps", "cell")


@pytest.mark.parametrize("width", [30, 36, 50, 64, 80, 120])
@pytest.mark.parametrize("rows", [RUNS, RUNS[:2]], ids=["four", "two"])
def test_numbers_are_whole_or_their_column_is_left_out(width: int, rows: list[tuple[str, ...]]) -> None:
    laid = layout(HEADS, rows, width)
    lines = "\n".join(laid.rows)
    assert max(map(len, [*laid.heads, *laid.rows])) <= width
    for k, head in enumerate(HEADS):
        for row in rows:
            if k in (2, 3, 4):
                assert (row[k] in lines.split()) == (head not in laid.left_out), (head, row[k])
    names = [line.split()[0] for line in laid.rows] if len(laid.rows) == len(rows) else laid.heads[-1].split()[1:]
    assert len(set(names)) == len(rows)


def test_a_wide_terminal_shows_all() -> None:
    laid = layout(HEADS, RUNS, 120)
    assert laid.heads == ["name                       status      loss  gradient norm       steps  cell"]
    assert laid.rows[1] == "compare/gru-baseline-256   done      1.2934        2.4e-11  12,001,200  gru"
    assert not laid.left_out


def test_few_rows_stand_on_their_side_instead() -> None:
    laid = layout(HEADS, RUNS[:2], 44)
    assert (laid.left_out, len(laid.rows)) == ([], 5)
    assert laid.rows[3].split() == ["steps", "1,200", "12,001,200"]


def test_prose_is_cut_at_its_end_before_a_column_is_left_out() -> None:
    laid = layout(("bits", "nats", "candidate"), [("0.12", "8.3", "the quick brown fox jumps")], 33, text="candidate")
    assert laid.rows == ["0.12   8.3  the quick brown fox …"]
    assert layout(("bits", "nats", "candidate"), [("0.12", "8.3", "x" * 50)], 20, text="candidate").left_out == ["nats"]


def test_prose_is_continued_where_it_matters() -> None:
    laid = layout(("name", "for"), [("a", "Twenty minutes on a novel"), ("b", "names")], 26, text="for", whole=True)
    assert laid.rows == ["a     Twenty minutes on a", "      novel", "b     names"]


def test_a_picture_without_a_heading_makes_room_for_numbers() -> None:
    rows = [(f"run-{k}", "3.7e-01", "2.2e-01", "6.4e-02", "█" * 20) for k in range(4)]
    assert layout(("run", "1 back", "2 back", "5 back", ""), rows, 40).left_out == [""]


LINES = [("1", "66", "112.33", "1.702", "x" * 66), ("120", "8", "1.3", "0.7", "12345678901234567890")]
LINE_HEADS = ("line", "characters", "nats", "bits/char", "text")


@pytest.mark.parametrize("width", [10, 14, 20, 24, 30, 40, 44, 50, 80, 200])
@pytest.mark.parametrize("whole", [False, True])
def test_prose_is_shortened_before_numbers_are_left_out(width: int, whole: bool) -> None:
    laid = layout(LINE_HEADS, LINES, width, text="text", whole=whole)
    assert max(map(len, [*laid.heads, *laid.rows])) <= width
    words = " ".join(laid.rows).split()
    for k, head in enumerate(LINE_HEADS[:4]):
        assert all(row[k] in words for row in LINES) == (head not in laid.left_out)
    assert "text" not in laid.left_out
    if not whole:
        shown = {10: 1, 14: 1, 20: 1, 24: 2, 30: 2, 40: 3, 44: 3, 50: 4, 80: 4, 200: 4}
        assert 4 - len(laid.left_out) == shown[width]
        assert laid.left_out[-1:] == (["bits/char"] if width < 50 else [])


def test_the_spare_column_is_left_out_first() -> None:
    for width, left_out in ((30, ["characters", "bits/char"]), (40, ["characters"]), (50, [])):
        assert layout(LINE_HEADS, LINES, width, text="text", spare="characters").left_out == left_out


def test_prose_whose_heading_has_no_room_is_left_out() -> None:
    assert layout(("line:column", "in its context"), [("1:5", "a" * 40)], 15, text="in its context").left_out == [
        "in its context"
    ]
    laid = layout(("bits/char", "nats", "candidate"), [("1.23", "12.5", "a" * 40)], 18, text="candidate", whole=True)
    assert (laid.rows, laid.left_out) == (["1.23       12.5"], ["candidate"])
    assert layout(("name", "loss"), [("a" * 40, "0.5")] * 4, 12).rows[0] == "aaaaa…aaaaaa"


def test_wide_characters_take_two_columns() -> None:
    laid = layout(("name", "loss"), [("語" * 20, "0.5"), ("a", "1.5")], 31)
    assert laid.rows[0].count("語") == 12
    assert laid.rows[1].endswith("1.5")


@settings(deadline=None)
@given(st.lists(st.text("abcd/-", min_size=1, max_size=30), min_size=1, max_size=6, unique=True), st.integers(5, 30))
def test_shortened_names_fit_and_keep_both_ends(names: list[str], width: int) -> None:
    cut = shortened(names, width)
    assert all(len(name) <= width for name in cut)
    for name, short in zip(names, cut, strict=True):
        head, dots, tail = short.partition("…")
        assert (name == short) if not dots else (name.startswith(head) and name.endswith(tail))


def test_on_a_terminal_what_is_left_out_is_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "50")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    print_table("four runs", HEADS, RUNS)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "four runs"
    assert " ".join(lines[-2:]) == "2 columns left out (steps, cell): use a wider terminal or --json"
    print_table("effects on the loss, nats (only one seed, so the noise level is unknown)", HEADS, RUNS)
    assert capsys.readouterr().out.splitlines()[1] == "noise level is unknown)"  # divided between words
    print_table("one run", ("name", "loss"), [("a\x1b[31m", "0.5")])
    assert "a\\x1b[31m   0.5" in capsys.readouterr().out


def test_elsewhere_it_is_tab_separated_and_whole(capsys: pytest.CaptureFixture[str]) -> None:
    print_table("four runs", HEADS, RUNS)
    assert capsys.readouterr().out == "".join("\t".join(row) + "\n" for row in [HEADS, *RUNS])
    print_table("one run", ("name", "loss"), [("a\tb\n\x1b[31m", "0.5")])
    assert capsys.readouterr().out == "name\tloss\na\\tb\\n\\x1b[31m\t0.5\n"
    print_table("facts", ("", ""), [("lines", "3")])
    assert capsys.readouterr().out == "lines\t3\n"


@pytest.mark.parametrize(
    ("command", "titles"),
    [
        ("inspect memory --steps 5", ["gradient of the loss", "nats per character"]),
        ("inspect predictions --length 5", ["guesses of a", "best predicted", "worst predicted"]),
        ("inspect weights", ["recurrent matrices", "parameters"]),
        ("inspect errors", ["kind of character", "place in the word", "five characters"]),
        ("eval --memorization --no-baselines", ["", "memorisation"]),
        ("eval --no-baselines", []),
    ],
)
def test_several_tables_in_a_pipe_have_their_names(
    charrnn_here: Run, runs: Path, monkeypatch: pytest.MonkeyPatch, command: str, titles: list[str]
) -> None:
    monkeypatch.setattr("charrnn.cli.views.memorised.CHARACTERS", 50)
    lines = charrnn_here(*command.split(), runs / "a").stdout.splitlines()
    found = [(line, after) for line, after in pairwise(lines) if line.startswith("# ")]
    assert [line[2:].startswith(title) for (line, _), title in zip(found, titles, strict=True)] == [True] * len(titles)
    assert all("\t" in heads for _, heads in found)


def test_the_text_is_the_first_setting_of_a_table_of_runs() -> None:
    def run(name: str, **corpus: str | None) -> table.Run:
        settings = {f"corpus.{key}": value for key, value in corpus.items()} | {"model.cell": name}
        return table.Run(Path(name), name, "done", {}, settings)

    runs = [
        run("gru", source="a.txt", documents="text", document_separator=None),
        run("rnn", source="b.txt", documents="lines", document_separator="\n"),
    ]
    assert table_columns(runs, fewer=True)[6:] == ["corpus.source", "model.cell", "corpus.documents"]
    own = [run(name, documents="text", document_separator=end) for name, end in (("gru", "#"), ("gru", "@"))]
    assert table_columns(own)[8:] == ["corpus.document_separator"]
