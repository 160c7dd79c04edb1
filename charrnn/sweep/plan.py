"""Make trials from a sweep file: a base and what varies.

A trial is identified by its overrides alone. Its name is made of them, so that a sweep that is interrupted, extended or
moved to another machine finds its trials again.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from charrnn.config.builtin import settings_path
from charrnn.config.load import config_from_dict, config_to_dict, load_config
from charrnn.config.messages import one_line
from charrnn.config.schema import Config, renamed
from charrnn.errors import SettingsError, shown
from charrnn.sweep.file import SEED, Overrides, Scalar, SweepFile, read_sweep_file

_NAME_LIMIT = 100  # characters; some file systems allow 143, and suffixes are added


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
        return self.file.searches

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
        overrides: ``section.name=value`` each, for all trials; they override what the file sets.

    Raises:
        SettingsError: the file or a trial has something impossible.
    """
    file, where = read_sweep_file(path), one_line(path)
    base = load_config(settings_path(file.base, beside=path.parent), overrides)
    base = overridden(base, file.common, where=f"{where}: set", last=overrides)
    varied = {varied_path: part for part, varied_path in file.varied()}
    for item in overrides:
        if (given := renamed(item.partition("=")[0].strip(), None)[0]) in varied:
            raise SettingsError(
                f"`overrides` {one_line(item)}: the sweep varies {given}, under {varied[given]} in {where}",
                hint="change it there",
            )
    plan = Plan(path.stem, file, base, () if file.searches else tuple(_trials(file, base)))
    for trial in plan.trials:
        plan.config(trial)
    return plan


def overridden(base: Config, overrides: Overrides, *, where: str, last: Sequence[str] = ()) -> Config:
    """`base` with some settings changed, then with those of `last`, ``section.name=value`` each.

    Raises:
        SettingsError: an unknown setting, or an impossible value.
    """
    sections = config_to_dict(base)
    for path, value in (renamed(*item) for item in overrides.items()):
        section, dot, name = path.partition(".")
        if not dot:
            raise SettingsError(
                f"{where}: {one_line(path)}: not a setting", hint="write section.name, as in model.cell"
            )
        sections.setdefault(section, {})[name] = value
    return config_from_dict(sections, where=where, overrides=last)


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


def as_options(overrides: Overrides) -> list[str]:
    """Each override in the form of `--set`."""
    return [as_option(path, value) for path, value in overrides.items()]


def cross_with_seeds(file: SweepFile, base: Config, overrides: Overrides) -> Iterator[Overrides]:
    """`overrides` with each of the sweep's seeds, if there is more than the base's own."""
    if isinstance(file.seeds, int):
        seeds = [base.training.seed + k for k in range(file.seeds)] if file.seeds > 1 else []
    else:
        seeds = file.seeds
    if not seeds:
        yield overrides
    for seed in seeds:
        yield {**overrides, SEED: seed}


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
    for k in range(file.draws):
        out: Overrides = {}
        for path, draw in file.random.items():
            digest = hashlib.sha256(f"{file.seed}/{k}/{path}".encode()).digest()
            out[path] = draw.draw(int.from_bytes(digest[:6], "big") / 2**48)
        yield out
