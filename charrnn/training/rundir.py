"""A run's directory: settings, checkpoints, history and samples."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

from charrnn.atomic import write_atomically
from charrnn.config import Config, dump_config
from charrnn.errors import SettingsError
from charrnn.training.events import Report


class RunDirectory:
    """The files of one run; see the attributes for their names.

    Args:
        path: the directory; made by `open_new`.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config = path / "config.yaml"
        self.last = path / "last.npz"
        self.best = path / "best.npz"
        self.history = path / "history.jsonl"
        self.samples = path / "samples.txt"

    def open_new(self, config: Config, *, overwrite: bool) -> None:
        """Make the directory and write the resolved settings.

        Raises:
            SettingsError: it holds a run already, or cannot be written.
        """
        files = (self.config, self.last, self.best, self.history, self.samples)
        if not overwrite and any(file.exists() for file in files):
            raise SettingsError(
                f"{self.path}: the directory holds a run already",
                hint="continue it with --resume, replace it with --overwrite, or choose another --run-dir",
            )
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            for file in files:
                file.unlink(missing_ok=True)
            write_atomically(self.config, dump_config(config).encode())
        except OSError as error:
            raise unwritable(self.path, error) from None

    def reopen(self, config: Config, step: int) -> None:
        """Continue a run from its checkpoint at `step`: rewrite the settings, drop later history.

        Raises:
            SettingsError: the directory cannot be written.
        """
        try:
            write_atomically(self.config, dump_config(config).encode())
            self.truncate_after(step)
        except OSError as error:
            raise unwritable(self.path, error) from None

    def append_report(self, report: Report) -> None:
        """Add a row to the history."""
        with self.history.open("a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(report)) + "\n")

    def append_sample(self, step: int, text: str) -> None:
        """Add a sample, under a line that says when it was made."""
        with self.samples.open("a", encoding="utf-8", errors="backslashreplace", newline="") as file:
            file.write(f"--- step {step} ---\n{text}\n\n")

    def truncate_after(self, step: int) -> None:
        """Drop history rows after `step`, which a resumed run will write again; also a row cut short by a crash."""
        if not self.history.exists():
            return
        kept = []
        for line in self.history.read_text(encoding="utf-8").splitlines():
            try:
                row = json.loads(line)
            except ValueError:
                break
            if row["step"] > step:
                break
            kept.append(line + "\n")
        write_atomically(self.history, "".join(kept).encode())


def unwritable(path: Path, error: OSError) -> SettingsError:
    """The error for a run directory that cannot be written."""
    return SettingsError(
        f"{path}: the run directory cannot be written: {error.strerror or error}",
        hint="choose another with --run-dir",
    )
