"""Settings and flags: what is refused, and how characters become ids."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import charrnn as package
from charrnn.cli.commands.sampling.flags import SamplingFlags, flag_parameters
from charrnn.data.vocabulary import Vocabulary
from charrnn.errors import SettingsError
from charrnn.sampling.filters.chain import build_chain
from charrnn.sampling.options import SamplingOptions, declarations, order_of
from tests.conftest import ROOT, Run, assert_one_line_error

WRONG: list[tuple[dict[str, object], str]] = [
    ({"temperature": -0.1}, "temperature: must be a finite number, 0 or more, not -0.1"),
    ({"temperature": math.inf}, "temperature: must be a finite number, 0 or more, not inf"),
    ({"temperature": math.nan}, "temperature: must be a finite number, 0 or more, not nan"),
    ({"top_k": -1}, "top_k: must be a finite number, 0 or more, not -1"),
    ({"top_p": 1.5}, "top_p: must be between 0 and 1, not 1.5"),
    ({"min_p": -0.1}, "min_p: must be between 0 and 1, not -0.1"),
    ({"typical": math.nan}, "typical: must be between 0 and 1, not nan"),
    ({"top_n_sigma": -1.0}, "top_n_sigma: must be between 0 and 1,000,000, not -1.0"),
    ({"mirostat_tau": math.inf}, "mirostat_tau: must be between 0 and 1,000,000, not inf"),
    ({"mirostat_eta": 1.1}, "mirostat_eta: must be between 0 and 1, not 1.1"),
    ({"repetition_penalty": 0.0}, "repetition_penalty: must be between 1e-06 and 1,000,000, not 0.0"),
    ({"presence_penalty": math.inf}, "presence_penalty: must be between -1,000,000 and 1,000,000, not inf"),
    ({"frequency_penalty": -2e6}, "frequency_penalty: must be between -1,000,000 and 1,000,000, not -2000000.0"),
    ({"penalty_window": -1}, "penalty_window: must be between 0 and 1,000,000, not -1"),
    ({"dry_multiplier": -1.0}, "dry_multiplier: must be between 0 and 1,000,000, not -1.0"),
    ({"dry_base": 0.9}, "dry_base: must be between 1 and 1,000,000, not 0.9"),
    ({"dry_allowed_length": 0}, "dry_allowed_length: must be between 1 and 1,000,000, not 0"),
    ({"dry_window": -5}, "dry_window: must be between 0 and 1,000,000, not -5"),
    ({"dry_breakers": (-1,)}, "dry_breakers: must be a whole number, 0 or more, not -1"),
    ({"xtc_probability": 2.0}, "xtc_probability: must be between 0 and 1, not 2.0"),
    (
        {"xtc_threshold": 0.0},
        "xtc_threshold: must be above 0, because 0 would leave only the least likely symbol",
    ),
    ({"logit_bias": ((1, math.inf),)}, "logit_bias: must be between -1,000,000 and 1,000,000, not inf"),
    ({"logit_bias": ((1, math.nan),)}, "logit_bias: must be between -1,000,000 and 1,000,000, not nan"),
    ({"logit_bias": ((-1, 1.0),)}, "logit_bias: must be a whole number, 0 or more, not -1"),
    ({"logit_bias": ((1, 1.0), (1, 2.0))}, "logit_bias: a symbol is given twice"),
    ({"ban": (-1,)}, "ban: must be a whole number, 0 or more, not -1"),
    ({"ban": "e"}, "ban: must be a whole number, 0 or more, not 'e'"),
    ({"logit_bias": {5: 1.0}}, "logit_bias: must be pairs of an id and a number, not {5: 1.0}"),
    ({"dynamic_temperature": (1,)}, "dynamic_temperature: must be the lowest and the highest, not (1,)"),
    ({"dynamic_temperature": (1.0, 0.5)}, "dynamic_temperature: the lowest, 1.0, is above the highest, 0.5"),
    ({"dynamic_temperature": (-1.0, 0.5)}, "dynamic_temperature: must be a finite number, 0 or more, not -1.0"),
    ({"dynamic_temperature": (0.5, math.nan)}, "dynamic_temperature: must be a finite number, 0 or more, not nan"),
    (
        {"dynamic_temperature": (0.5, 1.5), "temperature": 0.7},
        "dynamic_temperature: replaces temperature; give only one of them",
    ),
    (
        {"dynamic_exponent": 0.0},
        "dynamic_exponent: must be above 0, because 0 would make every temperature the highest",
    ),
    ({"order": ("top_k", "topp")}, "order: no filter is called 'topp'"),
    ({"order": ("top_k", "top_k")}, "order: top_k is given twice"),
    ({"order": ("top_k",), "min_p": 0.1}, "order: min_p is switched on but not in the order"),
]


@pytest.mark.parametrize(("settings", "message"), WRONG, ids=lambda x: str(x)[:50])
def test_impossible_settings_are_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(SettingsError) as caught:
        SamplingOptions(**settings)  # type: ignore[arg-type]
    assert caught.value.message == message
    # The command line turns the name before the colon into a flag's.
    assert message.split(":")[0] in declarations()


@pytest.mark.parametrize("settings", [{"order": ("nonsense",)}, {"order": ("top_k",), "min_p": 0.1}], ids=str)
def test_a_wrong_order_is_answered_with_the_allowed_names(settings: dict[str, Any]) -> None:
    with pytest.raises(SettingsError) as caught:
        SamplingOptions(**settings)
    assert caught.value.hint == "allowed: " + ", ".join(order_of())


def test_the_bounds_themselves_are_allowed() -> None:
    for name, declared in declarations().items():
        for value in (declared.low, declared.high):
            if value is not None and not (declared.not_zero and value == 0):
                given = int(value) if isinstance(getattr(SamplingOptions(), name), int) else value
                assert getattr(SamplingOptions(**{name: given}), name) == value
    assert SamplingOptions(logit_bias=((0, 1e6), (1, -1e6)), ban=(0,), dry_breakers=(0,)).banned() == (0,)
    assert SamplingOptions(dynamic_temperature=(0.5, 0.5)).active() == ("temperature",)


def test_options_that_change_nothing_name_what_they_need() -> None:
    assert SamplingOptions(0.7, mirostat_eta=0.2, dry_base=2.0, dynamic_exponent=2.0, penalty_window=5).idle() == {
        "dynamic_exponent": "dynamic_temperature", "dry_base": "dry_multiplier", "mirostat_eta": "mirostat_tau",
    }  # fmt: skip
    needed = SamplingOptions(mirostat_tau=2.0, mirostat_eta=0.2, dynamic_temperature=(0.5, 1.5), dynamic_exponent=2.0)
    assert needed.idle() == {}
    assert SamplingOptions(ban=(1,), logit_bias=((2, -math.inf),)).changed() == ()
    assert SamplingOptions(top_k=3, logit_bias=((2, 1.0),)).changed() == ("top_k", "logit_bias")


def test_the_defaults_are_neutral_and_the_order_is_llama_cpps() -> None:
    assert SamplingOptions().active() == ()
    assert package.SamplerOptions is SamplingOptions
    assert order_of() == (
        "bias", "penalties", "dry", "top_n_sigma", "top_k", "typical", "top_p", "min_p", "xtc", "temperature",
        "mirostat",
    )  # fmt: skip


@pytest.mark.parametrize("settings", [{"ban": (9,)}, {"logit_bias": ((9, 1.0),)}, {"dry_breakers": (9,), "min_p": 0.1}])
def test_ids_must_be_the_models(settings: dict[str, object]) -> None:
    with pytest.raises(SettingsError, match="id 9 is not among"):
        build_chain(SamplingOptions(**settings), 9, 1, np.array([0]))  # type: ignore[arg-type]


def test_one_symbol_must_stay() -> None:
    options = SamplingOptions(ban=(0, 1), logit_bias=((2, -math.inf),))
    with pytest.raises(SettingsError, match="every symbol"):
        build_chain(options, 3, 1, np.array([0]))


def test_every_setting_has_a_flag_and_the_same_default() -> None:
    assert [p.name for p in flag_parameters(SamplingOptions)] == list(declarations())
    assert SamplingFlags().options(Vocabulary.of("ab")) == SamplingOptions()


def test_characters_become_ids() -> None:
    vocabulary = Vocabulary.of("\n=\\abé☃")
    found = {c: int(vocabulary.encode(c)[0]) for c in "\n=\\abé☃"}

    def bias(text: str) -> tuple[tuple[int, float], ...]:
        return SamplingFlags(logit_bias=[text]).options(vocabulary).logit_bias

    assert bias("a=-2.5") == ((found["a"], -2.5),)
    assert bias(r"\n=-inf") == bias("\n=-inf") == ((found["\n"], -math.inf),)
    assert bias("==1") == ((found["="], 1.0),)
    assert bias(r"\\=1") == bias("\\=1") == ((found["\\"], 1.0),)
    assert bias(r"\xe9=1") == bias("é=1") == ((found["é"], 1.0),)
    assert bias(r"\u2603=1") == bias(r"\U00002603=1") == ((found["☃"], 1.0),)
    flags = SamplingFlags(ban=r"ab\nzzz", dry_multiplier=0.5, dry_breakers=r"\n", order="top-k, min_p,dry,bias")
    options = flags.options(vocabulary)
    assert options.ban == (found["a"], found["b"], found["\n"])  # no model writes characters it does not know
    assert options.dry_breakers == (found["\n"],)
    assert options.order == ("top_k", "min_p", "dry", "bias")
    assert SamplingFlags(dynamic_temperature="0.5:1.5").options(vocabulary).dynamic_temperature == (0.5, 1.5)


def test_bytes_become_ids() -> None:
    vocabulary = Vocabulary.of("aé".encode())
    assert SamplingFlags(ban=r"a\xa9").options(vocabulary).ban == (0, 1)
    with pytest.raises(SettingsError, match="'é' is 2 bytes to this model"):
        SamplingFlags(ban="é").options(vocabulary)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"logit_bias": ["e"]}, "--logit-bias: 'e' is not a character"),
        ({"logit_bias": ["=2"]}, "--logit-bias"),
        ({"logit_bias": ["ab=2"]}, "--logit-bias"),
        ({"logit_bias": ["a=x"]}, "--logit-bias"),
        ({"logit_bias": ["a=inf"]}, "--logit-bias"),
        ({"logit_bias": ["z=1"]}, "--logit-bias: the model has no 'z'"),
        ({"ban": r"\U001fffff"}, "a character that does not exist"),
        ({"dynamic_temperature": "1"}, "--dynamic-temperature: '1' is not LOW:HIGH"),
        ({"dynamic_temperature": "a:b"}, "--dynamic-temperature"),
        ({"dynamic_temperature": "1:2:3"}, "--dynamic-temperature"),
        ({"top_n_sigma": -1.0}, "--top-n-sigma: must be between"),
        ({"order": ""}, "--order"),
    ],
    ids=str,
)
def test_wrong_flags_are_refused(flags: dict[str, object], message: str) -> None:
    with pytest.raises(SettingsError, match=re.escape(message)):
        SamplingFlags(**flags).options(Vocabulary.of("ab"))


def test_the_page_on_sampling_names_every_filter_and_flag() -> None:
    page = (ROOT / "docs" / "sampling.md").read_text(encoding="utf-8")
    for name in (*declarations(), *order_of()):
        assert name.replace("_", "-") in page, name


def test_the_flags_work(charrnn_here: Run, config_file: Path) -> None:
    assert charrnn_here("train", "-c", config_file, "-q").returncode == 0

    def sample(*flags: object) -> str:
        done = charrnn_here(
            "sample", "-q", "--seed", 1, "--length", 80, "--prime", "the ", "--no-include-prime", *flags
        )
        assert (done.returncode, done.stderr) == (0, ""), done.stderr
        return done.stdout[:-1]

    plain = sample()
    assert plain == sample("--order", "temperature,top-p,top-k")  # nothing is on
    assert not set(sample("--ban", "aeiou ")) & set("aeiou ")
    changed = [
        ("--top-k", 3), ("--top-p", 0.3), ("--min-p", 0.5), ("--typical", 0.3), ("--top-n-sigma", 0.5),
        ("--mirostat-tau", 1, "--mirostat-eta", 0.3),
        ("--repetition-penalty", 2, "--presence-penalty", -0.5, "--frequency-penalty", 1, "--penalty-window", 20),
        ("--dry-multiplier", 2, "--dry-base", 2, "--dry-allowed-length", 1, "--dry-breakers", "."),
        ("--xtc-probability", 1, "--xtc-threshold", 0.05), ("--logit-bias", "t=-2", "--logit-bias", "e=-inf"),
        ("--dynamic-temperature", "0.2:0.8", "--dynamic-exponent", 2),
    ]  # fmt: skip
    for flags in changed:
        assert sample(*flags) != plain, flags
    everything = [word for flags in changed for word in flags]
    assert len(sample(*everything)) == 80
    assert sample(*everything, "--num-samples", 2).split("\n---\n")[0] == sample(*everything)
    wrong = [
        (("--min-p", 1.5), "--min-p"), (("--xtc-threshold", 0), "--xtc-threshold"),
        (("--order", "top-k,nonsense"), "allowed: bias"), (("--order", "top-k", "--min-p", 0.1), "--order"),
        (("--logit-bias", "e"), "--logit-bias"), (("--dynamic-temperature", "2:1"), "--dynamic-temperature"),
        (("--ban", "abcdefghijklmnopqrstuvwxyz. \\n"), "every symbol"), (("--temperature", "nan"), "--temperature"),
    ]  # fmt: skip
    for flags, part in wrong:
        assert_one_line_error(charrnn_here("sample", *flags), 2, part)
