"""Load settings from YAML and write them back."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from shlex import quote
from typing import Any

import msgspec
from msgspec import inspect

from charrnn.config.encodings import BYTES, codec_name, nearest_encoding
from charrnn.config.file import read_sections
from charrnn.config.messages import (
    allowed_values,
    nearest,
    one_line,
    translate,
    unknown_setting,
    wrong_name,
    wrong_value,
)
from charrnn.config.schema import Config, CorpusSettings, ModelSettings, TrainingSettings, renamed
from charrnn.errors import SettingsError, shown

_VARIED = {"base", "grid", "zip", "random"}  # at the top level of a sweep file
# How runs behaved before a setting existed, where that differs from its default.
_BEFORE = {"training": {"state_reset": 0.0}}


class SweepFileError(SettingsError):
    """A sweep file where settings of one run are wanted."""


def load_config(path: str | Path, overrides: Sequence[str] = ()) -> Config:
    """Read the settings in a YAML file.

    Args:
        path: the file, in UTF-8.
        overrides: ``section.name=value`` each, value a YAML scalar; they override the file, later ones earlier ones.

    Raises:
        SettingsError: no such file, not YAML, or a setting that is unknown, missing or impossible.

    Example:
        >>> charrnn.load_config(Path("tiny/config.yaml"), ["model.hidden_size=8"]).model.hidden_size
        8
    """
    return _build(read_config(Path(path)), one_line(path), overrides)


def read_config(path: Path) -> Any:
    """The sections in a YAML file, unchecked.

    Raises:
        SettingsError: no such file, or not YAML.
        SweepFileError: settings of many runs.
    """
    found = read_sections(path, _sections())
    if isinstance(found, dict) and found.keys() & _VARIED and not found.keys() & _sections():
        name = one_line(path)
        hint = f"to run it: charrnn sweep {quote(name)}"
        raise SweepFileError(f"{name}: a sweep file, not settings of one run", hint=hint)
    return {} if found is None else found


def parse_config(text: str, *, where: str, overrides: Sequence[str] = ()) -> Config:
    """Read the settings in a YAML text; `where` names it in errors, the rest is as in `load_config`.

    Raises:
        SettingsError: see `load_config`.
    """
    from charrnn.config.yaml import load_yaml

    obj = load_yaml(text, where=where)
    return _build({} if obj is None else obj, where, overrides)


def config_from_dict(
    obj: object, *, where: str, overrides: Sequence[str] = (), base: Mapping[str, Mapping[str, object]] | None = None
) -> Config:
    """Check settings given as nested dicts, as `config_to_dict` returns them and checkpoints store them.

    Args:
        obj: sections of settings; not changed.
        where: its name in errors.
        overrides: as in `load_config`.
        base: values, instead of the defaults, of what neither of them gives.

    Raises:
        SettingsError: a setting that is unknown, missing or impossible.
    """
    return _build(obj, where, overrides, base)


def given_settings(obj: object, *, where: str, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """Path -> value of what settings and overrides give by themselves, without the defaults; see `config_from_dict`."""
    sections = _checked_names(obj, where)
    for item in overrides:
        _override(sections, item)
    return dict(_leaves(sections))


def config_of_names(settings: Mapping[str, object], base: Config | None = None) -> Config:
    """Settings by their names alone, as Python programs give them: hidden_size=128, max_steps=500.

    Args:
        settings: name without section -> value.
        base: what is not named; None for the defaults. Without it, a limit in steps or minutes takes the place of the
            default limit in epochs.

    Raises:
        SettingsError: a setting that is unknown, missing or impossible.
    """
    homes = {name: section for section, kind in _sections().items() for name in kind.__struct_fields__}
    sections: dict[str, Any] = {} if base is None else config_to_dict(base)
    if base is None and {"max_steps", "max_minutes"} & set(settings):
        settings = {"epochs": None, **settings}
    for name, value in settings.items():
        if name not in homes:
            close = nearest(name, homes)
            raise SettingsError(f"{name}: no such setting", hint=f"did you mean {close}?" if close else None)
        sections.setdefault(homes[name], {})[name] = value
    return config_from_dict(sections, where="the settings")


def with_older_values(sections: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """The settings in a checkpoint; those it predates have the values then in effect."""
    return {name: {**_BEFORE.get(name, {}), **sections.get(name, {})} for name in {**sections, **_BEFORE}}


def keep_older_values(saved: Config, wanted: Config) -> Config:
    """`wanted`, but a setting left at its default keeps the value in effect when the run began without it."""
    sections, before = config_to_dict(wanted), config_to_dict(saved)
    for section, names in _BEFORE.items():
        default = msgspec.to_builtins(_sections()[section]())
        for name, value in names.items():
            if before[section][name] == value and sections[section][name] == default[name]:
                sections[section][name] = value
    return config_from_dict(sections, where="the settings")


def changed_settings(before: Config, after: Config) -> dict[str, tuple[Any, Any]]:
    """Path -> value before and after, of every setting whose value is another."""
    old, new = (dict(_leaves(config_to_dict(config))) for config in (before, after))
    return {path: (old[path], new[path]) for path in new if old[path] != new[path]}


def config_to_dict(config: Config) -> dict[str, Any]:
    """All settings as nested dicts of plain values, defaults included."""
    builtins: dict[str, Any] = msgspec.to_builtins(config)
    return builtins


def dump_config(config: Config) -> str:
    """All settings as YAML, defaults included; `parse_config` reads them back as an equal `Config`."""
    from charrnn.config.yaml import dump_yaml

    return dump_yaml(config_to_dict(config))


def json_schema() -> dict[str, Any]:
    """The JSON Schema of a settings file, for editors; names come from the registries."""
    _, parts = msgspec.json.schema_components([Config], ref_template="#/$defs/{name}")
    owners = {name: kind.__name__ for name, kind in _sections().items()}
    for path, names in _allowed_names().items():
        section, _, name = path.partition(".")
        parts[owners[section]]["properties"][name]["enum"] = list(names)
    schema = parts.pop("Config")
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **schema,
        "title": "charrnn settings",
        "$defs": parts,
    }


def _allowed_names() -> dict[str, tuple[str, ...]]:
    """Names that a setting may take, by the setting's path, sorted."""
    from charrnn.nn.cells import CELLS
    from charrnn.nn.clip import CLIPPERS
    from charrnn.nn.optimizers import OPTIMIZERS
    from charrnn.nn.schedule import SCHEDULES

    return {
        "model.cell": tuple(sorted(CELLS)),
        "training.optimizer": tuple(sorted(OPTIMIZERS)),
        "training.schedule": tuple(sorted(SCHEDULES)),
        "training.grad_clip_mode": tuple(sorted(CLIPPERS)),
    }


def _is_installed(cell: str) -> bool:
    """Whether another package has a cell of this name."""
    from charrnn.nn.cells import CELLS

    try:
        return bool(CELLS[cell])
    except KeyError:
        return False


def _sections() -> dict[str, type[msgspec.Struct]]:
    """Class of each section by its name."""
    return {"corpus": CorpusSettings, "model": ModelSettings, "training": TrainingSettings}


@cache
def _kinds() -> dict[str, inspect.Type]:
    """Type of each setting by its path."""
    found: dict[str, inspect.Type] = {}
    for section, cls in _sections().items():
        info = inspect.type_info(cls)
        assert isinstance(info, inspect.StructType)
        found |= {f"{section}.{field.name}": field.type for field in info.fields}
    return found


def _paths() -> list[str]:
    """Paths of all sections and settings."""
    return [*_sections(), *_kinds()]


def _build(
    obj: object, where: str, overrides: Sequence[str], base: Mapping[str, Mapping[str, object]] | None = None
) -> Config:
    """Check `obj` and its overrides, in the order of the most helpful errors: names, then values, then sums."""
    sections = _checked_names(obj, where)
    origins: dict[str, str] = {}
    for item in overrides:
        path = _override(sections, item)
        origins[path] = f"`overrides` {one_line(item)}"
    for section, settings in (base or {}).items():
        sections[section] = {**settings, **sections.get(section, {})}
    kinds = _kinds()

    def where_of(path: str) -> str:
        return origins.get(path, where)

    if "source" not in sections.get("corpus", {}):
        raise SettingsError(f"{where}: corpus.source: missing", hint="name a corpus, a file, a glob or a directory")
    for path, value in _leaves(sections):
        # NaN passes no comparison and infinity passes most, so neither is left to the ranges.
        if isinstance(value, float) and not math.isfinite(value):
            allowed = allowed_values(kinds[path]).replace("number", "finite number")
            raise wrong_value(where_of(path), path, value, allowed)
    try:
        config = msgspec.convert(sections, Config, strict=True)
    except msgspec.ValidationError as error:
        raise translate(error, sections, kinds=kinds, names=_allowed_names(), where_of=where_of) from None
    for path, names in _allowed_names().items():
        section, _, name = path.partition(".")
        found = getattr(getattr(config, section), name)
        if found not in names and not (path == "model.cell" and _is_installed(found)):
            raise wrong_name(where_of(path), path, found, names)
    _check_encoding(config, where_of("corpus.encoding"))
    _check_together(config, where)
    return config


def _check_encoding(config: Config, where: str) -> None:
    name = config.corpus.encoding
    if codec_name(name) is None:
        close = nearest_encoding(name)
        raise wrong_value(
            where,
            "corpus.encoding",
            name,
            "bytes, or a text encoding that Python knows, such as utf-8, latin-1, cp1252, utf-16, gb18030"
            + (f" (did you mean {close!r}?)" if close else ""),
        )


def _checked_names(obj: object, where: str) -> dict[str, dict[str, object]]:
    """A copy of `obj` whose sections and settings are all known."""
    if not isinstance(obj, dict):
        raise wrong_value(where, "settings", obj, f"a mapping of {', '.join(_sections())}")
    paths = _paths()
    sections: dict[str, dict[str, object]] = {}
    for section, settings in obj.items():
        if section not in _sections():
            raise unknown_setting(where, "", section, paths)
        if not isinstance(settings, dict):
            raise wrong_value(where, section, settings, "a mapping of settings")
        sections[section] = {}
        for key, found in settings.items():
            path, value = renamed(f"{section}.{key}", found)
            if not isinstance(key, str) or path not in paths:
                raise unknown_setting(where, section, key, paths)
            name = path.partition(".")[2]
            if name in sections[section]:
                raise SettingsError(f"{where}: {path}: given twice, once under its old name")
            sections[section][name] = value
    return sections


def _override(sections: dict[str, dict[str, object]], item: str) -> str:
    """Put the value of ``section.name=value`` into `sections`; returns the path."""
    from charrnn.config.yaml import load_scalar, load_yaml

    path, equals, text = item.partition("=")
    path = path.strip()
    where = f"`overrides` {one_line(item)}"
    if not equals:
        raise SettingsError(f"{where}: no '=' found", hint="write `overrides` section.name=value")
    path, value = renamed(path, load_scalar(text, where=where))
    section, _, name = path.rpartition(".")
    if path not in _kinds():
        if path in _sections():
            raise SettingsError(
                f"{where}: {path} is a section", hint=f"set one of its settings: `overrides` {path}.name=value"
            )
        raise unknown_setting(where, section, name, _paths())
    if path == "corpus.source" and isinstance(value, str) and value.startswith("[") and value.endswith("]"):
        value = load_yaml(value, where=where)
    sections.setdefault(section, {})[name] = value
    return path


def _leaves(sections: dict[str, dict[str, object]]) -> Iterator[tuple[str, object]]:
    """Path and value of every setting given."""
    for section, settings in sections.items():
        for name, value in settings.items():
            yield f"{section}.{name}", value


def _check_together(config: Config, where: str) -> None:
    """Rules that involve more than one setting."""
    corpus, training = config.corpus, config.training
    held_out = corpus.val_fraction + corpus.test_fraction
    if held_out >= 1:
        raise SettingsError(
            f"{where}: corpus.val_fraction + corpus.test_fraction: found {held_out:g}, allowed: number < 1",
            hint="leave some of the text for training",
        )
    if corpus.documents == "lines" and corpus.document_separator != "\n":
        raise SettingsError(
            f"{where}: corpus.document_separator: found {shown(corpus.document_separator)}, allowed with "
            "corpus.documents: lines: null",
            hint="leave it out: lines end with a line feed",
        )
    if corpus.split == "shuffled" and corpus.document_separator is None:
        raise SettingsError(
            f"{where}: corpus.split: shuffled needs documents to shuffle",
            hint="set corpus.documents to lines or files, or corpus.document_separator to what divides the text",
        )
    if corpus.encoding == BYTES and corpus.normalize is not None:
        raise SettingsError(
            f"{where}: corpus.normalize: found {corpus.normalize!r}, allowed with corpus.encoding: bytes: null"
        )
    size = config.model.embedding_size
    if config.model.tie_weights and size not in (None, config.model.hidden_size):
        raise SettingsError(
            f"{where}: model.embedding_size: found {size}, allowed with model.tie_weights: null or the hidden size, "
            f"{config.model.hidden_size}"
        )
    if training.epochs is None and training.max_steps is None and training.max_minutes is None:
        raise SettingsError(
            f"{where}: training: no stopping condition",
            hint="set one of training.epochs, training.max_steps, training.max_minutes",
        )
