"""Every advice in full, where it begins, and the numbers in it: by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest

from charrnn.evaluation.advice import Case, _rough, _rounded, advise, likely_gain
from charrnn.evaluation.curve import Curve
from charrnn.evaluation.health import Health
from charrnn.evaluation.text_facts import TextFacts
from tests.evaluation.curves import CONFIG, curve, settings_of

FALLING: list[tuple[float, float | None]] = [(3.0 - 0.1 * k, 3.0 - 0.1 * k) for k in range(9)]
FLAT: list[tuple[float, float | None]] = [(2.0, 2.0)] * 8
UNLIKE = TextFacts(100_000, 9_000, 0.0, 3.2, 2.5, 0.1)


@pytest.mark.parametrize(
    ("case", "text", "remedy"),
    [
        (
            Case(CONFIG, Curve(rollbacks=1)),
            "the loss was NaN or infinite once: the learning rate is too high",
            ("training.learning_rate=0.00075",),
        ),
        (
            Case(settings_of(training="learning_rate: 0.051, optimizer: adam")),
            "a learning rate of 0.051 is far above what adam usually tolerates",
            ("training.learning_rate=0.005",),
        ),
        (
            Case(settings_of(training="state_reset: 0.2"), health=Health(0.5, 0.0, 0.0)),
            "50% of samples that start from the zero state derail into noise",
            ("training.state_reset=0.4",),
        ),
        (
            Case(settings_of(training="state_reset: 0.3"), health=Health(0.5, 0.0, 0.0)),
            "50% of samples that start from the zero state derail into noise",
            ("training.state_reset=0.5",),
        ),
        (
            Case(
                settings_of(model="dropout: 0.4, hidden_size: 100", training="patience: 3"), curve([*FALLING, (2, 3)])
            ),
            "overfitting since step 900 (epoch 4.5): the validation loss has risen from 2.20 to 3.00 nats while the "
            "training loss fell to 2.00",
            ("model.dropout=0.5", "model.hidden_size=50"),
        ),
        (
            Case(settings_of(model="dropout: 0.5, hidden_size: 9"), curve([*FALLING, (2, 3)])),
            "overfitting since step 900 (epoch 4.5): the validation loss has risen from 2.20 to 3.00 nats while the "
            "training loss fell to 2.00",
            ("training.patience=5", "model.hidden_size=8"),
        ),
        (
            Case(CONFIG, parameters=349_000, text=TextFacts(1_657, 184)),
            "349,000 parameters can memorise 1,657 characters; without a weight_dropout of 0.4 or more, a text of this "
            "size supports about 3,300, so use more text or a smaller network",
            ("model.hidden_size=24",),  # 256 * sqrt(3,314 / 349,000)
        ),
        (
            Case(CONFIG, parameters=2_000, text=TextFacts(19_999, 2_000)),
            "19,999 characters are too few to learn a language from: use more text",
            (),
        ),
        (
            Case(CONFIG, text=TextFacts(100_000, 9_000, 0.21)),
            "21% of the validation part's 50-character passages also occur in the training part, so the validation "
            "loss looks better than it is: remove repeated text",
            (),
        ),
        (
            Case(CONFIG, text=UNLIKE),
            "the validation part is unlike the training part (by its character pairs alone 0.70 nats harder), "
            "and its loss says little: mix the text or split it at random",
            ("corpus.documents=lines", "corpus.split=shuffled"),
        ),
        (
            Case(CONFIG, text=replace(UNLIKE, val_pair_nats=2.0)),
            "the validation part is unlike the training part (by its character pairs alone 0.50 nats easier), "
            "and its loss says little: mix the text or split it at random",
            ("corpus.documents=lines", "corpus.split=shuffled"),
        ),
        (
            Case(CONFIG, curve(FALLING[:1]), reason="max_steps"),
            "100 steps are only a start: a network needs thousands",
            (),
        ),
        (
            Case(settings_of(training="max_steps: 100"), curve(FALLING[:1]), reason="max_steps"),
            "100 steps are only a start: a network needs thousands",
            ("training.max_steps=2000",),
        ),
        (
            Case(CONFIG, curve(FALLING), reason="epochs"),
            "the validation loss was still falling at the end: training twice as long (54 s in total) is likely "
            "to lower it by about 0.80 nats",
            ("training.epochs=20",),
        ),
        (
            Case(CONFIG, curve([(train, None) for train, _ in FALLING]), reason="epochs"),
            "the training loss was still falling at the end: training twice as long (54 s in total) is likely "
            "to lower it by about 0.80 nats",
            ("training.epochs=20",),
        ),
        (
            Case(CONFIG, curve(FLAT), 3_333, TextFacts(100_000, 9_000), reason="epochs"),
            "the loss has stopped falling without overfitting: 3,333 parameters may be too few for 100,000 characters",
            ("model.hidden_size=512",),
        ),
    ],
    ids=lambda value: value[:40] if isinstance(value, str) else None,
)
def test_every_advice_in_full(case: Case, text: str, remedy: tuple[str, ...]) -> None:
    (piece,) = advise(case)
    assert (piece.text, piece.settings) == (text, remedy)


def test_documents_need_no_lines_and_what_is_shuffled_cannot_be_mixed_more() -> None:
    for corpus, remedy in (
        ("documents: lines", ("corpus.split=shuffled",)),
        ("documents: lines, split: shuffled", ()),
    ):
        config = settings_of(f"source: unused, {corpus}")
        assert advise(Case(config, text=UNLIKE))[0].settings == remedy


@pytest.mark.parametrize(("schedule", "key"), [("cosine", "underfitting"), ("constant", "network-too-small")])
def test_what_a_network_gains_by_time_depends_on_how_its_rate_falls(schedule: str, key: str) -> None:
    losses: list[tuple[float, float | None]] = [(2.08 - 0.01 * k, 2.08 - 0.01 * k) for k in range(9)]
    case = Case(
        settings_of(training=f"schedule: {schedule}"), curve(losses), 3_333, TextFacts(100_000, 9_000), None, "epochs"
    )
    assert [piece.key for piece in advise(case)] == [key]  # 0.05 nats in the second half: 0.08 or 0.025 more


@pytest.mark.parametrize(
    "case",
    [
        Case(settings_of(training="learning_rate: 0.05")),
        Case(settings_of(training="learning_rate: 1, optimizer: sgd")),
        Case(CONFIG, curve([(2.0, 2.0), (2.3, 2.3)])),  # rises as by chance
        Case(CONFIG, curve([*FALLING, (2.3, 3.0)]), text=UNLIKE, reason="epochs"),  # a loss that says little
        Case(CONFIG, parameters=66_280, text=TextFacts(20_000, 2_000)),
        Case(CONFIG, text=TextFacts(100_000, 9_000, 0.2)),
        Case(CONFIG, text=replace(UNLIKE, val_pair_nats=2.7)),
        Case(CONFIG, text=replace(UNLIKE, train_pair_spread=0.2)),
        Case(CONFIG, curve(FLAT), 3_334, TextFacts(100_000, 9_000), reason="epochs"),  # fewer than 30 characters each
        Case(CONFIG, curve(FLAT[:4]), 3_333, TextFacts(100_000, 9_000), reason="epochs"),
        Case(settings_of(model="dropout: 0.1"), curve(FLAT), 3_333, TextFacts(100_000, 9_000), reason="epochs"),
        Case(CONFIG, curve([(2.0, 2.31)] * 8), 3_333, TextFacts(100_000, 9_000), reason="epochs"),
        Case(CONFIG, curve(FLAT), 3_333, TextFacts(100_000, 9_000)),  # it has not ended
    ],
)
def test_nothing_is_said_just_before_the_limits(case: Case) -> None:
    assert [piece.key for piece in advise(case) if piece.key != "validation-unlike"] == []


def test_the_likely_gain_by_hand() -> None:
    def gain(losses: list[tuple[float, float | None]], annealed: bool = True) -> float:
        return likely_gain(curve(losses).pieces(), annealed=annealed)

    assert gain(FALLING) == pytest.approx(1.6 * (2.7 - 2.2))  # from step 400, the first of two next to the middle
    assert gain(FALLING, False) == pytest.approx(0.5 * (2.7 - 2.2))
    for gap, room in ((0.2, 1.0), (0.35, 0.5), (0.5, 0.0), (0.6, 0.0)):  # to the training loss, at the end
        assert gain([(val - gap * (k > 4), val) for k, (val, _) in enumerate(FALLING)]) == pytest.approx(
            room * 1.6 * 0.5
        )
    assert gain([*FALLING[:8], (2.3, 2.3), (2.305, 2.305)]) == pytest.approx(1.6 * (2.6 - 2.305))
    # As far above its best as hardly counts: from 2.8 in the middle to 2.01.
    behind = [(loss, loss) for loss in (3.0, 2.0, 2.8, 2.8, 2.5, 2.01, 2.01, 2.01)]
    assert gain(list(behind)) == pytest.approx(1.6 * (2.8 - 2.01))
    assert gain([*FALLING[:6], (2.52, 2.52), (2.52, 2.52), (2.52, 2.52)]) == 0.0  # its best is behind it


def test_fewer_than_four_validations_say_less_than_the_training_loss() -> None:
    losses: list[tuple[float, float | None]] = [
        (train, 2.5 if k in (2, 5, 8) else None) for k, (train, _) in enumerate(FALLING)
    ]
    (piece,) = advise(Case(CONFIG, curve(losses), reason="epochs"))
    assert piece.text.startswith("the training loss was still falling at the end")
    assert piece.text.endswith("about 0.80 nats")  # as without any validation


def test_numbers_are_said_as_roughly_as_they_are_known() -> None:
    assert [_rough(count) for count in (7, 99, 3_314, 1_250_001)] == ["7", "99", "3,300", "1,300,000"]
    assert [_rounded(value) for value in (0.00075, 9.94, 10.0, 10.5, 12_345.5)] == [
        "0.00075",
        "9.9",
        "10",
        "10.5",
        "12345.5",
    ]
