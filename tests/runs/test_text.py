"""The text of a run: found by its hash, split the same way for whoever asks."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from charrnn.config.load import config_from_dict
from charrnn.data.vocabulary import Vocabulary
from charrnn.errors import DataError
from charrnn.runs.checkpoint import Checkpoint
from charrnn.runs.text import (
    MissingTextError,
    Origin,
    corpus_parts,
    encode_corpus,
    file_ids,
    moved,
    run_text,
    separator_ids,
    split_parts,
)

Begun = Callable[..., Checkpoint]


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHARRNN_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def begun() -> Begun:
    """A checkpoint as training on a corpus would leave it, without any training."""

    def begin(**corpus: Any) -> Checkpoint:
        config = config_from_dict({"corpus": corpus}, where="test")
        text = encode_corpus(config.corpus)
        counters = {"text_sha256": text.sha256, "started_in": text.started_in}
        return Checkpoint(config, text.vocabulary, {}, counters=counters)

    return begin


def test_training_and_evaluation_get_the_same_parts(begun: Begun, tmp_path: Path) -> None:
    (tmp_path / "t.txt").write_text("".join(f"line {k * k % 97}\n" for k in range(300)))
    for settings in ({}, {"documents": "lines"}, {"documents": "lines", "split": "shuffled", "test_fraction": 0.1}):
        run = begun(source="t.txt", **settings)
        trained = split_parts(encode_corpus(run.config.corpus), run.config.corpus)
        for name, ids in corpus_parts(run).items():
            np.testing.assert_array_equal(ids, trained[name])
    assert separator_ids(run.config.corpus, run.vocabulary) is not None


def test_relative_sources_start_where_the_run_was_started(
    begun: Begun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.txt").write_text("some text " * 40)
    run = begun(source="a.txt")
    assert run.counters["started_in"] == str(tmp_path)
    assert begun(source=str(tmp_path / "a.txt")).counters["started_in"] == ""
    (tmp_path / "sub").mkdir()
    monkeypatch.chdir(tmp_path / "sub")
    (tmp_path / "sub" / "a.txt").write_text("another text " * 40)
    assert run_text(run).sha256 == run.counters["text_sha256"]
    (tmp_path / "a.txt").rename(tmp_path / "b.txt")
    with pytest.raises(MissingTextError, match=r"a\.txt: not the text this run was trained on"):
        run_text(run)
    assert run_text(run, ["../b.txt"]).sha256 == run.counters["text_sha256"]
    (tmp_path / "sub" / "a.txt").unlink()
    with pytest.raises(MissingTextError, match=r"a\.txt: no such file"):
        run_text(run)
    assert moved(run.config.corpus, ["../b.txt"]).source == str(tmp_path / "b.txt")
    assert moved(run.config.corpus, ["python-docs", "../b.txt"]).source == ("python-docs", str(tmp_path / "b.txt"))


def test_one_of_several_given_texts_may_be_the_right_one(begun: Begun, tmp_path: Path) -> None:
    for name in ("a.txt", "b.txt"):
        (tmp_path / name).write_text(name * 60)
    runs = [begun(source=name) for name in ("a.txt", "b.txt")]
    for name in ("a.txt", "b.txt"):
        (tmp_path / name).rename(tmp_path / f"moved-{name}")
    for run in runs:
        assert run_text(run, ["moved-a.txt", "moved-b.txt"]).sha256 == run.counters["text_sha256"]


def test_the_same_text_compressed_is_the_same_text(begun: Begun, tmp_path: Path) -> None:
    import bz2

    (tmp_path / "a.txt").write_text("some text " * 40)
    run = begun(source="a.txt")
    assert run.counters["text_sha256"] == hashlib.sha256(b"some text " * 40).hexdigest()
    (tmp_path / "a.txt.bz2").write_bytes(bz2.compress((tmp_path / "a.txt").read_bytes()))
    (tmp_path / "a.txt").unlink()
    assert run_text(run, ["a.txt.bz2"]).sha256 == run.counters["text_sha256"]


def test_a_run_from_before_files_were_joined_keeps_its_text(begun: Begun, tmp_path: Path) -> None:
    """Format 1 knew files one after another with nothing in between, and hashed them so."""
    for name, content in (("a.txt", "The end"), ("b.txt", "ten of it\n")):
        (tmp_path / name).write_text(content * 30)
    run = begun(source=["a.txt", "b.txt"])
    assert "The end\nten" in str(run.vocabulary.decode(run_text(run).ids))
    whole = (tmp_path / "a.txt").read_bytes() + (tmp_path / "b.txt").read_bytes()
    run.counters["text_sha256"] = hashlib.sha256(whole).hexdigest()
    found = run_text(run)
    assert found.vocabulary.decode(found.ids) == whole.decode()


def test_a_text_that_nobody_knows_is_not_looked_for(begun: Begun, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("some text " * 40)
    run = begun(source="a.txt")
    run.counters.clear()
    with pytest.raises(MissingTextError, match="does not say which text"):
        run_text(run)


def test_a_wrong_text_is_not_encoded_for_nothing(begun: Begun, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("some text " * 40)
    run = begun(source="a.txt")
    (tmp_path / "a.txt").write_text("another text " * 40)
    before = set((tmp_path / "home").rglob("*.ids"))
    with pytest.raises(MissingTextError):
        encode_corpus(run.config.corpus, origin=Origin.of(run))
    assert set((tmp_path / "home").rglob("*.ids")) == before


def test_files_are_read_as_the_text_was(begun: Begun, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(("naïve\r\n" * 40).encode("latin-1"))
    run = begun(source="a.txt", encoding="latin-1", newlines="unix")
    (tmp_path / "b.txt").write_bytes("vïn\r\n".encode("latin-1"))
    assert run.vocabulary.decode(file_ids(tmp_path / "b.txt", run, "error")) == "vïn\n"
    with pytest.raises(DataError, match="cannot be read"):
        file_ids(tmp_path / "nowhere", run, "error")


@pytest.mark.parametrize("suffix", [".json", ".npz"])
def test_a_list_of_sources_survives_files(tmp_path: Path, suffix: str) -> None:
    from charrnn.formats.json import write
    from charrnn.formats.load import import_model
    from charrnn.nn.network import CharRNN
    from charrnn.runs.checkpoint import load_checkpoint, save_checkpoint

    config = config_from_dict({"corpus": {"source": ["a.txt", "b/*.txt"]}, "model": {"hidden_size": 4}}, where="test")
    vocabulary = Vocabulary.of("abc")
    model = CharRNN(3, **config.model.network(dropout=False))
    made = Checkpoint(config, vocabulary, dict(model.params), moments={"mean": np.zeros(model.params.size, np.float32)})
    path = tmp_path / f"m{suffix}"
    if suffix == ".npz":
        save_checkpoint(path, made)
        assert load_checkpoint(path).config == config
    else:
        write(made, path)
        assert import_model(path, None, source="x").config.corpus.sources == ("a.txt", "b/*.txt")
