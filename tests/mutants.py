"""Mutation testing: `make mutants` breaks a module in every small way mutmut knows and counts what its tests notice.

A module at a time, in a copy outside the checkout: mutants of everything at once would run every test for every one.
"""

from __future__ import annotations

import argparse
import random
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
COPIED = ("charrnn", "tests", "configs", "corpora", "docs", "README.md", "CHANGELOG.md", "LICENSE", "pyproject.toml")

_SETTINGS = ("training/test_settings_change_the_run.py",)
_CELLS = ("nn/test_cells.py",)

# The fast tests, below tests/, that are to notice what is broken in a module, below charrnn/.
TESTS: dict[str, tuple[str, ...]] = {
    "nn/clip.py": ("nn/test_optim.py",),
    "nn/schedule.py": ("nn/test_optim.py",),
    "nn/ema.py": ("nn/test_ema.py",),
    "nn/init.py": _CELLS,
    "nn/matmul.py": ("nn/test_matmul.py",),
    "nn/embedding.py": ("nn/test_embedding.py",),
    "nn/params.py": ("nn/test_optim.py", "nn/test_dropout.py"),
    "nn/dropout.py": ("nn/test_dropout.py",),
    "nn/buffers.py": ("nn/test_matmul.py", *_CELLS),
    "nn/optim.py": ("nn/test_optim.py",),
    "nn/head.py": ("nn/test_dropout.py",),
    "nn/stepper.py": ("nn/test_regularisation.py", "nn/test_cells.py"),
    "nn/ensemble.py": ("sampling/test_generate.py",),
    "nn/gradcheck.py": ("nn/test_equations.py", "nn/test_own_cells.py"),
    "nn/network.py": ("nn/test_network.py", "nn/test_cells.py", "nn/test_regularisation.py"),
    "nn/cells/__init__.py": ("nn/test_own_cells.py",),
    "nn/cells/cell.py": (*_CELLS, "nn/test_own_cells.py"),
    "nn/cells/rnn.py": _CELLS,
    "nn/cells/lstm.py": _CELLS,
    "nn/cells/gru.py": _CELLS,
    "nn/cells/kernels.py": (*_CELLS, "nn/test_regularisation.py"),
    "nn/cells/recurrent.py": (*_CELLS, "nn/test_regularisation.py", "nn/test_own_cells.py"),
    "nn/cells/equations.py": ("nn/test_equations.py",),
    "nn/cells/reference.py": ("nn/test_cells.py", "nn/test_equations.py"),
    "data/windows.py": ("data/test_windows.py", "data/test_data.py"),
    "data/vocabulary.py": ("data/test_vocabulary.py", "data/test_data.py"),
    "evaluation/compressors.py": ("evaluation/test_compressors.py",),
    "evaluation/dynamic.py": ("evaluation/test_dynamic.py",),
    "evaluation/loss.py": ("evaluation/test_reading.py", "nn/test_network.py"),
    "evaluation/memorisation.py": ("evaluation/test_memorisation.py",),
    "evaluation/ngram.py": ("evaluation/test_ngram.py",),
    "evaluation/reading.py": ("evaluation/test_reading.py",),
    "evaluation/scoring.py": ("evaluation/test_reading.py", "cli/test_scoring.py"),
}
FOLDERS: dict[str, tuple[str, ...]] = {
    "nn": ("nn/test_cells.py", "nn/test_network.py"),
    "evaluation/compression": ("evaluation/test_compression.py",),
    "sampling": ("sampling",),
    "training": ("training/test_trainer.py", "training/test_replicas.py", "training/test_log_is_right.py", *_SETTINGS),
}
# Modules that have no line of their own. The compiled kernels are compared with these elsewhere.
for _folder, _tests in FOLDERS.items():
    for _path in sorted((ROOT / "charrnn" / _folder).rglob("*.py")):
        if "compiled" not in _path.parts:
            TESTS.setdefault(_path.relative_to(ROOT / "charrnn").as_posix(), _tests)


@dataclass
class Score:
    """What became of the mutants of a module: mutmut's status of each by its name, and the survivors' diffs."""

    module: str
    status: dict[str, str]
    survivors: dict[str, str]

    def count(self, *statuses: str) -> int:
        return sum(Counter(self.status.values())[status] for status in statuses)

    @property
    def noticed(self) -> int:
        """Mutants that a test failed on or never returned from."""
        return self.count("killed", "timeout", "segfault")


@contextmanager
def scratch_copy(module: str) -> Iterator[Path]:
    """A copy of the checkout, outside it, where mutmut mutates `module` alone and runs its tests alone."""
    with tempfile.TemporaryDirectory(prefix="charrnn-mutants-") as name:
        folder = Path(name)
        for part in COPIED:
            source = ROOT / part
            if source.is_dir():
                shutil.copytree(source, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(source, folder / part)
        lists = {
            "source_paths": ["charrnn"],
            "only_mutate": [f"charrnn/{module}"],
            "also_copy": [part for part in COPIED if part not in ("charrnn", "tests", "pyproject.toml")],
            "pytest_add_cli_args": ["-n0", "-p", "no:cacheprovider", "-m", "not (slow or extras or parity)"],
            "pytest_add_cli_args_test_selection": [f"tests/{path}" for path in TESTS[module]],
        }
        with (folder / "pyproject.toml").open("a", encoding="utf-8") as file:
            file.write("\n[tool.mutmut]\n")
            for key, values in lists.items():
                quoted = ", ".join(f'"{value}"' for value in values)
                file.write(f"{key} = [{quoted}]\n")
        yield folder


def mutmut(folder: Path, *arguments: str) -> str:
    """mutmut's standard output; RuntimeError with its last lines if it fails."""
    command = [sys.executable, "-m", "mutmut", *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError("\n".join((done.stdout + done.stderr).splitlines()[-30:]))
    return done.stdout


def statuses(folder: Path) -> dict[str, str]:
    found = re.findall(r"^\s*(\S+__mutmut_\d+): (.+)$", mutmut(folder, "results", "--all", "true"), re.MULTILINE)
    return dict(found)


def run(module: str, *, most: int | None = None, draw: random.Random | None = None) -> Score:
    """Test the mutants of `module`, or `most` of them, drawn by `draw`."""
    with scratch_copy(module) as folder:
        if most is None or draw is None:
            mutmut(folder, "run")
            status = statuses(folder)
        else:
            names = mutant_names(folder, module)
            chosen = draw.sample(names, min(most, len(names)))
            mutmut(folder, "run", *chosen)
            status = {name: value for name, value in statuses(folder).items() if name in set(chosen)}
        left = [name for name, value in status.items() if value not in ("killed", "timeout", "segfault")]
        return Score(module, status, {name: mutmut(folder, "show", name) for name in left})


def mutant_names(folder: Path, module: str) -> list[str]:
    """The names that mutmut gives to all mutants of `module`, in order, under the configuration of `folder`."""
    code = (
        "import sys, pathlib; from mutmut.mutation.file_mutation import mutate_file_contents as mutate; "
        "print(*mutate(sys.argv[1], pathlib.Path(sys.argv[1]).read_text('utf-8')).mutant_names)"
    )
    command = [sys.executable, "-c", code, f"charrnn/{module}"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    prefix = "charrnn." + module.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
    return [f"{prefix}.{name}" for name in done.stdout.split()]


def documented() -> list[str]:
    """The modules that docs/testing.md has a row of figures for."""
    rows = re.findall(r"^\| `(\S+\.py)` \| \d+ \|", (ROOT / "docs" / "testing.md").read_text("utf-8"), re.MULTILINE)
    return [module for module in TESTS if module in rows]


def changed(diff: str) -> str:
    """What a mutant has in place of the original, in one line, without comments; as docs/testing.md lists it."""
    added = [line[1:] for line in diff.splitlines() if line.startswith("+") and not line.startswith("+++")]
    return " ".join(line.partition("  # ")[0].strip() for line in added)


def sample(count: int, seed: str, *, of_each: int = 10) -> list[Score]:
    """`count` mutants drawn by `seed`: `of_each` (or all there are) of modules drawn in proportion to their length.

    Few modules, because each costs a run of its tests before the first mutant.
    """
    draw, left, scores = random.Random(seed), documented(), []
    while left and count > 0:
        lengths = [(ROOT / "charrnn" / module).stat().st_size for module in left]
        module = draw.choices(left, lengths)[0]
        left.remove(module)
        scores.append(run(module, most=min(of_each, count), draw=draw))
        count -= len(scores[-1].status)
    return scores


def row(score: Score) -> str:
    total = len(score.status)
    share = f"{100 * score.noticed / total:.0f}%" if total else "-"
    counts = [score.count("killed"), score.count("timeout", "segfault"), score.count("survived")]
    untested = total - sum(counts)
    return f"| `{score.module}` | {total} | " + " | ".join(map(str, [*counts, untested])) + f" | {share} |"


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("modules", nargs="*", help="modules below charrnn/, such as nn/clip.py (default: all)")
    modules: list[str] = parser.parse_args(arguments).modules or list(TESTS)
    if unknown := [module for module in modules if module not in TESTS]:
        parser.error(f"no such module: {', '.join(unknown)} (the table is TESTS in tests/mutants.py)")
    print(
        "| module | mutants | killed | timeout | survived | no tests | score |\n|---|---|---|---|---|---|---|",
        flush=True,
    )
    scores = []
    for module in modules:
        try:
            scores.append(run(module))
        except RuntimeError as error:
            print(f"{module}: mutmut failed\n{error}", file=sys.stderr, flush=True)
            continue
        print(row(scores[-1]), flush=True)
        for name, diff in scores[-1].survivors.items():
            print(f"{name} ({scores[-1].status[name]})\n{diff}", file=sys.stderr, flush=True)
    if len(scores) != len(modules):
        sys.exit(1)


if __name__ == "__main__":
    main()
