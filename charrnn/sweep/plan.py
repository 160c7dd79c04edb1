"""Read a sweep file: a base, what varies, and the resulting trials.

A trial is identified by its overrides alone. Its name is made of them, so that a sweep that is interrupted, extended or
moved to another machine finds its trials again.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from charrnn.config.builtin import settings_path
from charrnn.config.file import SWEEP, read_sections
from charrnn.config.load import config_from_dict, config_to_dict, load_config
from charrnn.config.messages import nearest, one_line
from charrnn.config.schema import Config
from charrnn.errors import SettingsError, shown

Scalar = str | int | float | bool | None
Overrides = dict[str, Scalar]

_NAME_LIMIT = 100  # characters; some file systems allow 143, and suffixes are added
_MOST_TRIALS = 10_000
_SEED = "training.seed"


class Draw(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a setting is drawn: exactly one of these."""

    uniform: tuple[float, float] | None = None
    log_uniform: tuple[float, float] | None = None
    integers: tuple[int, int] | None = None
    log_integers: tuple[int, int] | None = None
    choice: Annotated[list[Scalar], Meta(min_length=1)] | None = None

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
    grid: dict[str, Annotated[list[Scalar], Meta(min_length=1)]] = {}
    zip: list[dict[str, Annotated[list[Scalar], Meta(min_length=1)]]] = []
    random: dict[str, Draw] = {}
    trials: Annotated[int, Meta(ge=1)] = 10
    seed: Annotated[int, Meta(ge=0)] = 0
    seeds: Annotated[int, Meta(ge=1)] | list[Annotated[int, Meta(ge=0)]] = 1
    budget: Budget = Budget()
    search: Search | None = None
    jobs: Annotated[int, Meta(ge=1)] | Literal["auto"] = "auto"


@dataclass(frozen=True)
class Trial:
    """One run of the sweep.

    Attributes:
        name: of its directory.
        overrides: its changes to the sweep's base, by the settings' paths.
    """

    name: str
    overrides: Overrides


@dataclass(frozen=True)
class Plan:
    """A sweep, checked.

    Attributes:
        name: of the sweep.
        file: what the file says.
        base: the settings that every trial starts from, common overrides and the trial's budget included.
        trials: in order; none if a search chooses them.
    """

    name: str
    file: SweepFile
    base: Config
    trials: tuple[Trial, ...]

    @property
    def searches(self) -> bool:
        """Whether trials come from a search rather than from the plan."""
        return self.file.search is not None and self.file.search.sampler != "planned"

    def config(self, trial: Trial) -> Config:
        """All settings of a trial.

        Raises:
            SettingsError: one of them is impossible.
        """
        return overridden(self.base, trial.overrides, where=trial.name)


def read_plan(path: Path, overrides: Sequence[str] = ()) -> Plan:
    """Read a sweep file and make its trials.

    Args:
        path: the file (YAML).
        overrides: ``section.name=value`` each, for all trials.

    Raises:
        SettingsError: the file or a trial has something impossible.
    """
    where = one_line(path)
    file = _checked(read_sections(path, SweepFile.__struct_fields__, wanted=SWEEP), where)
    base = load_config(settings_path(file.base, beside=path.parent), overrides)
    budget = {"training.max_steps": file.budget.trial_steps, "training.max_minutes": file.budget.trial_minutes}
    common = {**file.set, **{k: v for k, v in budget.items() if v is not None}}
    base = overridden(base, common, where=f"{where}: set")
    trials = () if file.search and file.search.sampler != "planned" else tuple(_trials(file, base))
    plan = Plan(path.stem, file, base, trials)
    for trial in trials:
        plan.config(trial)
    return plan


def overridden(base: Config, overrides: Overrides, *, where: str) -> Config:
    """`base` with some settings changed.

    Raises:
        SettingsError: an unknown setting, or an impossible value.
    """
    sections = config_to_dict(base)
    for path, value in overrides.items():
        section, dot, name = path.partition(".")
        if not dot:
            raise SettingsError(
                f"{where}: {one_line(path)}: not a setting", hint="write section.name, as in model.cell"
            )
        sections.setdefault(section, {})[name] = value
    return config_from_dict(sections, where=where)


def trial_name(overrides: Overrides) -> str:
    """A directory's name that says what is overridden; the same overrides, the same name.

    Names are settings without their section; one that is too long for a file name, or has characters unfit for
    one, ends in a hash of all of it.
    """
    parts = [f"{path.rpartition('.')[2]}={_spelled(value)}" for path, value in overrides.items()]
    text = ",".join(parts) or "base"
    safe = re.sub(r"[^A-Za-z0-9_.,=+-]", "_", text)
    if safe == text and len(text) <= _NAME_LIMIT and not text.endswith("."):  # Windows drops a dot at the end
        return text
    return _hashed(safe, overrides)


def _hashed(name: str, overrides: Overrides) -> str:
    digest = hashlib.sha256(json.dumps(overrides).encode()).hexdigest()[:8]
    return f"{name[: _NAME_LIMIT - 9]}-{digest}"


def as_option(path: str, value: Scalar) -> str:
    """An override in the form of `--set`."""
    from charrnn.config.yaml import load_scalar

    text = _spelled(value)
    try:
        same = load_scalar(text, where="") == value and type(load_scalar(text, where="")) is type(value)
    except SettingsError:
        same = False
    return f"{path}={text if same else json.dumps(value)}"


def cross_with_seeds(file: SweepFile, base: Config, overrides: Overrides) -> Iterator[Overrides]:
    """`overrides` with each of the sweep's seeds, if there is more than the base's own."""
    if isinstance(file.seeds, int):
        seeds = [base.training.seed + k for k in range(file.seeds)] if file.seeds > 1 else []
    else:
        seeds = file.seeds
    if not seeds:
        yield overrides
    for seed in seeds:
        yield {**overrides, _SEED: seed}


def _spelled(value: Scalar) -> str:
    return value if isinstance(value, str) else shown(value)


def _trials(file: SweepFile, base: Config) -> Iterator[Trial]:
    """Grid times zipped lists times draws times seeds; equal ones once."""
    axes: list[list[Overrides]] = [[{path: value} for value in values] for path, values in file.grid.items()]
    axes += [
        [dict(zip(group, row, strict=True)) for row in zip(*group.values(), strict=True)] for group in file.zip if group
    ]
    if file.random:
        axes.append(list(_draws(file)))
    made: dict[str, Overrides] = {}
    for combination in itertools.product(*axes):
        together: Overrides = {path: value for part in combination for path, value in part.items()}
        for overrides in cross_with_seeds(file, base, together):
            made.setdefault(trial_name(overrides), overrides)
    folded = Counter(name.casefold() for name in made)
    for name, overrides in made.items():
        # On macOS and Windows, A and a are one directory.
        unlike = folded[name.casefold()] == 1 or name == name.casefold()
        yield Trial(name if unlike else _hashed(name, overrides), overrides)


def _draws(file: SweepFile) -> Iterator[Overrides]:
    """One draw of all random settings per trial; draw k depends on the seed, k and the setting's path alone."""
    for k in range(file.trials):
        out: Overrides = {}
        for path, draw in file.random.items():
            digest = hashlib.sha256(f"{file.seed}/{k}/{path}".encode()).digest()
            out[path] = draw.draw(int.from_bytes(digest[:6], "big") / 2**48)
        yield out


def _checked(obj: object, where: str) -> SweepFile:
    known = list(SweepFile.__struct_fields__)
    if not isinstance(obj, dict):
        raise SettingsError(f"{where}: not a sweep file", hint=f"write a mapping of {', '.join(known)}")
    if obj.keys() & Config.__struct_fields__:
        hint = (
            f"to train with them: charrnn train `config` {quote(where)}; to vary them: `base: {where}` in a sweep file"
        )
        raise SettingsError(f"{where}: settings of one run, not a sweep file", hint=hint)
    for key in obj:
        if key not in known:
            close = nearest(str(key), known)
            raise SettingsError(
                f"{where}: {one_line(key)}: unknown" + (f" (did you mean {close}?)" if close else ""),
                hint=None if close else f"allowed: {', '.join(known)}",
            )
    try:
        file = msgspec.convert(obj, SweepFile, strict=True)
    except msgspec.ValidationError as error:
        message, _, place = str(error).partition(" - at ")
        raise SettingsError(f"{where}: {place.strip('`').removeprefix('$.') or 'sweep'}: {message}") from None
    _check_draws(file, where)
    _check_paths(file, where)
    _check_count(file, where)
    search = file.search is not None and file.search.sampler != "planned"
    if search and (file.grid or file.zip or not file.random):
        raise SettingsError(
            f"{where}: search.sampler: a search chooses only from `random`",
            hint="move the searched settings to random (choice: [...] for lists), or use sampler: planned",
        )
    return file


def _check_count(file: SweepFile, where: str) -> None:
    """Before a short file makes more trials than memory holds."""
    axes = [len(values) for values in file.grid.values()]
    axes += [len(next(iter(group.values()))) for group in file.zip if group]
    axes += [file.trials] if file.random and (file.search is None or file.search.sampler == "planned") else []
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
    places = [("grid", path) for path in file.grid] + [("random", path) for path in file.random]
    for group in file.zip:
        places += [("zip", path) for path in group]
        lengths = {path: len(values) for path, values in group.items()}
        if len(set(lengths.values())) > 1:
            raise SettingsError(f"{where}: zip: lists of different lengths: {lengths}")
    if file.seeds != 1:
        places.append(("seeds", _SEED))
    seen: dict[str, str] = {}
    for part, path in places:
        if path in seen:
            raise SettingsError(f"{where}: {one_line(path)}: given under {seen[path]} and under {part}")
        seen[path] = part
