"""The rule that chooses settings: what follows from a larger text, more time, a faster machine, and wishes."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise, product
from typing import Any

import pytest

from charrnn.config.load import config_from_dict
from charrnn.config.schema import Config
from charrnn.config.suggest import LineOutline, Suggestion, TextOutline, suggest
from charrnn.nn.cells import CELLS

SIZES = (300, 1_842, 10_000, 100_000, 1_000_000, 10_000_000, 100_000_000)
MINUTES = (0.01, 0.5, 3.0, 20.0, 600.0)
SPEED = 60_000.0


def chosen(
    characters: int, minutes: float, *, speed: float = SPEED, fixed: dict[str, Any] | None = None, **facts: Any
) -> Suggestion:
    return suggest(TextOutline("my.txt", characters, 65, **facts), speed=speed, minutes=minutes, fixed=fixed)


def config(suggestion: Suggestion) -> Config:
    sections = {**suggestion.settings, "corpus": {**suggestion.settings["corpus"], "source": "my.txt"}}
    return config_from_dict(sections, where="test")


@pytest.mark.parametrize(("size", "minutes"), [*product(SIZES, MINUTES)])
def test_whatever_the_text_and_the_time_the_settings_can_be_used(size: int, minutes: float) -> None:
    suggestion = chosen(size, minutes)
    t = config(suggestion).training
    assert t.max_minutes == pytest.approx(minutes)
    assert t.batch_size * t.seq_length <= max(32, size)
    assert t.log_every <= t.eval_every  # type: ignore[operator]
    assert len(suggestion.lines) == 3
    assert all(remark for remark in suggestion.remarks.values())


def weights(suggestion: Suggestion) -> int:
    model = config(suggestion).model
    return len(CELLS[model.cell].gates) * model.hidden_size * (model.hidden_size + 65)


def test_more_time_and_more_text_bring_no_smaller_network() -> None:
    for size in SIZES:
        found = [weights(chosen(size, minutes)) for minutes in MINUTES]
        assert found == sorted(found)
    for minutes in MINUTES:
        found = [weights(chosen(size, minutes)) for size in SIZES]
        assert found == sorted(found)
    assert weights(chosen(10**6, 0.5)) < weights(chosen(10**6, 20))


def test_a_faster_machine_is_as_good_as_more_time() -> None:
    fast, slow = config(chosen(10**6, 1.0, speed=4 * SPEED)), config(chosen(10**6, 4.0))
    assert fast.model == slow.model
    assert fast.training.learning_rate == slow.training.learning_rate


def test_the_more_often_a_text_is_read_the_more_is_dropped() -> None:
    models = [config(chosen(size, 3.0)).model for size in reversed(SIZES)]
    dropped = [model.dropout + model.weight_dropout for model in models]
    assert dropped[0] == 0.0
    assert dropped[-1] > 0.5
    assert all(a <= b for a, b in pairwise(dropped))


@pytest.mark.parametrize(("size", "minutes"), [(500_000, 5.0), (500_000, 10.0), (1_000_000, 20.0)])
def test_passes_are_those_of_the_network_chosen_which_is_larger_for_a_longer_time(size: int, minutes: float) -> None:
    c = config(chosen(size, minutes))  # twenty to forty passes; a small network would make a hundred
    assert c.model.hidden_size >= 320
    assert (c.model.dropout, c.model.weight_dropout, c.training.weight_decay) == (0.0, 0.3, 0.075)


def test_there_is_time_to_overfit_where_the_user_wants_no_dropout_all_the_same() -> None:
    none = {"model.dropout": 0.0, "model.weight_dropout": 0.0}
    assert chosen(10**4, 3.0, fixed=none).lines[1].endswith("; no dropout")
    assert chosen(10**7, 3.0, fixed=none).lines[1].endswith("; no dropout (no time to overfit)")


def test_a_small_text_gets_few_parameters_and_is_told_so() -> None:
    small, large = chosen(1_842, 3.0), chosen(10**7, 3.0)
    assert "as many as a text of this size supports" in small.lines[1]
    assert "supports" not in large.lines[1]
    assert config(small).model.hidden_size <= 96
    assert config(small).training.epochs is not None
    for path, value in (("model.hidden_size", 64), ("model.weight_dropout", 0.0)):  # then it may be too large
        assert "supports" not in chosen(1_842, 3.0, fixed={path: value}).lines[1]


def test_a_remark_says_what_a_dropout_of_nothing_is_for() -> None:
    weights_only, neither = chosen(10**5, 0.5), chosen(10**7, 3.0)
    assert weights_only.remarks["model.dropout"] == "none: that of the weights is enough"
    assert weights_only.remarks["model.weight_dropout"].endswith("against memorising the text")
    assert neither.remarks["model.dropout"] == "no time to overfit"


def test_validations_take_a_small_part_of_the_time_but_there_are_at_least_two() -> None:
    for size, minutes in product(SIZES, MINUTES):
        c = config(chosen(size, minutes))
        train = size * (1 - c.corpus.val_fraction)
        symbols = min(SPEED * 60 * minutes, (c.training.epochs or 1e9) * train) * 4  # a small network is faster
        steps = symbols / (c.training.batch_size * c.training.seq_length)
        assert c.training.eval_every <= max(1, steps), (size, minutes)  # type: ignore[operator]
    assert config(chosen(10**8, 3.0)).corpus.val_fraction == pytest.approx(0.002)
    assert config(chosen(10**6, 3.0)).corpus.val_fraction == 0.1


def test_what_the_user_sets_stays_and_the_rest_is_made_to_fit() -> None:
    free = config(chosen(10**6, 3.0))
    fixed = {"model.hidden_size": 1024, "training.batch_size": 64, "model.cell": "lstm", "training.epochs": None}
    suggestion = chosen(10**6, 3.0, fixed=fixed)
    mine = config(suggestion)
    assert (mine.model.hidden_size, mine.training.batch_size, mine.model.cell) == (1024, 64, "lstm")
    assert mine.training.epochs is None
    assert suggestion.remarks["model.hidden_size"] == "as you set it"
    assert mine.training.eval_every < free.training.eval_every  # type: ignore[operator]  # its steps take longer
    rate = config(chosen(10**6, 3.0, fixed={"model.hidden_size": 1024})).training.learning_rate
    assert rate < free.training.learning_rate


def test_steps_that_the_user_allows_end_the_run_that_is_planned() -> None:
    for fixed in ({"training.max_steps": 200}, {"training.max_steps": 200, "training.max_minutes": None}):
        suggestion = chosen(10**6, 3.0, fixed=fixed)
        t = suggestion.settings["training"]
        passes = 200 * t["batch_size"] * t["seq_length"] / 900_000
        assert f" for {passes:.1f} passes at " in suggestion.lines[2]
        assert 2 * t["eval_every"] <= 200
    hours = chosen(10**6, 3.0, fixed={"training.max_steps": 10**6, "training.max_minutes": None})
    assert " h " in hours.lines[2]


def test_rate_and_decay_fit_the_update_rule() -> None:
    sized = {"model.hidden_size": 256, "training.batch_size": 16}
    free = config(chosen(10**6, 3.0, fixed=sized)).training
    adam = config(chosen(10**6, 3.0, fixed={**sized, "training.optimizer": "adam"})).training
    assert (free.optimizer, free.learning_rate) == ("muon", 0.012)
    assert (adam.optimizer, adam.learning_rate, adam.weight_decay) == ("adam", 0.0062, 0.0)


def test_with_time_for_many_passes_it_is_an_lstm_that_learns_slowly() -> None:
    slow, quick, small = (config(chosen(*case)) for case in ((10**5, 20.0), (10**5, 3.0), (10**4, 20.0)))
    assert (slow.model.cell, slow.model.hidden_size, slow.training.optimizer) == ("lstm", 288, "adam")
    assert (slow.model.dropout, slow.model.weight_dropout, slow.training.weight_decay) == (0.4, 0.5, 0.0)
    assert slow.training.learning_rate == 0.0048
    assert (quick.model.cell, quick.model.hidden_size, quick.training.optimizer) == ("gru", 320, "muon")
    assert (quick.model.dropout, quick.model.weight_dropout) == (0.1, 0.5)
    assert (small.model.cell, small.model.hidden_size, small.training.optimizer) == ("gru", 128, "muon")
    assert [c.training.epochs for c in (slow, quick, small)] == [150, 100, 300]
    assert config(chosen(4 * 10**4, 20.0)).model.cell == "gru"
    hurried = config(chosen(10**4, 0.1)).training  # fewer units are dropped, so it would memorise the text
    assert hurried.epochs == 100


def test_only_an_lstm_with_time_for_it_learns_slowly() -> None:
    gru = config(chosen(10**5, 20.0, fixed={"model.cell": "gru"}))
    assert (gru.model.hidden_size, gru.training.optimizer, gru.training.epochs) == (320, "muon", 100)
    lstm = config(chosen(10**5, 3.0, fixed={"model.cell": "lstm"}))
    assert (lstm.model.hidden_size, lstm.training.optimizer, lstm.training.epochs) == (320, "muon", 100)
    large = config(chosen(10**7, 600.0))  # hours are few passes for a network that has them
    assert (large.model.cell, large.training.optimizer) == ("gru", "muon")


def test_small_networks_take_no_longer_steps_than_those_of_192_units() -> None:
    rates = [config(chosen(10**6, 3.0, fixed={"model.hidden_size": u})).training.learning_rate for u in (64, 192, 256)]
    assert rates[0] == rates[1] > rates[2]


def test_the_more_often_a_text_is_read_the_more_its_matrices_shrink() -> None:
    decays = [config(chosen(size, 3.0)).training.weight_decay for size in (10**8, 10**7, 10**6, 10**5, 10**4)]
    assert decays == sorted(decays)
    assert 0 < decays[0] < decays[2] < decays[-1]


NAMES = LineOutline(count=500, characters=8.0, words=1.4, distinct=0.95, blank=0.0, prose=0.02, letters=0.95)


def test_a_list_is_drawn_from_all_over() -> None:
    for ordered, said in ((False, "; a list, whose lines are shuffled"), (True, "; a sorted list, whose lines")):
        suggestion = chosen(20_000, 1.0, lines=NAMES, sorted_lines=ordered)
        assert (config(suggestion).corpus.documents, config(suggestion).corpus.split) == ("lines", "shuffled")
        assert said in suggestion.lines[0]
    for no_list in (
        {"count": 99}, {"characters": 31.0}, {"words": 3.1}, {"distinct": 0.6}, {"blank": 0.03}, {"prose": 0.3},
        {"letters": 0.5},
    ):  # fmt: skip
        assert config(chosen(20_000, 1.0, lines=replace(NAMES, **no_list))).corpus.documents == "text"


def test_sorted_lines_are_drawn_from_all_over_unless_the_user_says_what_a_document_is() -> None:
    assert config(chosen(20_000, 1.0)).corpus.split == "tail"
    apart = chosen(20_000, 1.0, sorted_lines=True)
    c = config(apart).corpus
    assert (c.documents, c.split, c.document_separator) == ("lines", "shuffled", "\n")
    assert "training: about 1 s for " in chosen(20_000, 1 / 60).lines[2]
    assert apart.lines[0].endswith("for validation; its sorted lines are shuffled, each a document of its own")
    own = chosen(20_000, 1.0, sorted_lines=True, fixed={"corpus.split": "tail"})
    assert "documents" not in own.settings["corpus"]
