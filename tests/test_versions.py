"""What older Pythons and older dependencies do otherwise, imitated on any version; `.ci/versions.py` has real ones."""

from __future__ import annotations

import importlib.util
import inspect
import re
import sys
import typing
from enum import Enum
from types import ModuleType
from typing import Annotated, Any, Optional, get_origin

import pytest
import typer

from charrnn.cli.commands.sampling import flags
from tests.cli_reference import commands
from tests.conftest import ROOT


def loaded_anew(name: str, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The module run once more, as an object of its own."""
    spec = importlib.util.find_spec(name)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, name, module)
    spec.loader.exec_module(module)
    return module


def test_flags_keep_their_annotations_on_python_3_10(monkeypatch: pytest.MonkeyPatch) -> None:
    newer = typing.get_type_hints

    def older(of: Any, *arguments: Any, **options: Any) -> dict[str, Any]:
        """As in Python 3.10, where a function's parameter that defaults to None becomes an Optional one."""
        hints = newer(of, *arguments, **options)
        if inspect.isfunction(of):
            nones = [p.name for p in inspect.signature(of).parameters.values() if p.default is None]
            hints |= {name: Optional[hints[name]] for name in nones}  # noqa: UP045
        return hints

    def command(
        given: flags.SamplerFlags, path: Annotated[list[str] | None, typer.Argument(help="Where.")] = None
    ) -> None: ...

    monkeypatch.setattr(typing, "get_type_hints", older)
    anew = loaded_anew(flags.__name__, monkeypatch)
    seen = inspect.signature(anew.with_sampler_flags(command)).parameters
    assert {"path", "order", "logit_bias"} <= set(seen)
    assert [p.name for p in seen.values() if get_origin(p.annotation) is not Annotated] == []


def test_choices_are_strings_as_click_before_8_2_needs_them() -> None:
    assert dict(commands())  # all are imported
    choices = [c for c in Enum.__subclasses__() if c.__module__.startswith("charrnn.cli")]
    assert len(choices) > 3
    assert [c.__name__ for c in choices if not issubclass(c, str)] == []


def test_the_readme_and_the_checkers_name_the_lowest_python_and_numpy() -> None:
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")

    def promised(pattern: str) -> str:
        found = re.search(pattern, project)
        assert found is not None, pattern
        return found[1]

    python, numpy = promised(r'requires-python = ">=([\d.]+)"'), promised(r'"numpy>=([\d.]+)"')
    assert f"Python {python} and NumPy {numpy} or newer" in (ROOT / "README.md").read_text(encoding="utf-8")
    assert promised(r'\npython_version = "([\d.]+)"') == python
    assert promised(r'\ntarget-version = "py(\d+)"') == python.replace(".", "")
    assert promised(r'"Programming Language :: Python :: (3\.\d+)"') == python
