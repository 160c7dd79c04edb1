"""What is said on standard error: how often, and on which terminals."""

from __future__ import annotations

import io
import itertools
import sys

import pytest

from charrnn.cli.output import tell, wrapped
from charrnn.cli.views import training as views
from charrnn.runs.events import StepReport


def shown_in(
    seconds: int, every: float, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> list[int]:
    """The steps that plain lines show of a run of that length that reports so often."""
    now = [1000.0]
    monkeypatch.setattr(views.time, "monotonic", lambda: now[0])
    view = views.PlainView()
    for step in range(1, int(seconds / every) + 1):
        now[0] = 1000.0 + step * every
        view.show(StepReport(step, 0.1, step, 2.0, 1.5 if step % 1000 == 0 else None, 1.0, 0.01, 1e4, step * every))
    return [int(line.split()[1]) for line in capsys.readouterr().err.splitlines()]


def test_plain_logs_get_thinner_as_a_run_gets_longer(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    steps = shown_in(3600, 0.25, monkeypatch, capsys)
    assert steps[:5] == [1, 2, 3, 7, 11]  # the first at once, then one a second
    assert {k * 1000 for k in range(1, 15)} <= set(steps)  # validations always
    between = [s for s in steps if s % 1000]
    gaps = [b - a for a, b in itertools.pairwise(between)]
    assert max(gaps[:30]) <= 8
    assert gaps[-1] * 0.25 > 60  # near the end of an hour, two minutes are a thirtieth
    assert 100 < len(steps) < 220
    assert len(shown_in(36000, 4.0, monkeypatch, capsys)) < 320


def test_nothing_is_redrawn_where_the_cursor_cannot_move(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)

    def kind(asked: str, **variables: str) -> str:
        for name in ("TERM", "JPY_PARENT_PID", "PAGER", "GIT_PAGER"):
            monkeypatch.delenv(name, raising=False)
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        return views.display_kind(asked)

    assert kind("auto", TERM="xterm-256color") == kind("rich", TERM="xterm-color") == "rich"
    assert kind("auto", TERM="dumb") == kind("rich", TERM="dumb") == "plain"
    for notebook in ({"JPY_PARENT_PID": "7"}, {"PAGER": "cat", "GIT_PAGER": "cat"}):
        assert kind("auto", TERM="xterm-color", **notebook) == "plain"
        assert kind("tqdm", TERM="xterm-color", **notebook) == "tqdm"
        assert kind("auto", TERM="xterm-256color", **notebook) == "rich"
    monkeypatch.setattr(sys.stderr, "isatty", lambda: False, raising=False)
    assert kind("auto", TERM="xterm") == "plain"


@pytest.mark.parametrize("width", [50, 80, 120])
def test_lines_on_a_terminal_end_between_words_and_never_in_a_command(width: int) -> None:
    line = "text: my.txt, 60,000 characters (59 symbols), 6,000 of them for validation; its sorted lines are shuffled"
    shown = wrapped(line, width).splitlines()
    assert " ".join(part.strip() for part in shown) == line
    assert max(map(len, shown)) <= width
    assert [part[:2] for part in shown[1:]] == ["  "] * (len(shown) - 1)
    for command in ("charrnn train --resume 'my run'", "charrnn sample 'a, b; c' --temperature 0.7"):
        for before in range(width):
            assert command in wrapped(f"{'x ' * (before // 2)}hint: {command}; more", width)
    long = f"  hint: charrnn eval --text {'a' * width}"
    assert wrapped(long, width).replace("\n    ", " ") == long


def test_only_a_terminal_divides_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    line = "word " * 40
    for terminal, height in ((False, 1), (True, 4)):
        stream = io.StringIO()
        monkeypatch.setattr(stream, "isatty", lambda terminal=terminal: terminal)
        monkeypatch.setattr(sys, "stderr", stream)
        monkeypatch.setenv("COLUMNS", "60")
        tell(line)
        assert stream.getvalue().count("\n") == height
