"""Settings files, overrides and checkpoints that use an older name of a setting."""

from __future__ import annotations

import json

import pytest

from charrnn.config.load import config_from_dict, parse_config
from charrnn.config.schema import RENAMED
from charrnn.errors import SettingsError

GIVEN: dict[str, tuple[object, object]] = {
    "model.tied_embedding": (True, True),
    "model.dropout_mask": ("window", True),
    "training.plateau_evaluations": (7, 7),
    "training.decay_every_steps": (7, 7),
}


@pytest.mark.parametrize(("old", "new"), RENAMED.items())
def test_the_old_name_means_the_new_one(old: str, new: str) -> None:
    given, expected = GIVEN.get(old, (0.25, 0.25))
    (section, old_name), name = old.split("."), new.partition(".")[2]
    text = json.dumps(given)
    nested = {"corpus": {"source": "x"}, section: {old_name: given}}
    for config in (
        parse_config(f"corpus: {{source: x}}\n{section}: {{{old_name}: {text}}}\n", where="f"),
        parse_config("corpus: {source: x}\n", where="f", overrides=[f"{old}={text}"]),
        config_from_dict(nested, where="c"),
    ):
        assert getattr(getattr(config, section), name) == expected
    nested[section][name] = expected  # type: ignore[index]
    with pytest.raises(SettingsError, match="given twice"):
        config_from_dict(nested, where="c")
