"""A sweep file as written: what it may hold, and what is refused."""

from __future__ import annotations

import math
from pathlib import Path
from shlex import quote
from typing import Annotated, Any, Literal, get_type_hints

import msgspec
from msgspec import Meta, inspect

from charrnn.config.file import SWEEP, read_sections
from charrnn.config.messages import allowed_values, bare, nearest, one_line, wrong_name, wrong_value
from charrnn.config.schema import Config, renamed
from charrnn.errors import SettingsError, shown

Scalar = str | int | float | bool | None
Overrides = dict[str, Scalar]
Values = Annotated[list[Scalar], Meta(min_length=1)]

SEED = "training.seed"
_DRAWN = 10  # trials, if the file does not say how many
_MOST_TRIALS = 10_000


class Draw(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a setting is drawn: exactly one of these."""

    uniform: tuple[float, float] | None = None
    log_uniform: tuple[float, float] | None = None
    integers: tuple[int, int] | None = None
    log_integers: tuple[int, int] | None = None
    choice: Values | None = None

    @property
    def kind(self) -> str:
        """The one that is given."""
        return next(name for name in self.__struct_fields__ if getattr(self, name) is not None)

    def draw(self, number: float) -> Scalar:
        """The value at `number` in [0, 1) of its distribution; four digits, so that a name holds all of it."""
        if self.choice is not None:
            return self.choice[int(number * len(self.choice))]
        low, high = getattr(self, self.kind)
        if self.kind == "integers":
            return int(low + int(number * (high - low + 1)))
        if self.kind == "log_integers":
            return min(int(high), int(low * ((high + 1) / low) ** number))
        value: float = low + number * (high - low) if self.kind == "uniform" else low * (high / low) ** number
        return float(min(max(float(f"{value:.4g}"), low), high))


class Budget(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Limits for each trial and for all of them."""

    trial_steps: Annotated[int, Meta(ge=1)] | None = None
    trial_minutes: Annotated[float, Meta(gt=0)] | None = None
    total_minutes: Annotated[float, Meta(gt=0)] | None = None


class Search(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Optuna's part: which trials come next, and which are pruned."""

    sampler: Literal["planned", "tpe", "gp", "random"] = "planned"
    trials: Annotated[int, Meta(ge=1)] | None = None
    pruner: Literal["none", "asha", "median"] = "none"
    min_validations: Annotated[int, Meta(ge=1)] = 1
    reduction_factor: Annotated[int, Meta(ge=2)] = 3
    storage: str | None = None


class SweepFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A sweep file as written."""

    base: Annotated[str, Meta(min_length=1)]
    set: Overrides = {}
    grid: dict[str, Values] = {}
    zip: list[dict[str, Values]] = []
    random: dict[str, Draw] = {}
    trials: Annotated[int, Meta(ge=1)] | None = None
    seed: Annotated[int, Meta(ge=0)] = 0
    seeds: Annotated[int, Meta(ge=1)] | Annotated[list[Annotated[int, Meta(ge=0)]], Meta(min_length=1)] = 1
    budget: Budget = Budget()
    search: Search | None = None
    jobs: Annotated[int, Meta(ge=1)] | Literal["auto"] = "auto"

    @property
    def searches(self) -> bool:
        """Whether trials come from a search rather than from a plan."""
        return self.search is not None and self.search.sampler != "planned"

    @property
    def draws(self) -> int:
        """How many trials are drawn or searched."""
        return (self.search.trials if self.search else None) or self.trials or _DRAWN

    @property
    def common(self) -> Overrides:
        """What is the same in all trials and differs from the base."""
        limits = {"training.max_steps": self.budget.trial_steps, "training.max_minutes": self.budget.trial_minutes}
        return {**self.set, **{path: value for path, value in limits.items() if value is not None}}

    def varied(self) -> list[tuple[str, str]]:
        """What trials differ by: part of the file, and the setting's current name."""
        paths = [(part, path) for part, given in (("grid", self.grid), ("random", self.random)) for path in given]
        paths += [("zip", path) for group in self.zip for path in group]
        paths += [("seeds", SEED)] if self.seeds != 1 else []
        return [(part, renamed(path, None)[0]) for part, path in paths]


def read_sweep_file(path: Path) -> SweepFile:
    """Read and check a sweep file, but for its settings' values.

    Raises:
        SettingsError: no such file, or something in it is impossible.
    """
    where = one_line(path)
    file = _converted(read_sections(path, SweepFile.__struct_fields__, wanted=SWEEP), where)
    _check_draws(file, where)
    _check_paths(file, where)
    _check_counts(file, where)
    if file.searches and (file.grid or file.zip or not file.random):
        raise SettingsError(
            f"{where}: search.sampler: a search chooses only from `random`",
            hint="move the searched settings to random (choice: [...] for lists), or use sampler: planned",
        )
    return file


def _converted(obj: object, where: str) -> SweepFile:
    if not isinstance(obj, dict):
        raise SettingsError(
            f"{where}: not a sweep file", hint=f"write a mapping of {', '.join(SweepFile.__struct_fields__)}"
        )
    if obj.keys() & Config.__struct_fields__:
        hint = (
            f"to train with them: charrnn train `config` {quote(where)}; to vary them: `base: {where}` in a sweep file"
        )
        raise SettingsError(f"{where}: settings of one run, not a sweep file", hint=hint)
    _check_fields(obj, SweepFile, where, "")
    for part in ("grid", "random"):
        for path, found in _mapping(obj.get(part, {}), where, part).items():
            if part == "random":
                _check_fields(found, Draw, where, f"random.{one_line(path)}")
            else:
                _check_value(found, Values, where, f"grid.{one_line(path)}")
    for part, kind in (("budget", Budget), ("search", Search)):
        if obj.get(part) is not None:
            _check_fields(obj[part], kind, where, part)
    try:
        return msgspec.convert(obj, SweepFile, strict=True)
    except msgspec.ValidationError as error:  # its own words, without the backticks that mark options in ours
        message, _, place = str(error).replace("`", "").partition(" - at ")
        raise SettingsError(f"{where}: {place.removeprefix('$.') or 'sweep'}: {message}") from None


def _check_fields(obj: object, kind: type[msgspec.Struct], where: str, path: str) -> None:
    """Check the names in a mapping, and the values that are no mappings themselves."""
    known = list(kind.__struct_fields__)
    hints = get_type_hints(kind, include_extras=True)
    for key, found in _mapping(obj, where, path or "sweep").items():
        place = ".".join(filter(None, (path, one_line(key))))
        if key not in known:
            close = nearest(str(key), known)
            raise SettingsError(
                f"{where}: {place}: unknown" + (f" (did you mean {close}?)" if close else ""),
                hint=None if close else f"allowed: {', '.join(known)}",
            )
        if not isinstance(found, dict) and key != "zip":
            _check_value(found, hints[key], where, place)
    for field in inspect.type_info(kind).fields:  # type: ignore[attr-defined]
        if field.required and field.name not in _mapping(obj, where, path):
            raise SettingsError(f"{where}: {field.name}: missing", hint=f"write {field.name}: and a value")


def _mapping(obj: object, where: str, path: str) -> dict[Any, Any]:
    if not isinstance(obj, dict):
        raise wrong_value(where, path, obj, "a mapping")
    return obj


def _check_value(found: object, kind: Any, where: str, path: str) -> None:
    try:
        msgspec.convert(found, kind, strict=True)
    except msgspec.ValidationError:
        allowed = bare(inspect.type_info(kind))
        if isinstance(allowed, inspect.LiteralType):
            raise wrong_name(where, path, found, map(str, allowed.values)) from None
        raise wrong_value(where, path, found, allowed_values(allowed)) from None
    if isinstance(found, float) and not math.isfinite(found):
        raise wrong_value(
            where, path, found, allowed_values(inspect.type_info(kind)).replace("number", "finite number")
        )


def _check_counts(file: SweepFile, where: str) -> None:
    """Before a short file makes more trials than memory holds."""
    if file.trials is not None and not file.random:
        raise SettingsError(
            f"{where}: trials: counts random draws, and there are none",
            hint="add `random`, or leave `trials` out: grids and lists say by themselves how many trials there are",
        )
    if file.search and file.search.trials is not None and not file.searches:
        raise SettingsError(
            f"{where}: search.trials: a plan (sampler: planned) has its own number of trials",
            hint="to search, add sampler: tpe; to draw that many trials at random, write `trials` at the top level",
        )
    if file.searches:
        count = file.draws
    else:
        axes = [len(values) for values in file.grid.values()]
        axes += [len(next(iter(group.values()))) for group in file.zip if group]
        axes += [file.draws] if file.random else []
        count = math.prod(axes) * (file.seeds if isinstance(file.seeds, int) else len(file.seeds))
    if count > _MOST_TRIALS:
        raise SettingsError(
            f"{where}: {shown(count)} trials, allowed: at most {_MOST_TRIALS}",
            hint="draw some of them with `random` and `trials`, or split the sweep",
        )


def _check_draws(file: SweepFile, where: str) -> None:
    for path, draw in file.random.items():
        given = [name for name in draw.__struct_fields__ if getattr(draw, name) is not None]
        if len(given) != 1:
            raise SettingsError(
                f"{where}: random.{one_line(path)}: found {len(given)} ways to draw it, allowed: one of "
                f"{', '.join(draw.__struct_fields__)}"
            )
        if draw.choice is not None:
            continue
        low, high = getattr(draw, draw.kind)
        least = 0 if draw.kind.startswith("log") else -math.inf
        ordered = math.isfinite(low) and math.isfinite(high) and least < low <= high
        if not ordered or not math.isfinite(high / low if least == 0 else high - low):
            raise SettingsError(
                f"{where}: random.{one_line(path)}.{draw.kind}: found [{low}, {high}], allowed: the lower bound first"
                + (", both above 0" if least == 0 else "")
                + (", not so far apart" if ordered else "")
            )


def _check_paths(file: SweepFile, where: str) -> None:
    """Check that no setting is varied twice, and that zipped lists have equal lengths."""
    for group in file.zip:
        lengths = {path: len(values) for path, values in group.items()}
        if len(set(lengths.values())) > 1:
            raise SettingsError(f"{where}: zip: lists of different lengths: {lengths}")
    seen: dict[str, str] = {}
    for part, path in file.varied():
        if path in seen:
            raise SettingsError(f"{where}: {one_line(path)}: given under {seen[path]} and under {part}")
        seen[path] = part
