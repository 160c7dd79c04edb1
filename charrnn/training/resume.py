"""Going on from a checkpoint: which settings may differ, and that the text is the same."""

from __future__ import annotations

from charrnn.checkpoint import Checkpoint
from charrnn.config import config_to_builtins
from charrnn.errors import DataError, SettingsError
from charrnn.settings import Config
from charrnn.training.counters import Counters
from charrnn.vocabulary import Vocabulary

# What may change between a run and its continuation; everything else makes it another run.
MAY_CHANGE = frozenset(
    f"training.{name}"
    for name in (
        *("epochs", "max_steps", "max_minutes", "patience", "learning_rate"),
        *("on_divergence", "max_rollbacks", "rollback_rate_factor"),
        *("tensorboard", "log_every", "eval_every", "checkpoint_every", "sample_every", "sample_length"),
    )
)


def check_resumable(saved: Config, wanted: Config) -> None:
    """Refuse to resume with settings that would make it another run.

    Raises:
        SettingsError: names the settings that differ and those that may.
    """
    before, after = config_to_builtins(saved), config_to_builtins(wanted)
    changed = [
        f"{section}.{name}"
        for section, values in after.items()
        for name, value in values.items()
        if before[section][name] != value
    ]
    if refused := [name for name in changed if name not in MAY_CHANGE]:
        raise SettingsError(
            f"{refused[0]}: cannot change when a run is resumed"
            + (f" (nor can {', '.join(refused[1:])})" if refused[1:] else ""),
            hint=f"these may change: {', '.join(sorted(MAY_CHANGE))}",
        )


def check_text(saved: Checkpoint, vocabulary: Vocabulary, sha256: str) -> None:
    """Refuse to go on with another text.

    Raises:
        DataError: it is another.
    """
    if saved.vocabulary != vocabulary or Counters.of(saved).text_sha256 != sha256:
        raise DataError(
            "the text is not the one this run was trained on",
            hint="put the old text back, start another run with --run-dir, or give this run's weights to a new one "
            "with --init-from",
        )
