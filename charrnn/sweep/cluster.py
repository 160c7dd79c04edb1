"""Trials on a Dask cluster (extra `[dask]`): texts and checkpoints travel, results come back to the sweep's directory.

A worker runs a trial in its own folder, as the same process that a single machine would run. Whenever a checkpoint has
been written, the run's files go to a variable on the scheduler, which outlives the worker; reports go to a second,
small one, which is read often. When the worker dies, the trial moves to another, which starts from those files; the
sweep's own directory gets them too, so that a sweep whose own process dies can continue as well.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from charrnn.config.load import config_from_dict, config_to_dict, dump_config
from charrnn.config.schema import Config
from charrnn.data.corpora import find_files
from charrnn.errors import CharRNNError, MissingExtraError, SettingsError
from charrnn.files import IrregularFileError, open_regular, write_atomically
from charrnn.sweep.executors import (
    Ended,
    HistoryTail,
    Job,
    TrialRow,
    ask_to_stop,
    core_groups,
    error_of,
    launch,
    replicas_for,
)
from charrnn.sweep.plan import Trial, overridden

Files = dict[str, bytes]

_LOOK_SECONDS = 0.3
_TIMEOUT = 30.0
_CONNECT_SECONDS = 10.0  # also how long a lost scheduler may take to come back
_LOST = 3  # workers that a trial may lose before it is blamed for killing them
# A resumed run cuts its logs back to its checkpoint, so they may be newer than it, never older: it is read before
# them and written after them. The summary says that all files are there.
_READ = ("config.yaml", "last.npz", "best.npz", "history.jsonl", "samples.txt", "log.txt", "summary.json")
_WRITTEN = ("config.yaml", "history.jsonl", "samples.txt", "log.txt", "best.npz", "last.npz", "summary.json")


class DaskExecutor:
    """Trials as tasks of a Dask cluster, one at a time per worker thread.

    Args:
        address: of the scheduler, as in tcp://host:8786.
        settings: all settings of a trial.

    Raises:
        MissingExtraError: no `distributed`.
        SettingsError: no scheduler there.
    """

    def __init__(self, address: str, settings: Callable[[Trial], Config]) -> None:
        try:
            from distributed import Client
        except ImportError:
            raise MissingExtraError("distributed", "dask", purpose="a sweep on a Dask cluster") from None
        _check_reachable(address)
        for name in ("distributed", "distributed.client", "distributed.core"):
            # Errors are reported in one line, below; these loggers would add a traceback for each broken connection.
            logging.getLogger(name).setLevel(logging.CRITICAL)
        try:
            self._client = Client(address, timeout=_CONNECT_SECONDS, set_as_default=False, name="charrnn-sweep")
        except (OSError, ValueError, TypeError) as error:
            raise SettingsError(
                f"`scheduler` {address}: {str(error) or type(error).__name__}", hint="start one: dask scheduler"
            ) from None
        self._settings, self._address = settings, address
        self._tasks: dict[str, _Task] = {}
        self._texts: dict[str, Any] = {}

    def free(self) -> int:
        """See `Executor`; no more than the cluster's threads, which may come and go."""
        with self._connected():
            workers = self._client.scheduler_info(n_workers=-1)["workers"].values()
        return int(sum(worker["nthreads"] for worker in workers)) - len(self._tasks)

    @contextlib.contextmanager
    def _connected(self) -> Iterator[None]:
        """Blame any error on the scheduler if it cannot be reached."""
        try:
            yield
        except Exception as error:
            from distributed.comm import CommClosedError

            # The connection may break before the client notices that it has none.
            if self._client.status == "running" and not isinstance(error, CommClosedError):
                raise
            raise CharRNNError(
                f"`scheduler` {self._address}: lost the scheduler: {type(error).__name__}",
                hint="trials are saved up to their last checkpoint: restart the scheduler and continue with `resume`",
            ) from None

    def start(self, trial: Trial, folder: Path, *, resume: bool) -> None:
        """See `Executor`."""
        config = self._settings(trial)
        files = _files_in(folder) if resume else {}
        name = f"charrnn-{os.getpid()}-{id(self)}-{trial.name}"
        task = _Task(trial, folder, _Shared(name, self._client))
        task.shared.files.set(files)
        task.shared.news.set({"version": "", "history": files.get("history.jsonl", b"")})
        task.shared.stop.set(False)
        task.tail = HistoryTail(folder / "history.jsonl", skip=resume)
        task.arguments = (config_to_dict(config), self._text(config), name)
        self._submit(task)
        self._tasks[trial.name] = task

    def _submit(self, task: _Task) -> None:
        # Never reuse the result of an equal earlier task; and no retries by the scheduler besides ours.
        task.future = self._client.submit(run_on_worker, *task.arguments, pure=False, retries=0)

    def _text(self, config: Config) -> Any:
        """The corpus as a list of (file name, bytes) on the cluster, sent once, however many trials read it."""
        source = config.corpus.title
        if source not in self._texts:
            files = find_files(config.corpus.source, encoding=config.corpus.encoding).paths
            content = [(f"{k:05d}-{path.name}", path.read_bytes()) for k, path in enumerate(files)]
            self._texts[source] = self._client.scatter([content], broadcast=False, hash=False)[0]
        return self._texts[source]

    def poll(self) -> list[TrialRow | Ended]:
        """See `Executor`.

        Raises:
            CharRNNError: the scheduler is gone.
        """
        with self._connected():
            return self._poll()

    def _poll(self) -> list[TrialRow | Ended]:
        found: list[TrialRow | Ended] = []
        for name, task in list(self._tasks.items()):
            over = task.future.done()
            task.fetch()
            found += [TrialRow(task.trial, row) for row in task.tail.rows()]
            if over and (ended := self._ended(task)):
                found.append(ended)
                del self._tasks[name]
                task.forget()
        return found

    def _ended(self, task: _Task) -> Ended | None:
        from distributed import KilledWorker
        from distributed.client import FutureCancelledError

        try:
            code, error = task.future.result(timeout=_TIMEOUT)
            return Ended(task.trial, int(code), str(error))
        except (KilledWorker, FutureCancelledError):
            task.lost += 1
            if task.lost >= _LOST:
                return Ended(task.trial, 1, f"{task.lost} workers died running it")
            self._texts.clear()  # scattered data may have died with the worker
            settings, _, name = task.arguments
            task.arguments = (settings, self._text(self._settings(task.trial)), name)
            self._submit(task)
            return None
        except Exception as error:  # any error that a task raised on another machine
            return Ended(task.trial, 1, f"{type(error).__name__}: {error}")

    def stop(self, trial: Trial) -> None:
        """See `Executor`."""
        if trial.name in self._tasks:
            self._tasks[trial.name].shared.stop.set(True)

    def close(self) -> None:
        """See `Executor`."""
        with contextlib.suppress(Exception):
            for task in self._tasks.values():
                task.shared.stop.set(True)
            end = time.monotonic() + _TIMEOUT
            while self._tasks and time.monotonic() < end:
                self.poll()
                time.sleep(_LOOK_SECONDS)
        self._client.close()


def _check_reachable(address: str) -> None:
    """Try a plain connection first: Dask's own client keeps trying for long, with lengthy messages."""
    match = re.fullmatch(r"(?:tcp|tls)://\[?([^\s\[\]]+?)\]?:(\d{1,5})", address)
    if not match:
        raise SettingsError(f"`scheduler` {address}: not an address", hint="write it like tcp://host:8786")
    try:
        socket.create_connection((match[1], int(match[2])), timeout=_CONNECT_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise SettingsError(
            f"`scheduler` {address}: no scheduler there: {error}", hint="start one: dask scheduler"
        ) from None


class _Shared:
    """What worker and sweep exchange about a trial, kept by the scheduler.

    Args:
        name: of the trial, unique among all sweeps.
        client: of the cluster.

    Attributes:
        files: the run's files at its last checkpoint.
        news: a dict: `version` of the files, new each time, and the current `history`.
        stop: whether the trial is to save and end.
    """

    def __init__(self, name: str, client: Any) -> None:
        from distributed import Variable

        self.files, self.news, self.stop = (Variable(f"{name}-{part}", client) for part in ("files", "news", "stop"))


def _files_in(folder: Path) -> Files:
    """The files of a run that move with it.

    Raises:
        SettingsError: one is a link or not a file, and may lead outside the run.
    """
    found = {}
    for name in _READ:
        try:
            with open_regular(folder / name) as file:
                found[name] = file.read()
        except FileNotFoundError:
            continue
        except IrregularFileError as error:
            raise SettingsError(f"{folder / name}: cannot be sent: {error.strerror}") from None
    return found


class _Task:
    """A trial that is on the cluster."""

    future: Any
    tail: HistoryTail
    arguments: tuple[dict[str, Any], Any, str]

    def __init__(self, trial: Trial, folder: Path, shared: _Shared) -> None:
        self.trial, self.folder, self.shared = trial, folder, shared
        self.lost, self._version = 0, ""

    def fetch(self) -> None:
        """Copy what arrived since the last check into the trial's directory."""
        news = self.shared.news.get(timeout=_TIMEOUT)
        history = self.folder / "history.jsonl"
        if news["version"] != self._version:
            self._version = news["version"]
            files: Files = self.shared.files.get(timeout=_TIMEOUT)
            for name in _WRITTEN:
                if name in files:
                    write_atomically(self.folder / name, files[name])
        if len(news["history"]) > (history.stat().st_size if history.exists() else 0):
            write_atomically(history, news["history"])

    def forget(self) -> None:
        """Take the variables off the scheduler."""
        for variable in (self.shared.files, self.shared.news, self.shared.stop):
            variable.delete()


def run_on_worker(settings: dict[str, Any], text: list[tuple[str, bytes]], name: str) -> tuple[int, str]:
    """Train a trial in its own folder; runs on a worker.

    Args:
        settings: all of them, as nested dicts.
        text: of the corpus, file by file.
        name: under which it shares its files with the sweep.

    Returns:
        The exit code of the training and its error.
    """
    from distributed import get_client

    shared = _Shared(name, get_client())
    with tempfile.TemporaryDirectory(prefix="charrnn-trial-") as place:
        root = Path(place)
        run = root / "run"
        run.mkdir()
        begun: Files = shared.files.get(timeout=_TIMEOUT)
        for file, data in begun.items():
            (run / file).write_bytes(data)
        config = _settle(settings, text, root)
        (root / "config.yaml").write_text(dump_config(config), encoding="utf-8")
        job = Job(str(root / "config.yaml"), {}, str(run), "last.npz" in begun)
        with _process(job, run, root) as process:
            sender = _Sender(run, shared)
            while process.poll() is None:
                sender.send_if_new()
                if shared.stop.get(timeout=_TIMEOUT):
                    ask_to_stop(process)
                time.sleep(_LOOK_SECONDS)
        sender.send()
        code = int(process.returncode)
        return code, error_of(run, code)


@contextlib.contextmanager
def _process(job: Job, run: Path, root: Path) -> Iterator[Any]:
    process = launch(job, run / "log.txt", _worker_cores(), text=root / "text")
    try:
        yield process
    finally:
        ask_to_stop(process)
        if process.poll() is None:
            process.kill()
            process.wait()


def _worker_cores() -> list[int]:
    """This thread's share of the worker's processors."""
    from distributed import get_worker

    threads = max(1, int(get_worker().state.nthreads))
    groups = core_groups(threads)
    return groups[threading.get_ident() % threads]


def _settle(settings: dict[str, Any], text: list[tuple[str, bytes]], root: Path) -> Config:
    """Write the text to files; split the batch over this worker's processors."""
    folder = root / "text"
    folder.mkdir()
    for name, data in text:
        (folder / name).write_bytes(data)
    config = config_from_dict(settings, where="trial")
    count = replicas_for(root / "run", config, len(_worker_cores()))
    return overridden(config, {"training.replicas": count}, where="trial")


class _Sender:
    """Puts the run's files on the scheduler after each new checkpoint, its history whenever it grows."""

    def __init__(self, run: Path, shared: _Shared) -> None:
        self._run, self._shared = run, shared
        self._saved: tuple[int, ...] = ()
        self._reported: tuple[int, ...] = ()
        self._version = ""

    def send_if_new(self) -> None:
        saved, reported = self._stamps("last.npz", "best.npz"), self._stamps("history.jsonl")
        if saved != self._saved:
            self._saved = saved
            self.send()
        elif reported != self._reported:
            self._tell()
        self._reported = reported

    def _stamps(self, *names: str) -> tuple[int, ...]:
        paths = [self._run / name for name in names]
        return tuple(path.stat().st_mtime_ns if path.exists() else 0 for path in paths)

    def send(self) -> None:
        self._shared.files.set(_files_in(self._run))
        self._version = os.urandom(8).hex()  # process ids and counts may coincide on several machines
        self._tell()

    def _tell(self) -> None:
        history = self._run / "history.jsonl"
        data = history.read_bytes() if history.exists() else b""
        self._shared.news.set({"version": self._version, "history": data})
