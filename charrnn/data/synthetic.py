"""Texts from the generators of `data.tasks`, and what is known of them: the lowest loss that any model can have."""

from __future__ import annotations

import json
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from charrnn.config.typed_json import Label, Scalar, decode
from charrnn.data.tasks import TASKS, FloatArray, Task
from charrnn.data.vocabulary import code_points
from charrnn.errors import SettingsError
from charrnn.files import is_stream, read_regular, write_output, writing
from charrnn.nn.params import IntArray

_SUFFIX = ".task.json"


class _Facts(msgspec.Struct):
    task: Label
    parameters: dict[Label, Scalar]


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
        Name, parameters, seed, characters; `entropy_nats` and `entropy_bits` a character of an endless text;
        `sample_nats`, the mean of -ln p over this one.

    Raises:
        SettingsError: the file cannot be written.
    """
    ids = task.draw(chars, np.random.default_rng(seed))
    letters = np.array([ord(c) for c in task.alphabet], np.uint32)
    text = letters[ids].astype("<u4").tobytes().decode("utf-32-le")
    rate = task.entropy_rate()
    facts = {
        "task": name,
        "parameters": asdict(task),  # type: ignore[call-overload]
        "seed": seed,
        "characters": chars,
        "entropy_nats": rate,
        "entropy_bits": rate / float(np.log(2)),
        "sample_nats": float(task.nats(ids).mean()) if chars else 0.0,
    }
    with writing(output):
        output.parent.mkdir(parents=True, exist_ok=True)
        write_output(output, text.encode())
        if not is_stream(output):  # there is nothing beside a device
            write_output(_beside(output), (json.dumps(facts, indent=1) + "\n").encode())
    return facts


def generator_nats(text: Path) -> tuple[Task, IntArray, FloatArray] | None:
    """The task that made a text, the text's ids and its -ln p, symbol by symbol; None where no task has made it."""
    try:
        facts = decode(read_regular(_beside(text), limit=1 << 20, follow=True), _Facts)
        task: Task = msgspec.convert(facts.parameters, TASKS[facts.task])
        values = code_points(text.read_text(encoding="utf-8"))
        table = np.full(0x110000, -1, np.intp)
        table[[ord(c) for c in task.alphabet]] = np.arange(len(task.alphabet))
        ids = table[values]
        return None if (ids < 0).any() else (task, ids, task.nats(ids))
    except (OSError, ValueError, KeyError, msgspec.ValidationError):  # no such file, or not one of ours
        return None


def _beside(text: Path) -> Path:
    return text.with_name(text.name + _SUFFIX)
