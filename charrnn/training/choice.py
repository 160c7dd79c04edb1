"""Chooses settings for a text: reads it, measures the machine and applies the rule of `charrnn.config.suggest`."""

from __future__ import annotations

import time
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec
import numpy as np

from charrnn.config.edit import setting_line
from charrnn.config.load import config_from_dict, config_to_dict, given_settings
from charrnn.config.schema import Config, CorpusSettings
from charrnn.config.suggest import REFERENCE, LineOutline, Suggestion, TextOutline, suggest
from charrnn.data.documents import alphabetical
from charrnn.data.encode import EncodedText
from charrnn.errors import printable
from charrnn.runs.directory import RunDirectory
from charrnn.runs.text import Bar, encode_corpus, no_bar
from charrnn.training.trainer import Trainer

_MEASURED_SECONDS = 0.8
MINUTES = 3.0
_LOOKED, _PLACES = 1 << 14, 8  # symbols of a text whose lines are looked at, and of how many such pieces


@dataclass(frozen=True)
class Choice:
    """What was chosen.

    Attributes:
        config: all settings of the run.
        suggestion: those that the rule chose, and why.
    """

    config: Config
    suggestion: Suggestion

    def as_yaml(self, *, whole: bool = False) -> str:
        """A settings file with remarks: the text, what was chosen, and every other setting that is not the default.

        Args:
            whole: with all other settings, as a run has them.
        """
        chosen, defaults = self.suggestion.settings, config_to_dict(Config(corpus=CorpusSettings(source="")))
        lines = [f"# {printable(line)}" for line in self.suggestion.lines]
        for section, settings in config_to_dict(self.config).items():
            lines.append(f"{section}:")
            for name, value in settings.items():
                path = f"{section}.{name}"
                given = name in chosen.get(section, {}) or path == "corpus.source"
                if whole or given or value != defaults[section][name]:
                    remark = self.suggestion.remarks.get(path, "")
                    lines.append(setting_line(name, value, remark))
        return "\n".join(lines) + "\n"


def choose_settings(
    source: str | Sequence[str],
    *,
    minutes: float | None = None,
    given: Mapping[str, Mapping[str, object]] | None = None,
    where: str = "the settings",
    overrides: Sequence[str] = (),
    bar: Bar = no_bar,
) -> Choice:
    """Choose the settings for a text.

    Args:
        source: file, directory, glob, named corpus, a list of them, or - for standard input.
        minutes: of training, the first of `overrides`; None: `training.max_minutes`, or else `MINUTES`.
        given: settings that win over what is chosen.
        where: the name of those in errors.
        overrides: settings that win over both, ``section.name=value`` each.
        bar: as in `charrnn.training.session.train`.

    Raises:
        SettingsError: one of the settings given.
        DataError: no such text, or none to learn from.
    """
    places = [source] if isinstance(source, str) else list(source)
    given = {} if given is None else given
    if minutes is not None:
        overrides = [f"training.max_minutes={minutes!r}", *overrides]
    fixed = given_settings(given, where=where, overrides=overrides)
    sections = dict(given)
    sections["corpus"] = {**sections.get("corpus", {}), "source": places[0] if len(places) == 1 else places}
    plain = config_from_dict(sections, where=where, overrides=overrides)
    text = encode_corpus(plain.corpus, bar=bar)
    minutes = plain.training.max_minutes or MINUTES
    outline = outline_of(plain.corpus.title, text)
    speed = measure_speed(plain, text, minutes, bar=bar)
    suggestion = suggest(outline, speed=speed, minutes=minutes, fixed=fixed)
    return Choice(config_from_dict(sections, where=where, overrides=overrides, base=suggestion.settings), suggestion)


def measure_speed(
    config: Config,
    text: EncodedText,
    minutes: float,
    *,
    bar: Bar = no_bar,
    clock: Callable[[], float] = time.perf_counter,
) -> float:
    """Characters per second on which the `REFERENCE` network is trained here, on the run's kernels and replicas.

    Raises:
        DataError: too short a text.
    """
    sections = msgspec.to_builtins(config)
    for path, value in REFERENCE.items():
        section, _, name = path.partition(".")
        # Shorter windows, if the text is too short for longer ones.
        sections[section][name] = min(value, config.training.seq_length) if name == "seq_length" else value
    sections["training"] |= {"epochs": None, "max_steps": None, "max_minutes": minutes}
    reference = msgspec.convert(sections, Config)
    trainer = Trainer(
        reference, text, RunDirectory(Path()), clock=clock, compiling=lambda: bar("compiling kernels", "kernel")
    )
    try:
        trainer.group.start()
        trainer.take_step()  # the first has to make its arrays
        before = replace(trainer.counters)
        while trainer.counters.seconds - before.seconds < _MEASURED_SECONDS:
            trainer.take_step()
    finally:
        trainer.group.close()
    return (trainer.counters.chars - before.chars) / (trainer.counters.seconds - before.seconds)


def outline_of(name: str, text: EncodedText) -> TextOutline:
    """What the rule wants to know of a text."""
    newline = text.vocabulary.encode("\n", unknown="skip")
    in_order = len(newline) > 0 and alphabetical(text, newline)
    return TextOutline(name, len(text.ids), len(text.vocabulary), in_order, _outline_of_lines(text))


def _outline_of_lines(text: EncodedText) -> LineOutline | None:
    size = len(text.ids)
    starts = np.linspace(0, max(0, size - _LOOKED), max(1, min(_PLACES, size // _LOOKED))).astype(int)  # none overlap
    lines: list[str] = []
    for start in starts.tolist():
        piece = text.vocabulary.decode(text.ids[start : start + _LOOKED])
        found = (piece if isinstance(piece, str) else piece.decode("utf-8", "replace")).split("\n")
        lines += found[int(start > 0) : None if start + _LOOKED >= size else -1]  # without halves
    full = [line for line in lines if line.strip()]
    if not full:
        return None
    characters = sum(map(len, full))
    return LineOutline(
        count=len(full),
        characters=characters / len(full),
        words=sum(len(line.split()) for line in full) / len(full),
        distinct=len(set(full)) / len(full),
        blank=max(0, len(lines) - len(full) - 1) / len(lines),  # after the last line end comes no line
        prose=sum(line[0].isspace() or unicodedata.category(line.rstrip()[-1])[0] == "P" for line in full) / len(full),
        letters=sum(character.isalpha() for line in full for character in line) / characters,
    )
