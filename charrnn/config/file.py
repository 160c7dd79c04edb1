"""Read a settings file, and say what a file is that holds none."""

# YAML is imported where it is read, because sampling and evaluation read none and start faster without.

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable
from pathlib import Path

from charrnn.config.messages import nearest, one_line
from charrnn.errors import SettingsError

_SUFFIXES = (".yaml", ".yml", ".json")
SWEEP = "sweep file"
_SHOWN = " (charrnn help sweep shows one)"
_ZIP = b"PK\x03\x04"


def read_settings(path: Path, *, wanted: str = "settings file") -> str:
    """The text of a settings file; `wanted` names it in errors.

    Raises:
        SettingsError: no such file, unreadable, or something else; the message says what it seems to be.
    """
    from charrnn.config.yaml import MAX_BYTES

    data = b""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
        return data.decode("utf-8")
    except FileNotFoundError:
        raise SettingsError(f"{one_line(path)}: no such {wanted}", hint=_files_near(path, wanted)) from None
    except IsADirectoryError:
        raise _none(path, "a directory", wanted) from None
    except UnicodeDecodeError as error:
        if b"\0" in data[:1000]:
            raise _none(path, "a checkpoint" if data.startswith(_ZIP) else "a binary file", wanted) from None
        raise SettingsError(
            f"{one_line(path)}: not UTF-8 (byte {error.start})", hint="save the file as UTF-8"
        ) from None
    except (OSError, ValueError) as error:  # ValueError: a null character in the path
        reason = getattr(error, "strerror", None) or error
        raise SettingsError(f"{one_line(path)}: cannot be read: {reason}") from None


def read_sections(path: Path, names: Iterable[str], *, wanted: str = "settings file") -> object:
    """What a settings file holds, as `charrnn.config.yaml.load_yaml` returns it.

    Args:
        path: the file.
        names: some of which a settings file has at its top level, and a text has not.
        wanted: as in `read_settings`.

    Raises:
        SettingsError: as `read_settings`; not YAML, or a text.
    """
    from charrnn.config.yaml import load_yaml

    text = read_settings(path, wanted=wanted)
    known = path.suffix.lower() in _SUFFIXES or re.search(rf"^['\"]?({'|'.join(names)})['\"]?\s*:", text, re.MULTILINE)
    try:
        found = load_yaml(text, where=one_line(path))
    except SettingsError:
        if known:
            raise
        raise _none(path, _kind(text), wanted) from None
    named = isinstance(found, dict) and all(name.replace("_", "").islower() for name in found)  # or misspelled
    if not known and not named and found is not None:
        raise _none(path, _kind(text), wanted)
    return found


def _kind(text: str) -> str:
    return "an HTML page" if text[:9].lower() == "<!doctype" else "a text"


def _none(path: Path, what: str, wanted: str) -> SettingsError:
    """The error for something that is no settings file, with what to do instead."""
    folder, name = (path if what == "a directory" else path.parent), shlex.quote(str(path))
    if what != "a text" and (settings := folder / "config.yaml").is_file():
        hint = f"the settings of that run: {settings}"
        hint += f"; to vary them: `base: {settings}` in a sweep file" if wanted == SWEEP else ""
    elif what == "a directory" and (folder / "sweep.json").is_file():
        hint = "to continue that sweep: charrnn sweep FILE `resume`"
    elif what in ("a text", "a directory"):
        hint = f"to train on {'it' if what == 'a text' else 'its texts'}: charrnn train {name}"
        hint += f"; for settings that fit: charrnn config suggest {name} > my.yaml"
    else:
        hint = f"give a YAML file{_SHOWN if wanted == SWEEP else ', or a built-in recipe (charrnn config list)'}"
    return SettingsError(f"{one_line(path)}: {what}, not a {wanted}", hint=hint)


def _files_near(path: Path, wanted: str) -> str | None:
    """Files in the missing file's folder that may have been meant."""
    try:
        names = sorted(entry.name for entry in path.parent.iterdir() if entry.is_file())
    except OSError:
        return f"there is no directory {path.parent}"
    if path.suffix == "" and path.parent == Path():
        from charrnn.config.builtin import recipes

        if close := nearest(path.name, recipes()):
            meant = f"`base: {close}` in a sweep file{_SHOWN}" if wanted == SWEEP else close
            return f"did you mean {meant}?"
    close = nearest(path.name, names) or nearest(path.name + ".yaml", names)
    if close:
        return f"did you mean {path.parent / close}?"
    settings_files = [name for name in names if name.endswith((".yaml", ".yml"))]
    if not settings_files:
        return f"there is no {wanted} in {path.parent}"
    return f"{path.parent} has: {', '.join(settings_files[:8])}{', ...' if len(settings_files) > 8 else ''}"
