"""What a sweep file becomes: trials, their names, their draws, and what is refused."""

from __future__ import annotations

import itertools
import json
import math
import shlex
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from charrnn.config.load import load_config, parse_config
from charrnn.errors import SettingsError
from charrnn.sweep.file import Draw
from charrnn.sweep.plan import as_option, read_plan, trial_name
from tests.conftest import Run, assert_one_line_error

SCALARS = st.one_of(st.none(), st.booleans(), st.integers(-(10**9), 10**9), st.floats(allow_nan=False), st.text())


def plan_of(tmp_path: Path, text: str, **options: list[str]):
    (tmp_path / "base.yaml").write_text("corpus: {source: x.txt}\ntraining: {max_steps: 5}\n")
    (tmp_path / "sweep.yaml").write_text("base: base.yaml\n" + text)
    return read_plan(tmp_path / "sweep.yaml", **options)


def test_grid_times_zip_times_seeds(tmp_path: Path) -> None:
    plan = plan_of(
        tmp_path,
        "grid: {model.cell: [gru, lstm], model.dropout: [0.0, 0.5]}\n"
        "zip: [{model.hidden_size: [8, 16], training.learning_rate: [0.01, 0.005]}]\n"
        "seeds: [7, 8, 9]\nset: {training.batch_size: 3}\n",
    )
    assert len(plan.trials) == 2 * 2 * 2 * 3
    pairs = {(t.overrides["model.hidden_size"], t.overrides["training.learning_rate"]) for t in plan.trials}
    assert pairs == {(8, 0.01), (16, 0.005)}
    assert len({t.name for t in plan.trials}) == 24
    config = plan.config(plan.trials[-1])
    assert (config.model.cell, config.model.dropout, config.training.seed) == ("lstm", 0.5, 9)
    assert config.training.batch_size == 3
    assert config.training.max_steps == 5


def test_the_first_trials_stay_when_a_sweep_is_extended(tmp_path: Path) -> None:
    short = plan_of(tmp_path, "random: {training.learning_rate: {log_uniform: [1e-4, 1e-1]}}\ntrials: 5\n")
    long = plan_of(
        tmp_path,
        "random: {training.learning_rate: {log_uniform: [1e-4, 1e-1]}, model.cell: {choice: [gru]}}\ntrials: 9\n",
    )
    rates = [t.overrides["training.learning_rate"] for t in short.trials]
    assert rates == [t.overrides["training.learning_rate"] for t in long.trials][:5]
    other = plan_of(tmp_path, "random: {training.learning_rate: {log_uniform: [1e-4, 1e-1]}}\ntrials: 5\nseed: 1\n")
    assert rates != [t.overrides["training.learning_rate"] for t in other.trials]


def test_what_a_trial_may_take(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, "budget: {trial_steps: 3, trial_minutes: 0.5, total_minutes: 9}\n")
    training = plan.config(plan.trials[0]).training
    assert (training.max_steps, training.max_minutes) == (3, 0.5)


def test_draws_follow_their_distributions() -> None:
    numbers = [(k + 0.5) / 3000 for k in range(3000)]
    logs = [math.log10(Draw(log_uniform=(1e-4, 1e-1)).draw(u)) for u in numbers]
    assert min(logs) >= -4
    assert max(logs) <= -1
    assert sum(x < -2.5 for x in logs) == pytest.approx(1500, abs=5)
    assert Counter(Draw(integers=(2, 4)).draw(u) for u in numbers) == {2: 1000, 3: 1000, 4: 1000}
    assert {Draw(log_integers=(1, 8)).draw(u) for u in (0.0, 0.999999)} == {1, 8}
    assert Counter(Draw(choice=["a", None]).draw(u) for u in numbers) == {"a": 1500, None: 1500}
    assert Draw(uniform=(0.25, 0.25)).draw(0.7) == 0.25


@given(st.dictionaries(st.sampled_from(["model.cell", "training.seed", "corpus.source"]), SCALARS))
def test_names_are_file_names_and_differ_with_the_values(overrides: dict[str, object]) -> None:
    name = trial_name(overrides)
    assert 0 < len(name) <= 100
    assert set(name) & set('/\\\0 "<>|*?:') == set()
    assert not name.startswith(".")
    changed = {**overrides, "training.seed": "other/" + str(overrides.get("training.seed"))}
    assert trial_name(changed) != name


@given(value=SCALARS)
def test_an_option_says_the_same_value(value: object) -> None:
    if isinstance(value, float) and not math.isfinite(value):
        return
    option = as_option("training.seed", value)
    assert option.startswith("training.seed=")
    from charrnn.config.yaml import load_scalar

    try:
        read = load_scalar(option.partition("=")[2], where="x")
    except SettingsError:  # a character that YAML does not allow at all
        assert isinstance(value, str)
        return
    assert read == value
    assert type(read) is type(value)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("gird: {}\n", ["gird", "did you mean grid"]),
        ("grid: {model.cel: [gru]}\n", ["model.cel", "did you mean model.cell"]),
        ("grid: {model.cell: [gruu]}\n", ["gruu"]),
        ("grid: {model.cell: []}\n", ["grid"]),
        ("grid: {cell: [gru]}\n", ["cell: not a setting"]),
        ("zip: [{model.cell: [gru], model.hidden_size: [1, 2]}]\n", ["different lengths"]),
        ("grid: {model.cell: [gru]}\nrandom: {model.cell: {choice: [gru]}}\n", ["under grid and under random"]),
        ("random: {model.dropout: {}}\n", ["0 ways"]),
        ("random: {model.dropout: {log_uniform: [0, 1]}}\n", ["above 0"]),
        ("random: {model.dropout: {uniform: [0.5, 0.1]}}\n", ["lower bound first"]),
        ("search: {sampler: tpe}\ngrid: {model.cell: [gru]}\n", ["random"]),
        ("seeds: 3\ngrid: {training.seed: [1]}\n", ["under grid and under seeds"]),
        ("trials: 0\n", ["trials: found 0", "integer >= 1"]),
        ("trials: 5\n", ["trials: counts random draws"]),
        ("seeds: []\n", ["seeds: found []", "not empty"]),
        ("grid: {model.cell: rnn}\n", ["grid.model.cell: found 'rnn'", "a list, not empty"]),
        ("grid: {model.cell: [[gru]]}\n", ["grid.model.cell: found [['gru']]"]),
        ("random: {model.dropout: [0, 1]}\n", ["random.model.dropout: found [0, 1]", "a mapping"]),
        ("random: {model.dropout: {unifrom: [0, 1]}}\n", ["random.model.dropout.unifrom", "did you mean uniform"]),
        ("random: {model.dropout: {uniform: [0]}}\n", ["random.model.dropout.uniform: found [0]", "a list of 2"]),
        ("budget: {minutes: 5}\n", ["budget.minutes: unknown", "did you mean trial_minutes"]),
        ("budget: {total_minutes: .inf}\n", ["budget.total_minutes", "finite"]),
        ("search: {top: 5}\n", ["search.top: unknown"]),
        ("search: {sampler: bayes}\n", ["search.sampler: found 'bayes'", "gp, planned, random, tpe"]),
        ("search: {trials: 40, pruner: asha}\n", ["search.trials", "sampler: tpe"]),
        (
            "search: {sampler: tpe, trials: 20001}\nrandom: {model.dropout: {uniform: [0, 1]}}\n",
            ["20001 trials", "10000"],
        ),
        ("grid: {model.tied_embedding: [true], model.tie_weights: [true]}\n", ["under grid and under grid"]),
        ("search: tpe\n", ["search: found 'tpe'", "a mapping"]),
        ("zip: {model.cell: [gru]}\n", ["zip"]),
        ("base: 5\n", []),
        ("- a\n", []),
    ],
)
def test_what_cannot_be_is_one_line(charrnn_here: Run, tmp_path: Path, text: str, parts: list[str]) -> None:
    (tmp_path / "base.yaml").write_text("corpus: {source: x.txt}\n")
    (tmp_path / "sweep.yaml").write_text("base: base.yaml\n" + text)
    done = charrnn_here("sweep", "sweep.yaml", "--dry-run")
    assert_one_line_error(done, 2, *parts)


def test_listing_and_commands(charrnn_here: Run, tmp_path: Path) -> None:
    plan = plan_of(tmp_path, "grid: {model.cell: [gru, lstm]}\nset: {model.hidden_size: 8}\nbudget: {trial_steps: 3}\n")
    listed = charrnn_here("sweep", "sweep.yaml", "--dry-run")
    assert listed.stdout.split() == [t.name for t in plan.trials] == ["cell=gru", "cell=lstm"]
    as_json = json.loads(charrnn_here("sweep", "sweep.yaml", "--dry-run", "--json").stdout)
    assert as_json["trials"][1] == {"name": "cell=lstm", "overrides": {"model.cell": "lstm"}}
    lines = charrnn_here("sweep", "sweep.yaml", "--print-commands", "--set", "training.seed=5").stdout.splitlines()
    assert len(lines) == 2
    assert "--set training.seed=5" in lines[0]
    assert "--set training.max_steps=3" in lines[0]
    assert "--run-dir checkpoints/sweep/cell=gru" in lines[0]
    assert not (tmp_path / "checkpoints").exists()


def test_the_base_of_a_trial_is_the_file_and_what_is_set(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, "set: {model.cell: rnn}\n", overrides=["training.batch_size=2"])
    assert [t.name for t in plan.trials] == ["base"]
    expected = parse_config(
        "corpus: {source: x.txt}\nmodel: {cell: rnn}\ntraining: {max_steps: 5, batch_size: 2}", where=""
    )
    assert plan.config(plan.trials[0]) == expected


def test_an_option_overrides_what_the_file_sets_and_its_budget(charrnn_here: Run, tmp_path: Path) -> None:
    text = "set: {training.max_steps: 5, model.dropout: 0.1}\nbudget: {trial_minutes: 3}\ngrid: {model.cell: [rnn]}\n"
    changed = ["training.max_steps=2", "training.max_minutes=9", "model.dropout=0.2", "model.dropout=0.3"]
    plan = plan_of(tmp_path, text, overrides=changed)
    config = plan.config(plan.trials[0])
    assert (config.training.max_steps, config.training.max_minutes, config.model.dropout) == (2, 9, 0.3)
    options = [word for item in changed for word in ("--set", item)]
    (line,) = charrnn_here("sweep", "sweep.yaml", "--print-commands", *options).stdout.splitlines()
    given = [item for word, item in itertools.pairwise(shlex.split(line)) if word == "--set"]
    assert load_config(tmp_path / "base.yaml", given) == config
    refused = charrnn_here("sweep", "sweep.yaml", "--dry-run", "--set", "model.cell=gru")
    assert_one_line_error(refused, 2, "--set model.cell=gru", "under grid")


def test_settings_under_their_old_names(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, "set: {training.average_decay: 0.99}\ngrid: {model.dropout_mask: [step, window]}\n")
    assert [plan.config(trial).model.variational_dropout for trial in plan.trials] == [False, True]
    assert plan.config(plan.trials[0]).training.ema_decay == 0.99
    with pytest.raises(SettingsError, match=r"model\.tie_weights=true.*under grid"):
        plan_of(tmp_path, "grid: {model.tied_embedding: [true]}\n", overrides=["model.tie_weights=true"])


def test_the_base_is_looked_for_beside_the_sweep_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder, size in ((tmp_path, 111), (tmp_path / "exp", 222)):
        folder.mkdir(exist_ok=True)
        (folder / "conf.yaml").write_text(f"corpus: {{source: x.txt}}\nmodel: {{hidden_size: {size}}}\n")
    (tmp_path / "exp" / "sweep.yaml").write_text("base: conf.yaml\n")
    (tmp_path / "exp" / "recipe.yaml").write_text("base: gru\n")
    (tmp_path / "gru").mkdir()
    monkeypatch.chdir(tmp_path)
    assert read_plan(Path("exp/sweep.yaml")).base.model.hidden_size == 222
    assert read_plan(Path("exp/recipe.yaml")).base.model.cell == "gru"
