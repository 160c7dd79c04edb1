"""Texts of many documents: where they begin, a fair split of them, and order that is noticed."""

from __future__ import annotations

import random
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from charrnn.config.load import config_from_dict, parse_config
from charrnn.config.schema import CorpusSettings
from charrnn.data import documents
from charrnn.data.vocabulary import Vocabulary
from charrnn.data.windows import WindowStream
from charrnn.errors import DataError
from charrnn.runs.text import encode_corpus, split_parts
from tests.conftest import ROOT

VOWELS, CONSONANTS = "aeiou", "bdfgk"


def names(count: int, seed: int = 1) -> list[str]:
    chance = random.Random(seed)
    return ["".join(chance.choice(CONSONANTS) + chance.choice(VOWELS) for _ in range(3)) for _ in range(count)]


def parts(tmp_path: Path, lines: list[str], **corpus: object) -> dict[str, str]:
    (tmp_path / "t.txt").write_text("\n".join(lines), encoding="utf-8", newline="")
    settings = corpus_settings(source=str(tmp_path / "t.txt"), **corpus)
    text = encode_corpus(settings)
    return {name: str(text.vocabulary.decode(ids)) for name, ids in split_parts(text, settings).items()}


def corpus_settings(**corpus: object) -> CorpusSettings:
    return config_from_dict({"corpus": corpus}, where="test").corpus


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHARRNN_HOME", str(tmp_path / "home"))


@given(st.text("ab|\n", max_size=60), st.sampled_from(["\n", "|\n", "\n\n", "aba"]), st.integers(2, 9))
def test_documents_begin_where_training_resets(text: str, separator: str, chunk: int) -> None:
    text += "ab|\n"
    vocabulary = Vocabulary.of("ab|\n")
    ids, end = vocabulary.encode(text), vocabulary.encode(separator)
    before, documents._CHUNK = documents._CHUNK, chunk
    try:
        starts = np.concatenate(list(documents.document_starts(ids, end))).tolist()
    finally:
        documents._CHUNK = before
    assert starts[0] == 0
    pieces = [text[a:b] for a, b in zip(starts, [*starts[1:], len(text)], strict=True)]
    assert all(piece.endswith(separator) for piece in pieces[:-1])
    stream = WindowStream(ids, 1, 1, separator=end)
    resets = {k for k in range(stream.windows_per_epoch) if stream.window(k).resets is not None}
    assert set(starts[1:]) - {len(text) - 1} <= resets
    if len(set(separator)) == len(separator):  # it cannot overlap with itself
        assert set(starts[1:]) - {len(text) - 1} == resets


@pytest.mark.parametrize("block", [1 << 20, 64])
@pytest.mark.parametrize("in_memory", [1 << 24, 0])
def test_a_shuffled_split_keeps_every_document_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: int, in_memory: int
) -> None:
    monkeypatch.setattr(documents, "_BLOCK", block)
    monkeypatch.setattr(documents, "_IN_MEMORY", in_memory)
    monkeypatch.setattr(documents, "_GATHERED", 100)
    monkeypatch.setattr(documents, "_CHUNK", 1000)
    lines = sorted(names(1500))
    found = parts(tmp_path, lines, documents="lines", split="shuffled", test_fraction=0.05)
    assert sorted("".join(found.values()).splitlines()) == lines
    assert all(text.endswith("\n") for text in found.values())
    total = sum(map(len, found.values()))
    assert len(found["val"]) == pytest.approx(0.1 * total, abs=8)
    assert len(found["test"]) == pytest.approx(0.05 * total, abs=8)
    for text in found.values():  # each part has names of the whole alphabet
        assert {name[0] for name in text.split()} == set(CONSONANTS)
    assert found["train"].split() != sorted(found["train"].split())


def test_the_split_depends_on_seed_and_text_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = names(300)
    shuffled = {"documents": "lines", "split": "shuffled"}
    first = parts(tmp_path, lines, **shuffled)
    assert parts(tmp_path, lines, **shuffled, split_seed=1)["val"] != first["val"]
    for seed in (None, 0):
        monkeypatch.setenv("CHARRNN_HOME", str(tmp_path / f"elsewhere{seed}"))
        assert parts(tmp_path, lines, **shuffled, **({} if seed is None else {"split_seed": seed})) == first
    # The order is a promise to runs of other days and other versions of NumPy, so it is written down here.
    known = parts(tmp_path, ["a", "b", "c", "d", "e", "f"], **shuffled, val_fraction=0.34)
    assert known == {"train": "a\nc\nb\nf\n", "val": "e\nd\n", "test": ""}


def test_a_few_large_documents_are_shared_out(tmp_path: Path) -> None:
    files = [tmp_path / f"{k}.txt" for k in range(5)]
    for k, path in enumerate(files):
        path.write_text(str(k) * 50)
    wanted = corpus_settings(
        source=str(tmp_path / "*.txt"), documents="files", split="shuffled", val_fraction=0.01, test_fraction=0.01
    )
    text = encode_corpus(wanted)
    sizes = {name: len(ids) for name, ids in split_parts(text, wanted).items()}
    assert sizes == {"train": 3 * 51, "val": 51, "test": 51}
    one = corpus_settings(source=str(files[0]), documents="files", split="shuffled")
    with pytest.raises(DataError, match="1 document, too few"):
        encode_corpus(one)


def test_a_separator_of_several_symbols(tmp_path: Path) -> None:
    found = parts(tmp_path, ["one||two||three||four"], document_separator="||", split="shuffled", val_fraction=0.3)
    whole = found["train"] + found["val"]
    assert sorted(whole.split("||")) == ["", "four", "one", "three", "two"]
    assert found["train"].endswith("||")


def test_a_damaged_or_missing_companion_is_made_again(tmp_path: Path) -> None:
    lines = names(100)
    shuffled = {"documents": "lines", "split": "shuffled"}
    first = parts(tmp_path, lines, **shuffled)
    (beside,) = (tmp_path / "home").rglob("*.parts")
    for content in (b"", b"[1, 2]", b"[1, 2, 3]", b"{}", b"[-1, 2, true]"):
        beside.write_bytes(content)
        assert parts(tmp_path, lines, **shuffled) == first
    beside.with_suffix(".ids").write_bytes(b"short")
    assert parts(tmp_path, lines, **shuffled) == first


def test_the_settings_of_the_page_on_texts_load() -> None:
    page = (ROOT / "docs" / "texts.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```yaml\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    assert blocks
    assert all(parse_config(block, where="docs/texts.md").corpus.split == "shuffled" for block in blocks)


def notes(tmp_path: Path, lines: list[str], **corpus: object) -> str:
    (tmp_path / "t.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return "\n".join(encode_corpus(corpus_settings(source=str(tmp_path / "t.txt"), **corpus)).notes)


def test_sorted_documents_are_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = names(400)
    backwards = sorted(lines, reverse=True)
    mixed = sorted((name.title() if k % 3 else name for k, name in enumerate(lines)), key=str.lower)
    for ordered in (sorted(lines), backwards, mixed, [line for line in sorted(lines) for _ in range(2)]):
        said = notes(tmp_path, ordered)
        assert "the lines are in alphabetical order" in said
        assert "corpus.documents: lines with corpus.split: shuffled" in said
        said = notes(tmp_path, ordered, document_separator="\n")
        assert "the documents are in alphabetical order" in said
        assert "corpus.split: shuffled" in said
    nearly = sorted(lines)
    nearly[10], nearly[300] = nearly[300], nearly[10]
    assert "alphabetical" in notes(tmp_path, nearly)
    for other in (lines, ["the same"] * 400, sorted(lines)[:200] + sorted(lines)[:200] + lines, sorted(lines)[:10]):
        assert "alphabetical" not in notes(tmp_path, other)
    for quiet in ({"split": "shuffled", "documents": "lines"}, {"val_fraction": 0.0}):
        assert "alphabetical" not in notes(tmp_path, sorted(lines), **quiet)
    monkeypatch.setattr(documents, "_LOOKED", 600)  # a large text, looked at in places
    assert "alphabetical" in notes(tmp_path, sorted(lines))
    assert "alphabetical" not in notes(tmp_path, lines)
    per_file = [name for start in range(0, 400, 50) for name in sorted(lines[start : start + 50])]
    assert "alphabetical" not in notes(tmp_path, per_file)
