"""Proves the versions that pyproject.toml promises: the lowest on the oldest Python here, the newest on the newest.

The ordinary suite runs at both of these ends and `tests/smoke.py` in every combination. What is promised is read from
the metadata of the wheel. Only wheels are installed; versions without one for a Python are no promise there, except
the lowest on the lowest Python. Run it with any Python >= 3.10: `python3 .ci/versions.py`.
"""

from __future__ import annotations

import email
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
_DESCRIBE = (
    "import ensurepip, sys, sysconfig, venv; v = sys.version_info; "
    "assert v.releaselevel == 'final' and not sysconfig.get_config_var('Py_GIL_DISABLED'); print(*v[:3])"
)


@dataclass(frozen=True, order=True)
class Interpreter:
    """A Python that can make virtual environments, ordered by version."""

    version: tuple[int, ...]
    program: Path

    def __str__(self) -> str:
        return "Python " + ".".join(map(str, self.version))


@dataclass(frozen=True)
class Promise:
    """What a wheel's metadata says.

    Attributes:
        wheel: the file.
        python: the lowest Python, (major, minor).
        lowest: each core dependency pinned to its lowest version, "numpy==1.26".
    """

    wheel: Path
    python: tuple[int, int]
    lowest: tuple[str, ...]


class CannotInstallError(Exception):
    """Why pip did not find these versions."""


def main() -> None:
    """Build the wheel, make the environments, run what is to be run in each."""
    begin = time.monotonic()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the environments are removed
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        folder = Path(name)
        run([sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", folder, ROOT])
        promise = promised(next(folder.glob("charrnn-*.whl")))
        pythons = interpreters(promise.python)
        say(f"found {', '.join(map(str, pythons))}")
        if len(pythons) == 1:
            say(f"only one Python here, {pythons[0]}: both ends run on it")
        prove(promise, pythons, folder)
    say(f"done in {time.monotonic() - begin:.0f} s")


def prove(promise: Promise, pythons: Sequence[Interpreter], folder: Path) -> None:
    """The two ends, then the two other corners, where there are two Pythons."""
    oldest, later = pythons[0], list(reversed(pythons[1:]))
    try:
        check("lowest", oldest, promise, folder, suite=True)
    except CannotInstallError as error:
        if oldest.version[:2] == promise.python:
            raise
        say(f"NOT PROVED: the lowest versions cannot be had for {oldest} ({error})")
    newest = first_that_installs("newest", [*later, oldest], promise, folder, suite=True)
    if newest is None:
        sys.exit("versions: the newest versions cannot be had for any Python here")
    if newest != oldest:
        check("newest", oldest, promise, folder)
    if later:
        first_that_installs("lowest", later, promise, folder)


def first_that_installs(
    which: str, pythons: Sequence[Interpreter], promise: Promise, folder: Path, *, suite: bool = False
) -> Interpreter | None:
    """The first of these Pythons for which there are such versions, checked."""
    for python in pythons:
        try:
            check(which, python, promise, folder, suite=suite)
        except CannotInstallError as error:
            say(f"{which} versions: none for {python} ({error})")
        else:
            return python
    return None


def check(which: str, python: Interpreter, promise: Promise, folder: Path, *, suite: bool = False) -> None:
    """Make one environment, run the smoke test in it and, if asked, the ordinary suite.

    Raises:
        CannotInstallError: there are no wheels of these versions.
    """
    environment = folder / f"{which}-{python.version[1]}"
    run([python.program, "-m", "venv", environment])
    program = environment / "bin" / "python"
    pins = promise.lowest if which == "lowest" else ()
    wanted = f"{promise.wheel}[test]" if suite else str(promise.wheel)
    install(program, wanted, *pins)
    if pins:
        # Typer's command line is Click's where it does not carry its own, so Click goes as low as that Typer allows.
        install(program, wanted, *pins, *click_floor(program))
    names = ["click", *(pin.split("==")[0] for pin in promise.lowest)]
    say(f"{which} versions on {python}: {installed(program, names)}")
    with tempfile.TemporaryDirectory(dir=folder) as empty:
        run([program, ROOT / "tests" / "smoke.py"], cwd=Path(empty))
    if suite:
        run([program, "-m", "pytest", "-q"])
    shutil.rmtree(environment)


def install(program: Path, *wanted: str) -> None:
    """Install wheels.

    Raises:
        CannotInstallError: pip found none.
    """
    command = [program, "-m", "pip", "install", "--quiet", "--only-binary", ":all:", *wanted]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR: ")]
        raise CannotInstallError(errors[-1][len("ERROR: ") :] if errors else done.stderr.strip())


def promised(wheel: Path) -> Promise:
    """Read the metadata of a wheel."""
    with zipfile.ZipFile(wheel) as archive:
        name = next(n for n in archive.namelist() if n.endswith(".dist-info/METADATA"))
        metadata = email.message_from_bytes(archive.read(name))
    major, minor = re.fullmatch(r">=(\d+)\.(\d+)", metadata["Requires-Python"]).groups()  # type: ignore[union-attr]
    core = [text for text in metadata.get_all("Requires-Dist", []) if "extra ==" not in text]
    return Promise(wheel, (int(major), int(minor)), tuple(map(lowest, core)))


def lowest(requirement: str) -> str:
    """A requirement pinned to the lowest version that it allows."""
    found = re.match(r"([\w.-]+)[^;]*?>=\s*([\w.]+)", requirement)
    if found is None:
        sys.exit(f"versions: {requirement!r} in pyproject.toml has no lowest version")
    return f"{found[1]}=={found[2]}"


def click_floor(program: Path) -> Iterator[str]:
    """Click at the lowest version that the installed Typer allows, if it needs Click."""
    code = "from importlib.metadata import requires; print(*requires('typer'), sep='\\n')"
    for line in output([program, "-c", code]).splitlines():
        if re.match(r"click\b", line):
            yield lowest(line)
            return


def installed(program: Path, names: Sequence[str]) -> str:
    """Names and versions of what is there."""
    found = output([program, "-m", "pip", "list", "--format", "freeze"]).splitlines()
    return ", ".join(line.replace("==", " ") for line in found if line.split("==")[0].lower() in names)


def interpreters(floor: tuple[int, int]) -> list[Interpreter]:
    """One Python of each minor version from the lowest on, oldest first."""
    found: dict[tuple[int, ...], Interpreter] = {}
    for program in candidates():
        done = subprocess.run([program, "-c", _DESCRIBE], stdin=subprocess.DEVNULL, capture_output=True, check=False)
        version = tuple(map(int, done.stdout.split())) if done.returncode == 0 else ()
        if version[:2] >= floor:
            found.setdefault(version[:2], Interpreter(version, program))
    if not found:
        sys.exit(f"versions: no Python from {floor[0]}.{floor[1]} on that can make a virtual environment")
    return sorted(found.values())


def candidates() -> Iterator[Path]:
    """What may be a Python: by name on the PATH, and all that pyenv has, where there is a pyenv."""
    for name in [*(f"python3.{minor}" for minor in range(10, 30)), "python3"]:
        if program := shutil.which(name):
            yield Path(program)
    if shutil.which("pyenv"):
        yield from sorted(Path(output(["pyenv", "root"]).strip(), "versions").glob("3.*/bin/python3"))
    yield Path(sys.executable)


def run(command: Sequence[object], *, cwd: Path = ROOT) -> None:
    """Run a program; a failure ends this one."""
    sys.stdout.flush()
    variables = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    words = [str(word) for word in command]
    if code := subprocess.run(words, stdin=subprocess.DEVNULL, cwd=cwd, env=variables, check=False).returncode:
        sys.exit(f"versions: exit code {code}: {' '.join(words)}")


def output(command: Sequence[object]) -> str:
    """What a program prints."""
    return subprocess.run(list(map(str, command)), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
                          check=True).stdout  # fmt: skip


def say(text: str) -> None:
    """One line, at once."""
    sys.stdout.write(f"versions: {text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
