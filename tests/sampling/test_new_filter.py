"""A sampling filter is one class and one line: everything else is read from the declaration."""

from __future__ import annotations

import sys
from dataclasses import dataclass

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from charrnn.cli.commands.sampling.flags import SamplingFlags, with_sampling_flags
from charrnn.data.vocabulary import Vocabulary
from charrnn.errors import SettingsError
from charrnn.sampling.draw import Sampler
from charrnn.sampling.filters.filter import FloatArray, LogitsFilter, StepContext
from charrnn.sampling.options import (
    Declaration,
    FilterSpec,
    SamplingOptions,
    Stage,
    declarations,
    json_schema,
    option,
    order_of,
)


class Shout(LogitsFilter):
    """Raises the logit of symbol 0."""

    def __init__(self, shout: float) -> None:
        self.shout = shout

    def apply(self, logits: FloatArray, context: StepContext) -> None:
        logits[0] += self.shout


SHOUT = FilterSpec("shout", f"{__name__}:Shout", Stage.ADJUST)
TEXT = "Raise the first symbol's logit by this; 0 is off."


@dataclass(frozen=True)
class WithShout(SamplingOptions):
    shout: float = option(0.0, TEXT, SHOUT, high=100.0)


def test_it_runs() -> None:
    logits = np.zeros((5, 400))
    plain = Sampler(5, 400, WithShout(), seed=1).sample(logits).copy()
    assert set(plain.tolist()) == set(range(5))
    assert set(Sampler(5, 400, WithShout(shout=90.0), seed=1).sample(logits).tolist()) == {0}
    greedy = WithShout(temperature=0.0, shout=2.0, logit_bias=((1, 1.0),))
    assert set(Sampler(5, 400, greedy).sample(logits).tolist()) == {0}


def test_it_has_its_place_in_the_order_and_can_have_another() -> None:
    assert order_of(WithShout).index("shout") < order_of(WithShout).index("top_n_sigma")
    late = WithShout(shout=90.0, top_k=1, order=("top_k", "shout"))
    logits = np.array([[0.0], [1.0]])
    assert Sampler(2, 1, late).sample(logits)[0] == 1
    assert Sampler(2, 1, WithShout(shout=90.0, top_k=1)).sample(logits)[0] == 0
    with pytest.raises(SettingsError, match="shout is switched on but not in the order"):
        WithShout(shout=1.0, order=("top_k",))


def test_it_has_a_flag_with_help_and_its_range_is_checked() -> None:
    seen: list[SamplingOptions] = []

    def command(flags: SamplingFlags, length: int = 3) -> None:
        seen.append(flags.options(Vocabulary.of("ab")))

    app = typer.Typer()
    app.command()(with_sampling_flags(command, WithShout))
    assert CliRunner().invoke(app, ["--shout", "7", "--ban", "b"]).exit_code == 0
    assert seen == [WithShout(shout=7.0, ban=(1,))]
    help_text = " ".join(CliRunner().invoke(app, ["--help"], env={"COLUMNS": "200"}).output.split())
    assert "Raise the first symbol's logit by this" in help_text
    assert "shout" in help_text.partition("Order of the filters")[2]
    with pytest.raises(SettingsError, match="--shout: must be between 0 and 100, not 101"):
        SamplingFlags(WithShout, shout=101.0).options(Vocabulary.of("ab"))


def test_it_has_an_entry_in_the_schema() -> None:
    assert json_schema(WithShout)["properties"]["shout"] == {
        "description": TEXT, "type": "number", "default": 0.0,
        "minimum": 0.0, "maximum": 100.0,
    }  # fmt: skip
    assert "shout" not in json_schema()["properties"]


def test_a_declaration_has_what_it_was_given() -> None:
    @dataclass(frozen=True)
    class Options(SamplingOptions):
        shout: float = option(2.0, TEXT, SHOUT, -1.0, switch=False, metavar="LOUD")
        whisper: float = option(1.0, TEXT, not_zero="nothing would be heard")
        names: tuple[int, ...] = option((), TEXT, SHOUT, kind="symbols")

    most = sys.float_info.max
    found = declarations(Options)
    assert found["shout"] == Declaration(TEXT, SHOUT, -1.0, most, switch=False, metavar="LOUD")
    assert found["whisper"] == Declaration(TEXT, None, 0.0, most, not_zero="nothing would be heard")
    assert found["names"] == Declaration(TEXT, SHOUT, None, None, kind="symbols")
    assert (Options().shout, Options().whisper, Options(0.5).temperature) == (2.0, 1.0, 0.5)
    with pytest.raises(TypeError, match="positional"):
        Options(0.5, 3.0)  # type: ignore[call-arg,misc]  # only the temperature is given by its place
    with pytest.raises(SettingsError, match="shout: must be a finite number, -1 or more, not -2"):
        Options(shout=-2.0)
    entries = json_schema(Options)["properties"]
    assert entries["shout"] == {"description": TEXT, "type": "number", "default": 2.0, "minimum": -1.0}
    assert entries["whisper"] == {"description": TEXT, "type": "number", "default": 1.0, "exclusiveMinimum": 0.0}
    assert entries["names"] == {"description": TEXT, "type": "array", "default": ()}


def test_the_schema_is_of_one_object_that_has_nothing_else() -> None:
    schema = json_schema()
    entries = schema.pop("properties")
    assert schema == {"type": "object", "additionalProperties": False}
    assert list(entries) == list(declarations())
    order = entries.pop("order")
    assert order["description"] == f"Order of the filters. Default: {', '.join(order_of())}."
    assert order["type"] == ["array", "null"]
    assert {name: entry["description"] for name, entry in entries.items()} == {
        name: declared.help for name, declared in declarations().items() if name != "order"
    }
    entries["top_k"].pop("description")
    assert entries["top_k"] == {"type": "integer", "default": 0, "minimum": 0.0}  # as many as there are
