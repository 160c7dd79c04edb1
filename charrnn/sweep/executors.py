"""Where trials run: processes on this machine."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

from charrnn.blas import available_cores
from charrnn.config.schema import Config
from charrnn.errors import DataError
from charrnn.files import open_regular, writing
from charrnn.locks import is_locked
from charrnn.runs.reading import Row, parse_row, read_run_config
from charrnn.sweep.directory import read_record
from charrnn.sweep.file import Overrides
from charrnn.sweep.plan import Trial
from charrnn.training.processes import child_command, child_environment, detached


@dataclass(frozen=True)
class TrialRow:
    """A trial wrote a row of its history."""

    trial: Trial
    row: dict[str, Any]


@dataclass(frozen=True)
class Ended:
    """A trial's process is over.

    Attributes:
        exit_code: of the training, negative for a signal that it could not answer.
        error: its error line; "" where there is none.
    """

    trial: Trial
    exit_code: int
    error: str


class Executor(Protocol):
    """Runs trials somewhere."""

    def free(self) -> int:
        """How many more trials it can take now."""

    def start(self, trial: Trial, folder: Path, *, resume: bool) -> None:
        """Begin a trial, or go on with it."""

    def poll(self) -> list[TrialRow | Ended]:
        """What has happened since the last call."""

    def stop(self, trial: Trial) -> None:
        """Ask a trial to save and end; `poll` tells when it has."""

    def close(self) -> None:
        """End everything that still runs."""


class HistoryTail:
    """Rows that a run adds to its history, as they come, each step once.

    A run that goes on cuts its history back to where its checkpoint stands and writes the rows after it again.

    Args:
        path: `history.jsonl`, which may not be there yet.
        skip: leave out what is there now.
    """

    _LONGEST = 1 << 16  # bytes of a row

    def __init__(self, path: Path, *, skip: bool) -> None:
        self._path = path
        self._offset, self._step = 0, -1
        if skip:
            self.rows()

    def rows(self) -> list[dict[str, Any]]:
        """Reports since the last call."""
        try:
            with open_regular(self._path) as file:
                start = min(self._offset, file.seek(0, 2))
                begin = file.seek(max(0, start - self._LONGEST))
                start = begin + file.read(start - begin).rfind(b"\n") + 1  # in a file cut back, it may be within a row
                file.seek(start)
                data = file.read()
        except OSError:
            return []
        whole = data[: data.rfind(b"\n") + 1]
        self._offset = start + len(whole)
        new = []
        for line in whole.splitlines():
            try:
                row = parse_row(line)
            except ValueError:  # damaged; the run's own table says so
                continue
            if isinstance(row, Row) and row.step > self._step:
                new.append(dict(row))
        self._step = max([self._step, *(row["step"] for row in new)])
        return new


def core_groups(jobs: int) -> list[list[int]]:
    """The processors for each of `jobs` trials at a time; shared where there are fewer than trials."""
    known = hasattr(os, "sched_getaffinity")
    cores = sorted(os.sched_getaffinity(0)) if known else list(range(os.cpu_count() or 1))
    if (share := available_cores()) < len(cores):  # a container's; others have the first ones too
        cores = sorted(random.sample(cores, share))
    if jobs >= len(cores):
        return [[cores[k % len(cores)]] for k in range(jobs)]
    return [cores[k * len(cores) // jobs : (k + 1) * len(cores) // jobs] for k in range(jobs)]


def replicas_for(folder: Path, config: Config, cores: int) -> int | str:
    """What `training.replicas` becomes on this number of cores, so that its settings alone repeat a trial bit by bit.

    A run that has begun keeps its number, whatever there is now.
    """
    from charrnn.training.group import choose_replicas

    if (folder / "last.npz").exists():
        with contextlib.suppress(DataError):  # damaged settings: the checkpoint has its own, and says what does not fit
            return read_run_config(folder).training.replicas
    return choose_replicas(config.training.replicas, config.training.batch_size, cores=cores)


class LocalExecutor:
    """One process a trial, each on its own share of the processors.

    Args:
        base: the settings file that trials start from.
        jobs: trials at a time.
        settings: all settings of a trial, to share its batch out over its processors.
    """

    def __init__(self, base: Path, jobs: int, settings: Callable[[Trial], Config]) -> None:
        self._base, self._settings = base, settings
        self._idle = core_groups(jobs)
        self._running: dict[str, _Process] = {}
        self._waiting: list[tuple[Trial, Path, bool]] = []
        self._dropped: list[Trial] = []

    def free(self) -> int:
        """See `Executor`."""
        return len(self._idle) - len(self._waiting)

    def start(self, trial: Trial, folder: Path, *, resume: bool) -> None:
        """See `Executor`; a run that a dead sweep has left behind is waited for."""
        self._waiting.append((trial, folder, resume))
        self._launch()

    def _launch(self) -> None:
        for item in list(self._waiting):
            trial, folder, resume = item
            if not self._idle or not unlocked(folder):
                continue
            cores = self._idle.pop()
            going_on = resume and (folder / "last.npz").exists()
            count = replicas_for(folder, self._settings(trial), len(cores))
            overrides = {**trial.overrides, "training.replicas": count}
            # A directory to begin in may hold a run that died before its first checkpoint.
            job = Job(str(self._base), overrides, str(folder), going_on)
            self._running[trial.name] = _Process(trial, folder, job, cores, resume=resume)
            self._waiting.remove(item)

    def poll(self) -> list[TrialRow | Ended]:
        """See `Executor`."""
        self._launch()
        found: list[TrialRow | Ended] = [Ended(trial, -signal.SIGTERM, "") for trial in self._dropped]
        self._dropped = []
        for name, process in list(self._running.items()):
            code = process.popen.poll()  # before the history is read, so that its last row is not missed
            found += [TrialRow(process.trial, row) for row in process.tail.rows()]
            if code is not None:
                found.append(Ended(process.trial, code, error_of(process.folder, code)))
                ask_to_stop(process.popen)  # closes its pipe
                self._idle.append(process.cores)
                del self._running[name]
        return found

    def stop(self, trial: Trial) -> None:
        """See `Executor`."""
        if trial.name in self._running:
            ask_to_stop(self._running[trial.name].popen)
        self._dropped += [t for t, *_ in self._waiting if t == trial]
        self._waiting = [item for item in self._waiting if item[0] != trial]

    def close(self) -> None:
        """See `Executor`; each has half a minute to save."""
        for process in self._running.values():
            ask_to_stop(process.popen)
        for process in self._running.values():
            try:
                process.popen.wait(timeout=30)
            except subprocess.TimeoutExpired:
                process.popen.kill()
                process.popen.wait()
        self._running, self._waiting = {}, []


class _Process:
    def __init__(self, trial: Trial, folder: Path, job: Job, cores: list[int], *, resume: bool) -> None:
        self.trial, self.cores, self.folder = trial, cores, folder
        self.tail = HistoryTail(folder / "history.jsonl", skip=resume)
        self.popen = launch(job, folder / "log.txt", cores)


@dataclass(frozen=True)
class Job:
    """What the process of a trial is to do.

    Attributes:
        config: settings file.
        overrides: what to change of it.
        run_dir: where to write.
        resume: go on with what is there; otherwise it is replaced.
    """

    config: str
    overrides: Overrides
    run_dir: str
    resume: bool


def launch(job: Job, log: Path, cores: list[int], *, text: Path | None = None) -> subprocess.Popen[bytes]:
    """Start a trial on some processors; it ends when this process does.

    Args:
        job: of the trial.
        log: gets its messages.
        cores: the processors.
        text: folder whose files are the corpus, whatever the settings call it.
    """
    spec = json.dumps({"job": asdict(job), "cores": cores})
    environment = child_environment(len(cores)) | ({"CHARRNN_TEXT": str(text)} if text else {})
    with writing(log, "what a trial needs"), open_regular(log, "ab") as file:
        return subprocess.Popen(
            child_command("charrnn.cli.trial", spec),
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=file,
            env=environment,
            **detached(),
        )


def ask_to_stop(process: subprocess.Popen[bytes]) -> None:
    """Ask a trial to save and end; it waits for the end of its standard input, also when this process is gone."""
    if process.stdin is not None:
        with contextlib.suppress(OSError):
            process.stdin.close()


def error_of(folder: Path, code: int) -> str:
    """The error that the process of a trial has written into its record; "" where there was none."""
    if code < 0:
        return f"ended by signal {-code}"
    recorded = read_record(folder).get("error")
    return str(recorded) if recorded else f"ended with exit code {code}" if code else ""


def unlocked(folder: Path) -> bool:
    """Whether no training is at work in a run directory."""
    return not is_locked(folder / ".lock")
