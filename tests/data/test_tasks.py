"""Generators of known entropy: against enumeration of all short texts, long samples, and the commands."""

from __future__ import annotations

import itertools
import json
import math
from pathlib import Path

import numpy as np
import pytest

from charrnn.data.synthetic import build_text, generator_nats, make_task
from charrnn.data.tasks import TASKS
from charrnn.errors import SettingsError
from tests.conftest import Run, assert_one_line_error

SMALL = [
    ("recall", {"lag": 2, "symbols": 2, "noise": 2}),
    ("recall", {"lag": 0, "symbols": 3, "noise": 1}),
    ("brackets", {"depth": 2, "symbols": 1, "p_open": 0.3}),
    ("brackets", {"depth": 3, "symbols": 2, "p_open": 0.6}),
    ("markov", {"order": 2, "symbols": 2, "seed": 3}),
    ("markov", {"order": 1, "symbols": 3, "seed": 1}),
]
LARGE = [
    ("recall", {"lag": 20, "symbols": 8, "noise": 5}),
    ("brackets", {"depth": 8, "symbols": 4, "p_open": 0.5}),
    ("markov", {"order": 3, "symbols": 4, "seed": 2}),
]


@pytest.mark.parametrize(("name", "parameters"), SMALL, ids=str)
def test_the_probabilities_of_all_texts_add_up_to_one(name: str, parameters: dict[str, float]) -> None:
    task = make_task(name, parameters)
    for length in (1, 4, 5):
        texts = itertools.product(range(len(task.alphabet)), repeat=length)
        total = sum(math.exp(-float(task.nats(np.array(text)).sum())) for text in texts)
        assert total == pytest.approx(1.0, rel=1e-9)


@pytest.mark.parametrize(("name", "parameters"), LARGE + SMALL, ids=str)
def test_a_long_text_costs_the_entropy_rate(name: str, parameters: dict[str, float]) -> None:
    task = make_task(name, parameters)
    ids = task.draw(200_000, np.random.default_rng(5))
    nats = task.nats(ids)
    assert np.isfinite(nats).all()
    # Blocks of neighbours make the error of the mean honest for a process with a memory.
    blocks = nats.reshape(200, -1).mean(axis=1)
    error = blocks.std(ddof=1) / math.sqrt(200)
    assert abs(blocks.mean() - task.entropy_rate()) < 4.5 * error + 1e-3


@pytest.mark.parametrize(("name", "parameters"), LARGE, ids=str)
def test_what_is_drawn_follows_the_probabilities(name: str, parameters: dict[str, float]) -> None:
    """Characters of probability p occur in a share p of the places where they have it."""
    task = make_task(name, parameters)
    p = np.exp(-task.nats(task.draw(100_000, np.random.default_rng(6))))
    # The mean of p at the drawn characters is the mean of sum p^2, at least 1/V; and equal seeds repeat.
    assert 1 / len(task.alphabet) <= p.mean() <= 1
    again = task.draw(500, np.random.default_rng(6))
    np.testing.assert_array_equal(again, task.draw(500, np.random.default_rng(6)))
    assert (again != task.draw(500, np.random.default_rng(7))).any()


def test_recall_by_hand() -> None:
    task = make_task("recall", {"lag": 2, "symbols": 3, "noise": 1})
    text = "".join(task.alphabet[k] for k in task.draw(60, np.random.default_rng(0)))
    assert len(text) == 60
    blocks = text.split("\n")[:-1]
    assert len(blocks) == 10
    for block in blocks:
        assert block[1:4] == "aa?"
        assert block[0] == block[4] in "ABC"
    assert task.entropy_rate() == pytest.approx(math.log(3) / 6)
    assert [text[k] for k in task.answers(np.zeros(60, int))] == [block[0] for block in blocks]
    wrong = np.array([task.alphabet.index(c) for c in "Aaa?B\n"])
    assert np.isinf(task.nats(wrong)[4])


def test_brackets_are_nested() -> None:
    task = make_task("brackets", {"depth": 3, "symbols": 4})
    text = "".join(task.alphabet[k] for k in task.draw(5000, np.random.default_rng(0)))
    deepest = 0
    for line in text.split("\n")[:-1]:
        stack: list[str] = []
        for c in line:
            if c in "([{<":
                stack.append(c)
            else:
                assert stack.pop() == {")": "(", "]": "[", "}": "{", ">": "<"}[c]
            deepest = max(deepest, len(stack))
        assert stack == []
    assert deepest == 3
    for text in ("(]", "()(", "((((", "\n", ")"):
        assert np.isinf(task.nats(np.array([task.alphabet.index(c) for c in text]))).any(), text


def test_markov_rate_of_a_known_chain() -> None:
    task = make_task("markov", {"order": 1, "symbols": 2, "seed": 4})
    (p, _), (q, _) = task.rows  # type: ignore[attr-defined]
    # a -> a with p, b -> a with q: a stationary share of a is q / (1 - p + q).
    share = q / (1 - p + q)
    entropy = [-x * math.log(x) - (1 - x) * math.log(1 - x) for x in (p, q)]
    assert task.entropy_rate() == pytest.approx(share * entropy[0] + (1 - share) * entropy[1], rel=1e-9)


def test_mistakes() -> None:
    for name, parameters in (
        ("recal", {}), ("recall", {"depth": 3}), ("recall", {"lag": -1}), ("brackets", {"symbols": 9}),
        ("markov", {"order": 20, "symbols": 26}), ("brackets", {"p_open": 1.0}),
    ):  # fmt: skip
        with pytest.raises(SettingsError) as caught:
            make_task(name, parameters)
        assert len(caught.value.message.splitlines()) == 1


def test_texts_know_their_generator(tmp_path: Path) -> None:
    task = make_task("markov", {"order": 2})
    facts = build_text("markov", task, chars=3000, seed=3, output=tmp_path / "m.txt")
    assert facts["entropy_bits"] == pytest.approx(task.entropy_rate() / math.log(2))
    known = generator_nats(tmp_path / "m.txt")
    assert known is not None
    assert known[2].mean() == pytest.approx(facts["sample_nats"])
    assert generator_nats(tmp_path / "m.txt", sha256=facts["text_sha256"]) is not None
    assert generator_nats(tmp_path / "m.txt", sha256="0" * 64) is None
    assert generator_nats(tmp_path / "none.txt") is None
    (tmp_path / "m.txt").write_text("something else")
    assert generator_nats(tmp_path / "m.txt") is None


def test_a_record_of_another_text_is_not_believed(tmp_path: Path) -> None:
    text, record = tmp_path / "m.txt", tmp_path / "m.txt.task.json"
    facts = build_text("markov", make_task("markov", {"order": 2}), chars=300, seed=3, output=text)
    old = {name: value for name, value in facts.items() if name not in ("size_bytes", "text_sha256")}
    other = text.read_text()[::-1]
    for recorded, content, believed in (
        (facts, other, False), (old, other, True), (old, other[1:], False), ({**old, "size_bytes": 9}, other, False),
    ):  # fmt: skip
        record.write_text(json.dumps(recorded))
        text.write_text(content)
        assert (generator_nats(text) is not None) is believed


def test_only_what_was_built_is_replaced(charrnn_here: Run, tmp_path: Path) -> None:
    text, words = tmp_path / "recall.txt", ("corpus", "build", "recall", "--chars", "100")

    def refused(said: str) -> None:
        before = {path: path.read_bytes() for path in tmp_path.iterdir()}
        done = charrnn_here(*words)
        assert_one_line_error(done, 2, said, "choose another --output, or replace it with --overwrite")
        assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before

    text.write_text("mine")
    refused("recall.txt: exists already")
    assert charrnn_here(*words, "--overwrite").returncode == 0
    assert charrnn_here(*words, "--seed", "2").returncode == 0
    text.write_text(text.read_text()[::-1])
    refused("recall.txt: exists already")
    text.write_text("")  # as mktemp leaves it
    (tmp_path / "recall.txt.task.json").write_text("mine")
    refused("recall.txt.task.json: exists already")
    assert charrnn_here(*words, "--overwrite").returncode == 0
    assert_one_line_error(charrnn_here(*words, "-o", "no/r.txt"), 2, "no/r.txt: cannot be written")
    assert not (tmp_path / "no").exists()


@pytest.mark.parametrize("options", [("--chars", "200000"), ("-o", "x.txt"), ("--lag", "3"), ("--overwrite",)])
def test_a_corpus_of_the_catalogue_has_no_options(charrnn_here: Run, tmp_path: Path, options: tuple[str, ...]) -> None:
    done = charrnn_here("corpus", "build", "python-docs", *options)
    assert_one_line_error(done, 2, "only for a task (recall, brackets, markov), not for python-docs")
    assert_one_line_error(charrnn_here("corpus", "build", "python-dox", *options), 3, "python-dox")
    assert not list(tmp_path.iterdir())


def test_the_commands(charrnn_here: Run, tmp_path: Path, config_file: Path) -> None:
    words = ("corpus", "build", "recall", "--lag", "3", "--symbols", "4", "--chars", "6000", "-o", "r.txt")
    done = charrnn_here(*words)
    assert done.stdout == "r.txt\n"
    assert "lowest possible loss" in done.stderr
    facts = json.loads(charrnn_here(*words, "--json").stdout)
    assert facts["entropy_nats"] == pytest.approx(math.log(4) / 7)
    for name, flag, value in (("brackets", "--depth", "4"), ("markov", "--order", "2")):
        assert charrnn_here("corpus", "build", name, flag, value, "--chars", "500").returncode == 0
        assert len((tmp_path / f"{name}.txt").read_text()) == 500
    assert_one_line_error(charrnn_here("corpus", "build", "recall", "--depth", "3"), 2, "has no depth")
    trained = charrnn_here(
        "train", "--config", config_file, "--quiet", "--run-dir", "run", "--set", "corpus.source=r.txt",
        "--set", "training.max_steps=60",
    )  # fmt: skip
    assert trained.returncode == 0, trained.stderr
    text = (tmp_path / "r.txt").read_bytes()
    report = json.loads(charrnn_here("eval", "run", "--no-baselines", "--json").stdout)
    assert report["entropy_bound"]["entropy_rate"] == pytest.approx(math.log(4) / 7)
    assert 0 < report["entropy_bound"]["loss"] < report["loss"]
    assert "the generator itself" in charrnn_here("eval", "run", "--no-baselines").stdout
    assert charrnn_here(*words, "--seed", "2").returncode == 0  # another text, in its place
    (tmp_path / "moved.txt").write_bytes(text)
    elsewhere = ("eval", "run", "--corpus", "moved.txt", "--no-baselines", "--json")
    assert "entropy_bound" not in json.loads(charrnn_here(*elsewhere).stdout)
    assert "entropy_bound" not in json.loads(
        charrnn_here("eval", "run", "--text", "r.txt", "--no-baselines", "--json").stdout
    )


def test_every_task_is_documented() -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "memory.md").read_text(encoding="utf-8")
    for name in TASKS:
        assert f"`{name}`" in page
