"""Mutation testing: `make mutants` breaks a module in every small way mutmut knows and counts what its tests notice.

A module, or a sample of the modules of a folder, in a copy outside the checkout.
"""

from __future__ import annotations

import argparse
import json
import math
import os
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

# Expressions of `pytest -k`: left out, because they take a second or more. Gradients are compared with a plain network
# in milliseconds instead, and a few settings go through everything that a trainer does.
SLOWER = (
    *("gradients_equal_central_differences", "resets_inside_the_window", "test_the_command", "test_the_flags_work"),
    *("are_memorised", "markov_source", "allocates_next_to_nothing", "hundred_thousand", "the_mean_of_several_models"),
    *("test_the_end_of_training_and_eval", "test_validation_and_eval", "40003", "30000", "freezes_from_zero"),
    *("test_a_text_that_the_model_is_sure_of", "test_extreme_files", "test_damage_is_refused", "cannot_be_shrunk"),
    *("the_same_settings_give", "undisturbed_one", "documents_do_not_see", "test_a_run_learns", "tensorboard_gets"),
    "(stops_change_nothing and not stops4)",
    "(its_formula_says and not (plateau_patience or max_rollbacks or lr_factor or clip_mode or sample_length or "
    "(ema_decay and adamw) or (warmup_steps and max_minutes)))",
)
# What these have is run by other processes or needs extras: no test that is quick enough sees them.
ELSEWHERE = ("memory", "mpi", "processes", "replicas", "tensorboard", "worker")

# Appended to conftest.py of the copy: the quickest tests of a mutant first, as the first failure ends its run; half of
# the usual examples, the same for all mutants; and what fails is not made smaller.
QUICKLY = """
hypothesis.settings.register_profile(
    "mutants",
    deadline=None,
    derandomize=True,
    max_examples=50,
    phases=[hypothesis.Phase.explicit, hypothesis.Phase.generate],
)
hypothesis.settings.load_profile("mutants")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    from mutmut.state import state

    items.sort(key=lambda item: state().duration_by_test.get(item.nodeid.removeprefix("mutants/"), 0))
"""

# The fast tests, below tests/, that are to notice what is broken. A module without a line has its folder's.
_NETWORKS = ("training/test_shipped_sizes.py::test_small_networks_too", "nn/test_cells.py")
FOLDERS: dict[str, tuple[str, ...]] = {
    "nn": (*_NETWORKS, "nn/test_network.py", "nn/test_regularisation.py"),
    "nn/cells": (
        *_NETWORKS,
        "nn/test_equations.py",
        "nn/test_network.py",
        "nn/test_own_cells.py::test_find_cell_imports_the_module_that_has_it",
        "training/test_shipped_sizes.py::test_chunks_fit_their_bytes",
    ),
    "evaluation": ("evaluation/test_reading.py",),
    "evaluation/compression": ("evaluation/test_compression.py",),
    "sampling": ("sampling",),
    "training": (
        "training/test_session.py",
        "training/test_log_is_right.py",
        "training/test_settings_change_the_run.py",
        "training/test_trainer.py",
        "training/test_look.py",
        "reliability/test_stops.py",
    ),
}
_ADVICE = ("evaluation/test_advice_by_hand.py", "evaluation/test_advice.py")
_BY_HAND = ("training/test_by_hand.py",)
MODULES: dict[str, tuple[str, ...]] = {
    "nn/clip.py": ("nn/test_optim.py",),
    "nn/schedule.py": ("nn/test_optim.py",),
    "nn/ema.py": ("nn/test_ema.py",),
    "nn/matmul.py": ("nn/test_matmul.py",),
    "nn/embedding.py": ("nn/test_embedding.py",),
    "nn/params.py": ("nn/test_optim.py", "nn/test_dropout.py", "nn/test_network.py"),
    "nn/dropout.py": ("nn/test_dropout.py",),
    "nn/buffers.py": ("nn/test_matmul.py", *_NETWORKS),
    "nn/optim.py": ("nn/test_optim.py",),
    "nn/head.py": ("nn/test_dropout.py",),
    "nn/ensemble.py": ("sampling/test_generate.py",),
    "nn/gradcheck.py": ("nn/test_gradcheck.py",),
    "training/adviser.py": _ADVICE,
    "training/choice.py": ("training/test_choice.py",),
    "training/group.py": (*_BY_HAND, "training/test_session.py", "training/test_log_is_right.py"),
    "training/kernels.py": ("training/test_kernels.py",),
    "training/lr_finder.py": _BY_HAND,
    "training/look.py": ("training/test_look.py",),
    "training/pace.py": _BY_HAND,
    "training/progress.py": _BY_HAND,
    "training/session.py": ("training/test_session.py",),
    "training/snapshot.py": _BY_HAND,
    "data/windows.py": ("data/test_windows.py", "data/test_data.py"),
    "data/vocabulary.py": ("data/test_vocabulary.py", "data/test_data.py"),
    "evaluation/advice.py": _ADVICE,
    "evaluation/baselines.py": ("evaluation/test_baselines.py",),
    "evaluation/compressors.py": ("evaluation/test_compressors.py",),
    "evaluation/curve.py": ("evaluation/test_curve.py",),
    "evaluation/diagnosis.py": _ADVICE,
    "evaluation/dynamic.py": ("evaluation/test_dynamic.py",),
    "evaluation/expectation.py": _ADVICE,
    "evaluation/health.py": ("evaluation/test_health.py",),
    "evaluation/loss.py": ("evaluation/test_reading.py", "evaluation/test_scoring.py"),
    "evaluation/memorisation.py": ("evaluation/test_memorisation.py",),
    "evaluation/mixture.py": ("evaluation/test_mixture.py",),
    "evaluation/ngram.py": ("evaluation/test_ngram.py",),
    "data/encode.py": (
        "data/test_data.py",
        "data/test_documents.py",
        "data/test_reading.py",
        "reliability/test_recovery.py::test_an_encoding_cut_short_is_taken_up_again",
        "reliability/test_recovery.py::test_a_note_that_lies_is_not_believed",
    ),
    "evaluation/scoring.py": ("evaluation/test_scoring.py",),
    "evaluation/text_facts.py": ("evaluation/test_text_facts.py",),
}


def _table() -> dict[str, tuple[str, ...]]:
    """The tests of every module: of a folder's modules those that the longest line naming the folder has."""
    table = dict(MODULES)
    for folder in sorted(FOLDERS, key=len, reverse=True):
        for path in sorted((ROOT / "charrnn" / folder).rglob("*.py")):
            # Compiled kernels are compared with these elsewhere; as machine code they cannot be mutated.
            if "compiled" not in path.parts and not (folder == "training" and path.stem in ELSEWHERE):
                table.setdefault(path.relative_to(ROOT / "charrnn").as_posix(), FOLDERS[folder])
    return table


TESTS = _table()
NOTICED = ("killed", "timeout", "segfault")  # a test failed, or never returned


@dataclass
class Score:
    """What became of mutants: mutmut's status of each by its name, and the survivors' diffs.

    Attributes:
        part: the module or folder below charrnn/ whose mutants they are.
        mutants: how many it has in all, drawn or not.
    """

    part: str
    mutants: int
    status: dict[str, str]
    survivors: dict[str, str]

    def count(self, *statuses: str) -> int:
        return sum(Counter(self.status.values())[status] for status in statuses)

    @property
    def noticed(self) -> int:
        return self.count(*NOTICED)

    def row(self) -> str:
        """A row of the table in docs/testing.md."""
        total = len(self.status)
        low, high = interval(self.noticed, total)
        share = f"{100 * self.noticed / total:.0f}%" if total else "-"
        if total < self.mutants:
            share += f" ({100 * low:.0f}-{100 * high:.0f}%)"
        counts = [self.mutants, total, self.count("killed"), self.count("timeout", "segfault"), self.count("survived")]
        return f"| `{self.part}` | " + " | ".join(map(str, [*counts, total - sum(counts[2:]), share])) + " |"


def interval(hits: int, total: int) -> tuple[float, float]:
    """The share of `hits` that `total` draws allow for, with 95% confidence (Wilson 1927)."""
    if not total:
        return 0.0, 1.0
    z, share = 1.96, hits / total
    centre, half = share + z * z / (2 * total), z * math.sqrt(share * (1 - share) / total + z * z / (4 * total * total))
    return tuple((centre + sign * half) / (1 + z * z / total) for sign in (-1, 1))  # type: ignore[return-value]


def modules_of(part: str) -> list[str]:
    """The modules that a name below charrnn/ means: itself, or all below a folder. Empty if there is none."""
    return [module for module in TESTS if module == part or module.startswith(part.rstrip("/") + "/")]


@contextmanager
def scratch_copy(modules: Sequence[str]) -> Iterator[Path]:
    """A copy of the checkout, outside it, where mutmut mutates `modules` alone and runs their tests alone."""
    with tempfile.TemporaryDirectory(prefix="charrnn-mutants-") as name:
        folder = Path(name)
        for part in COPIED:
            source = ROOT / part
            if source.is_dir():
                shutil.copytree(source, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(source, folder / part)
        with (folder / "tests" / "conftest.py").open("a", encoding="utf-8") as file:
            file.write(QUICKLY)
        tests = dict.fromkeys(f"tests/{path}" for module in modules for path in TESTS[module])
        lists = {
            "source_paths": ["charrnn"],
            "only_mutate": [f"charrnn/{module}" for module in modules],
            "also_copy": [part for part in COPIED if part not in ("charrnn", "tests", "pyproject.toml")],
            # A leak is no result; pytest's own clean-up of temporary folders has one now and then.
            "pytest_add_cli_args": [
                "-W",
                "ignore::pytest.PytestUnraisableExceptionWarning",
                "-n0",
                "-m",
                "not (slow or extras or parity)",
                "-k",
                f"not ({' or '.join(SLOWER)})",
            ],
            "pytest_add_cli_args_test_selection": list(tests),
        }
        with (folder / "pyproject.toml").open("a", encoding="utf-8") as file:
            file.write("\n[tool.mutmut]\ntrack_dependencies = false\ntimeout_multiplier = 8\n")
            for key, values in lists.items():
                quoted = ", ".join(f'"{value}"' for value in values)
                file.write(f"{key} = [{quoted}]\n")
        yield folder


def mutmut(folder: Path, *arguments: str) -> str:
    """mutmut's standard output; RuntimeError with its last lines if it fails."""
    command = [sys.executable, "-m", "mutmut", *arguments]
    environment = {**os.environ, "PYTEST_DEBUG_TEMPROOT": str(folder)}  # other tests' temporary folders are left alone
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        raise RuntimeError("\n".join((done.stdout + done.stderr).splitlines()[-30:]))
    return done.stdout


def python(folder: Path, code: str, *arguments: str) -> str:
    """Standard output of `code`, which uses mutmut's own functions under the configuration of `folder`."""
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stdout


def statuses(folder: Path) -> dict[str, str]:
    found = re.findall(r"^\s*(\S+__mutmut_\d+): (.+)$", mutmut(folder, "results", "--all", "true"), re.MULTILINE)
    return dict(found)


def diffs(folder: Path, names: Sequence[str]) -> dict[str, str]:
    """What `mutmut show` prints, of all `names` in one process, as starting one costs a second."""
    code = (
        "import json, sys; from mutmut.mutation.diff_apply import find_mutant, get_diff_for_mutant as diff\n"
        "print(json.dumps({name: diff(name, path=find_mutant(name).path) for name in sys.argv[1:]}))"
    )
    found: dict[str, str] = json.loads(python(folder, code, *names)) if names else {}
    return found


def run(part: str, *, most: int | None = None, draw: random.Random | None = None, processes: int = 1) -> Score:
    """Test the mutants of a module or folder, or `most` of them, drawn by `draw`."""
    modules = modules_of(part)
    with scratch_copy(modules) as folder:
        names = mutant_names(folder, modules)
        chosen = names if most is None or draw is None else draw.sample(names, min(most, len(names)))
        mutmut(folder, "run", "--max-children", str(processes), *(chosen if len(chosen) < len(names) else ()))
        wanted = set(chosen)
        status = {name: value for name, value in statuses(folder).items() if name in wanted}
        left = [name for name, value in status.items() if value not in NOTICED]
        return Score(part, len(names), status, diffs(folder, left))


def mutant_names(folder: Path, modules: Sequence[str]) -> list[str]:
    """The names that mutmut gives to all mutants of `modules`, in order, under the configuration of `folder`."""
    code = (
        "import sys, pathlib; from mutmut.mutation.file_mutation import mutate_file_contents as mutate\n"
        "for path in sys.argv[1:]: print(*mutate(path, pathlib.Path(path).read_text('utf-8')).mutant_names)"
    )
    names, lines = [], python(folder, code, *(f"charrnn/{module}" for module in modules)).splitlines()
    for module, line in zip(modules, lines, strict=True):
        prefix = "charrnn." + module.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        names += [f"{prefix}.{name}" for name in line.split()]
    return names


def changed(diff: str) -> str:
    """What a mutant has in place of the original, in one line, without comments; as docs/testing.md lists it."""
    added = [line[1:] for line in diff.splitlines() if line.startswith("+") and not line.startswith("+++")]
    return " ".join(line.partition("  # ")[0].strip() for line in added)


def sample(count: int, seed: str, *, of_each: int = 10) -> list[Score]:
    """`count` mutants drawn by `seed`: `of_each` (or all there are) of modules drawn in proportion to their length.

    Few modules, because each costs a run of its tests before the first mutant.
    """
    draw, left, scores = random.Random(seed), list(TESTS), []
    while left and count > 0:
        lengths = [(ROOT / "charrnn" / module).stat().st_size for module in left]
        module = draw.choices(left, lengths)[0]
        left.remove(module)
        scores.append(run(module, most=min(of_each, count), draw=draw))
        count -= len(scores[-1].status)
    return scores


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "parts",
        nargs="*",
        help="modules or folders below charrnn/, such as nn/clip.py or sampling (default: each module)",
    )
    parser.add_argument("--sample", type=int, metavar="N", help="draw N mutants per module or folder (default: all)")
    parser.add_argument("--seed", default="0", help="seed of the draw (default: 0)")
    parser.add_argument(
        "--processes", type=int, default=os.cpu_count() or 1, help="mutants tested at a time (default: one per core)"
    )
    options = parser.parse_args(arguments)
    parts: list[str] = options.parts or list(TESTS)
    if unknown := [part for part in parts if not modules_of(part)]:
        parser.error(f"no such module: {', '.join(unknown)} (the table is TESTS in tests/mutants.py)")
    columns = ["part", "mutants", "tested", "killed", "timeout", "survived", "no tests", "score"]
    print("| " + " | ".join(columns) + " |\n" + "|---" * len(columns) + "|", flush=True)
    failed = False
    for part in parts:
        try:
            draw = random.Random(f"{options.seed} {part}")
            score = run(part, most=options.sample, draw=draw, processes=options.processes)
        except RuntimeError as error:
            print(f"{part}: mutmut failed\n{error}", file=sys.stderr, flush=True)
            failed = True
            continue
        print(score.row(), flush=True)
        for name, diff in score.survivors.items():
            print(f"{name} ({score.status[name]})\n{diff}", file=sys.stderr, flush=True)
    sys.exit(failed)


if __name__ == "__main__":
    main()
