"""Every flag of `charrnn sample` that says when to end and what to show."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
import math
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import replace

import charrnn as package
from charrnn.api import TrainedModel
from charrnn.cli import app
from charrnn.cli.streams import mute
from charrnn.evaluation.scoring import text_nats
from charrnn.runs.checkpoint import load_checkpoint, save_checkpoint
from tests.conftest import ROOT, SENTENCES, Run, assert_one_line_error


def logprobs_after(model: TrainedModel, prompt: str, text: str) -> np.ndarray:
    """(N,) logarithms of the probabilities of all characters of a text after a prompt."""
    encode = model.vocabulary.encode
    return -text_nats(model.text_model, encode(text)[:, None], encode(prompt))[:, 0]


def test_stops_and_words(charrnn_here: Run, runs: Path) -> None:
    words = ("sample", runs / "a", "--seed", "3", "--prime", "the ", "--length", "200")
    whole = charrnn_here(*words).stdout
    assert charrnn_here(*words, "--stop", ".").stdout == whole[: whole.index(".")] + "\n"
    both = charrnn_here(*words, "--stop", "dog", "--stop", "cat").stdout
    assert both == whole[: min(whole.find(w, 4) for w in ("dog", "cat") if w in whole[4:])] + "\n"
    counted = charrnn_here(*words, "--until-words", "3", "--no-include-prime").stdout
    assert len(counted.split()) == 3
    assert charrnn_here(*words, "--stop-on-newline").stdout == whole
    assert charrnn_here(*words, "--stop", r"\n").stdout == whole


def test_the_seed_decides_whatever_is_made_beside_it(charrnn_here: Run, runs: Path) -> None:
    words = ("sample", runs / "a", "--length", "300")
    one = charrnn_here(*words, "--seed", "5").stdout
    for count in (2, 3, 20):
        several = charrnn_here(*words, "--seed", "5", "--num-samples", count, "--separator", "=====").stdout.split(
            "=====\n"
        )
        assert several[0] == one
        assert len(set(several)) == count
    drawn = charrnn_here(*words)
    recorded = re.fullmatch(r"seed: (\d+)\n", drawn.stderr)
    assert recorded
    assert charrnn_here(*words, "--seed", recorded[1]).stdout == drawn.stdout
    ended = charrnn_here(*words, "--seed", "5", "--num-samples", "2", "--stop", ".", "--separator", "=====").stdout
    assert ended.split("=====\n")[0] == one[: one.index(".")] + "\n"


def test_json_has_every_log_probability(charrnn_here: Run, runs: Path) -> None:
    done = charrnn_here(
        "sample", runs / "a", "--seed", "3", "--prime", "the ", "--length", "40", "--json", "--num-samples", "3"
    )
    report = json.loads(done.stdout)
    assert (report["seed"], report["prime"], len(report["samples"])) == (3, "the ", 3)
    model = package.load(runs / "a")
    for sample in report["samples"]:
        assert "".join(c["text"] for c in sample["characters"]) == sample["text"]
        expected = logprobs_after(model, "the ", sample["text"])
        assert [c["logprob"] for c in sample["characters"]] == pytest.approx(expected.tolist(), abs=1e-3)
        assert sample["bits_per_char"] == pytest.approx(-expected.mean() / math.log(2), rel=1e-3)
        assert sample["finish_reason"] == "length"


def test_best_of_shows_the_likeliest(charrnn_here: Run, runs: Path) -> None:
    words = ("sample", runs / "a", "--seed", "3", "--length", "30", "--temperature", "1.5", "--json")
    every = json.loads(charrnn_here(*words, "--num-samples", "6").stdout)["samples"]
    best = json.loads(charrnn_here(*words, "--best-of", "6", "--num-samples", "2").stdout)["samples"]
    expected = sorted(every, key=lambda s: s["nats"] / len(s["text"]))[:2]
    assert [s["text"] for s in best] == [s["text"] for s in expected]
    text = charrnn_here(*words[:-1], "--best-of", "6", "--no-include-prime").stdout
    assert text == expected[0]["text"] + "\n"


def test_beam(charrnn_here: Run, runs: Path) -> None:
    words = ("sample", runs / "a", "--prime", "the ", "--length", "30", "--beam", "4")
    done = charrnn_here(*words, "--stop", ".", "--num-samples", "2", "--separator", "==")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""  # no seed: nothing is drawn
    assert len(done.stdout.split("==\n")) == 2
    beams = json.loads(charrnn_here(*words, "--json", "--length-penalty", "0").stdout)["beams"]
    greedy = charrnn_here(*words[:-2], "--temperature", "0", "--no-include-prime").stdout[:-1]
    model = package.load(runs / "a")
    likelihood = {t: float(logprobs_after(model, "the ", t).sum()) for t in (greedy, beams[0]["text"])}
    assert likelihood[beams[0]["text"]] >= likelihood[greedy] - 1e-4
    assert beams[0]["nats"] == pytest.approx(-likelihood[beams[0]["text"]], rel=1e-3)
    found = [c["logprob"] for c in beams[0]["characters"]]
    assert found == pytest.approx(logprobs_after(model, "the ", beams[0]["text"]).tolist(), abs=1e-3)
    assert "".join(c["text"] for c in beams[0]["characters"]) == beams[0]["text"]


def test_colours(charrnn_here: Run, runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = ("sample", runs / "a", "--seed", "3", "--length", "60")
    plain = charrnn_here(*words).stdout
    assert charrnn_here(*words, "--color", "surprise").stdout == plain  # no terminal, no colours
    monkeypatch.setenv("CLICOLOR_FORCE", "1")
    for kind in ("surprise", "entropy"):
        done = charrnn_here(*words, "--color", kind)
        assert "\x1b[38;5;" in done.stdout
        assert re.sub(r"\x1b\[[0-9;]*m", "", done.stdout) == plain
        assert f"{kind}, bits per character" in done.stderr
    several = charrnn_here(*words, "--color", "surprise", "--num-samples", "2")
    assert "\x1b[38;5;" in several.stdout
    assert re.sub(r"\x1b\[[0-9;]*m", "", several.stdout) == charrnn_here(*words, "--num-samples", "2").stdout
    monkeypatch.setenv("NO_COLOR", "1")
    assert charrnn_here(*words, "--color", "surprise").stdout == plain


def test_ensembles(charrnn_here: Run, runs: Path, tmp_path: Path) -> None:
    done = charrnn_here("sample", runs / "a", runs / "b", "--seed", "3", "--length", "40")
    assert done.returncode == 0, done.stderr
    plain = ("--seed", "3", "--length", "40")
    alone = [charrnn_here("sample", runs / name, *plain).stdout for name in ("a", "b")]
    assert done.stdout not in alone
    assert charrnn_here("sample", runs / "a", runs / "a", *plain).stdout == alone[0]  # the mean of equals
    losses = [
        json.loads(charrnn_here("eval", *names, "--no-baselines", "--json").stdout)["loss"]
        for names in ((runs / "a",), (runs / "b",), (runs / "a", runs / "b"))
    ]
    assert losses[2] < sum(losses[:2]) / 2  # -log is convex
    assert_one_line_error(charrnn_here("sample", runs / "a", runs / "other"), 4, "different vocabularies")
    assert_one_line_error(charrnn_here("eval", runs / "a", runs / "other"), 4, "different vocabularies")
    apart = load_checkpoint(runs / "a" / "best.npz")
    corpus = replace(apart.config.corpus, document_separator=" ")
    save_checkpoint(tmp_path / "apart.npz", dataclasses.replace(apart, config=replace(apart.config, corpus=corpus)))
    assert_one_line_error(charrnn_here("eval", runs / "a", "apart.npz"), 4, "end documents differently")
    corpus = replace(apart.config.corpus, source="elsewhere.txt")
    save_checkpoint(tmp_path / "moved.npz", dataclasses.replace(apart, config=replace(apart.config, corpus=corpus)))
    for command in ("eval", "sample"):
        copied = charrnn_here(command, runs / "a", "moved.npz", "--memorization")
        assert_one_line_error(copied, 2, "trained on one text")


def test_blanks_are_filled(charrnn_here: Run, runs: Path, tmp_path: Path) -> None:
    (tmp_path / "form.txt").write_text("the {{word}} sat on the {{12}}! the dog {{line}}")
    done = charrnn_here(
        "sample", runs / "a", "--fill", "form.txt", "--seed", "1", "--length", "20", "--unknown", "skip"
    )
    assert done.returncode == 0, done.stderr
    match = re.fullmatch(r"the (\S+) sat on the (.{12})! the dog (.{0,20})", done.stdout)
    assert match, done.stdout
    (tmp_path / "none.txt").write_text("nothing")
    assert_one_line_error(charrnn_here("sample", runs / "a", "--fill", "none.txt"), 3, "no blank")
    (tmp_path / "strange.txt").write_text("the {{word}} Ü {{word}}")
    strange = charrnn_here("sample", runs / "a", "--fill", "strange.txt")
    assert_one_line_error(strange, 3, "strange.txt", "Ü")
    assert strange.stdout == ""  # not the first half
    (tmp_path / "short.txt").write_text("the cat sat on the mat {{3}} the cat sat on the mat")
    copies = charrnn_here("sample", runs / "a", "--fill", "short.txt", "--memorization", "--seed", "1")
    assert int(copies.stderr.rstrip().split(": ")[-1].split()[0]) <= 3  # the user's own words are no copies
    assert_one_line_error(charrnn_here("sample", runs / "a", "--fill", "form.txt", "--prime", "x"), 2, "--prompt")


def test_a_conversation(charrnn_here: Run, runs: Path) -> None:
    said = "the cat\n:temperature 0.5\n:length 10\n:seed 9\nthe dog\n:nonsense 3\n:top-k -1\n:length -1\n"
    said += ":presence-penalty -1\nÜ\n:settings\n:help\n"
    done = charrnn_here(
        "sample", runs / "a", "--interactive", "--seed", "3", "--length", "15", stdin=said + ":quit\nafter\n"
    )
    assert done.returncode == 0, done.stderr
    first, second = done.stdout.splitlines()
    assert (
        first == charrnn_here("sample", runs / "a", "--seed", "3", "--length", "15", "--prime", "the cat").stdout[:-1]
    )
    expected = charrnn_here(
        "sample", runs / "a", "--seed", "9", "--length", "10", "--temperature", "0.5", "--prime", "the dog"
    )
    assert second == expected.stdout[:-1]
    for part in (
        ":nonsense: no such command",
        ":top-k: must be",
        ":length: -1 is below 0",
        "presence-penalty -1.0",
        "Ü",
        "temperature 0.5",
        ":quit",
    ):
        assert part in done.stderr


def test_flags_that_do_not_go_together(charrnn_here: Run, runs: Path) -> None:
    for words in (
        ("--interactive", "--beam", "2"), ("--beam", "2", "--best-of", "3"), ("--interactive", "--json"),
        ("--beam", "2", "--color", "entropy"), ("--prime", "a", "--prime-file", "b"), ("--json", "--color", "surprise"),
        ("--interactive", "--num-samples", "2"), ("--fill", "f", "--num-samples", "2"), ("--fill", "f", "--json"),
        ("--fill", "f", "--stop-on-newline"), ("--fill", "f", "--interactive"), ("--beam", "2", "--top-k", "3"),
        ("--constrain", "a+", "--stop", "b"), ("--constrain", "a+", "--until-words", "1"),
        ("--num-items", "2", "--stop", "e"), ("--beam", "2", "--logit-bias", "e=3"),
    ):  # fmt: skip
        assert_one_line_error(charrnn_here("sample", runs / "a", *words), 2, "cannot both be given")
    assert_one_line_error(charrnn_here("sample", runs / "a", "--beam", "2", "--stop", "ab"), 2, "single characters")
    assert_one_line_error(charrnn_here("sample", runs / "a", "--stop", ""), 2, "empty")
    for words, needed in (
        (("--length-penalty", "0.5"), "--beam"), (("--mirostat-eta", "0.2"), "--mirostat-tau"),
        (("--xtc-threshold", "0.2"), "--xtc-probability"), (("--dynamic-exponent", "2"), "--dynamic-temperature"),
    ):  # fmt: skip
        assert_one_line_error(charrnn_here("sample", runs / "a", *words), 2, words[0], needed)
    assert charrnn_here("sample", runs / "a", "--beam", "2", "--ban", "e", "--length", "5").returncode == 0
    assert_one_line_error(charrnn_here("sample", runs / "a", "--num-items", "2"), 2, "items end with", "not know")


ENOUGH = [
    "sample a --seed 1 --length 20000", "sample a --seed 1 --num-samples 300", "sample a --seed 1 --json",
    "eval a --text text.txt --per-line", "eval a --text text.txt --per-char json", "rank text.txt a",
]  # fmt: skip


@pytest.mark.parametrize("line", ENOUGH)
def test_a_reader_that_has_enough_is_no_error(runs: Path, line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(runs)
    end, begin = os.pipe()
    os.close(end)
    said = io.StringIO()
    with open(begin, "w", encoding="utf-8", closefd=True) as out:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(said):
            assert app.run(line.split()) == 0
        mute(out)  # or what is left in it fails when it is closed
    assert said.getvalue() == ""


@pytest.mark.parametrize("line", [ENOUGH[0], *(pytest.param(line, marks=pytest.mark.extras) for line in ENOUGH[1:])])
def test_nor_in_a_real_process(runs: Path, line: str) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "charrnn", *line.split()], cwd=runs, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    ) as process:  # fmt: skip
        assert process.stdout
        assert process.stderr
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 0


def test_an_expression(charrnn_here: Run, runs: Path) -> None:
    done = charrnn_here(
        "sample", runs / "a", "--seed", "2", "--constrain", "[a-z]+( [a-z]+){2}[.]", "--num-samples", "3"
    )
    assert done.returncode == 0, done.stderr
    for line in done.stdout.splitlines()[::2]:
        assert re.fullmatch(r"[a-z]+( [a-z]+){2}[.]", line)
    assert_one_line_error(charrnn_here("sample", runs / "a", "--constrain", "("), 2, "--constrain", "position 0")
    assert_one_line_error(charrnn_here("sample", runs / "a", "--constrain", "(?<=a)b"), 2, "--constrain")
    words = ("sample", runs / "a", "--seed", "2", "--constrain", "(the|a) [a-z]{3}")
    for seed in range(5):  # a way that needs a banned character is no way
        done = charrnn_here(*words, "--ban", "h", "--seed", seed)
        assert re.fullmatch(r"a [a-gi-z]{3}\n", done.stdout)
    assert_one_line_error(charrnn_here(*words, "--ban", "ha"), 2, "without those banned")


def test_the_library(runs: Path) -> None:
    model = package.load(runs / "a")
    text = "".join(model.sample("the ", length=50, temperature=0.7, seed=3))
    assert len(text) == 50
    assert text == "".join(model.sample("the ", length=50, temperature=0.7, seed=3))
    assert "." not in "".join(model.sample("the ", length=80, seed=3, stop=["."]))
    assert model.evaluate(SENTENCES).loss == pytest.approx(-model.logprobs(SENTENCES).mean())
    assert model.samples(3, "the ", length=9)[0].text == "".join(model.sample("the ", length=9))
    with pytest.raises(package.CharRNNError, match="prompt"):
        model.sample("Ü")
    assert len(package.load(runs / "a", runs / "b").models) == 2


def test_without_a_name_the_newest_run_is_named(charrnn_here: Run, runs: Path, tmp_path: Path) -> None:
    (tmp_path / "checkpoints").mkdir()
    for k, name in enumerate(("a", "b")):
        (tmp_path / "checkpoints" / name).symlink_to(runs / name)
        os.utime(runs / name / "last.npz", (2e9 + k, 2e9 + k))
    page = tmp_path / "m.html"
    for words in (
        ("sample", "--length", "3", "--seed", "1"), ("eval", "--no-baselines"), ("next", "--top", "1"),
        ("inspect", "embeddings"), ("export", "-o", page),
    ):  # fmt: skip
        done = charrnn_here(*words)
        assert done.returncode == 0, done.stderr
        assert done.stderr.splitlines()[0] == f"newest run: {Path('checkpoints/b/best.npz')}"
    assert "newest run" not in charrnn_here("sample", "--length", "3", "--quiet").stderr
    assert "newest run" not in charrnn_here("next", "checkpoints/a").stderr


def test_different_texts_are_not_ranked_silently(charrnn_here: Run, runs: Path) -> None:
    said = "note: runs on 2 different texts or splits, whose losses cannot be compared"
    for words in ((), ("--json",), ("--paths", "--top", "1"), ("--effects",), ("--sort", "train_loss", "--csv")):
        done = charrnn_here("runs", runs, *words)
        assert done.returncode == 0, done.stderr
        assert done.stderr.startswith(said), words
    assert charrnn_here("runs", runs, "--sort", "seconds").stderr == ""
    source = f"corpus.source={runs / 'text.txt'}"
    for words, other in ((("--paths", "--json"), "json"), (("--effects", "--paths"), "effects")):
        assert_one_line_error(charrnn_here("runs", runs, *words), 2, f"--paths and --{other} cannot both be given")
    alike = charrnn_here("runs", runs, "--where", source)
    assert (alike.stderr, len(alike.stdout.splitlines())) == ("", 3)
    assert math.isfinite(float(alike.stdout.splitlines()[1].split("\t")[2]))
