"""Sampling options, each declared here once; needs no NumPy.

A declaration says the option's default, help, range, and the filter it belongs to. The command's flags, the checks, the
order of the filters and the JSON schema are read from it. A new filter is a class in `sampling/filters/` and a field
here.
"""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass, field, fields
from enum import IntEnum
from numbers import Integral, Real
from typing import Any, cast

from charrnn.errors import SettingsError, shown

_LARGE = 1e6  # logits changed by more than this would lose their digits; further away, exp is 0 anyway
_LONG = 1_000_000


class Stage(IntEnum):
    """When a filter runs by default; within a stage, filters run in the order of their declarations.

    The result is llama.cpp's order. Bans are in no stage: they come first, or a cut might keep only banned symbols.
    """

    ADJUST = 1  # changes logits by what is known beforehand or was written
    CUT = 2  # leaves symbols out
    SCALE = 3
    FEEDBACK = 4  # looks at the distribution that is drawn from


@dataclass(frozen=True)
class FilterSpec:
    """A filter as options refer to it.

    Attributes:
        name: in `SamplingOptions.order`.
        home: "module:Class" below `charrnn.sampling.filters`, or a full module path with a dot; loaded on first use.
            The class takes the filter's options as keyword arguments.
        stage: when it runs.
    """

    name: str
    home: str
    stage: Stage


@dataclass(frozen=True)
class Declaration:
    """What is known about an option besides its default.

    Attributes:
        help: one sentence for `--help`.
        filter: that uses it; None for what concerns all.
        low: lowest allowed value; None where the value is no number.
        high: highest.
        not_zero: why 0 is refused although it is the bound; None where it is not.
        switch: any value but the default turns the filter on.
        window: 0 turns the filter off.
        kind: how a flag spells it: "number", "symbols", "biases", "range" or "names".
        metavar: of the flag.
    """

    help: str
    filter: FilterSpec | None = None
    low: float | None = None
    high: float | None = None
    not_zero: str | None = None
    switch: bool = True
    window: bool = False
    kind: str = "number"
    metavar: str | None = None


def option(default: Any, text: str, spec: FilterSpec | None = None, low: float | None = 0.0, **more: Any) -> Any:
    """Declare a field of `SamplingOptions`; see `Declaration` for the rest.

    Only the first may be given by position: the order of the others is the order in which filters run.
    """
    positional = more.pop("positional", False)
    if more.get("kind", "number") != "number":
        low = None
    high = more.pop("high", sys.float_info.max if low is not None else None)
    declared = Declaration(text, spec, low, high, **more)
    return field(default=default, metadata={"declaration": declared}, kw_only=not positional)


_TEMPERATURE = FilterSpec("temperature", "scaling:Temperature", Stage.SCALE)
_PENALTIES = FilterSpec("penalties", "repetition:Penalties", Stage.ADJUST)
_DRY = FilterSpec("dry", "repetition:Dry", Stage.ADJUST)
_XTC = FilterSpec("xtc", "cuts:XTC", Stage.CUT)
_MIROSTAT = FilterSpec("mirostat", "mirostat:Mirostat", Stage.FEEDBACK)


@dataclass(frozen=True)
class SamplingOptions:
    """Options of sampling; the defaults change nothing. docs/sampling.md explains each option.

    Characters are given by their ids: `logit_bias` has (id, number) pairs, `ban` and `dry_breakers` ids. `order` names
    the filters in the order in which they run; None is the default order, see `order_of`.

    Example:
        >>> SamplingOptions(0.7, top_p=0.9).active()
        ('top_p', 'temperature')

    Raises:
        SettingsError: a value that is not possible, or a filter that is on and missing in `order`.
    """

    temperature: float = option(
        1.0, "Sampling temperature: below 1 is more conservative, above 1 more varied; 0 always takes the most likely.",
        _TEMPERATURE, positional=True,
    )  # fmt: skip
    dynamic_temperature: tuple[float, float] | None = option(
        None, "Vary the temperature from LOW to HIGH with the entropy of the prediction.", _TEMPERATURE, kind="range",
        metavar="LOW:HIGH",
    )  # fmt: skip
    dynamic_exponent: float = option(
        1.0, "Exponent of the curve from entropy to dynamic temperature.", _TEMPERATURE, high=_LARGE,
        not_zero="0 would make every temperature the highest", switch=False,
    )  # fmt: skip
    top_n_sigma: float = option(
        0.0, "Keep logits at most this many standard deviations below the largest; 0 is off.",
        FilterSpec("top_n_sigma", "cuts:TopNSigma", Stage.CUT), high=_LARGE,
    )  # fmt: skip
    top_k: int = option(
        0, "Keep the k most likely characters; 0 keeps all.", FilterSpec("top_k", "cuts:TopK", Stage.CUT),
        high=sys.maxsize,
    )  # fmt: skip
    typical: float = option(
        1.0, "Keep the characters whose surprise is closest to average, up to this total probability; 1 is off.",
        FilterSpec("typical", "cuts:Typical", Stage.CUT), high=1.0,
    )  # fmt: skip
    top_p: float = option(
        1.0, "Keep the most likely characters, up to this total probability; 1 is off.",
        FilterSpec("top_p", "cuts:TopP", Stage.CUT), high=1.0,
    )  # fmt: skip
    min_p: float = option(
        0.0, "Drop characters below this fraction of the largest probability; 0 is off.",
        FilterSpec("min_p", "cuts:MinP", Stage.CUT), high=1.0,
    )  # fmt: skip
    mirostat_tau: float = option(
        0.0, "Mirostat 2: target surprise in bits per character; 0 is off.", _MIROSTAT, high=_LARGE
    )
    mirostat_eta: float = option(0.1, "Mirostat 2: how quickly it adapts.", _MIROSTAT, high=1.0, switch=False)
    ban: tuple[int, ...] = option((), r"Characters never to generate; \n is a line end.", kind="symbols")
    logit_bias: tuple[tuple[int, float], ...] = option(
        (), r"Add a number to a character's logit, as in 'e=-2.5' or '\n=-inf'; repeatable.",
        FilterSpec("bias", "scaling:Bias", Stage.ADJUST), kind="biases", metavar="CHARACTER=NUMBER",
    )  # fmt: skip
    repetition_penalty: float = option(
        1.0, "Divide positive and multiply negative logits of characters in the window by this; 1 is off.", _PENALTIES,
        1.0 / _LARGE, high=_LARGE,
    )  # fmt: skip
    presence_penalty: float = option(
        0.0, "Subtract this from the logits of characters in the window; 0 is off.", _PENALTIES, -_LARGE, high=_LARGE
    )
    frequency_penalty: float = option(
        0.0, "Subtract this once per occurrence in the window; 0 is off.", _PENALTIES, -_LARGE, high=_LARGE
    )
    penalty_window: int = option(
        64, "Number of preceding characters, prompt included, that these penalties consider.", _PENALTIES, high=_LONG,
        switch=False, window=True,
    )  # fmt: skip
    dry_multiplier: float = option(
        0.0, "DRY: strength of the penalty for extending a repetition; 0 is off.", _DRY, high=_LARGE
    )
    dry_base: float = option(
        1.75, "DRY: factor by which the penalty grows per repeated character.", _DRY, 1.0, high=_LARGE, switch=False
    )
    # llama.cpp's 2 and 64 count tokens of about four letters, and 2 letters recur in any good text.
    dry_allowed_length: int = option(
        12, "DRY: shortest repetition whose extension is penalised.", _DRY, 1, high=_LONG, switch=False
    )
    dry_window: int = option(
        1024, "DRY: number of preceding characters, prompt included, to search.", _DRY, high=_LONG, switch=False,
        window=True,
    )  # fmt: skip
    dry_breakers: tuple[int, ...] = option(
        (), r"DRY: characters that end a repetition; \n is a line end.", _DRY, kind="symbols", switch=False
    )
    xtc_probability: float = option(
        0.0, "XTC: probability of excluding the most likely characters; 0 is off.", _XTC, high=1.0
    )
    xtc_threshold: float = option(
        0.1, "XTC: exclude all characters of at least this probability, except the least likely of them.", _XTC,
        high=1.0, not_zero="0 would leave only the least likely symbol", switch=False,
    )  # fmt: skip
    order: tuple[str, ...] | None = option(
        None, "Order of the filters. Default: {order}.", kind="names", metavar="NAME,NAME,..."
    )

    def __post_init__(self) -> None:
        for f in fields(self):
            declared: Declaration = f.metadata["declaration"]
            if declared.low is not None and declared.high is not None:
                if f.type == "int":
                    check_whole(f.name, getattr(self, f.name))
                _check_range(f.name, getattr(self, f.name), declared)
        self._check_dynamic_temperature()
        self._check_ids()
        self._check_order()

    def active(self) -> tuple[str, ...]:
        """The filters that do something, in order; bans are not among them."""
        names = order_of(type(self)) if self.order is None else self.order
        return tuple(name for name in names if self._is_on(name))

    def is_plain(self) -> bool:
        """Whether top-k, top-p and one temperature in their usual order are all there is to do."""
        active = self.active()
        if self.banned() or self.dynamic_temperature is not None:
            return False
        return active == tuple(name for name in ("top_k", "top_p", "temperature") if name in active)

    def changed(self) -> tuple[str, ...]:
        """The options that were given, other than bans."""
        own = {"ban": (), "logit_bias": tuple(pair for pair in self.logit_bias if pair[1] != -math.inf)}
        return tuple(f.name for f in fields(self) if own.get(f.name, getattr(self, f.name)) != f.default)

    def idle(self) -> dict[str, str]:
        """Options that were given but change nothing -> the option that would make them count."""
        found, known = {}, declarations(type(self))
        for name in self.changed():
            declared = known[name]
            if declared.filter and not (declared.switch or declared.window or self._is_on(declared.filter.name)):
                found[name] = next(k for k, other in known.items() if other.filter is declared.filter and other.switch)
        if "dynamic_exponent" in self.changed() and self.dynamic_temperature is None:
            found["dynamic_exponent"] = "dynamic_temperature"
        return found

    def banned(self) -> tuple[int, ...]:
        """Ids that are never drawn, from `ban` and from biases of minus infinity."""
        return tuple(sorted({*self.ban, *(key for key, value in self.logit_bias if value == -math.inf)}))

    def values_of(self, name: str) -> dict[str, Any]:
        """The options of one filter, as its class takes them."""
        found = declarations(type(self)).items()
        return {key: getattr(self, key) for key, declared in found if declared.filter and declared.filter.name == name}

    def _is_on(self, name: str) -> bool:
        on = False
        for f in fields(self):
            declared = f.metadata["declaration"]
            if declared.filter is not None and declared.filter.name == name:
                value = getattr(self, f.name)
                if declared.window and not value:
                    return False
                on |= declared.switch and value != f.default
        return on

    def _check_dynamic_temperature(self) -> None:
        if self.dynamic_temperature is None:
            return
        try:
            low, high = self.dynamic_temperature
        except (TypeError, ValueError):
            found = shown(self.dynamic_temperature)
            raise SettingsError(f"dynamic_temperature: must be the lowest and the highest, not {found}") from None
        for value in (low, high):
            _check_range("dynamic_temperature", value, declarations(type(self))["temperature"])
        if low > high:
            raise SettingsError(f"dynamic_temperature: the lowest, {shown(low)}, is above the highest, {shown(high)}")
        if self.temperature != 1.0:
            raise SettingsError("dynamic_temperature: replaces temperature; give only one of them")

    def _check_ids(self) -> None:
        try:
            keys = [key for key, _ in self.logit_bias]
        except (TypeError, ValueError):
            found = shown(self.logit_bias)
            raise SettingsError(f"logit_bias: must be pairs of an id and a number, not {found}") from None
        for name, ids in (("ban", self.ban), ("dry_breakers", self.dry_breakers), ("logit_bias", keys)):
            for key in ids:
                check_whole(name, key, low=0)
        if len(set(keys)) < len(keys):
            raise SettingsError("logit_bias: a symbol is given twice")
        for _, value in self.logit_bias:
            if value != -math.inf:
                _check_range("logit_bias", value, Declaration("", low=-_LARGE, high=_LARGE))

    def _check_order(self) -> None:
        if self.order is None:
            return
        known = order_of(type(self))
        allowed = ", ".join(known)
        for name in self.order:
            if name not in known:
                raise SettingsError(f"order: no filter is called {shown(name)}", hint=f"allowed: {allowed}")
            if self.order.count(name) > 1:
                raise SettingsError(f"order: {name} is given twice")
        for name in known:
            if name not in self.order and self._is_on(name):
                raise SettingsError(f"order: {name} is switched on but not in the order", hint=f"allowed: {allowed}")


def declarations(kind: type[SamplingOptions] = SamplingOptions) -> dict[str, Declaration]:
    """Option name -> what is known about it, in the order of declaration."""
    return {f.name: f.metadata["declaration"] for f in fields(kind)}


def filter_specs(kind: type[SamplingOptions] = SamplingOptions) -> dict[str, FilterSpec]:
    """Filter name -> filter, in the order in which they run by default."""
    found = {d.filter.name: d.filter for d in declarations(kind).values() if d.filter}
    return dict(sorted(found.items(), key=lambda item: item[1].stage))


def order_of(kind: type[SamplingOptions] = SamplingOptions) -> tuple[str, ...]:
    """The default order of the filters."""
    return tuple(filter_specs(kind))


def help_of(name: str, kind: type[SamplingOptions] = SamplingOptions) -> str:
    """What an option does, as a sentence."""
    return declarations(kind)[name].help.replace("{order}", ", ".join(order_of(kind)))


def json_schema(kind: type[SamplingOptions] = SamplingOptions) -> dict[str, Any]:
    """A JSON schema of the options, for programs that offer them."""
    types = {"int": "integer", "float": "number"}
    properties: dict[str, Any] = {}
    for f in fields(kind):
        declared: Declaration = f.metadata["declaration"]
        entry = {"description": help_of(f.name, kind), "type": types.get(str(f.type), "array"), "default": f.default}
        if f.default is None:
            entry["type"] = [entry["type"], "null"]
        if declared.low is not None:
            entry["exclusiveMinimum" if declared.not_zero else "minimum"] = declared.low
        if declared.high not in (None, sys.float_info.max, sys.maxsize):
            entry["maximum"] = declared.high
        properties[f.name] = entry
    return {"type": "object", "properties": properties, "additionalProperties": False}


def check_whole(name: str, value: object, *, low: float = -math.inf) -> None:
    """Check a whole number that a program gives.

    Raises:
        SettingsError: no whole number, or below `low`.
    """
    if isinstance(value, bool) or not isinstance(value, Integral) or value < low:
        bound = "" if low == -math.inf else f", {low} or more"
        raise SettingsError(f"{name}: must be a whole number{bound}, not {shown(value)}")


def _check_range(name: str, value: object, declared: Declaration) -> None:
    if isinstance(value, bool) or not isinstance(value, Real):
        raise SettingsError(f"{name}: must be a number, not {shown(value)}")
    value = cast(float, value)
    low, high = declared.low or 0.0, math.inf if declared.high is None else declared.high
    if declared.not_zero and value == 0:
        raise SettingsError(f"{name}: must be above 0, because {declared.not_zero}")
    if low <= value <= high:  # false for a NaN
        return
    if high >= sys.maxsize:
        raise SettingsError(f"{name}: must be a finite number, {low:g} or more, not {shown(value)}")
    raise SettingsError(f"{name}: must be between {low:,.7g} and {high:,.7g}, not {shown(value)}")
