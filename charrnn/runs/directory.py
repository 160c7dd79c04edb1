"""A run's directory: settings, checkpoints, history and samples."""

from __future__ import annotations

import contextlib
import json
import math
import os
from contextlib import AbstractContextManager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from charrnn.config.load import dump_config
from charrnn.config.schema import Config, source_place
from charrnn.errors import DataError, SettingsError
from charrnn.files import append, open_regular, remove_stale, sync, unshare, unwritable, write_atomically, writing
from charrnn.locks import FileLock, LockedError, is_locked
from charrnn.runs.events import RolledBack, StepReport
from charrnn.runs.reading import read_run_settings


class RunDirectory:
    """The files of one run; see the attributes for their names.

    Args:
        path: the directory; made by `open_new`.

    Attributes:
        trouble: why rows of the history or samples wait to be written; None where none do.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config = path / "config.yaml"
        self.last = path / "last.npz"
        self.best = path / "best.npz"
        self.history = path / "history.jsonl"
        self.samples = path / "samples.txt"
        self.rollback = path / "rollback.npz"  # what a divergence goes back to, while last.npz is that of a stop
        self.summary = path / "summary.json"  # there once the run has reached its end
        self.trouble: OSError | None = None
        self._waiting: dict[Path, bytes] = {}

    def open_new(self, config: Config, *, overwrite: bool, remarked: str | None = None) -> None:
        """Make the directory and write the resolved settings.

        Args:
            config: the settings.
            overwrite: replace the run in it.
            remarked: the same settings as YAML with remarks, if there are any.

        Raises:
            SettingsError, StorageError: it holds a run already, or cannot be written.
        """
        if not overwrite:
            self.check_free()
        with self._writing():
            self.path.mkdir(parents=True, exist_ok=True)
            text = dump_config(config) if remarked is None else remarked
            write_atomically(self.config, text.encode())  # first: on a full disk the old run stays
            for file in self._files():
                if file != self.config:
                    file.unlink(missing_ok=True)

    def _files(self) -> tuple[Path, ...]:
        return (self.config, self.last, self.best, self.rollback, self.history, self.samples, self.summary)

    @property
    def is_free(self) -> bool:
        """Whether there is no run in it, nor half of one."""
        return not any(file.exists() for file in self._files())

    def check_free(self, *, resumable: bool = True) -> None:
        """There is no run in it.

        Args:
            resumable: whether who asks could continue it.

        Raises:
            SettingsError: there is.
        """
        if not self.is_free:
            saved = resumable and self.last.exists()  # it may have died before
            go_on = "continue it with `resume`, " if saved else ""
            raise SettingsError(
                f"{self.path}: the directory holds a run already",
                hint=f"{go_on}replace it with `overwrite`, or choose another `run_dir`",
            )

    def check_early(self) -> None:
        """`check_free` before any work; a directory in which another process trains is left to `lock`, which says so.

        Raises:
            SettingsError: as `check_free`.
        """
        if not is_locked(self.path / ".lock"):
            self.check_free()

    def reopen(self, config: Config) -> None:
        """Make the files ready to be continued; in the settings, only the lines of changed values are rewritten.

        Raises:
            SettingsError, StorageError: the directory cannot be written.
        """
        with self._writing():
            for log in (self.history, self.samples):  # before anything is changed
                with contextlib.suppress(FileNotFoundError):
                    open_regular(log).close()
            self.summary.unlink(missing_ok=True)  # a longer run than the one that ended
            from charrnn.config.edit import with_values

            try:
                before = read_run_settings(self.path)
            except DataError:
                before = ""
            if (after := with_values(before, config)) != before:
                write_atomically(self.config, after.encode())

    def _writing(self) -> AbstractContextManager[None]:
        return writing(self.path, "the run directory", hint="choose another `run_dir`")

    def lock(self) -> FileLock:
        """Keeps other trainings out while the block runs; makes the directory.

        Raises:
            SettingsError: another process is training in it, or it cannot be made.
        """
        with self._writing():
            self.path.mkdir(parents=True, exist_ok=True)
        return _RunLock(self.path / ".lock", wait=False)

    def append_report(self, report: StepReport) -> None:
        """Add a row to the history."""
        self._append(self.history, json.dumps(finite(asdict(report))) + "\n")

    def append_note(self, event: str, note: RolledBack) -> None:
        """Add a row that is no report, under the name of what happened."""
        self._append(self.history, json.dumps(finite({"event": event, **asdict(note)})) + "\n")

    def append_sample(self, step: int, text: str) -> None:
        """Add a sample, under a line that says when it was made."""
        self._append(self.samples, f"--- step {step} ---\n{text}\n\n")

    def _append(self, path: Path, text: str) -> None:
        """Add to a log; what cannot be written now waits for the next time, for no log is worth a run."""
        self._waiting[path] = self._waiting.get(path, b"") + text.encode("utf-8", "backslashreplace")
        self.write_waiting()

    def write_waiting(self) -> None:
        """Write what waits; `trouble` says why something still does."""
        self.trouble = None
        for path, data in self._waiting.items():
            try:
                if data or not os.path.lexists(path):
                    append(path, data)
                self._waiting[path] = b""
            except OSError as error:
                self.trouble = error

    def write_summary(self, reason: str, summary: dict[str, Any]) -> None:
        """Say that the run has ended, why, and what came out; without the run's place, so that it may be moved."""
        facts = {k: v for k, v in summary.items() if k not in ("run_dir", "checkpoint", "best_checkpoint")}
        write_atomically(self.summary, (json.dumps({"reason": reason, **finite(facts)}) + "\n").encode())

    def sync_logs(self) -> tuple[int, int]:
        """Force history and samples to the disk, before a checkpoint that counts on them; their sizes in bytes."""
        self._waiting.setdefault(self.history, b"")  # a run that stops before its first report has a history, too
        self.write_waiting()
        for path in (self.history, self.samples):
            try:
                with open_regular(path, "r+b") as file:  # Windows syncs only what is open for writing
                    sync(file.fileno())
            except FileNotFoundError:
                continue
            except OSError as error:
                self.trouble = error
        sizes = [path.stat().st_size if path.exists() else 0 for path in (self.history, self.samples)]
        return sizes[0], sizes[1]

    def keep_for_rollback(self) -> None:
        """Keep the last checkpoint for a later divergence, before that of a stop takes its place."""
        self.rollback.unlink(missing_ok=True)
        try:
            os.link(self.last, self.rollback)
        except OSError:  # no links on this file system
            write_atomically(self.rollback, self.last.read_bytes())

    def cut_logs(self, history_bytes: int, samples_bytes: int) -> None:
        """Drop what was written after a checkpoint, which the resumed run writes again; also a row cut by a crash.

        Raises:
            SettingsError: a log is no regular file, or cannot be written.
        """
        self._waiting = {}
        try:
            for path, size in ((self.history, history_bytes), (self.samples, samples_bytes)):
                unshare(path)  # a copy of the run made of hard links keeps its own
                with contextlib.suppress(FileNotFoundError), open_regular(path, "r+b") as file:
                    if os.fstat(file.fileno()).st_size > size:
                        file.truncate(size)
        except OSError as error:
            raise unwritable(path, error) from None


def run_name(source: str) -> str:
    """What a run on a source of text is called."""
    if source == "-":
        return "stdin"
    place = Path(source_place(source))
    name = (place.resolve() if place.name in ("", "..") else place).name
    for packed in (".gz", ".bz2", ".xz"):
        name = name.removesuffix(packed)
    return Path(name).stem.lstrip(".") or "text"


def fresh_directory(path: Path) -> Path:
    """`path`, or where it holds a run already, the first of path-2, path-3 and so on that holds none."""
    number, fresh = 1, path
    while not RunDirectory(fresh).is_free:
        number += 1
        fresh = path.with_name(f"{path.name}-{number}")
    return fresh


def finite(facts: dict[str, Any]) -> dict[str, Any]:
    """Numbers that JSON does not have as None."""
    return {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in facts.items()}


class _RunLock(FileLock):
    def __enter__(self) -> FileLock:
        try:
            held = super().__enter__()
        except LockedError:
            raise SettingsError(
                f"{self.path.parent}: another process is training in this run directory",
                hint="wait for it, or choose another `run_dir`",
            ) from None
        except OSError as error:
            raise unwritable(self.path.parent, error, "the run directory", hint="choose another `run_dir`") from None
        remove_stale(self.path.parent)
        return held
