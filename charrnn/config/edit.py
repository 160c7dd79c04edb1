"""Changes values in a settings file and keeps its remarks and order."""

from __future__ import annotations

import json
import re
from typing import Any

from charrnn.config.load import config_to_dict, dump_config, parse_config
from charrnn.config.schema import Config
from charrnn.config.yaml import dump_yaml
from charrnn.errors import SettingsError

_SECTION = re.compile(r"(\w+):\s*(#.*)?\Z")
_SETTING = re.compile(r"\s+(\w+):\s")


def with_values(text: str, config: Config) -> str:
    """The same settings file with other values; a new one, without its remarks, where changing lines is not enough.

    A changed line loses its remark, which was about the old value.

    Args:
        text: of a settings file, one setting per line as `charrnn` writes it.
        config: what it shall say.
    """
    try:
        before = config_to_dict(parse_config(text, where=""))
    except SettingsError:
        return dump_config(config)
    wanted = {s: {k: v for k, v in new.items() if v != before[s][k]} for s, new in config_to_dict(config).items()}
    lines, section = [], ""
    for line in text.splitlines():
        if found := _SECTION.match(line):
            section = found[1]
        changed = wanted.get(section, {})
        known = _SETTING.match(line)
        lines.append(setting_line(known[1], changed.pop(known[1])) if known and known[1] in changed else line)
        if found:  # settings that the file leaves out come first in their section
            lines += [setting_line(k, changed.pop(k)) for k in list(changed) if not re.search(rf"(?m)^\s+{k}:\s", text)]
    new = "\n".join(lines) + "\n"
    try:
        return new if parse_config(new, where="") == config else dump_config(config)
    except SettingsError:
        return dump_config(config)


def setting_line(name: str, value: Any, remark: str = "") -> str:
    """A setting and its remark as a line of a section."""
    # A list on one line, as JSON, because YAML's own has a line for each item.
    text = f"{name}: {json.dumps(value)}" if isinstance(value, list | tuple) else dump_yaml({name: value}).strip()
    text = f"  {text}"
    return f"{text:<32} # {remark}" if remark else text
