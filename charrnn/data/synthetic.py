"""Texts from the generators of `data.tasks`, and what is known of them: the lowest loss that any model can have."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from charrnn.config.typed_json import Count, Label, Scalar, decode
from charrnn.data.tasks import TASKS, FloatArray, Task
from charrnn.data.vocabulary import code_points
from charrnn.errors import SettingsError
from charrnn.files import is_stream, read_regular, write_output, writing
from charrnn.nn.params import IntArray

_SUFFIX = ".task.json"


class _Facts(msgspec.Struct):
    """The record beside a text; older versions wrote no hash and no size."""

    task: Label
    parameters: dict[Label, Scalar]
    characters: Count | None = None
    size_bytes: Count | None = None
    text_sha256: Label | None = None

    def are_of(self, data: bytes, characters: int) -> bool:
        """Whether nothing recorded contradicts a text."""
        found = (characters, len(data), hashlib.sha256(data).hexdigest())
        recorded = (self.characters, self.size_bytes, self.text_sha256)
        return all(fact in (None, value) for fact, value in zip(recorded, found, strict=True))


def make_task(name: str, parameters: dict[str, Any]) -> Task:
    """A task by its name.

    Args:
        name: a key of `charrnn.data.tasks.TASKS`.
        parameters: its fields; others are refused, those left out have their defaults.

    Raises:
        SettingsError: no such task, no such parameter, or a value out of range.
    """
    if name not in TASKS:
        raise SettingsError(f"{name}: no such task", hint=f"tasks: {', '.join(TASKS)}")
    known = {field.name for field in fields(TASKS[name])}
    if strange := sorted(set(parameters) - known):
        raise SettingsError(f"{name}: has no {strange[0]}", hint=f"it has {', '.join(sorted(known))}")
    try:
        task: Task = TASKS[name](**parameters)
    except (ValueError, TypeError) as error:
        raise SettingsError(f"{name}: {error}") from None
    return task


def build_text(name: str, task: Task, *, chars: int, seed: int, output: Path) -> dict[str, Any]:
    """Write a text and, beside it, what it is.

    Args:
        name: of the task.
        task: the generator.
        chars: length.
        seed: of the draws.
        output: the text's file.

    Returns:
        Name, parameters, seed; characters, bytes and SHA-256 of the text; `entropy_nats` and `entropy_bits` per
        character of an endless text; `sample_nats`, the mean of -ln p over this one.

    Raises:
        SettingsError: the file cannot be written.
    """
    ids = task.draw(chars, np.random.default_rng(seed))
    letters = np.array([ord(c) for c in task.alphabet], np.uint32)
    data = letters[ids].astype("<u4").tobytes().decode("utf-32-le").encode()
    rate = task.entropy_rate()
    facts = {
        "task": name,
        "parameters": asdict(task),  # type: ignore[call-overload]
        "seed": seed,
        "characters": chars,
        "size_bytes": len(data),
        "text_sha256": hashlib.sha256(data).hexdigest(),
        "entropy_nats": rate,
        "entropy_bits": rate / float(np.log(2)),
        "sample_nats": float(task.nats(ids).mean()) if chars else 0.0,
    }
    with writing(output):
        write_output(output, data)
        if not is_stream(output):  # there is nothing beside a device
            write_output(_beside(output), (json.dumps(facts, indent=1) + "\n").encode())
    return facts


def check_replaceable(output: Path) -> None:
    """Check that a new text takes the place of nothing but what `build_text` has made.

    Raises:
        SettingsError: the text, or the record beside it, is something else.
    """
    record = _beside(output)
    hint = "choose another `output`, or replace it with `overwrite`"
    if is_stream(output):
        return
    if output.exists() and output.stat().st_size and generator_nats(output) is None:
        raise SettingsError(
            f"{output}: exists already, and is not a task's text or has changed since it was made", hint=hint
        )
    if record.exists() and _record(output) is None:
        raise SettingsError(f"{record}: exists already, and is not the record of a task's text", hint=hint)


def _record(text: Path) -> _Facts | None:
    try:
        return decode(read_regular(_beside(text), limit=1 << 20, follow=True), _Facts)
    except (OSError, ValueError):  # no such file, or not one of ours
        return None


def generator_nats(text: Path, *, sha256: str | None = None) -> tuple[Task, IntArray, FloatArray] | None:
    """The task that made a text, the text's ids and its -ln p, symbol by symbol.

    Args:
        text: the file.
        sha256: of the text that is meant; None: whatever the file holds.

    Returns:
        None where no task has made it, or where it has changed since.
    """
    facts = _record(text)
    if facts is None:
        return None
    try:
        task: Task = msgspec.convert(facts.parameters, TASKS[facts.task])
        data = text.read_bytes()
        values = code_points(data.decode("utf-8"))
        if sha256 not in (None, hashlib.sha256(data).hexdigest()) or not facts.are_of(data, len(values)):
            return None
        table = np.full(0x110000, -1, np.intp)
        table[[ord(c) for c in task.alphabet]] = np.arange(len(task.alphabet))
        ids = table[values]
        return None if (ids < 0).any() else (task, ids, task.nats(ids))
    except (OSError, ValueError, KeyError, msgspec.ValidationError):  # gone, or not one of ours
        return None


def _beside(text: Path) -> Path:
    return text.with_name(text.name + _SUFFIX)
