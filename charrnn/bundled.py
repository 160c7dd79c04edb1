"""Files that come with charrnn: the catalogue of corpora and the built-in settings."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


def bundled_path(name: str) -> Path:
    """`corpora/catalogue.yaml` or `configs/NAME.yaml`: inside an installed package, else in the checkout around it."""
    installed = _PACKAGE / "_bundled" / name
    return installed if installed.exists() else _PACKAGE.parent / name
