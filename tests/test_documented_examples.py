"""What the pages on sampling, scoring and export tell readers to type, typed."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.conftest import ROOT, Run

PAGES = ("docs/sampling.md", "docs/scoring.md", "docs/export.md", "README.md")
COMMANDS = ("sample", "eval", "next", "rank", "compress", "decompress", "export", "import")
NEEDS = {
    "torch": "torch",
    "model.pt": "torch",
    "onnx": "onnx",
    "safetensors": "safetensors",
}
CHAPTER = "The import statement names a module. Names are bound to objects.\n\nThe end of a chapter (12 lines).\n"


def blocks(page: str, language: str) -> list[str]:
    return re.findall(
        rf"^```{language}\n(.*?)^```", (ROOT / page).read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE
    )


def lines(page: str) -> list[list[str]]:
    """The words of each line that runs one of the commands, without pipes."""
    found = []
    for line in "".join(blocks(page, "sh")).splitlines():
        words = shlex.split(line, comments=True)
        if words[:1] == ["charrnn"] and words[1] in COMMANDS and not {"|", "&&", ";"} & set(words):
            found.append(words[1:])
    return found


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with all files that the pages name; the network has hardly been trained."""
    folder = tmp_path_factory.mktemp("documented")
    (folder / "text.txt").write_text((CHAPTER + "".join(map(chr, range(32, 127))) + "\n") * 40)
    files = {
        "chapter.txt": CHAPTER * 20, "other.txt": CHAPTER, "file.txt": CHAPTER,
        "letter.txt": "The {{word}} is {{line}}\nin {{40}}.",
        "candidates.txt": "The import\nthe end\n", "names.txt": "Anna\nBob\nCleo\nDora\n",
        "names.yaml": "corpus: {source: family.txt, document_separator: \"\\n\"}\nmodel: {hidden_size: 16}\n"
        "training: {batch_size: 4, seq_length: 8, epochs: null, max_steps: 200, learning_rate: 0.02, replicas: 1}\n",
        "family.txt": "mara\nanna\nmaik\nmalo\nanni\n" * 40,
        "my.yaml": "corpus: {source: chapter.txt}\nmodel: {cell: rnn, hidden_size: 8}\n"
        "training: {batch_size: 4, seq_length: 8, epochs: null, max_steps: 5, replicas: 1}\n",
    }  # fmt: skip
    for name, text in files.items():
        (folder / name).write_text(text)
    words = ["train", "--config", "names.yaml", "--quiet", "--run-dir", "checkpoints/names"]
    subprocess.run([sys.executable, "-m", "charrnn", *words], cwd=folder, check=True, env=environment())
    words = [
        "train", "--config", "quickstart", "--set", "corpus.source=text.txt", "--set", "model.hidden_size=12", "--set",
        "training.max_steps=20", "--set", "training.replicas=1", "--quiet", "--run-dir", "checkpoints/quickstart",
    ]  # fmt: skip
    subprocess.run([sys.executable, "-m", "charrnn", *words], cwd=folder, check=True, env=environment())
    for name in ("A", "B", "checkpoints/lstm"):
        shutil.copytree(folder / "checkpoints/quickstart", folder / name)
    return folder


def environment() -> dict[str, str]:
    import os

    return {**os.environ, "PYTHONPATH": str(ROOT)}


@pytest.mark.parametrize("page", PAGES)
def test_commands(charrnn_here: Run, trained: Path, monkeypatch: pytest.MonkeyPatch, page: str) -> None:
    assert len(lines(page)) > 3
    monkeypatch.chdir(trained)
    for words in lines(page):
        if any(find_spec(module) is None for word, module in NEEDS.items() if word in words):
            continue
        stdin = "the end\n"
        if "<" in words:
            words, stdin = words[: words.index("<")], Path(words[words.index("<") + 1]).read_text()
        shutil.rmtree("checkpoints/imported", ignore_errors=True)
        done = charrnn_here(*words, stdin=stdin)
        assert done.returncode == 0, (words, done.stderr)


@pytest.mark.parametrize("page", ["docs/sampling.md", "docs/scoring.md"])
def test_python(trained: Path, page: str) -> None:
    found = blocks(page, "python")
    assert found
    for code in found:
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", code],
            cwd=trained,
            env=environment(),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, (code, done.stderr)


def test_the_line_of_the_readme(trained: Path) -> None:
    code = re.search(r"`(charrnn\.load\(.*?\))` is an iterator", (ROOT / "README.md").read_text())
    assert code
    code_lines = f"import charrnn; text = ''.join({code[1]}); assert len(text) == 500"
    subprocess.run([sys.executable, "-c", code_lines], cwd=trained, env=environment(), check=True)


def test_the_docstrings(trained: Path) -> None:
    import charrnn

    assert charrnn.__doc__
    code = charrnn.__doc__[charrnn.__doc__.rindex("import charrnn") :]
    code = "\n".join(line.strip() for line in code.splitlines())
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=trained, env=environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert len(done.stdout) > 300


@pytest.mark.parametrize("page", PAGES)
def test_pictures_are_there_and_small(page: str) -> None:
    for name in re.findall(r"!\[[^]]*\]\(([^)]+)\)", (ROOT / page).read_text(encoding="utf-8")):
        path = (ROOT / page).parent / name
        assert path.is_file(), name
        assert path.stat().st_size < 400_000, name
