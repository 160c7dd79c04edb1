"""What a run came to, in numbers."""

from __future__ import annotations

import math
from typing import Any

from charrnn.dataset import WindowStream
from charrnn.model import CharRNN
from charrnn.training.counters import Counters
from charrnn.training.rundir import RunDirectory


def summarise(n: Counters, stream: WindowStream, model: CharRNN, run_dir: RunDirectory) -> dict[str, Any]:
    """What `charrnn train --json` prints: places, losses in nats, `bits_per_char` of the last loss, seconds, counts."""
    loss = n.train_loss if n.val_loss is None else n.val_loss
    return {
        "run_dir": str(run_dir.path),
        "checkpoint": str(run_dir.last),
        "best_checkpoint": str(run_dir.best) if run_dir.best.exists() else None,
        "steps": n.step,
        "epochs": round(n.epoch + n.window / stream.windows_per_epoch, 6),
        "chars": n.chars,
        "repeated_chars_per_epoch": stream.repeated,
        "seconds": n.seconds,
        "chars_per_second": n.chars / n.seconds if n.seconds else 0.0,
        "train_loss": n.train_loss,
        "val_loss": n.val_loss,
        "best_val_loss": n.best_val_loss,
        "bits_per_char": None if loss is None else loss / math.log(2),
        "perplexity": None if loss is None else math.exp(min(loss, 700.0)),
        "parameters": model.params.size,
        "vocab_size": model.vocab_size,
    }
