"""Texts as people have them, from the command line: encodings, pipes, files that move, models of bytes."""

from __future__ import annotations

import base64
import gzip
import io
import json
import os
import pty
import shutil
import subprocess
import sys
import unicodedata
from contextlib import redirect_stdout
from pathlib import Path

import pytest

from charrnn.cli import app
from tests.conftest import ROOT, SENTENCES, Run, assert_one_line_error

FRENCH = "L'été dernier, à Noël, le garçon naïf mangeait. Où vas-tu ? demanda-t-il. Ça va être très gênant.\n" * 20
SETTINGS = (
    "corpus: {source: text.txt}\nmodel: {cell: gru, hidden_size: 12}\n"
    "training: {batch_size: 2, seq_length: 16, epochs: null, max_steps: 4, eval_every: 2, sample_every: null,\n"
    "  checkpoint_every: 2, replicas: 1}\n"
)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CHARRNN_HOME", str(tmp_path / "home"))  # where no other test has kept the same text
    (tmp_path / "c.yaml").write_text(SETTINGS)
    return tmp_path


def train(charrnn: Run, *words: object, name: str = "run", **options: object) -> subprocess.CompletedProcess[str]:
    return charrnn(
        "train", "-c", "c.yaml", "--run-dir", name, "--progress", "plain",
        *[f"--set={word}" for word in words], **options,
    )  # fmt: skip


def sampled_bytes(folder: Path, *words: object) -> bytes:
    """What `sample` writes to a file that is its standard output."""
    with (folder / "made").open("w+b") as file:
        with redirect_stdout(io.TextIOWrapper(file, encoding="utf-8", write_through=True)) as out:
            assert app.run(["sample", "run", "--seed", "1", *map(str, words)]) == 0
            out.detach()
        file.seek(0)
        return file.read()


def on_a_terminal(folder: Path, *words: object) -> str:
    """What `sample` writes to a real terminal."""
    leader, follower = pty.openpty()
    command = [sys.executable, "-m", "charrnn", "sample", "run", "--seed", "1", *map(str, words)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8"}
    with subprocess.Popen(command, cwd=folder, stdout=follower, stderr=subprocess.DEVNULL, env=environment) as process:
        os.close(follower)
        shown = b""
        while True:
            try:
                piece = os.read(leader, 4096)
            except OSError:  # the terminal is closed
                break
            if not piece:
                break
            shown += piece
        assert process.wait() == 0
    os.close(leader)
    return shown.decode("utf-8").replace("\r\n", "\n")


def test_a_model_of_bytes_writes_bytes(charrnn_here: Run, folder: Path) -> None:
    (folder / "text.txt").write_bytes(FRENCH.encode("latin-1"))
    assert train(charrnn_here, "corpus.encoding=bytes").returncode == 0
    made = sampled_bytes(folder, "--length", 300, "--no-include-prime")
    assert len(made) == 300
    assert set(made) <= set(FRENCH.encode("latin-1"))
    with pytest.raises(UnicodeDecodeError):
        made.decode("utf-8")
    shown = on_a_terminal(folder, "--length", 300, "--no-include-prime", "--output-encoding", "latin-1")
    assert shown == made.decode("latin-1") + "\n"
    assert on_a_terminal(folder, "--length", 300, "--no-include-prime") == made.decode("utf-8", "replace") + "\n"
    found = json.loads(sampled_bytes(folder, "--length", 300, "--no-include-prime", "--json"))
    assert base64.b64decode(found["samples"][0]["bytes"]) == made
    assert found["samples"][0]["text"] == made.decode("utf-8", "replace")
    beams = json.loads(sampled_bytes(folder, "--beam", 2, "--length", 5, "--json"))["beams"]
    assert len(base64.b64decode(beams[0]["bytes"])) == 5
    assert_one_line_error(charrnn_here("sample", "run", "--beam", 2, "--stop", r"\xe9\xe0"), 2, "single bytes")
    unknown = ("sample", "run", "--beam", 2, "--length", 5, "--stop", "日")
    assert charrnn_here(*unknown).returncode == 0
    primed = sampled_bytes(folder, "--length", 3, "--prime", "été", "--output-encoding", "latin-1")
    assert primed.startswith("été".encode("latin-1"))
    assert len(primed) == 6
    stopped = sampled_bytes(
        folder, "--length", 300, "--no-include-prime", "--stop", "é", "--output-encoding", "latin-1"
    )
    assert stopped == made.partition("é".encode("latin-1"))[0]
    several = sampled_bytes(folder, "--length", 9, "--num-samples", 2, "--no-include-prime")
    assert several.startswith(made[:9] + b"\n---\n")


def test_output_encodings_that_cannot_be(charrnn_here: Run, folder: Path) -> None:
    (folder / "text.txt").write_bytes(FRENCH.encode())
    train(charrnn_here)
    train(charrnn_here, "corpus.encoding=bytes", name="raw")
    sample = ("sample", "raw", "--seed", 1, "--output-encoding")
    assert_one_line_error(charrnn_here(*sample, "nonsense"), 2, "--output-encoding: 'nonsense'")
    assert_one_line_error(charrnn_here(*sample, "latin-1", "--prime", "日"), 3, "--prompt: '日' cannot be written")
    assert_one_line_error(charrnn_here("sample", "run", "--output-encoding", "latin-1"), 2, "for models of bytes")


def test_files_and_primes_are_read_as_the_text_was(charrnn_here: Run, folder: Path) -> None:
    (folder / "text.txt").write_bytes(FRENCH.replace("\n", "\r\n").encode("latin-1"))
    refused = train(charrnn_here)
    assert_one_line_error(refused, 3, "set corpus.encoding: latin-1")
    done = train(charrnn_here, "corpus.encoding=latin-1", "corpus.newlines=unix", "corpus.normalize=nfc")
    assert "20 CR/LF line ends became LF" in done.stderr
    (folder / "more.txt").write_bytes("Noël,\r\nété".encode("latin-1"))
    found = json.loads(charrnn_here("eval", "run", "--text", "more.txt", "--no-baselines", "--json").stdout)
    assert found["characters"] == len("Noël,\nété") - 1
    primed = charrnn_here("sample", "run", "--prime-file", "more.txt", "--length", 0, "--seed", 1)
    assert primed.stdout == "Noël,\nété\n"
    decomposed = unicodedata.normalize("NFD", "Noël,\r\n")
    assert charrnn_here("sample", "run", "--prime", decomposed, "--length", 0, "--seed", 1).stdout == "Noël,\n\n"
    filled = charrnn_here("sample", "run", "--fill", "-", "--seed", 1, stdin="L'été {{3}}")
    assert_one_line_error(filled, 3, "not among the model's")  # UTF-8, read as Latin-1 like everything else
    ranked = charrnn_here("rank", "more.txt", "run", "--json")
    assert {row["text"] for row in json.loads(ranked.stdout)["candidates"]} == {"Noël,", "été"}


def test_a_prime_in_another_normal_form_is_told(charrnn_here: Run, folder: Path) -> None:
    for mine, other in (("NFC", "NFD"), ("NFD", "NFC")):
        (folder / "text.txt").write_bytes(unicodedata.normalize(mine, FRENCH).encode())  # type: ignore[arg-type]
        assert train(charrnn_here, name=mine).returncode == 0
        prime = unicodedata.normalize(other, "été")  # type: ignore[arg-type]
        refused = charrnn_here("sample", mine, "--prime", prime, "--seed", 1)
        assert_one_line_error(refused, 3, f"in another Unicode normal form: convert it to {mine}")


def test_a_text_from_standard_input(charrnn: Run, charrnn_here: Run, folder: Path) -> None:
    done = train(charrnn, "corpus.source=-", stdin=gzip.compress(FRENCH.encode()))
    assert done.returncode == 0, done.stderr
    assert charrnn_here("eval", "run", "--no-baselines", "--json").returncode == 0  # found by its hash
    resumed = charrnn_here("train", "--resume", "run", "--set", "training.max_steps=6", "--json")
    assert json.loads(resumed.stdout)["steps"] == 6
    shutil.rmtree(folder / "home")
    missing = charrnn_here("eval", "run", "--no-baselines", stdin="another text")
    assert_one_line_error(missing, 3, "not the text this run was trained on", "--corpus PATH")
    (folder / "kept.txt").write_text(FRENCH, encoding="utf-8")
    assert charrnn_here("eval", "run", "--no-baselines", "--corpus", "kept.txt").returncode == 0


@pytest.mark.extras
def test_a_sweep_reads_standard_input_once(charrnn: Run, folder: Path) -> None:
    (folder / "s.yaml").write_text("base: c.yaml\nset: {corpus.source: '-'}\nseeds: 2\n")
    done = charrnn("sweep", "s.yaml", "--run-dir", "swept", "-q", "--json", stdin=FRENCH)
    assert done.returncode == 0, done.stderr
    assert len(json.loads(done.stdout)["runs"]) == 2


@pytest.fixture
def imported(charrnn_here: Run, folder: Path, runs: Path) -> Path:
    """A network that was exported and imported again; beside it, text.txt, which it can read."""
    (folder / "text.txt").write_text(SENTENCES * 3)
    assert charrnn_here("export", runs / "a", "--to", "json", "-o", "m.json").returncode == 0
    assert charrnn_here("import", "m.json", "--run-dir", "imported").returncode == 0
    return Path("imported")


def test_a_text_that_moved(charrnn_here: Run, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "text.txt").write_text(FRENCH, encoding="utf-8")
    assert train(charrnn_here).returncode == 0
    elsewhere = folder / "elsewhere"
    elsewhere.mkdir()
    run = folder / "run"
    commands: list[tuple[object, ...]] = [
        ("eval", run, "--no-baselines"), ("inspect", "errors", run), ("inspect", "units", run, "--length", 50),
        ("inspect", "predictions", run), ("inspect", "memory", run, "--steps", 4, "--positions", 1),
        ("report", run, "--length", 20), ("sample", run, "--seed", 1, "--length", 20, "--memorization"),
    ]  # fmt: skip
    monkeypatch.chdir(elsewhere)
    for command in commands:  # relative sources start where the run was started
        done = charrnn_here(*command)
        assert done.returncode == 0, (command, done.stderr)
    for command in (*commands, ("eval", run, "--text", folder / "text.txt", "--no-baselines")):
        done = charrnn_here(*command, "--corpus", "nowhere")  # though it is where it was
        assert_one_line_error(done, 3, "--corpus nowhere: no such file")
    assert charrnn_here("eval", run, "--no-baselines", "--corpus", str(folder / "t*.txt")).returncode == 0
    (folder / "text.txt").rename(elsewhere / "other name")
    read = ("eval", run, "--text", "other name")  # the n-gram model alone needs the text of training
    assert_one_line_error(charrnn_here(*read), 3, "--corpus PATH", "--no-baselines")
    for command in commands:
        assert_one_line_error(charrnn_here(*command), 3, "--corpus PATH")
        assert_one_line_error(charrnn_here(*command, "--corpus", "nowhere"), 3, "--corpus must name")
        done = charrnn_here(*command, "--corpus", "other name")
        assert done.returncode == 0, (command, done.stderr)
    (folder / "text.txt").write_text("another text. " * 100, encoding="utf-8")
    assert_one_line_error(charrnn_here(*commands[0]), 3, "not the text this run was trained on", "SHA-256")
    (elsewhere / "text.txt").write_text(FRENCH, encoding="utf-8")  # the right text where we are is found as well
    assert charrnn_here(*commands[0]).returncode == 0


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        ("eval {}", "--text FILE"),
        ("eval {} --corpus text.txt", "--text FILE"),
        ("eval {} --text text.txt --ngram", "leave out --ngram"),
        ("eval {} --text text.txt --memorization", "leave out --memorization"),
        ("inspect errors {}", "--text FILE"),
        ("inspect units {}", "--text FILE"),
        ("sample {} --ngram", "leave out --ngram"),
        ("sample {} --length 5 --memorization", "leave out --memorization"),
        ("sample {} --num-items 1 --not-in-training", "leave out --not-in-training"),
        ("compress {} text.txt -o packed --ngram", "leave out --ngram"),
    ],
)
def test_an_imported_network_whose_text_nobody_knows(charrnn_here: Run, imported: Path, words: str, hint: str) -> None:
    done = charrnn_here(*words.format(imported).split())
    assert_one_line_error(done, 3, f"{imported / 'last.npz'}: does not say which text", hint)
    assert "note: " not in done.stderr


def test_what_an_unknown_text_is_not_needed_for(charrnn_here: Run, imported: Path) -> None:
    done = charrnn_here("eval", imported, "--text", "text.txt", "--json")
    assert set(json.loads(done.stdout)["baselines"]) == {"gzip", "xz", "bz2"}
    assert f"note: no n-gram model to compare with: {imported / 'last.npz'}: does not say" in done.stderr
    for words in (("--no-baselines",), ("--per-line",), ("--surprising", 2), ("--per-char", "json")):
        done = charrnn_here("eval", imported, "--text", "text.txt", *words)
        assert done.returncode == 0
        assert "which text" not in done.stderr
    done = charrnn_here("inspect", "errors", imported, "--text", "text.txt", "--json")
    assert set(json.loads(done.stdout)) == {"kind of character", "place in the word"}
    assert "note: no table" in done.stderr


@pytest.mark.parametrize(
    "words",
    ["eval {} --text f.txt", "inspect errors {} --text f.txt", "rank f.txt {}", "sample {} --prompt-file f.txt",
     "sample {} --fill f.txt"],
)  # fmt: skip
def test_a_file_in_another_encoding_is_to_be_converted(
    charrnn_here: Run, runs: Path, tmp_path: Path, words: str
) -> None:
    (tmp_path / "f.txt").write_bytes(FRENCH.encode("latin-1"))
    done = charrnn_here(*words.format(runs / "a").split())
    assert_one_line_error(done, 3, "f.txt: not valid UTF-8", "looks like latin-1: convert it to UTF-8")
    assert "with iconv -f latin1 -t utf-8" in done.stderr
    assert "corpus.encoding" not in done.stderr  # which these commands do not have


def test_a_run_continues_without_its_settings_file(
    charrnn_here: Run, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "text.txt").write_text(FRENCH, encoding="utf-8")
    assert train(charrnn_here).returncode == 0
    (folder / "c.yaml").unlink()
    done = charrnn_here("train", "--resume", "run", "--set", "training.max_steps=6", "--json")
    assert json.loads(done.stdout)["steps"] == 6
    done = charrnn_here("train", "--resume", "--run-dir", "run", "--set", "training.max_steps=7", "--json")
    assert json.loads(done.stdout)["steps"] == 7
    (folder / "text.txt").rename(folder / "moved.txt")
    more = ("train", "--resume", "run", "--set", "training.max_steps=8", "--json")
    assert_one_line_error(charrnn_here(*more), 3, "text.txt", "--corpus PATH")
    done = charrnn_here(*more, "--corpus", "moved.txt")
    assert json.loads(done.stdout)["steps"] == 8
    monkeypatch.chdir("/")  # the new place is remembered
    assert charrnn_here("eval", folder / "run", "--no-baselines").returncode == 0
    (folder / "moved.txt").write_text("another text. " * 100, encoding="utf-8")
    refused = charrnn_here("train", "--resume", folder / "run", "--set", "training.max_steps=9")
    assert_one_line_error(refused, 3, "not the text this run was trained on")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("train",), "charrnn train my.txt; or --config FILE, or --resume RUN"),
        (("train", "--resume"), "charrnn train --resume RUN"),
        (("train", "run", "--resume", "--run-dir", "other"), "give the run's directory once"),
        (("train", "--resume", "nowhere"), "no run to resume"),
        (("train", "-c", "c.yaml", "--corpus", "c.yaml"), "--corpus is for the text of a resumed run"),
        (("train", "--resume", "run", "--set", "model.cell=lstm"), "model.cell: cannot change"),
    ],
)
def test_what_cannot_be_continued(charrnn_here: Run, folder: Path, words: tuple[str, ...], message: str) -> None:
    (folder / "text.txt").write_text(FRENCH, encoding="utf-8")
    if "model.cell=lstm" in words:
        train(charrnn_here)
    assert_one_line_error(charrnn_here(*words), 2, message)


def test_a_run_in_the_home_folder(charrnn_here: Run, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(folder / "house"))
    (folder / "house").mkdir()
    (folder / "house" / "text.txt").write_text(FRENCH, encoding="utf-8")
    assert train(charrnn_here, "corpus.source=~/text.txt", name="~/deep/run").returncode == 0
    assert (folder / "house" / "deep" / "run" / "last.npz").is_file()
    assert not (folder / "~").exists()
    assert charrnn_here("eval", folder / "house" / "deep" / "run", "--no-baselines").returncode == 0


def test_runs_of_lists_of_files_and_shuffled_lines(charrnn_here: Run, folder: Path) -> None:
    (folder / "poems").mkdir()
    for name in ("text.txt", "poems/a.txt", "poems/b.txt"):
        (folder / name).write_text(f"{name}\n{FRENCH}", encoding="utf-8")
    shuffled = ("corpus.source=[text.txt, poems/*.txt]", "corpus.documents=lines", "corpus.split=shuffled")
    assert train(charrnn_here, *shuffled).returncode == 0
    best = json.loads(charrnn_here("train", "--resume", "run", "--set", "training.max_steps=5", "--json").stdout)
    evaluated = json.loads(charrnn_here("eval", "run/last.npz", "--no-baselines", "--json").stdout)
    assert evaluated["loss"] == pytest.approx(best["val_loss"], rel=1e-6)  # the same validation part
    assert "text.txt, poems/*.txt, val part" in evaluated["text"]
    for name in ("a.txt", "b.txt"):
        (folder / "poems" / name).rename(folder / name)
    moved = charrnn_here(
        "eval", "run", "--no-baselines", "--corpus", "text.txt", "--corpus", "a.txt", "--corpus", "b.txt"
    )
    assert moved.returncode == 0, moved.stderr
