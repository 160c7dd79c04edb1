"""What the Tab key completes: names of built-in settings, `--set` keys with their values, runs.

Nothing here may fail or write: a shell would show it in the middle of what is being typed.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import shlex
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from charrnn.errors import printable

_VARIABLE = "_CHARRNN_COMPLETE"
_MOST_RUNS = 200


def recipes(incomplete: str) -> list[tuple[str, str]]:
    """Names of built-in settings with what they are, then settings files and runs."""
    from charrnn.config.builtin import recipes as built_in

    found = [
        (name, re.split(r"[:(.]", what)[0][:60].strip())  # what is wrapped breaks fish
        for name, what in built_in().items()
        if name.startswith(incomplete)
    ]
    return found + _paths(incomplete, (".yaml", ".yml"))


def texts(incomplete: str) -> list[tuple[str, str]]:
    """Files and folders that may hold a text, named corpora, built-in settings, and runs to resume."""
    from charrnn.data.corpora import catalogue

    named = [(name, "corpus") for name in catalogue() if name.startswith(incomplete)]
    found = named + recipes(incomplete) + [(run, "") for run in runs(incomplete)] + _paths(incomplete, ("",))
    return list(dict(reversed(found)).items())[::-1]


def overrides(incomplete: str) -> list[str]:
    """Keys as in ``model.cell=``; behind a key that is complete, its values."""
    key, equals, value = incomplete.partition("=")
    keys = [name for name in _settings() if name.startswith(key) and (name == key or not equals)]
    if len(keys) != 1:
        return [f"{name}=" for name in keys]
    # The only key comes with its values, so that the shell puts no space after the equals sign.
    return [f"{keys[0]}={known}" for known in _values(keys[0]) if known.startswith(value)]


def runs(incomplete: str) -> list[str]:
    """Run directories below the typed path, or below `checkpoints/`; then files and folders."""
    roots = [Path("checkpoints"), *([Path(incomplete).parent] if "/" in incomplete else [])]
    found = {str(path) for root in roots for path in _runs_below(root) if str(path).startswith(incomplete)}
    return sorted(found) or [path for path, _ in _paths(incomplete, (".npz",))]


def _runs_below(root: Path) -> Iterator[Path]:
    for number, (folder, below, files) in enumerate(os.walk(root)):
        if number >= _MOST_RUNS:
            return
        if "config.yaml" in files:
            below.clear()
            yield Path(folder)


def _paths(incomplete: str, suffixes: tuple[str, ...]) -> list[tuple[str, str]]:
    """Folders and files of these kinds that begin so."""
    head, _, start = incomplete.rpartition("/")
    folder = Path(head or ("/" if incomplete.startswith("/") else "."))
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError:
        return []
    lead = incomplete[: len(incomplete) - len(start)]
    return [
        (f"{lead}{entry.name}{'/' if entry.is_dir() else ''}", "")
        for entry in entries
        if entry.name.startswith(start) and (start or not entry.name.startswith("."))
        and (entry.is_dir() or entry.name.endswith(suffixes))
    ]  # fmt: skip


def _settings() -> dict[str, dict[str, Any]]:
    """Each setting's part of the JSON Schema, by its path."""
    from charrnn.config.load import json_schema

    parts = json_schema()["$defs"]
    return {
        f"{section}.{name}": entry
        for section in ("corpus", "model", "training")
        for name, entry in parts[f"{section.capitalize()}Settings"]["properties"].items()
    }


def _values(path: str) -> list[str]:
    """What a setting may be: the names that are allowed, or its default."""
    if path == "corpus.source":
        from charrnn.data.corpora import catalogue

        return list(catalogue())
    entry = _settings()[path]
    kinds = [entry, *entry.get("anyOf", ())]
    named = [_spelled(value) for kind in kinds for value in kind.get("enum", ())]
    if any(kind.get("type") == "boolean" for kind in kinds):
        named = ["true", "false"]
    if any(kind.get("type") == "null" for kind in kinds):
        named.append("null")
    default = _spelled(entry.get("default", ""))
    return list(dict.fromkeys([default, *named] if default else named))


def _spelled(value: object) -> str:
    """A value as YAML has it."""
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def asked() -> bool:
    """Whether a shell wants to know how a line may go on."""
    return _VARIABLE in os.environ


def answer(app: Callable[..., Any]) -> None:
    """Answer a shell's question.

    bash takes ``model.cell=gru`` for three words: they are joined before Typer sees them, and bash gets back only what
    comes after the equals sign.

    Args:
        app: the command line.
    """
    from typer.completion import completion_init  # type: ignore[attr-defined]

    completion_init()
    words, place = os.environ.get("COMP_WORDS", ""), os.environ.get("COMP_CWORD", "")
    cut = ""
    if "\n=" in words and place.isdigit():
        joined = re.sub(r"\n=\n?", "=", "\n".join(words.split("\n")[: int(place) + 1]))
        os.environ["COMP_WORDS"], os.environ["COMP_CWORD"] = joined, str(joined.count("\n"))
        key, equals, _ = joined.rpartition("\n")[2].rpartition("=")
        cut = key + equals
    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.suppress(Exception, SystemExit):
        app(args=[], prog_name="charrnn")
    found = _for_zsh(out.getvalue()) if os.environ[_VARIABLE] == "complete_zsh" else out.getvalue()
    for line in found.splitlines():  # fish divides a word from what it means by a tab
        sys.stdout.write("\t".join(printable(part) for part in line.removeprefix(cut).split("\t")) + "\n")


def _for_zsh(found: str) -> str:
    """What zsh executes, from Typer's: that loses quotes, and has a space after each word, folders included."""
    rows = re.findall(r'"((?:[^"]|"")*)"(?::"((?:[^"]|"")*)")?', found)
    words = [(_plain(word), _plain(what)) for word, what in rows]
    described = [
        word.replace(":", r"\:") + (f":{what}" if what else "") for word, what in words if word[-1:] not in "/="
    ]
    unfinished = [word for word, _ in words if word[-1:] in "/="]
    parts = [f"local -a words=({shlex.join(described)}); _describe word words"] if described else []
    parts += [f"compadd -S '' -- {shlex.join(unfinished)}"] if unfinished else []
    return "; ".join(parts) or found


def _plain(escaped: str) -> str:
    """A word as it was before Typer escaped it for zsh."""
    return re.sub(r"\\+([:$`])", r"\1", escaped.replace('""', '"').replace("''", "'"))
