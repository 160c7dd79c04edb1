"""Files that come with charrnn: the catalogue of corpora and the built-in settings."""

from __future__ import annotations

import os
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parents[1]


def bundled_path(name: str) -> Path:
    """`corpora/catalogue.yaml` or `configs/NAME.yaml`: inside an installed package, else in the checkout around it."""
    installed = _PACKAGE / "_bundled" / name
    return installed if installed.exists() else _PACKAGE.parent / name


def settings_path(name: str, *, beside: Path = Path()) -> Path:
    """The settings file `name`: a path, looked for in the folder `beside` first, or a built-in one's stem."""
    path = Path(name)
    for candidate in (beside / path, path):
        if os.path.isfile(candidate):  # unlike Path.is_file, also where the name is too long to be one
            return candidate
    if path.suffix == "" and path.parent == Path():
        built_in = bundled_path(f"configs/{name}.yaml")
        if os.path.exists(built_in):
            return built_in
    return beside / path if os.path.exists(beside / path) else path


def recipes() -> dict[str, str]:
    """The built-in settings: name -> what they are for, as the first line of the file says."""
    paths = sorted(bundled_path("configs").glob("*.yaml"))
    return {path.stem: path.read_text(encoding="utf-8").partition("\n")[0].lstrip("# ") for path in paths}
