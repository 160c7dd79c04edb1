"""How symbols are chosen: the settings of all filters, their neutral values and their order."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from dataclasses import dataclass, fields

from charrnn.errors import SettingsError, shown

# The order of llama.cpp. Bans are not in it: they come before everything else, or a cut might keep only banned symbols.
ORDER = (
    "bias", "penalties", "dry", "top_n_sigma", "top_k", "typical", "top_p", "min_p", "xtc", "temperature", "mirostat",
)  # fmt: skip
_SHORT_WAY = ("top_k", "top_p", "temperature")  # what `charrnn.sampling.draw.Chooser` does by itself, in this order
_LARGE = 1e6  # logits changed by more than this would lose their digits; further away, exp is 0 anyway
_LONG = 1_000_000


@dataclass(frozen=True)
class SamplingOptions:
    """How a symbol is chosen.

    Attributes:
        temperature: divides the logits; 0 takes the most likely symbol.
        top_k: keep the k most likely symbols; 0 keeps all.
        top_p: keep the most likely symbols that together reach this probability; 1 keeps all.
            Source: Holtzman et al. (2020).
    """

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0


@dataclass(frozen=True)
class SamplerOptions(SamplingOptions):
    """All settings of the filters; with the defaults nothing changes.

    Attributes:
        min_p: drop symbols below this share of the largest probability; 0 is off. Source: Nguyen et al. (2024).
        typical: keep the symbols of the most ordinary surprise that together reach this probability; 1 is off.
            Source: Meister et al. (2023).
        top_n_sigma: keep logits at most this many standard deviations below the largest; 0 is off.
            Source: Tang et al. (2024).
        mirostat_tau: surprise to aim at, in bits a symbol; 0 is off. Source: Basu et al. (2021), version 2.
        mirostat_eta: how fast mirostat corrects itself.
        repetition_penalty: divides positive and multiplies negative logits of symbols in the window; 1 is off.
            Source: Keskar et al. (2019).
        presence_penalty: taken from the logits of symbols in the window; 0 is off.
        frequency_penalty: the same, once for each time the symbol is there.
        penalty_window: how many of the last symbols the three penalties look at, prime included; 0 is off.
        dry_multiplier: strength of the penalty on symbols that would prolong a repeat; 0 is off. Source: p-e-w (2024).
        dry_base: growth of that penalty with each symbol that the repeat is longer.
        dry_allowed_length: the shortest repeat whose prolongation is penalised.
        dry_window: how many of the last symbols are searched for repeats, prime included.
        dry_breakers: ids that no repeat reaches across.
        xtc_probability: how often the most likely symbols are left out; 0 is off. Source: p-e-w (2024).
        xtc_threshold: symbols of at least this probability are left out, all but the least likely of them.
        logit_bias: (id, number to add) pairs; minus infinity bans the symbol.
        ban: ids that are never drawn.
        dynamic_temperature: lowest and highest temperature; the entropy decides. None is off. Source: kalomaze (2024).
        dynamic_exponent: bends the way from entropy to temperature.
        order: names of the filters in the order in which they run; see `ORDER`. Bans always come first.

    Raises:
        SettingsError: a value that is not possible, or a filter that is on and missing in `order`.
    """

    min_p: float = 0.0
    typical: float = 1.0
    top_n_sigma: float = 0.0
    mirostat_tau: float = 0.0
    mirostat_eta: float = 0.1
    repetition_penalty: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    penalty_window: int = 64
    dry_multiplier: float = 0.0
    dry_base: float = 1.75
    # llama.cpp's 2 and 64 count tokens of about four letters, and 2 letters recur in any good text.
    dry_allowed_length: int = 12
    dry_window: int = 1024
    dry_breakers: tuple[int, ...] = ()
    xtc_probability: float = 0.0
    xtc_threshold: float = 0.1
    logit_bias: tuple[tuple[int, float], ...] = ()
    ban: tuple[int, ...] = ()
    dynamic_temperature: tuple[float, float] | None = None
    dynamic_exponent: float = 1.0
    order: tuple[str, ...] = ORDER

    def __post_init__(self) -> None:
        for name, (low, high) in _RANGES.items():
            _check_range(name, getattr(self, name), low, high)
        for name, kind in _ABOVE_ZERO.items():
            if getattr(self, name) == 0:
                raise SettingsError(f"{name}: must be above 0, because {kind}")
        self._check_dynamic_temperature()
        self._check_ids()
        self._check_order()

    def active(self) -> tuple[str, ...]:
        """The filters that do something, in order; bans are not among them."""
        return tuple(name for name in self.order if _IS_ON[name](self))

    def is_short(self) -> bool:
        """Whether top-k, top-p and one temperature in their usual order are all there is to do."""
        active = self.active()
        if self.banned() or self.dynamic_temperature is not None:
            return False
        return active == tuple(name for name in _SHORT_WAY if name in active)

    def banned(self) -> tuple[int, ...]:
        """Ids that are never drawn, from `ban` and from biases of minus infinity."""
        return tuple(sorted({*self.ban, *(key for key, value in self.logit_bias if value == -math.inf)}))

    def biases(self) -> tuple[tuple[int, float], ...]:
        """The biases that do something and are no bans."""
        return tuple((key, value) for key, value in self.logit_bias if value not in (0.0, -math.inf))

    def _check_dynamic_temperature(self) -> None:
        if self.dynamic_temperature is None:
            return
        low, high = self.dynamic_temperature
        _check_range("dynamic_temperature", low, 0.0, sys.float_info.max)
        _check_range("dynamic_temperature", high, 0.0, sys.float_info.max)
        if low > high:
            raise SettingsError(f"dynamic_temperature: the lowest, {shown(low)}, is above the highest, {shown(high)}")
        if self.temperature != 1.0:
            raise SettingsError("dynamic_temperature: takes the place of temperature; give one of the two")

    def _check_ids(self) -> None:
        for name in ("ban", "dry_breakers"):
            if any(key < 0 for key in getattr(self, name)):
                raise SettingsError(f"{name}: ids must not be negative")
        keys = [key for key, _ in self.logit_bias]
        if any(key < 0 for key in keys):
            raise SettingsError("logit_bias: ids must not be negative")
        if len(set(keys)) < len(keys):
            raise SettingsError("logit_bias: a symbol is given twice")
        for _, value in self.logit_bias:
            if value != -math.inf:
                _check_range("logit_bias", value, -_LARGE, _LARGE)

    def _check_order(self) -> None:
        allowed = ", ".join(ORDER)
        for name in self.order:
            if name not in _IS_ON:
                raise SettingsError(f"order: no filter is called {shown(name)}", hint=f"allowed: {allowed}")
            if self.order.count(name) > 1:
                raise SettingsError(f"order: {name} is given twice")
        for name in ORDER:
            if name not in self.order and _IS_ON[name](self):
                raise SettingsError(f"order: {name} is switched on but not in the order", hint=f"allowed: {allowed}")


# Lowest and highest allowed values, both included.
_RANGES: dict[str, tuple[float, float]] = {
    "temperature": (0.0, sys.float_info.max),
    "top_k": (0, sys.maxsize),
    "top_p": (0.0, 1.0),
    "min_p": (0.0, 1.0),
    "typical": (0.0, 1.0),
    "top_n_sigma": (0.0, _LARGE),
    "mirostat_tau": (0.0, _LARGE),
    "mirostat_eta": (0.0, 1.0),
    "repetition_penalty": (1.0 / _LARGE, _LARGE),
    "presence_penalty": (-_LARGE, _LARGE),
    "frequency_penalty": (-_LARGE, _LARGE),
    "penalty_window": (0, _LONG),
    "dry_multiplier": (0.0, _LARGE),
    "dry_base": (1.0, _LARGE),
    "dry_allowed_length": (1, _LONG),
    "dry_window": (0, _LONG),
    "xtc_probability": (0.0, 1.0),
    "xtc_threshold": (0.0, 1.0),
    "dynamic_exponent": (0.0, _LARGE),
}
_ABOVE_ZERO = {
    "xtc_threshold": "0 would leave only the least likely symbol",
    "dynamic_exponent": "0 would make every temperature the highest",
}
_IS_ON: dict[str, Callable[[SamplerOptions], bool]] = {
    "bias": lambda o: bool(o.biases()),
    "penalties": lambda o: (
        o.penalty_window > 0 and (o.repetition_penalty, o.presence_penalty, o.frequency_penalty) != (1.0, 0.0, 0.0)
    ),
    "dry": lambda o: o.dry_multiplier > 0.0 and o.dry_window > 0,
    "top_n_sigma": lambda o: o.top_n_sigma > 0.0,
    "top_k": lambda o: o.top_k > 0,
    "typical": lambda o: o.typical < 1.0,
    "top_p": lambda o: o.top_p < 1.0,
    "min_p": lambda o: o.min_p > 0.0,
    "xtc": lambda o: o.xtc_probability > 0.0,
    "temperature": lambda o: o.temperature != 1.0 or o.dynamic_temperature is not None,
    "mirostat": lambda o: o.mirostat_tau > 0.0,
}
FIELDS = tuple(field.name for field in fields(SamplerOptions))


def _check_range(name: str, value: float, low: float, high: float) -> None:
    if low <= value <= high:  # false for a NaN
        return
    if high >= sys.maxsize:
        raise SettingsError(f"{name}: must be a finite number, {low:g} or more, not {shown(value)}")
    raise SettingsError(f"{name}: must be between {low:,.7g} and {high:,.7g}, not {shown(value)}")
