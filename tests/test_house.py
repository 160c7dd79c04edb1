"""The rules of the house, kept by tests."""

from __future__ import annotations

import ast
import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

import charrnn
from charrnn import errors
from charrnn.config.load import load_config
from tests import rooms
from tests.cli_reference import commands, reference
from tests.conftest import ROOT, Run

MODULES = sorted((ROOT / "charrnn").rglob("*.py"))
CONFIGS = sorted((ROOT / "configs").glob("*.yaml"))


def test_no_module_is_over_400_lines_and_each_says_its_job() -> None:
    for path in MODULES:
        source = path.read_text(encoding="utf-8")
        assert source.count("\n") <= 400, path
        assert ast.get_docstring(ast.parse(source)), path


def test_the_public_names_are_sorted_and_there() -> None:
    assert charrnn.__all__ == sorted(charrnn.__all__)
    assert all(hasattr(charrnn, name) for name in charrnn.__all__)


def test_every_command_has_help_and_an_example() -> None:
    found = dict(commands())
    assert {"charrnn train", "charrnn sample", "charrnn eval", "charrnn gradcheck"} <= set(found)
    for name, command in found.items():
        assert command.help, name  # type: ignore[attr-defined]
        assert command.epilog.startswith("Example: charrnn "), name  # type: ignore[attr-defined]
        options = [p for p in command.params if p.param_type_name == "option"]  # type: ignore[attr-defined]
        assert all(p.help for p in options), name


def test_the_command_reference_is_up_to_date() -> None:
    assert (ROOT / "docs" / "cli.md").read_text(encoding="utf-8") == reference(), "run: make docs"


def test_every_error_has_its_exit_code_in_its_tree_and_the_readme() -> None:
    classes = [c for _, c in inspect.getmembers(errors, inspect.isclass)]
    codes = {c.exit_code for c in classes}
    assert codes == {1, 2, 3, 4, 5, 6, 129, 130, 143}
    for c in classes:
        assert re.search(rf"{c.__name__}\s+{c.exit_code}\b", errors.__doc__ or ""), c
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert all(re.search(rf"\b{code} [a-z]", readme) for code in codes - {1})


def test_the_command_line_loads_no_numpy() -> None:
    heavy = "{'numpy', 'yaml', 'msgspec', 'rich', 'typer.rich_utils', 'pydantic', 'tqdm'}"
    code = "import sys; from charrnn.cli.app import run; run(['--help']); m = set(sys.modules); run(['train', '-h']); "
    code += "print([name for name in m if name.startswith('charrnn.cli.commands.')], "
    code += f"sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.splitlines()[-1] == "[] []"


def imported(node: ast.AST) -> set[str]:
    """Packages that the statements below `node` import, however deep."""
    found = [n for n in ast.walk(node) if isinstance(n, ast.Import | ast.ImportFrom)]
    names = [a.name for n in found if isinstance(n, ast.Import) for a in n.names]
    names += [n.module or "" for n in found if isinstance(n, ast.ImportFrom)]
    return {name.partition(".")[0] for name in names}


def test_what_tests_share_is_no_test_module() -> None:
    for path in sorted((ROOT / "tests").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [a.name for a in node.names] if isinstance(node, ast.Import | ast.ImportFrom) else []
            names += (node.module or "").split(".") if isinstance(node, ast.ImportFrom) else []
            parts = {part for name in names for part in name.split(".")}
            assert not any(part.startswith("test_") for part in parts), f"{path}:{node.lineno}: move it to a helper"


def test_no_pickle_no_framework_and_no_global_seed() -> None:
    converters = {ROOT / "charrnn" / "formats" / "torch.py", ROOT / "charrnn" / "formats" / "load.py"}
    for path in MODULES:
        source = path.read_text(encoding="utf-8")
        tree = ast.parse(source)
        assert not imported(tree) & {"pickle", "tensorflow", "jax"}, path
        assert "np.random.seed" not in source, path
        if path not in converters:
            assert "torch" not in imported(tree), path
        functions = [n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef)]
        inside = {id(n) for f in functions for n in ast.walk(f)}
        for node in ast.walk(tree):  # a converter loads PyTorch when it is called, not when it is imported
            if isinstance(node, ast.Import | ast.ImportFrom) and "torch" in imported(node):
                assert id(node) in inside, path


def strings(tree: ast.AST) -> list[ast.Constant]:
    """Every string below `tree` that is no docstring."""
    prose = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    found = [node for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    return [node for node in found if id(node) not in prose]


def test_only_the_command_line_names_its_flags() -> None:
    own = ROOT / "charrnn" / "formats" / "torch.py"  # it writes a script that has flags of its own
    for path in MODULES:
        if "cli" in path.relative_to(ROOT / "charrnn").parts or path == own:
            continue
        for node in strings(ast.parse(path.read_text(encoding="utf-8"))):
            assert not re.search(r"(?<![\w-])--[a-z]", node.value), (path, node.lineno)


def test_arguments_that_the_library_names_become_flags() -> None:
    from charrnn.cli.app import with_flags

    assert with_flags("`resume` it, or choose a `run_dir`", ["train"]) == "--resume it, or choose a --run-dir"
    assert with_flags("`overrides` a.b=1: no", ["train"]) == "--set a.b=1: no"
    assert with_flags("`directory`", ["sweep", "x.yaml"]) == "--run-dir"
    assert with_flags("not an argument: `random`, `charrnn train`", []) == "not an argument: `random`, `charrnn train`"
    arguments = {p.name for _, command in commands() for p in command.params}  # type: ignore[attr-defined]
    for name in ("resume", "overwrite", "run_dir", "init_from", "overrides", "directory", "scheduler", "vocab", "rnn",
                 "head", "embedding", "unknown", "config", "where", "constrain", "length"):  # fmt: skip
        assert name in arguments, name


# Who parses what somebody else may have written; the last two read the words that their own parent process gave them.
GATES = {
    "config/yaml.py": {"yaml"},
    "config/typed_json.py": {"msgspec.json.Decoder"},
    "data/documents.py": {"json.loads", "np.fromfile"},
    "data/encode.py": {"msgspec.json.decode", "msgspec.json.encode"},
    "formats/torch_file.py": {"pickletools.genops"},
    "runs/npz.py": {"zipfile.ZipFile"},
    "cli/trial.py": {"json.loads"},
    "training/worker.py": {"json.loads"},
}
PARSERS = (
    "json.load", "json.loads", "np.load", "np.fromfile", "torch.load", "pickle", "yaml.load", "yaml.safe_load",
    "safe_open", "msgspec.json", "msgspec.yaml", "msgspec.msgpack", "pickletools", "zipfile.ZipFile", "tarfile",
    "literal_eval", "eval",
)  # fmt: skip


def test_files_are_parsed_at_gates_alone() -> None:
    for path in MODULES:
        name = path.relative_to(ROOT / "charrnn").as_posix()
        called = {ast.unparse(n.func) for n in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(n, ast.Call)}
        parsers = {c for c in called if any(c == p or c.startswith(f"{p}.") or c.endswith(f".{p}") for p in PARSERS)}
        allowed = GATES.get(name, set())
        found = {c for c in parsers if c not in allowed and c.partition(".")[0] not in allowed}
        assert found <= {"msgspec.json.schema_components"}, (name, found)  # which reads nothing


def test_every_room_is_on_the_map() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    layers = (ROOT / "pyproject.toml").read_text(encoding="utf-8").partition("layers = [")[2].partition("\n]")[0]
    for path in (ROOT / "charrnn").iterdir():
        package = (path / "__init__.py").exists()
        if package or (path.suffix == ".py" and not path.name.startswith("_")):
            assert f"`{path.stem}{'/' if package else ''}`" in page, path
            assert re.search(rf'"?charrnn\.{path.stem}\b', layers), path


def test_the_floors_hold() -> None:
    pytest.importorskip("importlinter")
    code = "from importlinter.cli import lint_imports; import sys; sys.exit(lint_imports())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stdout


def test_the_picture_of_the_rooms_is_up_to_date() -> None:
    drawn = (ROOT / "docs" / "images" / "rooms.svg").read_text(encoding="utf-8")
    assert drawn == rooms.svg(), "run: make docs"


def test_the_readme_opens_with_a_picture_of_the_display_as_it_is() -> None:
    assert "](docs/images/live.svg)" in "".join((ROOT / "README.md").read_text(encoding="utf-8").splitlines()[:12])
    picture = re.sub(r"<[^>]*>", " ", (ROOT / "docs" / "images" / "live.svg").read_text(encoding="utf-8"))
    source = (ROOT / "charrnn" / "cli" / "views" / "training.py").read_text(encoding="utf-8")
    shown = re.search(r"def _numbers.*?return \[(.*?)\]", source, re.DOTALL)
    assert shown
    for words in (*re.findall(r'"([a-z][a-z ]+)"', shown[1]), "the model writes"):
        assert words.replace(" ", "&#160;") in picture, f"run: python -m tests.pictures ({words})"


def test_the_version_is_in_the_changelog() -> None:
    assert f"## {charrnn.__version__}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert f'version = "{charrnn.__version__}"' in (ROOT / "pyproject.toml").read_text(encoding="utf-8")


@pytest.mark.parametrize("path", CONFIGS, ids=lambda p: p.stem)
def test_every_config_trains_shortened(path: Path, charrnn_here: Run, text_file: Path) -> None:
    assert path.read_text(encoding="utf-8").startswith("# ")
    source = load_config(path).corpus.source
    small = ["--set", "training.max_steps=2", "--set", "training.sample_every=null", "--set", "model.hidden_size=16"]
    if source != "python-docs":  # the others are large, or need a network; one of them is a list
        text_file.write_text(text_file.read_text(encoding="utf-8").replace(". ", ".\n"), encoding="utf-8")
        small += ["--set", f"corpus.source={text_file}"]
    done = charrnn_here("train", "--config", path, "-q", *small)
    assert done.returncode == 0, done.stderr


def test_the_three_cells_are_compared_at_equal_size() -> None:
    from charrnn.nn.network import CharRNN
    from charrnn.nn.params import FlatParams

    sizes = {}
    for cell in ("rnn", "lstm", "gru"):
        m = load_config(ROOT / "configs" / f"{cell}.yaml").model
        shapes = CharRNN.param_shapes(103, cell=m.cell, hidden_size=m.hidden_size, num_layers=m.num_layers)
        sizes[cell] = FlatParams(shapes).size
    assert max(sizes.values()) < 1.01 * min(sizes.values()), sizes
