"""`charrnn config`: settings and schema on standard output, and nothing else there."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from charrnn.cli.commands.config import app
from charrnn.config.load import json_schema, parse_config
from charrnn.errors import SettingsError

RUNNER = CliRunner()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.yaml"
    path.write_text("corpus: {source: python-docs}\nmodel: {cell: gru}\n", encoding="utf-8")
    return path


def test_show_writes_all_settings_as_yaml_that_reads_back(file: Path) -> None:
    result = RUNNER.invoke(app, ["show", str(file), "--set", "training.seed=7", "--set", "corpus.source=*.txt"])
    assert result.exit_code == 0
    config = parse_config(result.stdout, where="stdout")
    assert (config.model.cell, config.training.seed, config.corpus.source) == ("gru", 7, "*.txt")
    assert "batch_size: 64\n" in result.stdout


def test_show_json_writes_exactly_one_object(file: Path) -> None:
    result = RUNNER.invoke(app, ["show", str(file), "--json"])
    assert result.exit_code == 0
    assert json.loads(result.stdout)["model"]["cell"] == "gru"
    assert result.stdout.count("\n") == 1


def test_a_wrong_setting_leaves_stdout_empty_and_reaches_the_app_as_settings_error(file: Path) -> None:
    result = RUNNER.invoke(app, ["show", str(file), "--set", "model.cell=ltsm"])
    assert isinstance(result.exception, SettingsError)
    assert result.exception.exit_code == 2
    assert result.stdout == ""


def test_schema_writes_the_schema() -> None:
    result = RUNNER.invoke(app, ["schema"])
    assert result.exit_code == 0
    assert json.loads(result.stdout) == json_schema()


@pytest.mark.parametrize("command", ["show", "schema"])
def test_every_command_has_an_example_in_its_help(command: str) -> None:
    result = RUNNER.invoke(app, [command, "--help"], env={"NO_COLOR": "1", "COLUMNS": "120"})
    assert result.exit_code == 0
    assert f"Example charrnn config {command}" in " ".join(result.stdout.split())


def test_help_loads_neither_numpy_nor_the_settings() -> None:
    code = (
        "import sys; from charrnn.cli.commands.config import app; app(['--help'], standalone_mode=False);"
        "sys.exit(bool({'numpy', 'msgspec', 'yaml'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "schema" in done.stdout


def test_a_built_in_name_is_shown() -> None:
    done = CliRunner().invoke(app, ["show", "quickstart", "--json"])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["corpus"]["source"] == "python-docs"
