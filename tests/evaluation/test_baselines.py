"""Compressors and counts beside a network: each figure is that of the tool itself, on the right part of a text."""

from __future__ import annotations

import math

import numpy as np

from charrnn.data.vocabulary import Vocabulary
from charrnn.evaluation.baselines import baselines
from charrnn.evaluation.compressors import compressed_bits_per_char
from charrnn.evaluation.ngram import choose_order

VOCABULARY = Vocabulary.of("abc☃")
IDS = np.cumsum(np.random.default_rng(0).choice([1, 2], size=1500, p=[0.8, 0.2])).astype(np.uint8) % 4
TEXT = IDS[1000:]


def test_counts_are_of_the_training_part_and_their_order_is_chosen_on_the_validation_part() -> None:
    tools = compressed_bits_per_char(str(VOCABULARY.decode(TEXT)).encode(), 500)
    assert baselines(TEXT, VOCABULARY, None) == tools
    train, val, one = IDS[:700], np.tile(np.array([0, 3], np.uint8), 150), np.zeros(1, np.uint8)
    orders = set()
    for parts, chosen_on in (
        ((train, val), val),
        ((train, val[:2]), val[:2]),
        ((train, one), train),
        ((val[:2], one), val[:2]),
    ):
        model, _ = choose_order(parts[0], chosen_on, 4)
        nats, count = model.log_loss(TEXT)
        counted = {"ngram": nats / count / math.log(2), "ngram_order": model.order, "ngram_chars": len(parts[0])}
        assert baselines(TEXT, VOCABULARY, dict(zip(("train", "val"), parts, strict=True))) == tools | counted
        orders.add(model.order)
    assert len(orders) > 1
    assert baselines(TEXT, VOCABULARY, {"train": one, "val": val}) == tools


def test_bytes_and_halves_of_pairs_are_what_they_are_in_the_file() -> None:
    raw = Vocabulary.of(bytes(range(4)))
    assert baselines(TEXT, raw, None) == compressed_bits_per_char(raw.values[TEXT].astype(np.uint8).tobytes(), 500)
    odd = Vocabulary.of("a\ud800")
    ids = np.arange(40, dtype=np.uint8) % 2
    assert baselines(ids, odd, None) == compressed_bits_per_char(b"a\xed\xa0\x80" * 20, 40)
