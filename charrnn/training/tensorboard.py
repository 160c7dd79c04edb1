"""Event files for TensorBoard, by its own writer (extra `[tensorboard]`).

A resumed run writes a new file beside the old ones; TensorBoard shows the later of two values for one step.
"""

from __future__ import annotations

import math
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from charrnn.errors import MissingExtraError
from charrnn.files import make_folder, writing
from charrnn.runs.events import Event, StepReport


def check_installed() -> None:
    """Before a run starts.

    Raises:
        MissingExtraError: no tensorboard.
    """
    if find_spec("tensorboard") is None:
        raise MissingExtraError("tensorboard", "tensorboard", purpose="training.tensorboard")


class TensorBoardLog:
    """Writes every report; see `show`.

    Args:
        folder: of the event files.

    Raises:
        SettingsError: it cannot be made, or is a link that leads elsewhere.
    """

    def __init__(self, folder: Path) -> None:
        from tensorboard.summary import Writer

        with writing(folder, "the event files' directory"):
            make_folder(folder)
        self._writer: Any = Writer(str(folder))

    def show(self, event: Event) -> None:
        """Write the event's numbers, if it is a report: losses in nats, bits per character, rate, norm, speed."""
        if not isinstance(event, StepReport):
            return
        values = {
            "loss/train_nats": event.train_loss,
            "loss/train_bits_per_char": event.train_loss / math.log(2),
            "loss/val_nats": event.val_loss,
            "loss/val_bits_per_char": None if event.val_loss is None else event.val_loss / math.log(2),
            "training/learning_rate": event.learning_rate,
            "training/grad_norm": event.grad_norm,
            "training/chars_per_second": event.chars_per_second,
        }
        for tag, value in values.items():
            if value is not None:
                self._writer.add_scalar(tag, value, event.step)
        self._writer.flush()

    def close(self) -> None:
        """End the file."""
        self._writer.close()
