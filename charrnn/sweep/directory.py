"""A sweep's directory: its request (`sweep.yaml`, `base.yaml`, `sweep.json`), one run directory per trial, results."""

from __future__ import annotations

import json
import os
import platform
import shutil
import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Literal

from charrnn import __version__
from charrnn.blas import kernel_name
from charrnn.config.load import dump_config
from charrnn.config.yaml import MAX_BYTES
from charrnn.errors import DataError, SettingsError
from charrnn.files import make_folder, read_regular, write_atomically, writing
from charrnn.locks import FileLock, LockedError
from charrnn.runs.directory import RunDirectory
from charrnn.runs.reading import Summary, read_object, read_summary, read_trial
from charrnn.sweep.plan import Plan, Trial

_MANIFEST = 1 << 26  # bytes; a trial takes some hundred

Status = Literal["missing", "begun", "done", "pruned", "failed"]


class SweepDirectory:
    """The files of one sweep.

    Args:
        path: the directory; made by `open_new`.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.file = path / "sweep.yaml"
        self.base = path / "base.yaml"
        self.manifest = path / "sweep.json"
        self.results_json = path / "results.json"
        self.results_csv = path / "results.csv"
        self.journal = path / "optuna.journal"

    def open(self, plan: Plan, text: str, *, command: Sequence[str], resume: bool, overwrite: bool) -> None:
        """Make the directory, or check that it is this sweep's, and record the request.

        Args:
            plan: the sweep.
            text: of its file, kept unchanged.
            command: the command line, kept.
            resume: continue the sweep that is there.
            overwrite: replace it.

        Raises:
            SettingsError: it already holds a sweep, or another one, or none to resume, or a run; or it cannot be
                written.
        """
        there = self.manifest.exists()
        if not there and not RunDirectory(self.path).is_free:
            raise SettingsError(
                f"{self.path}: the directory of a run, not of a sweep", hint="choose another `directory`"
            )
        if resume and not there:
            raise SettingsError(f"{self.path}: no sweep to resume", hint="start it without `resume`")
        if there and not (resume or overwrite):
            raise SettingsError(
                f"{self.path}: the directory already holds a sweep",
                hint="continue it with `resume`, replace it with `overwrite`, or choose another `directory`",
            )
        if resume:
            self.check_base(plan)
        base = dump_config(plan.base)
        facts = self._facts(plan, command, before=self._history() if resume else [])
        with self.writing():
            if there and overwrite:
                self._remove_trials()
            if not resume:
                self.journal.unlink(missing_ok=True)  # in which trials that are no longer there count
            self.path.mkdir(parents=True, exist_ok=True)
            write_atomically(self.file, text.encode())
            write_atomically(self.base, base.encode())
            write_atomically(self.manifest, (json.dumps(facts, indent=1) + "\n").encode())

    def writing(self) -> AbstractContextManager[None]:
        """Turns the system's errors in writing here into one of ours."""
        return writing(self.path, "the sweep's directory", hint="choose another `directory`")

    def check_base(self, plan: Plan) -> None:
        """Check that the existing sweep started from the same settings.

        Raises:
            SettingsError: it did not.
        """
        try:
            same = read_regular(self.base, limit=MAX_BYTES) == dump_config(plan.base).encode()
        except OSError:
            same = False
        if not same:
            raise SettingsError(
                f"{self.path}: its trials started from base settings that differ from the current ones (base.yaml)",
                hint="grids and seeds may be extended; for a new base choose another `directory`",
            )

    def _history(self) -> list[dict[str, Any]]:
        """The commands and versions with which the sweep has been run so far."""
        try:
            old = read_object(self.manifest, dict[str, Any], limit=_MANIFEST)
        except DataError:
            return []  # no longer useful; the trials themselves are
        if old is None:
            return []
        earlier = old.get("before")
        now = {k: v for k, v in old.items() if k not in ("format", "before", "trials")}
        return [*(earlier if isinstance(earlier, list) else []), now]

    def _facts(self, plan: Plan, command: Sequence[str], *, before: list[dict[str, Any]]) -> dict[str, Any]:
        import numpy as np

        return {
            "format": 1,
            "begun": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "charrnn": __version__,
            "python": platform.python_version(),
            "numpy": np.__version__,
            "kernel": kernel_name(),
            "system": f"{sys.platform} {platform.machine()}, {os.cpu_count()} cores",
            "command": list(command),
            "folder": str(Path.cwd()),
            "before": before,
            "trials": [{"name": trial.name, "overrides": trial.overrides} for trial in plan.trials],
        }

    def _remove_trials(self) -> None:
        """The run directories of the existing sweep, and nothing else that may be kept next to them."""
        for folder in self.path.iterdir():
            if (folder / "trial.json").is_file():
                shutil.rmtree(folder)
        for path in (self.results_json, self.results_csv):
            path.unlink(missing_ok=True)

    def lock(self) -> FileLock:
        """Keeps other sweeps out of the directory while the block runs.

        Raises:
            SettingsError: another sweep is running in it.
        """
        return _SweepLock(self.path / ".lock", wait=False)

    def folder(self, trial: Trial) -> Path:
        """The trial's run directory."""
        return self.path / trial.name

    def record(self, trial: Trial, **facts: Any) -> None:
        """Write down what is known of a trial beside what its run writes itself.

        Raises:
            SettingsError, StorageError: it cannot be written.
        """
        with self.writing():
            make_folder(self.folder(trial))
            add_to_record(self.folder(trial), name=trial.name, overrides=trial.overrides, **facts)

    def recorded(self, trial: Trial) -> dict[str, Any]:
        """What `record` wrote; empty for a trial that has not begun."""
        return read_record(self.folder(trial))

    def status(self, trial: Trial) -> Status:
        """The status of a trial."""
        folder = self.folder(trial)
        if self._summary(trial) is not None:
            return "done"
        status = self.recorded(trial).get("status")
        if status in ("pruned", "failed"):
            return "pruned" if status == "pruned" else "failed"
        return "begun" if (folder / "last.npz").is_file() else "missing"

    def write_results(self, rows: Sequence[dict[str, Any]]) -> None:
        """The ranked table as JSON."""
        write_atomically(self.results_json, (json.dumps({"runs": rows}, indent=1) + "\n").encode())

    def error_of(self, name: str) -> str:
        """A failed trial's error message."""
        return str(self.recorded(Trial(name, {})).get("error") or "no error message")

    def loss_of(self, trial: Trial) -> float | None:
        """Nats of a run at its end: the best validation loss, or the training loss without one; else None."""
        summary = self._summary(trial)
        return None if summary is None else summary.loss

    def _summary(self, trial: Trial) -> Summary | None:
        try:
            return read_summary(self.folder(trial))
        except DataError:  # the run continues from its checkpoint, and writes it again
            return None

    def trials(self) -> list[Trial]:
        """Every trial that has a directory, planned or searched, by name."""
        found = []
        for path in sorted(self.path.glob("*/trial.json")):
            try:
                known = read_trial(path.parent)
            except DataError:  # reported by the table of runs
                continue
            if known is not None:
                found.append(Trial(path.parent.name, known.overrides))
        return found


def read_record(folder: Path) -> dict[str, Any]:
    """The record of a trial in its run directory; empty if there is none."""
    try:
        known = read_trial(folder)
    except DataError:  # it is rewritten, and its run's files have the rest
        return {}
    return {} if known is None else {k: v for k, v in dict(known).items() if v is not None}


def add_to_record(folder: Path, **facts: Any) -> None:
    """Add to a trial's record: the sweep before and after the trial's process runs, the process itself meanwhile.

    Raises:
        OSError: the record cannot be written.
    """
    write_atomically(folder / "trial.json", (json.dumps({**read_record(folder), **facts}, indent=1) + "\n").encode())


class _SweepLock(FileLock):
    def __enter__(self) -> FileLock:
        try:
            with writing(self.path.parent, "the sweep's directory", hint="choose another `directory`"):
                self.path.parent.mkdir(parents=True, exist_ok=True)
                return super().__enter__()
        except LockedError:
            raise SettingsError(
                f"{self.path.parent}: another sweep is running in this directory",
                hint="wait for it to end, or choose another `directory`",
            ) from None
