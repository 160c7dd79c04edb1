"""What is wrong with a setting, in one line: its path, what was found, what is allowed, the nearest right name.

msgspec decides what fits a type; this module turns its verdict into words, reading the allowed range from the same
annotations. It knows types and names, not which settings exist.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Sequence

import msgspec
from msgspec import inspect

from charrnn.errors import SettingsError, shown


def one_line(name: object) -> str:
    """A path, option or key unchanged, or quoted and shortened if it is empty, long or has line breaks."""
    text = str(name)
    return text if text.isprintable() and 0 < len(text) <= 120 else shown(text, 120)


def nearest(name: str, candidates: Iterable[str]) -> str | None:
    """The candidate that `name` most probably meant, if any is close; case does not count."""
    by_lower = {candidate.lower(): candidate for candidate in candidates}
    close = difflib.get_close_matches(name.lower(), by_lower, n=1)
    return by_lower[close[0]] if close else None


def unknown_setting(where: str, section: str, key: object, settings: Sequence[str]) -> SettingsError:
    """An error for a key that is not a setting.

    Args:
        where: the file or option that holds the key.
        section: path of the mapping that holds it, "" for the whole document.
        key: the key as found.
        settings: paths of all sections and settings there are.
    """
    text = one_line(key) if isinstance(key, str) else shown(key)
    path = f"{section}.{text}" if section else text
    here = {s.rpartition(".")[2]: s for s in settings if s.rpartition(".")[0] == section}
    elsewhere = {s.rpartition(".")[2]: s for s in settings if s.rpartition(".")[0] != section}
    meant: str | None = None
    if isinstance(key, str):
        # The right name in the wrong section is a better guess than a similar name in the right one.
        match = elsewhere.get(key)
        if match is None and (name := nearest(key, here)):
            match = here[name]
        if match is None and (name := nearest(key, elsewhere)):
            match = elsewhere[name]
        meant = match
    suffix = f" (did you mean {meant}?)" if meant else ""
    hint = None if meant else f"allowed {'in ' + section if section else 'here'}: {', '.join(here)}"
    return SettingsError(f"{where}: {path}: unknown setting{suffix}", hint=hint)


def wrong_value(where: str, path: str, found: object, allowed: str) -> SettingsError:
    """An error for a value of a wrong type or out of range."""
    return SettingsError(f"{where}: {path}: found {shown(found)}, allowed: {allowed}")


def wrong_name(where: str, path: str, found: object, names: Iterable[str]) -> SettingsError:
    """An error for a value that should have been one of `names`."""
    names = sorted(names)
    close = nearest(found, names) if isinstance(found, str) else None
    suffix = f" (did you mean {close!r}?)" if close else ""
    return wrong_value(where, path, found, ", ".join(names) + suffix)


def bare(kind: inspect.Type) -> inspect.Type:
    """The type without the description around it."""
    while isinstance(kind, inspect.Metadata):
        kind = kind.type
    return kind


def allowed_values(kind: inspect.Type) -> str:
    """What values a type takes, in words: ``integer >= 1``, ``number >= 0 and < 1``, ``text, not empty, or null``."""
    kind = bare(kind)
    if isinstance(kind, inspect.UnionType):
        # A list of what may also stand by itself goes without saying.
        members = [m for m in kind.types if not isinstance(m, inspect.NoneType | inspect.VarTupleType)]
        return " or ".join(map(allowed_values, members)) + (", or null" if kind.includes_none else "")
    if isinstance(kind, inspect.IntType | inspect.FloatType):
        noun = "integer" if isinstance(kind, inspect.IntType) else "number"
        bounds = ((">", kind.gt), (">=", kind.ge), ("<", kind.lt), ("<=", kind.le))
        text = " and ".join(f"{sign} {bound}" for sign, bound in bounds if bound is not None)
        return f"{noun} {text}" if text else noun
    if isinstance(kind, inspect.StrType):
        return "text, not empty" if kind.min_length else "text"
    if isinstance(kind, inspect.LiteralType):
        return ", ".join(map(str, kind.values))
    if isinstance(kind, inspect.BoolType):
        return "true or false"
    if isinstance(kind, inspect.TupleType):
        return f"a list of {len(kind.item_types)}: {', '.join(map(allowed_values, kind.item_types))}"
    if isinstance(kind, inspect.ListType):
        return "a list, not empty" if kind.min_length else "a list"
    return "a mapping of settings"


def translate(
    error: msgspec.ValidationError,
    obj: dict[str, dict[str, object]],
    *,
    kinds: dict[str, inspect.Type],
    names: dict[str, tuple[str, ...]],
    where_of: Callable[[str], str],
) -> SettingsError:
    """Translate msgspec's error into our words.

    Args:
        error: raised by `msgspec.convert` on `obj`.
        obj: sections of settings, whose keys are all known.
        kinds: type of each setting by path.
        names: allowed names of a setting by path, for those that have any.
        where_of: names the file or option that a setting, given by its path, came from.
    """
    place = re.search(r" - at `\$\.([a-z0-9_.]+)(?:\[(?:\d+|\.{3})\])?`\Z", str(error))
    if place is None or (path := place[1]) not in kinds:
        return SettingsError(f"{where_of('')}: {error}")  # a message in a form that this msgspec is not known to have
    section, _, name = path.partition(".")
    found, where = obj[section][name], where_of(path)
    kind = bare(kinds[path])
    choices = map(str, kind.values) if isinstance(kind, inspect.LiteralType) else names.get(path)
    if choices is not None:
        return wrong_name(where, path, found, choices)
    return wrong_value(where, path, found, allowed_values(kind))
