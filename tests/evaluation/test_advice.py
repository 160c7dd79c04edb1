"""Each piece of advice is given to the runs that need it, and to no other; the runs are real (`make_histories`)."""

from __future__ import annotations

import math
from dataclasses import asdict, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from charrnn.config.load import parse_config
from charrnn.data.vocabulary import Vocabulary
from charrnn.evaluation.advice import Case, advise, bearable, likely_gain, why_ended
from charrnn.evaluation.curve import Curve, Point, noise
from charrnn.evaluation.diagnosis import Diagnosis, diagnose
from charrnn.evaluation.expectation import expectation
from charrnn.evaluation.health import Health
from charrnn.evaluation.text_facts import TextFacts, look_at_text
from charrnn.runs.directory import RunDirectory
from charrnn.runs.events import Advice, RolledBack, RunFinished, RunStarted, StepReport
from charrnn.runs.history import read_history
from charrnn.runs.reading import Row
from charrnn.training.adviser import Adviser
from tests.evaluation.curves import CONFIG, curve
from tests.evaluation.make_histories import CASES, KEPT
from tests.training.small_runs import config, finish, start

KEYS = (
    "learning-rate-high", "overfitting", "text-too-small", "repeated-text", "validation-unlike", "underfitting",
    "network-too-small", "still-units", "saturated-units", "derailing",
)  # fmt: skip


def found(name: str) -> Diagnosis:
    return diagnose(read_history(KEPT / name), look=False)


def said(name: str) -> dict[str, Advice]:
    return {piece.key: piece for piece in found(name).advice}


@pytest.mark.parametrize("name", CASES)
def test_a_run_is_given_the_advice_that_it_needs_and_no_other(name: str) -> None:
    assert sorted(said(name)) == sorted(CASES[name].needs)


def test_each_advice_is_needed_by_a_run_and_not_by_ten() -> None:
    for key in KEYS:
        needing = [name for name, case in CASES.items() if key in case.needs]
        assert needing, key
        assert len(CASES) - len(needing) >= 10
    assert {key for case in CASES.values() for key in case.needs} == set(KEYS)


def test_a_validation_loss_that_climbs_is_said_while_it_does() -> None:
    rows, keys = read_history(KEPT / "climbing").rows, []
    best = min(row.val_loss for row in rows if row.val_loss is not None)
    assert rows[-1].val_loss is not None
    assert rows[-1].val_loss > best + 1.4  # as from 2.80 to 4.28
    for count in range(1, len(rows) + 1):
        keys.append([piece.key for piece in advise(Case(CONFIG, Curve.of(rows[:count])))])
    first = next(k for k, given in enumerate(keys) if "overfitting" in given)
    assert first < len(rows) / 2
    assert all("overfitting" in given for given in keys[first:])
    text = said("climbing")["overfitting"].text
    assert f"from {best:.2f} to {rows[-1].val_loss:.2f} nats" in text
    assert "model.dropout=0.2" in said("climbing")["overfitting"].settings


def test_overfitting_is_no_single_bad_validation_and_no_divergence() -> None:
    falling = [(3.0 - 0.1 * k, 3.0 - 0.1 * k) for k in range(8)]
    assert not advise(Case(CONFIG, curve([*falling, (2.1, 2.4)])))
    (piece,) = advise(Case(CONFIG, curve([*falling, (2.1, 2.6)])))
    assert (piece.key, "since step 800 (epoch 4.0)" in piece.text) == ("overfitting", True)
    rising = [(2.3, 2.3), (2.4, 2.5), (2.45, 2.6), (2.5, 2.7)]  # the training loss as well
    assert "overfitting" not in {piece.key for piece in advise(Case(CONFIG, curve([*falling, *rising])))}
    mild = curve([*falling, (2.1, 2.4), (2.0, 2.41), (1.9, 2.42)])
    assert [piece.key for piece in advise(Case(CONFIG, mild))] == ["overfitting"]
    assert not advise(Case(CONFIG, mild, reason="patience"))  # the run saw that itself


def test_a_rate_is_too_high_where_the_training_loss_rises_or_is_no_number() -> None:
    losses: list[tuple[float, float | None]] = [(2.0 + 1 / k, None) for k in range(1, 11)]
    assert not advise(Case(CONFIG, curve(losses)))
    (piece,) = advise(Case(CONFIG, curve([*losses, (2.6, None), (2.1, None)])))
    assert "from 2.10 at step 1,000 to 2.60 at step 1,100" in piece.text
    assert piece.settings == ("training.learning_rate=0.00075",)
    (piece,) = advise(Case(CONFIG, replace(curve(losses), rollbacks=2)))
    assert "2 times" in piece.text
    loose = parse_config("corpus: {source: unused}\ntraining: {grad_clip: null, learning_rate: 0.4}\n", where="test")
    (piece,) = advise(Case(loose, Curve(rollbacks=1)))
    assert piece.settings == ("training.learning_rate=0.1", "training.grad_clip=1.0")
    (piece,) = advise(Case(loose))
    assert (piece.key, piece.settings) == ("learning-rate-high", ("training.learning_rate=0.005",))


def test_health_is_advice_too_but_not_of_a_network_that_has_hardly_begun() -> None:
    sick = Health(0.5, 0.5, 0.9)
    early, late = (Curve.of([Point(step, 1, 1, 1, 2.0, None)]) for step in (20, 2000))
    assert [p.key for p in advise(Case(CONFIG, late, health=sick))] == ["derailing", "still-units", "saturated-units"]
    assert [p.key for p in advise(Case(CONFIG, early, health=sick))] == ["saturated-units"]
    assert not advise(Case(CONFIG, late, health=Health(0.0, 0.0, 0.0)))


def test_the_size_of_a_text_is_said_before_training() -> None:
    def of(parameters: int, chars: int) -> tuple[Advice, ...]:
        return advise(Case(CONFIG, parameters=parameters, text=TextFacts(chars, chars // 9)))

    (piece,) = of(349_000, 1_657)
    assert "349,000 parameters can memorise 1,657 characters" in piece.text
    hidden = int(piece.settings[0].removeprefix("model.hidden_size="))
    assert 8 <= hidden < 64
    assert not of(349_000, 1_000_000)
    dropped = parse_config("corpus: {source: unused}\nmodel: {weight_dropout: 0.4}\n", where="test")
    (piece,) = advise(Case(dropped, parameters=349_000, text=TextFacts(1_657, 184)))
    assert "too few to learn a language from" in piece.text  # what the choice for a small text is not advised against
    assert "too few" in of(2_000, 5_000)[0].text
    assert bearable(100_000) > bearable(10_000) >= bearable(10)


def test_what_twice_the_time_gives_is_a_share_of_the_last_fall() -> None:
    falling = curve([(3.0 - 0.1 * k, 3.0 - 0.1 * k) for k in range(9)]).pieces()
    assert likely_gain(falling, annealed=True) > likely_gain(falling, annealed=False) > 0.1
    assert likely_gain(curve([(2.0, 2.0)] * 8).pieces(), annealed=True) == 0.0
    behind = curve([(2.5, 2.5), (2.2, 2.2), (2.0, 2.0), (1.9, 2.05), (1.8, 2.06), (1.7, 2.07)]).pieces()
    assert likely_gain(behind, annealed=True) == 0.0


@pytest.mark.parametrize(("short", "long"), [("gru-1", "gru-2"), ("gru-2", "gru-5"), ("code-2", "code-5")])
def test_what_twice_the_time_gives_is_about_what_it_gave(short: str, long: str) -> None:
    predicted = likely_gain(Curve.of(read_history(KEPT / short).rows).pieces(), annealed=True)
    reached = [(found(name).best or Point(0, 0, 0, 0, 0, None)).val_loss or 0.0 for name in (short, long)]
    assert predicted == pytest.approx(reached[0] - reached[1], rel=0.4)


def test_longer_names_the_bound_that_ended_the_run() -> None:
    losses: list[tuple[float, float | None]] = [(3.0 - 0.1 * k, 3.0 - 0.1 * k) for k in range(9)]
    for reason, setting in (("epochs", "training.epochs=20"), ("max_minutes", "training.max_minutes=3")):
        config = parse_config("corpus: {source: unused}\ntraining: {max_minutes: 1.5}\n", where="test")
        (piece,) = advise(Case(config, curve(losses), reason=reason))
        assert (piece.key, piece.settings) == ("underfitting", (setting,))
        assert "twice as long (54 s in total)" in piece.text
    for reason in (None, "stopped", "patience"):
        assert not advise(Case(CONFIG, curve(losses), reason=reason))
    unseen: list[tuple[float, float | None]] = [(train, None) for train, _ in losses]
    (piece,) = advise(Case(CONFIG, curve(unseen), reason="epochs"))
    assert piece.text.startswith("the training loss was still falling")


def test_a_curve_stays_small_and_says_the_same() -> None:
    rows = [
        Point(k, k / 100, 100 * k, k / 10, 1.0 + 3 / (1 + k / 200), None if k % 10 else 1.5 + abs(k - 1000) / 2000)
        for k in range(1, 5_001)
    ]
    few, many = Curve.of(rows), Curve()
    many.points, many.best = rows, min((r for r in rows if r.val_loss is not None), key=lambda r: r.val_loss or 0.0)
    assert len(few.points) <= 512
    assert few.best == many.best
    assert few.pieces()[-1].val_loss == many.pieces()[-1].val_loss
    thin, thick = (advise(Case(CONFIG, found, reason="epochs")) for found in (few, many))
    assert [piece.key for piece in thin] == [piece.key for piece in thick] == ["overfitting"]
    assert max(b.chars - a.chars for a, b in pairwise(few.points)) <= len(rows) * 100 / 200
    assert sum(point.train_loss * point.reports for point in few.points) == pytest.approx(
        sum(row.train_loss for row in rows)
    )


def test_noise_is_about_the_standard_deviation() -> None:
    rng = np.random.default_rng(0)
    values = [float(v) for v in 2.0 - 0.001 * np.arange(400) + 0.05 * rng.standard_normal(400)]
    assert noise(values) == pytest.approx(0.05, rel=0.2)
    assert noise([1.0, 5.0]) == 0.0


def letters(rng: np.random.Generator, size: int, shift: int = 0) -> np.ndarray:
    """Ids of which each depends on the one before it."""
    steps = rng.choice([1, 2, 5], size=size, p=[0.6, 0.3, 0.1])
    return ((np.cumsum(steps) * (1 + shift)) % 20).astype(np.uint8)


def test_passages_seen_before_are_counted() -> None:
    rng = np.random.default_rng(0)
    train, val = rng.integers(0, 30, 60_000).astype(np.uint8), rng.integers(0, 30, 20_000).astype(np.uint8)
    assert look_at_text(train, val).repeated_share == 0.0
    val[:10_000] = train[7_000:17_000]
    assert look_at_text(train, val).repeated_share == pytest.approx(0.5, abs=0.03)
    assert look_at_text(train, train[50_000:50_200]).repeated_share == 1.0
    assert look_at_text(train, train[:50]).repeated_share == 1.0
    assert look_at_text(train, val[:49]).repeated_share is None


def test_the_end_of_sorted_lines_is_unlike_them() -> None:
    rng = np.random.default_rng(2)
    vocabulary = Vocabulary.of("\nabcdefghijklmnopqrstuvwxyz")
    lines = sorted("".join(map(chr, rng.integers(97, 123, 6))) for _ in range(600))
    for ordered in (True, False):
        if not ordered:
            rng.shuffle(lines)
        ids = vocabulary.encode("\n".join(lines) + "\n")
        case = Case(CONFIG, text=look_at_text(ids[:3500], ids[3500:], vocabulary))
        keys = {piece.key: piece for piece in advise(case)}
        assert ("validation-unlike" in keys) == ordered
        if ordered:
            assert "in alphabetical order" in keys["validation-unlike"].text
            assert keys["validation-unlike"].settings == ("corpus.documents=lines", "corpus.split=shuffled")
            alone = advise(replace(case, text=look_at_text(ids, ids[:0], vocabulary)))
            assert "validation-unlike" not in {piece.key for piece in alone}


def test_a_validation_part_of_another_kind_is_told_from_one_that_is_not() -> None:
    rng = np.random.default_rng(1)
    train, alike, other = letters(rng, 90_000), letters(rng, 10_000), letters(rng, 10_000, shift=2)
    facts = look_at_text(train, alike)
    assert facts.val_pair_nats == pytest.approx(facts.train_pair_nats, abs=0.02)
    assert facts.train_pair_nats == pytest.approx(
        -(0.6 * math.log(0.6) + 0.3 * math.log(0.3) + 0.1 * math.log(0.1)), abs=0.02
    )
    assert not advise(Case(CONFIG, text=facts))
    (piece,) = advise(Case(CONFIG, text=look_at_text(train, other)))
    assert piece.key == "validation-unlike"
    assert piece.settings == ("corpus.documents=lines", "corpus.split=shuffled")
    wide = letters(rng, 50_000).astype(np.uint16) * 50  # more symbols than are told apart
    wide[::7] = rng.integers(0, 1000, len(wide[::7]))
    assert not advise(Case(CONFIG, text=look_at_text(wide[:45_000], wide[45_000:])))
    assert look_at_text(train, alike[:900]).val_pair_nats is None


def test_the_end_is_explained() -> None:
    config = parse_config("corpus: {source: unused}\ntraining: {epochs: 5, patience: 3}\n", where="test")
    assert why_ended("epochs", config) == "ended after 5 epochs (training.epochs)"
    assert "3 validations brought no better loss" in (why_ended("patience", config) or "")
    assert why_ended(None, config) is None
    once = parse_config("corpus: {source: unused}\ntraining: {epochs: 1, max_minutes: 0.5}\n", where="test")
    assert why_ended("epochs", once) == "ended after 1 epoch (training.epochs)"
    assert why_ended("max_minutes", once) == "ended after 30 s of training (training.max_minutes)"
    odd = parse_config(
        "corpus: {source: unused}\ntraining: {max_steps: 12345, max_minutes: 0.08333333}\n", where="test"
    )
    assert why_ended("max_minutes", odd) == "ended after 5 s of training (training.max_minutes)"
    assert why_ended("max_steps", odd) == "ended after 12,345 steps (training.max_steps)"


def test_better_networks_are_expected_to_write_better() -> None:
    text = TextFacts(1000, 100, 0.0, 2.5, 2.5, 0.1, 0.15)
    levels = [expectation(2.5 * share, text) for share in (1.1, 0.95, 0.8, 0.65, 0.5, 0.3)]
    assert len(set(levels)) == 6
    assert "nearly random order" in str(levels[0])
    assert found("markov").expectation is None
    assert found("unlike").expectation is None
    assert str(found("small-text").expectation).startswith("words of plausible form")
    assert expectation(1.0, replace(text, space_share=0.0)) is None
    assert expectation(None, text) is expectation(1.0, None) is expectation(1.0, TextFacts(10, 1)) is None


def test_the_text_of_a_run_that_has_not_ended_is_looked_at(tmp_path: Path) -> None:
    trainer = start(tmp_path / "run", config("gru", "training.max_steps=8", "training.sample_every=null"))
    finish(trainer)
    seen = diagnose(read_history(tmp_path / "run"), corpus=[str(tmp_path / "text.txt")])
    facts = look_at_text(trainer.stream.ids, trainer.val_ids, trainer.text.vocabulary)
    curve = Curve.of(read_history(tmp_path / "run").rows)
    assert curve.best is not None
    case = Case(trainer.config, curve, trainer.model.params.size, facts)
    written = expectation(curve.best.val_loss, facts)
    assert seen == Diagnosis("run", None, curve.best, curve.points[-1], advise(case), written)
    lost = diagnose(read_history(tmp_path / "run"))
    assert [note.partition(": ")[0] for note in lost.notes] == ["the text was not checked"]
    blind = diagnose(read_history(tmp_path / "run"), look=False)
    assert (blind.notes, blind.expectation, blind.best) == ((), None, curve.best)
    history = tmp_path / "run" / "history.jsonl"
    history.write_text("")
    (tmp_path / "run" / "last.npz").unlink()
    assert diagnose(read_history(tmp_path / "run")) == Diagnosis("run", None, None, None, (), None)


def report(step: int, train: float, val: float | None) -> StepReport:
    return StepReport(step, step / 10, 100 * step, train, val, 1.0, 0.001, 1e5, step / 2)


def test_an_adviser_speaks_when_there_is_news(tmp_path: Path) -> None:
    folder = RunDirectory(tmp_path / "run")
    folder.open_new(CONFIG, overwrite=False)
    ids = np.random.default_rng(0).integers(0, 30, 50_000).astype(np.uint8)
    facts = look_at_text(ids[:45_000], ids[45_000:])
    adviser = Adviser(CONFIG, folder, facts)
    started = RunStarted(folder.path, 9_000_000, 30, 45_000, 5_000, 1, None, None, 0, ())
    assert adviser.hear(started) == started
    ((step, advice),) = ((event.step, event.advice) for event in adviser.news())
    assert (step, [piece.key for piece in advice]) == (0, ["text-too-small"])
    assert adviser.news() == []
    for k in range(1, 9):
        adviser.hear(report(10 * k, 3.0 - 0.1 * k, 3.0 - 0.1 * k))
        folder.append_report(report(10 * k, 3.0 - 0.1 * k, 3.0 - 0.1 * k))
    assert adviser.news() == []
    adviser.hear(report(85, 2.0, None))
    adviser.hear(report(90, 2.0, 2.9))
    (news,) = adviser.news()
    assert [piece.key for piece in news.advice] == ["overfitting", "text-too-small"]
    adviser.hear(report(100, 1.9, 3.0))
    (news,) = adviser.news()  # the same, with other numbers
    assert "from 2.20 to 3.00 nats while the training loss fell to 1.90" in news.advice[0].text
    adviser.hear(report(105, 1.8, None))
    assert adviser.news() == []
    note = RolledBack(101, 80, 0.5, "the loss is nan")
    folder.append_note("rollback", note)
    adviser.hear(note)  # the history has what is left: nothing after step 80
    (news,) = adviser.news()
    assert [piece.key for piece in news.advice] == ["learning-rate-high", "text-too-small"]
    end = adviser.hear(RunFinished("max_steps", {"best_val_loss": 2.2}))
    assert isinstance(end, RunFinished)
    assert end.summary["best_step"] == 80
    assert [piece["key"] for piece in end.summary["advice"]] == ["learning-rate-high", "text-too-small"]
    again = Adviser(CONFIG, folder, facts)  # resumed
    again.hear(replace(started, step=80))
    (news,) = again.news()
    assert [piece.key for piece in news.advice] == ["learning-rate-high", "text-too-small"]


def test_the_end_of_a_run_in_order_is_summed_up(tmp_path: Path) -> None:
    folder = RunDirectory(tmp_path / "run")
    folder.open_new(CONFIG, overwrite=False)
    text = TextFacts(100_000, 9_000, 0.0, 2.5, 2.5, 0.1, 0.15)
    adviser = Adviser(CONFIG, folder, text)
    adviser.hear(RunStarted(folder.path, 30_000, 30, 100_000, 9_000, 1, None, None, 0, ()))
    for k in range(1, 10):
        adviser.hear(report(100 * k, 3.0 - 0.1 * k, 3.0 - 0.1 * k))
    assert adviser.news() == []
    end = adviser.hear(RunFinished("epochs", {"best_val_loss": 2.1}))
    assert isinstance(end, RunFinished)
    (underfitting,) = end.summary.pop("advice")
    assert (underfitting["key"], underfitting["settings"]) == ("underfitting", ("training.epochs=20",))
    assert end.summary == {
        "best_val_loss": 2.1, "reason": "epochs", "ended": "ended after 10 epochs (training.epochs)", "best_step": 900,
        "expectation": expectation(2.1, text), **asdict(text),
    }  # fmt: skip
    sick = adviser.hear(RunFinished("stopped", {"best_val_loss": 2.1, **asdict(Health(0.5, 0.0, 0.0))}))
    assert [piece["key"] for piece in sick.summary["advice"]] == ["derailing"]  # type: ignore[union-attr]
    assert sick.summary["ended"] == "stopped by a signal"  # type: ignore[union-attr]


NUMBERS = st.none() | st.floats(-1e50, 1e50) | st.integers(0, 1 << 53)


@settings(max_examples=30)
@given(st.lists(st.tuples(st.integers(0, 1 << 53), NUMBERS, NUMBERS, NUMBERS, NUMBERS), max_size=30), NUMBERS, NUMBERS)
def test_no_history_of_anybody_is_too_strange(rows: list[tuple[Any, ...]], first: Any, second: Any) -> None:
    reports = [Row(step, epoch, step, train, val, seconds=seconds) for step, epoch, train, val, seconds in rows]
    facts = TextFacts(int(abs(first or 0.0)), 5, first, first, second, second, first)
    health = Health(first or 0.0, second or 0.0, first or 0.0)
    case = Case(CONFIG, Curve.of(reports), int(abs(second or 0.0)), facts, health, "max_steps")
    assert all(piece.text.isprintable() for piece in advise(case))
    expectation(first, facts)
