"""Event files for TensorBoard, by its own records (extra `[tensorboard]`).

A resumed run writes a new file next to the old ones; TensorBoard shows the later of two values for one step.
"""

from __future__ import annotations

import io
import math
import os
import socket
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from charrnn.errors import MissingExtraError
from charrnn.files import IrregularFileError, append, make_folder, unwritable
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

    TensorBoard's own writer has a thread, whose errors nobody catches; here every record is written at once, whole.

    Args:
        folder: of the event files.

    Raises:
        SettingsError: it is a link that leads elsewhere.
        OSError: no room, no permission; so does `show`.
    """

    def __init__(self, folder: Path) -> None:
        from tensorboard.compat.proto.event_pb2 import Event as Record

        try:
            make_folder(folder)
        except IrregularFileError as error:
            raise unwritable(folder, error, "the event files' directory") from None
        self._path = folder / f"events.out.tfevents.{time.time_ns() // 10**6:013d}.{socket.gethostname()}.{os.getpid()}"
        self._write([Record(wall_time=time.time(), file_version="brain.Event:2")])

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
        self._write([_scalar(tag, value, event.step) for tag, value in values.items() if value is not None])

    def _write(self, records: list[Any]) -> None:
        from tensorboard.summary.writer.record_writer import RecordWriter

        data = io.BytesIO()
        writer = RecordWriter(data)
        for record in records:
            writer.write(record.SerializeToString())
        append(self._path, data.getvalue())


def _scalar(tag: str, value: float, step: int) -> Any:
    from tensorboard.compat.proto.event_pb2 import Event as Record
    from tensorboard.compat.proto.summary_pb2 import DATA_CLASS_SCALAR, SummaryMetadata
    from tensorboard.util.tensor_util import make_tensor_proto

    record = Record(wall_time=time.time(), step=step)
    kind = SummaryMetadata(plugin_data=SummaryMetadata.PluginData(plugin_name="scalars"), data_class=DATA_CLASS_SCALAR)
    record.summary.value.add(tag=tag, tensor=make_tensor_proto(np.float32(value)), metadata=kind)
    return record
