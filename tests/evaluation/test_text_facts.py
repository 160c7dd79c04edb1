"""What a text's parts say before training: places and figures by hand, against plain loops."""

from __future__ import annotations

import math
import statistics
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest

from charrnn.data.vocabulary import Vocabulary
from charrnn.evaluation import text_facts
from charrnn.evaluation.text_facts import TextFacts, _repeated, _stretches, look_at_text


def test_stretches_are_evenly_spaced_from_the_first_symbol_to_the_last() -> None:
    ids = np.arange(101)
    assert [s.tolist() for s in _stretches(ids, 3, 11)] == [list(range(a, a + 11)) for a in (0, 45, 90)]
    for count, length in ((3, 34), (1, 101), (9, 50)):
        (whole,) = _stretches(ids, count, length)
        assert whole.tolist() == ids.tolist()
    assert len(_stretches(ids, 4, 25)) == 4


def pair_nats(seen: list[list[int]], known: list[list[int]], classes: int = 128) -> float:
    """Mean surprise of the pairs seen; a context that is not known has the frequencies of the text."""
    pairs = Counter(pair for piece in known for pair in pairwise(piece))
    before, after = Counter[int](), Counter[int]()
    for (a, b), count in pairs.items():
        before[a] += count
        after[b] += count
    size = len(pairs) and sum(pairs.values()) + classes
    nats = [
        -math.log((pairs[a, b] + 8 * (after[b] + 1) / size) / (before[a] + 8))
        for piece in seen
        for a, b in pairwise(piece)
    ]
    return statistics.fmean(nats)


@pytest.mark.parametrize(("symbols", "size", "pieces"), [(5, 3000, 3), (5, 9500, 9), (200, 4000, 4)])
def test_pairs_of_the_validation_part_are_those_of_the_training_part_or_not(
    symbols: int, size: int, pieces: int
) -> None:
    rng = np.random.default_rng(0)
    train, val = (np.minimum(rng.geometric(4 / symbols, n) - 1, symbols - 1) for n in (size, 1000))
    train[:symbols] = np.arange(symbols)
    facts = look_at_text(train.astype(np.uint8), val.astype(np.uint8))
    usual = [symbol for symbol, _ in sorted(Counter(train.tolist()).items(), key=lambda item: (-item[1], item[0]))][
        :127
    ]
    # The 127 most frequent are told apart; which number a class has makes no difference.
    parts = [[usual.index(s) if s in usual else 127 for s in part] for part in (train.tolist(), val.tolist())]
    edges = [int(k * size / pieces) for k in range(pieces + 1)]
    slices = [parts[0][a:b] for a, b in pairwise(edges)]
    own = [pair_nats([piece], [other for other in slices if other is not piece]) for piece in slices]
    assert facts.val_pair_nats == pytest.approx(pair_nats([parts[1]], slices), rel=1e-9)
    assert facts.train_pair_nats == pytest.approx(statistics.fmean(own), rel=1e-9)
    assert facts.train_pair_spread == pytest.approx(statistics.stdev(own), rel=1e-9)


def test_short_parts_say_nothing_and_long_ones_are_looked_at_in_places(monkeypatch: pytest.MonkeyPatch) -> None:
    train, val = np.arange(3000, dtype=np.uint8) % 7, np.arange(1000, dtype=np.uint8) % 7
    for parts in ((train[:2999], val), (train, val[:999])):
        facts = look_at_text(*parts)
        assert facts.val_pair_nats is facts.train_pair_nats is facts.train_pair_spread is None
    assert look_at_text(train, val).val_pair_nats is not None
    monkeypatch.setattr(text_facts, "_SLICE", 80)
    letters = np.ones(30_000, np.uint8)
    for start in np.linspace(0, 29_920, 8).astype(int):
        letters[start : start + 80] = 0  # a space comes before all letters
    assert look_at_text(letters, val % 2, Vocabulary.of("a ")).space_share == 1.0  # of what was looked at


def test_the_share_of_spaces() -> None:
    vocabulary = Vocabulary.of("ab ")
    ids = vocabulary.encode("ab a b aab ")
    assert look_at_text(ids, ids, vocabulary) == TextFacts(11, 11, None, None, None, None, 4 / 11)
    assert look_at_text(ids, ids[:3]).space_share is None
    assert look_at_text(ids, ids, Vocabulary.of("abc")).space_share is None


def test_passages_are_looked_up_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """With stretches of four passages of three symbols each, none over a seam."""
    monkeypatch.setattr(text_facts, "PASSAGE", 3)
    monkeypatch.setattr(text_facts, "_PLACES", 3)
    monkeypatch.setattr(text_facts, "_EACH", 4)
    rng = np.random.default_rng(1)
    train, val = rng.integers(0, 4, 60), rng.integers(0, 4, 100)
    known = {tuple(train[k : k + 3].tolist()) for k in range(58)}
    looked_up = [tuple(val[k : k + 3].tolist()) for start in (0, 47, 94) for k in range(start, start + 4)]
    assert _repeated(train, val) == pytest.approx(sum(passage in known for passage in looked_up) / 12)
    short = val[:18]
    every = [tuple(short[k : k + 3].tolist()) for k in range(16)]
    assert _repeated(train, short) == pytest.approx(sum(passage in known for passage in every) / 16)
    assert _repeated(train, val[:2]) is None


def test_the_parts_are_unlike_beyond_what_chance_makes_them() -> None:
    def harder(val: float, train: float = 2.0, spread: float = 0.01) -> float:
        return TextFacts(1, 1, None, val, train, spread).harder

    assert (harder(2.25), harder(1.75)) == (0.25, -0.25)
    assert (harder(2.19), harder(1.81), harder(2.25, spread=0.0625)) == (0.0, 0.0, 0.0)
    assert harder(2.375, spread=0.0625) == 0.375
    whole = (2.5, 2.0, 0.01)
    for lacking in range(3):
        assert TextFacts(1, 1, None, *(None if k == lacking else x for k, x in enumerate(whole))).harder == 0.0
