"""Windows against a plain cutting of the text, symbol by symbol."""

from __future__ import annotations

import numpy as np
import pytest

from charrnn.data.windows import WindowStream, cut_window, split_bounds
from charrnn.errors import DataError
from tests.training.reference_rules import Windows

SIZES = [(41, 1, 5), (41, 3, 5), (60, 4, 4), (61, 4, 4), (12, 2, 5), (11, 2, 5), (6, 9, 5), (7, 1, 5)]


@pytest.mark.parametrize("offsets", [False, True])
@pytest.mark.parametrize("ends", [None, [2], [1, 2]])
@pytest.mark.parametrize(("size", "batch", "length"), SIZES)
def test_windows_are_the_plain_cutting(
    size: int, batch: int, length: int, ends: list[int] | None, offsets: bool
) -> None:
    ids = np.random.default_rng(size).integers(0, 3, size).astype(np.uint8)
    separator = None if ends is None else np.array(ends, np.uint8)
    stream = WindowStream(ids, batch, length, separator=separator, offsets=offsets)
    plain = Windows(ids.tolist(), batch, length, random_offsets=offsets, seed=7, separator=ends)
    assert (stream.columns, stream.steps, stream.windows_per_epoch) == (plain.columns, plain.steps, plain.per_epoch)
    assert stream.largest_offset == plain.shifts - 1
    assert stream.repeated == (0 if stream.largest_offset else stream.steps * stream.columns - (size - 1))
    for epoch in range(6):
        for k in range(stream.windows_per_epoch):
            inputs, targets, begins = plain.cut(epoch, k)
            window = stream.window(k, offset=stream.offset(7, epoch))
            assert stream.window_steps(k) == len(inputs)
            np.testing.assert_array_equal(window.inputs, inputs)
            np.testing.assert_array_equal(window.targets, targets)
            assert window.inputs.dtype == window.targets.dtype == np.intp
            assert begins == ([] if window.resets is None else [tuple(pair) for pair in window.resets])
            assert window.resets is None or len(window.resets)
            share = stream.window(k, slice(1, None), offset=stream.offset(7, epoch))
            np.testing.assert_array_equal(share.inputs, inputs[:, 1:])


def test_offsets_differ_by_epoch_and_reach_both_ends() -> None:
    stream = WindowStream(np.zeros(100, np.uint8), 2, 4, offsets=True)
    assert {stream.offset(0, epoch) for epoch in range(60)} == {0, 1, 2, 3}
    assert WindowStream(np.zeros(100, np.uint8), 2, 4).offset(0, 1) == 0


def test_before_the_text_there_is_its_first_symbol() -> None:
    window = cut_window(np.array([5, 6, 7, 8], np.uint8), np.array([-2, 0]), 3, np.array([5], np.uint8))
    np.testing.assert_array_equal(window.inputs, [[5, 5], [5, 6], [5, 7]])
    np.testing.assert_array_equal(window.targets, [[5, 6], [5, 7], [6, 8]])
    np.testing.assert_array_equal(window.resets, [[1, 1]])


def test_too_short_a_text_is_refused_with_what_it_needs() -> None:
    with pytest.raises(DataError) as caught:
        WindowStream(np.zeros(1000, np.uint8), 2, 1000)
    assert str(caught.value) == (
        "the training part has 1,000 symbols, but a window needs training.seq_length + 1 = 1001"
    )
    assert caught.value.hint == "use a longer text, a smaller training.seq_length or smaller corpus fractions"
    stream = WindowStream(np.zeros(1001, np.uint8), 2, 1000)
    assert (stream.columns, stream.windows_per_epoch) == (1, 1)


@pytest.mark.parametrize(
    ("val", "test", "expected"),
    [
        (0.25, 0.125, [(0, 10), (10, 14), (14, 16)]),
        (0.25, 0.0, [(0, 12), (12, 16), (16, 16)]),
        (0.0, 0.25, [(0, 12), (12, 12), (12, 16)]),
        (0.3, 0.15, [(0, 8), (8, 13), (13, 16)]),
    ],
)
def test_parts_have_the_shares_that_were_asked(val: float, test: float, expected: list[tuple[int, int]]) -> None:
    bounds = split_bounds(16, val_fraction=val, test_fraction=test)
    assert list(bounds.items()) == list(zip(("train", "val", "test"), expected, strict=True))
