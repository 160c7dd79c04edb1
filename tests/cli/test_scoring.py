"""Scores of characters, lines, places and candidates, against scoring each alone."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import pytest

import charrnn as package
from charrnn.evaluation.scoring import candidate_nats, text_nats
from tests.conftest import Run, assert_one_line_error


def test_characters(charrnn_here: Run, runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "the cat sat. a dog"
    (tmp_path / "t.txt").write_text(text)
    words = ("eval", runs / "a", "--text", "t.txt")
    found = json.loads(charrnn_here(*words, "--per-char", "json").stdout)["characters"]
    assert "".join(c["text"] for c in found) == text
    assert found[0]["nats"] is None
    expected = package.load(runs / "a").logprobs(text)
    assert [c["nats"] for c in found[1:]] == pytest.approx((-expected).tolist(), rel=1e-4)
    assert found[3]["bits"] == pytest.approx(found[3]["nats"] / math.log(2))
    assert charrnn_here(*words, "--per-char", "color").stdout == text + "\n"
    monkeypatch.setenv("CLICOLOR_FORCE", "1")
    coloured = charrnn_here(*words, "--per-char", "color")
    assert re.sub(r"\x1b\[[0-9;]*m", "", coloured.stdout) == text + "\n"
    assert "\x1b[" in coloured.stdout
    assert "bits per character" in coloured.stderr
    assert_one_line_error(charrnn_here(*words, "--per-char", "json", "--per-line"), 2, "cannot both be given")


def test_lines_are_sums_of_characters(charrnn_here: Run, runs: Path, tmp_path: Path) -> None:
    text = "the cat\nzzz qqq\n\na dog"
    (tmp_path / "t.txt").write_text(text)
    words = ("eval", runs / "a", "--text", "t.txt", "--unknown", "skip")
    lines = json.loads(charrnn_here(*words, "--per-line", "--json").stdout)["lines"]
    nats = [c["nats"] or 0.0 for c in json.loads(charrnn_here(*words, "--per-char", "json").stdout)["characters"]]
    assert sum(line["nats"] for line in lines) == pytest.approx(sum(nats), rel=1e-6)
    assert charrnn_here(*words, "--per-line").stdout.startswith("line\tcharacters")


def test_places(charrnn_here: Run, runs: Path, tmp_path: Path) -> None:
    text = "the cat sat on the mat. the dXg ran to the cat. the mat was red and the zog was big."
    (tmp_path / "t.txt").write_text(text.replace("X", "."))
    words = ("eval", runs / "a", "--text", "t.txt", "--surprising", "2", "--unknown", "skip")
    spots = json.loads(charrnn_here(*words, "--json").stdout)["positions"]
    assert text.index("X") in {spot["position"] for spot in spots}
    first = spots[0]
    assert first["bits"] >= spots[1]["bits"]
    assert (first["line"], first["column"]) == (1, first["position"] + 1)
    assert "»" in charrnn_here(*words).stdout


def test_bytes_are_counted_and_shown_by_one(
    charrnn_here: Run, byte_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "à la fin\nété à la zut fin à la zut"
    (tmp_path / "t.txt").write_text(text, encoding="utf-8")
    words = ("eval", byte_run, "--text", "t.txt", "--unknown", "replace", "--surprising", "2")
    for spot in json.loads(charrnn_here(*words, "--json").stdout)["positions"]:
        line = text.encode()[: spot["position"]].split(b"\n")
        assert (spot["line"], spot["column"]) == (len(line), len(line[-1]) + 1)
    monkeypatch.setattr("charrnn.cli.views.scores.on_terminal", lambda: True)
    monkeypatch.setenv("COLUMNS", "40")
    contexts = [row.split("\t")[2] for row in charrnn_here(*words).stdout.splitlines()[1:]]
    assert any("\\xc3" in context for context in contexts)
    assert all(max(map(len, re.split("».*«", context))) <= 7 for context in contexts)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--split test --text t.txt", "--text and --split cannot both be given"),
        ("--split val --text t.txt", "--text and --split cannot both be given"),
        ("--per-line --dynamic", "--per-line and --dynamic cannot both be given"),
        ("--per-char json --memorization", "--per-char and --memorization cannot both be given"),
        ("--surprising 2 --baselines", "--surprising and --baselines cannot both be given"),
        ("--dynamic --dynamic-rate inf", "Invalid value for '--dynamic-rate'"),
    ],
)
def test_what_eval_cannot_do_at_once(charrnn_here: Run, runs: Path, tmp_path: Path, words: str, message: str) -> None:
    (tmp_path / "t.txt").write_text("the cat")
    assert_one_line_error(charrnn_here("eval", runs / "a", *words.split()), 2, message)


def test_a_rate_at_which_the_loss_is_no_number(charrnn_here: Run, runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("charrnn.evaluation.dynamic.dynamic_evaluate", lambda *a, **b: package.Score(math.nan, 5))
    done = charrnn_here("eval", runs / "a", "--no-baselines", "--dynamic", "--dynamic-rate", "0.5")
    assert_one_line_error(done, 2, "--dynamic-rate 0.5: too large, the loss becomes nan")


def test_candidates_together_are_candidates_alone(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = package.load(runs / "a")
    texts = ["the cat", "", "a", "the dog ran to the cat. the mat was red", "tac eht", "the red mat" * 20]
    ids = [model.vocabulary.encode(text) for text in texts]
    prime = model.vocabulary.encode("d ")
    together = candidate_nats(model.text_model, prime, ids)
    monkeypatch.setattr("charrnn.evaluation.scoring._CELLS", 20)
    assert candidate_nats(model.text_model, prime, ids) == pytest.approx(together, rel=1e-4)
    for text, nats in zip(texts, together, strict=True):
        assert nats == pytest.approx(model.score(text, "d ").nats, rel=1e-4, abs=1e-6)
        if text:
            alone = text_nats(model.text_model, model.vocabulary.encode(text)[:, None], prime)
            assert nats == pytest.approx(alone.sum(), rel=1e-4)


def test_rank(charrnn_here: Run, runs: Path, tmp_path: Path) -> None:
    lines = ["zqw xkj vvv", "the cat sat on the mat", "tam eht no tas tac eht", "the cat"]
    (tmp_path / "c.txt").write_text("\n".join(lines) + "\n\n")
    words = ("rank", "c.txt", runs / "a", "--unknown", "skip")
    done = charrnn_here(*words, "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)["candidates"]
    assert found[0]["text"] in ("the cat sat on the mat", "the cat")
    assert [c["bits_per_char"] for c in found if c["characters"]] == sorted(
        c["bits_per_char"] for c in found if c["characters"]
    )
    by_total = json.loads(charrnn_here(*words, "--json", "--by", "total", "--top", "2").stdout)["candidates"]
    assert [c["nats"] for c in by_total] == sorted(c["nats"] for c in found)[:2]
    skipped = ("rank", "-", runs / "a", "--unknown", "skip", "--by", "total")
    last = charrnn_here(*skipped, stdin="☃☃\nthe cat\n").stdout.splitlines()[-1]
    assert last.split("\t") == ["-", "-", "0", "☃☃"]
    assert charrnn_here("rank", "-", runs / "a", stdin="the cat\na dog\n").stdout.startswith("bits/char\t")
    primed = json.loads(charrnn_here(*words, "--json", "--prime", "the ").stdout)["candidates"]
    assert primed != found
    assert_one_line_error(charrnn_here("rank", "c.txt", runs / "a"), 3, "c.txt, line 1:", "'z'")
    assert_one_line_error(charrnn_here("rank", "-", runs / "a", stdin="the cat\n\na ☃\n"), 3, ", line 3:", "'☃'", "2")
    assert_one_line_error(charrnn_here("rank", "none.txt", runs / "a"), 3, "none.txt")
    assert_one_line_error(charrnn_here("rank", "-", runs / "a", stdin="\n"), 3, "no candidates")


def test_the_training_text_is_counted_once(charrnn_here: Run, runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from charrnn.evaluation import baselines, mixture, ngram

    counted: list[int] = []

    def choose_order(train: Any, *arguments: Any, **options: Any) -> Any:
        counted.append(len(train))
        return ngram.choose_order(train, *arguments, **options)

    for module in (baselines, mixture):
        monkeypatch.setattr(module, "choose_order", choose_order)
    found = json.loads(charrnn_here("eval", runs / "a", "--ngram", "--json").stdout)
    assert len(counted) == 1
    assert found["baselines"]["ngram_chars"] == counted[0]
    alone = json.loads(charrnn_here("eval", runs / "a", "--json").stdout)
    assert alone["baselines"] == found["baselines"]
