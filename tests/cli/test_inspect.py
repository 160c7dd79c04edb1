"""The views and the report from the command line."""

from __future__ import annotations

import base64
import contextlib
import json
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from charrnn.cli.commands.inspected import inspected
from charrnn.cli.views import progress as progress_view
from charrnn.cli.views.inspection import show_embeddings, show_memory
from charrnn.cli.views.progress import Progress
from charrnn.inspection.memory import GRADIENT_PLACES, LOSS_PLACES
from charrnn.inspection.report import render, units_data
from charrnn.inspection.trace import trace_text
from tests.conftest import SENTENCES, Run, assert_one_line_error, train_here

HOSTILE = '<script>alert("x")</script> & <img src=x onerror=alert(1)> [bold]$x_1$ \x1b[31m </style></div> '


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on a text full of markup."""
    folder = tmp_path_factory.mktemp("inspect")
    text = folder / "text.txt"
    text.write_text((SENTENCES + HOSTILE + 'Said "Dog" (and [cat]).\n') * 30, encoding="utf-8", newline="")
    settings = folder / "<b>$x.yaml"
    settings.write_text(
        f"corpus: {{source: {text}}}\nmodel: {{cell: lstm, hidden_size: 12}}\n"
        "training: {batch_size: 4, seq_length: 16,"
        " epochs: null, max_steps: 30, eval_every: 10, sample_every: 10, sample_length: 60, log_every: 5}\n"
    )
    train_here("-c", settings, "--run-dir", folder / "<b>$x")
    return folder / "<b>$x"


def test_units_json_is_the_activation(charrnn_here: Run, run: Path) -> None:
    done = charrnn_here("inspect", "units", run, "--unit", 5, "--signal", "c", "--length", 80, "--start", 7, "--json")
    assert done.returncode == 0, done.stderr
    data = json.loads(done.stdout)
    seen = inspected(run, None, 7, 80)
    assert seen.text == data["text"]
    trace = trace_text(seen.model, seen.ids, **seen.around)
    np.testing.assert_allclose(data["values"], trace.activation("c")[:, 5], rtol=1e-5)
    shown = charrnn_here("inspect", "units", run, "--unit", 5, "--length", 200)
    assert shown.returncode == 0
    assert "\x1b[31m" not in shown.stdout
    assert "unit 5" in shown.stdout


def test_every_view_writes_a_table_and_json(charrnn_here: Run, run: Path, tmp_path: Path) -> None:
    views = {
        ("units", "--find", "word-boundary"): "units",
        ("units", "--saturation"): "saturation",
        ("predictions", "--length", "30"): "predictions",
        ("memory", "--steps", "20", "--positions", "4"): "runs",
        ("embeddings",): "symbols",
        ("weights",): "recurrent",
        ("errors",): "kind of character",
    }
    for view, key in views.items():
        shown, data = (
            charrnn_here("inspect", view[0], run, *view[1:]),
            charrnn_here("inspect", view[0], run, *view[1:], "--json"),
        )
        assert shown.returncode == data.returncode == 0, shown.stderr + data.stderr
        assert len(shown.stdout) > 50
        assert "\x1b" not in shown.stdout
        assert json.loads(data.stdout)[key]


def test_bytes_are_shown_as_elsewhere(charrnn_here: Run, byte_run: Path, tmp_path: Path) -> None:
    bytes_of = {f"\\x{value:02x}" for value in "à éùê".encode() if value > 0x7F}
    points = json.loads(charrnn_here("inspect", "embeddings", byte_run, "--json").stdout)["symbols"]
    assert {p["symbol"] for p in points if p["class"] == "byte above 0x7f"} == bytes_of
    assert sum(len(p["symbol"]) > 1 for p in points) == len(bytes_of)
    assert any(name in charrnn_here("inspect", "embeddings", byte_run).stdout for name in bytes_of)
    found = json.loads(charrnn_here("inspect", "predictions", byte_run, "--length", 40, "--json").stdout)
    assert {p["symbol"] for p in found["predictions"]} & bytes_of
    unit = json.loads(charrnn_here("inspect", "units", byte_run, "--length", 40, "--json").stdout)
    assert len(unit["symbols"]) == len(unit["values"]) == 40
    assert "".join(unit["symbols"]) == unit["text"]
    assert "\\xc3" in unit["symbols"]
    assert charrnn_here("inspect", "units", byte_run, "--length", 40, "-o", "u.html").returncode == 0
    (text,) = page_data((tmp_path / "u.html").read_text(encoding="utf-8"))["texts"]  # type: ignore[misc]
    assert text["text"] == unit["symbols"]
    kinds = json.loads(charrnn_here("inspect", "errors", byte_run, "--json").stdout)["kind of character"]
    assert {kind["name"] for kind in kinds} == {"letter", "blank", "punctuation", "line end", "byte above 0x7f"}


def test_a_name_without_room_is_a_dot_on_the_map(capsys: pytest.CaptureFixture[str]) -> None:
    at = {"x": 0.0, "y": 0.0}
    show_embeddings([{"symbol": "\\xc3", **at}, {"symbol": "e", **at}, {"symbol": "f", "x": 1.0, "y": 1.0}], [0.5, 0.2])
    shown = capsys.readouterr().out
    assert "\\xc3" not in shown
    assert "·" in shown.splitlines()[-2]
    assert "has no room" in shown.splitlines()[-1]


@pytest.mark.extras
def test_pictures_are_made(charrnn_here: Run, run: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    heads = {".png": b"\x89PNG", ".svg": b"<?xml", ".pdf": b"%PDF"}
    for suffix, head in heads.items():
        for view in (("memory", "--steps", "20", "--positions", "4"), ("embeddings",)):
            output = tmp_path / f"{view[0]}{suffix}"
            done = charrnn_here("inspect", view[0], run, *view[1:], "-o", output)
            assert done.returncode == 0, done.stderr
            assert output.read_bytes().startswith(head)
            assert output.stat().st_size > 5000
    assert_one_line_error(charrnn_here("inspect", "embeddings", run, "-o", tmp_path / "x.gif"), 2, ".png")


def test_what_cannot_be_looked_at_is_refused(charrnn_here: Run, run: Path) -> None:
    assert_one_line_error(charrnn_here("inspect", "units", run, "--unit", 99), 2, "1 layers of 12 units")
    assert_one_line_error(charrnn_here("inspect", "units", run, "--signal", "z"), 2, "h, c, i, f, g, o")
    assert_one_line_error(charrnn_here("inspect", "units", run, "--find", "indentation"), 3, "same everywhere")
    assert_one_line_error(charrnn_here("inspect", "units", run, "--start", 10**9), 3, "--start")
    assert_one_line_error(charrnn_here("inspect", "memory", run, "--steps", 10**6), 3, "are needed")
    assert_one_line_error(charrnn_here("report", run / "nowhere"), 3, "history.jsonl")
    for length in range(2, 7):  # shorter than an n-gram
        assert charrnn_here("inspect", "errors", run, "--length", length).returncode == 0


@pytest.mark.parametrize("view", ["units", "predictions", "memory --steps 4", "errors"])
def test_unknown_characters_of_a_text_are_refused_or_dealt_with(
    charrnn_here: Run, run: Path, tmp_path: Path, view: str
) -> None:
    (tmp_path / "t.txt").write_text("the cat ŵ sat on ŷ the mat. the dog ran to the cat. " * 6, encoding="utf-8")
    words = ("inspect", *view.split(), run, "--text", "t.txt")
    assert_one_line_error(charrnn_here(*words), 3, "t.txt: 'ŵ'", "--unknown skip or --unknown replace")
    for how in ("skip", "replace"):
        done = charrnn_here(*words, "--unknown", how)
        assert done.returncode == 0, done.stderr


def test_unknown_characters_are_skipped_or_replaced(charrnn_here: Run, run: Path, tmp_path: Path) -> None:
    (tmp_path / "t.txt").write_text("theŵcat", encoding="utf-8")
    words = ("inspect", "units", run, "--text", "t.txt", "--json", "--unknown")
    assert json.loads(charrnn_here(*words, "skip").stdout)["text"] == "thecat"
    assert json.loads(charrnn_here(*words, "replace").stdout)["text"] == "the cat"


def test_a_property_is_looked_for_in_as_much_text_as_is_asked_for(charrnn_here: Run, run: Path) -> None:
    words = ("inspect", "units", run, "--find", "word-boundary", "--json", "--text", run.parent / "text.txt")
    whole = len((run.parent / "text.txt").read_bytes())
    assert 2000 < whole < 20_000
    for length, read in ((("--length", 2000), 2000), (("--length", 300), 300), ((), whole)):
        assert json.loads(charrnn_here(*words, *length).stdout)["characters"] == read


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--find upper-case --saturation", "--find and --saturation cannot both be given"),
        ("--find upper-case -o p.html", "--find and --output cannot both be given"),
        ("--saturation -o p.html", "--saturation and --output cannot both be given"),
        ("--find upper-case --unit 0", "--find and --unit cannot both be given"),
        ("--find upper-case --layer 7", "--find and --layer cannot both be given"),
        ("--saturation --signal h", "--saturation and --signal cannot both be given"),
        ("--unit 900 -o p.html", "--output and --unit cannot both be given"),
        ("--unit 900 -o p.html --json", "1 layers of 12 units"),
        ("-o p.png", "p.png: the name must end in .html"),
        ("-o nowhere/p.html", "cannot be written"),
        ("--layer 1 --signal i", "1 layers of 12 units"),
    ],
)
def test_views_of_units_that_do_not_go_together(
    charrnn_here: Run, run: Path, tmp_path: Path, options: str, message: str
) -> None:
    assert_one_line_error(charrnn_here("inspect", "units", run, *options.split()), 2, message)
    assert not list(tmp_path.glob("p.*"))


def test_a_page_and_the_numbers_of_a_unit(charrnn_here: Run, run: Path, tmp_path: Path) -> None:
    words = ("inspect", "units", run, "--length", 50, "--unit", 3, "--json")
    done = charrnn_here(*words, "-o", "p.html")
    assert done.stdout == charrnn_here(*words).stdout
    assert json.loads(done.stdout)["unit"] == 3
    assert page_data((tmp_path / "p.html").read_text(encoding="utf-8"))["texts"]
    assert_one_line_error(charrnn_here("report", run, "-o", "p.pdf"), 2, "p.pdf: the name must end in .html")
    assert charrnn_here("report", run, "--no-activations", "-o", "page").returncode == 0
    assert (tmp_path / "page").is_file()


def test_both_memory_curves_are_averaged_over_the_positions(charrnn_here: Run, run: Path) -> None:
    def curves(*options: object) -> dict[str, object]:
        (curve,) = json.loads(charrnn_here("inspect", "memory", run, "--steps", 5, "--json", *options).stdout)["runs"]
        return curve  # type: ignore[no-any-return]

    few, usual = curves("--positions", 2), curves()
    assert few["loss"] != usual["loss"]
    assert few["gradient"] != usual["gradient"]
    assert curves("--positions", LOSS_PLACES)["loss"] == usual["loss"]
    assert curves("--positions", GRADIENT_PLACES)["gradient"] == usual["gradient"]


def page_data(page: str) -> dict[str, object]:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    assert found
    return json.loads(found[1])  # type: ignore[no-any-return]


def test_a_report_holds_its_numbers_and_no_markup_of_the_text(
    charrnn_here: Run, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[tuple[int, int | None]] = []

    @contextlib.contextmanager
    def progress(label: str, unit: str = "B") -> Iterator[Progress]:
        yield lambda done, total: steps.append((done, total))

    monkeypatch.setattr(progress_view, "byte_progress", progress)
    output = tmp_path / "r.html"
    done = charrnn_here("report", run, "-o", output, "--length", 300)
    assert done.returncode == 0, done.stderr
    assert steps == [(k, 5) for k in range(1, 6)]
    page = output.read_text(encoding="utf-8")
    assert "alert(" in page  # the text is there
    assert "<script>alert" not in page
    assert "<img" not in page
    assert page.count("<script") == 2
    assert not re.search(r"""(src|href)=["']?(?!data:|#)[a-z]+:""", page)
    data = page_data(page)
    rows = [json.loads(line) for line in (run / "history.jsonl").read_text().splitlines()]
    (shown,) = data["runs"]
    assert shown["history"]["val_loss"] == [row["val_loss"] for row in rows]
    assert shown["best"] == min(row["val_loss"] for row in rows if row["val_loss"] is not None)
    assert [s["step"] for s in shown["samples"]] == [10, 20, 30]
    (text,) = data["texts"]
    seen = inspected(run, None, 0, len(text["text"]))
    h = trace_text(seen.model, seen.ids, **seen.around).activation("h")
    packed = np.frombuffer(base64.b64decode(text["units"][0]["data"]), np.uint8)
    levels = np.stack([packed >> 4, packed & 15], axis=1).ravel().reshape(12, -1)
    np.testing.assert_allclose((levels.T - 8.0) / 7.0, h, atol=0.5 / 7 + 1e-6)
    assert text["units"][0]["first"] == h.std(axis=0).argmax()
    (ranking,) = data["rankings"]
    assert ranking["text"] == "text.txt"
    assert ranking["runs"] == [{"name": run.name, "nats": shown["best"]}]
    assert [name.partition("-")[0] for name in ranking["baselines"]] == ["gzip", "xz", "bz2", "order"]
    assert len(shown["sample"]["text"]) == 500
    assert shown["settings"]["corpus.source"] == "text.txt"
    assert str(run.parent) not in page  # a page for others
    plain = charrnn_here("report", run, "-o", output, "--no-activations", "--json")
    assert json.loads(plain.stdout)["texts"] == []
    units = charrnn_here("inspect", "units", run, "--length", 100, "-o", tmp_path / "units.html")
    assert units.returncode == 0
    assert page_data((tmp_path / "units.html").read_text(encoding="utf-8"))["runs"] == []


def test_data_cannot_leave_its_element() -> None:
    page = render({"title": "</script><script>alert(1)</script>", "runs": [], "texts": [], "x": float("nan")})
    assert page_data(page) == {"title": "</script><script>alert(1)</script>", "runs": [], "texts": [], "x": None}
    assert page.count("<script") == 2


def test_large_networks_fit_into_a_page() -> None:
    from charrnn.nn.network import CharRNN

    model = CharRNN(5, cell="lstm", hidden_size=300, num_layers=3)
    model.init(np.random.default_rng(0))
    data = units_data("x", "a" * 2500, trace_text(model, np.zeros(2500, np.uint8)))
    assert sum(len(u["data"]) for u in data["units"]) < 4_200_000
    assert data["units"][0]["of"] == "h"


def test_runs_are_ranked_on_their_own_text_alone(charrnn_here: Run, tmp_path: Path) -> None:
    for name, corpus, loss in (
        ("worse", "source: /somewhere/private/a.txt", 2.5),
        ("better", "source: /somewhere/private/a.txt", 2.0),
        ("unmeasured", "source: /somewhere/private/a.txt", None),
        ("more", "source: /somewhere/private/a.txt, val_fraction: 0.2", 1.0),  # of another part of the text
        ("other", "source: [a.txt, 'C:\\Users\\me\\b.txt', ~/c.txt]", 1.5),
    ):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.yaml").write_text(f"corpus: {{{corpus}}}\n", encoding="utf-8")
        row = {"step": 1, "train_loss": 3.0, "val_loss": loss}
        (tmp_path / name / "history.jsonl").write_text(json.dumps(row) + "\n", encoding="utf-8")
    done = charrnn_here("report", "worse", "better", "unmeasured", "more", "other", "--no-activations", "--json")
    assert done.returncode == 0, done.stderr
    first, second, third = json.loads(done.stdout)["rankings"]
    assert [run["name"] for run in first["runs"]] == ["better", "worse"]
    assert first["names"] == ["better", "worse", "unmeasured"]
    assert second["names"] == ["more"]
    assert third["text"] == "a.txt, b.txt, c.txt"
    for private in ("private", "Users", "~/"):
        assert private not in done.stdout
        assert private not in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_a_run_takes_less_than_a_megabyte(tmp_path: Path) -> None:
    from charrnn.data.vocabulary import Vocabulary
    from charrnn.nn.network import CharRNN

    text = SENTENCES * 12
    vocabulary = Vocabulary.of(text)
    model = CharRNN(len(vocabulary), cell="lstm", hidden_size=512, num_layers=3)
    found = units_data("a", text[:400], trace_text(model, vocabulary.encode(text[:400])))
    assert {(unit["layer"], unit["of"]) for unit in found["units"]} >= {(k, of) for k in range(3) for of in "hc"}
    assert 200 <= len(found["text"]) < 400
    assert len(found["nats"]) == len(found["text"]) - 1
    assert len(json.dumps(found)) < 700_000


def test_losses_by_context_are_shown_without_the_scatter_of_single_lengths(capsys: pytest.CaptureFixture[str]) -> None:
    loss = [2.0 + 0.5 * (-1) ** k for k in range(200)]  # each length is measured on other characters
    show_memory([{"name": "run", "gradient": [1.0] * 200, "loss": loss}])
    shown = capsys.readouterr().out.splitlines()[-1].split("\t")
    assert shown[1:4] == ["2.500", "1.500", "2.500"]  # 1, 2 and 5 characters
    assert all(abs(float(cell) - 2.0) < 0.11 for cell in shown[5:9])  # 20 to 200
