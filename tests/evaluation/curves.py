"""Runs as advice sees them, made up."""

from __future__ import annotations

from charrnn.config.load import parse_config
from charrnn.config.schema import Config
from charrnn.evaluation.curve import Curve, Point


def settings_of(corpus: str = "source: unused", **sections: str) -> Config:
    """The settings that differ from the defaults, each section as it stands between braces."""
    text = "".join(f"{key}: {{{value}}}\n" for key, value in (("corpus", corpus), *sections.items()))
    return parse_config(text, where="test")


CONFIG = settings_of()


def curve(losses: list[tuple[float, float | None]], *, chars: int = 1000) -> Curve:
    """A run by its training and validation losses, validated every 100 steps of 3 seconds in all."""
    return Curve.of(Point(100 * k, k / 2, chars * k, 3.0 * k, *both) for k, both in enumerate(losses, start=1))
