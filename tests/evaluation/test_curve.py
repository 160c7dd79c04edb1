"""A run's curve, point by point: what is kept of many reports, and the pieces that advice looks at."""

from __future__ import annotations

import pytest

from charrnn.evaluation import curve as curves
from charrnn.evaluation.curve import Curve, Point, noise
from charrnn.runs.reading import Row


def a_report(k: int, val: float | None = None) -> Point:
    return Point(10 * k, k / 4, 100 * k, 2.0 * k, float(k * k), val)


def joined(reports: list[Point]) -> Point:
    """By the docstring: where the last was, and the mean of all."""
    last, losses = reports[-1], [report.train_loss for report in reports]
    vals = [report.val_loss for report in reports if report.val_loss is not None]
    mean = sum(losses) / len(losses)
    return Point(last.step, last.epoch, last.chars, last.seconds, mean, vals[-1] if vals else None, len(losses))


@pytest.mark.parametrize(
    ("count", "sizes"),
    [
        (0, []),
        (3, [1, 1, 1]),
        (4, [2, 2]),
        (5, [2, 2, 1]),
        (7, [2, 2, 2, 1]),
        (8, [4, 4]),
        (15, [4, 4, 4, 3]),
        (17, [8, 8, 1]),
    ],
)
def test_as_many_points_as_fit_each_of_equally_many_reports(
    count: int, sizes: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(curves, "_MOST", 4)
    reports = [a_report(k, val=9.0 - k if k % 3 == 0 else None) for k in range(1, count + 1)]
    found, begin = Curve.of(reports, rollbacks=2), 0
    for point, size in zip(found.points, sizes, strict=True):
        assert point == joined(reports[begin : begin + size])
        begin += size
    assert begin == count
    assert found.rollbacks == 2
    assert found.best == (reports[count // 3 * 3 - 1] if count >= 3 else None)


def test_the_best_is_the_first_of_the_lowest() -> None:
    reports = [a_report(k, val) for k, val in enumerate((3.0, None, 2.0, 2.0, 2.5))]
    assert Curve.of(reports).best == reports[2]


def test_pieces_end_with_validations_or_are_equal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(curves, "_PIECES", 3)
    reports = [a_report(k, 1.0 if k in (3, 5) else None) for k in range(1, 8)]
    found = Curve.of(reports)
    validated = [joined(reports[:3]), joined(reports[3:5])]  # what follows is no piece yet
    assert found.pieces() == found.pieces(2) == validated
    assert found.pieces(3) == [joined(reports[:2]), joined(reports[2:5]), joined(reports[5:])]
    unseen = [a_report(k) for k in (1, 2)]
    assert Curve.of(unseen).pieces() == unseen
    assert Curve().pieces() == []


def test_a_report_without_what_advice_needs_is_no_point() -> None:
    whole = Row(5, 0.5, 50, 2.0, 1.5, seconds=7.0)
    assert Point.of(whole) == Point(5, 0.5, 50, 7.0, 2.0, 1.5)
    assert Point.of(Row(5, 0.5, 50, 2.0)) == Point(5, 0.5, 50, 0.0, 2.0, None)
    for lacking in (Row(5, None, 50, 2.0), Row(5, 0.5, None, 2.0), Row(5, 0.5, 50, None)):
        assert Point.of(lacking) is None
        assert Curve.of([lacking, whole]).points == [Point.of(whole)]


def test_noise_by_hand() -> None:
    assert noise([1.0, 2.0, 1.0, 2.0]) == 0.0  # too few to say
    assert noise([1.0, 2.0, 3.0, 4.0, 5.0]) == 0.0
    assert noise([1.0, 2.0, 1.0, 2.0, 1.0]) == pytest.approx(1.2)
    assert noise([0.0, 0.0, 4.0, 0.0, 0.0, 0.0, 0.0]) == pytest.approx(1.2 * 2.0)  # of 2, 4, 2, 0 and 0
