"""`charrnn sample --interactive`: type a prompt and see it continued; settings may change between prompts."""

from __future__ import annotations

import re
import sys
from dataclasses import fields, replace
from typing import Any

from charrnn.cli.byte_output import typed
from charrnn.cli.commands.sampling.job import Job, stream
from charrnn.cli.output import tell, write

HELP = """\
Type a prompt to see it continued; an empty line starts without one.
:temperature 0.5     set any numeric option of --help-all, as in :top-p 0.9 or :min-p 0.05
:length 300          number of characters to generate
:seed 7              seed of the next text; it increases by one per text
:settings            show the current settings
:quit                end (also Ctrl-D)
"""


def converse(job: Job, unknown: str) -> None:
    """Read lines until they end; what is wrong in one does not end the conversation."""
    from charrnn.errors import CharRNNError

    if sys.stdin.isatty():
        import contextlib

        with contextlib.suppress(ImportError):
            import readline  # noqa: F401 - gives `input` its line editing
        tell("type a text to continue it, :help for commands, :quit to end")
    while True:
        line = _line()
        if line is None or line.strip() in (":quit", ":q"):
            return
        try:
            if line.startswith(":"):
                _command(job, line[1:].strip())
            else:
                line = typed(
                    job.model.rules.convert(line), job.model.vocabulary, job.output_encoding, what="the prompt"
                )
                job.prime = job.model.vocabulary.encode(line, what="the prompt", unknown=unknown)
                stream(job)
                job.seed += 1
        except CharRNNError as error:
            tell(_with_flags(error.message), *([f"  hint: {_with_flags(error.hint)}"] if error.hint else []))
        except KeyboardInterrupt:  # of a text that grows too long: the next one, please
            write("\n")


def _with_flags(text: str) -> str:
    """A message with the flags of this command for the arguments that the library names."""
    return re.sub(r"`([a-z_]+)`", lambda found: "--" + found[1].replace("_", "-"), text)


def _line() -> str | None:
    try:
        return input("> " if sys.stdin.isatty() else "")
    except EOFError:
        return None
    except KeyboardInterrupt:
        return None


def _command(job: Job, text: str) -> None:
    from charrnn.errors import SettingsError

    name, _, value = text.partition(" ")
    key = name.replace("-", "_")
    numbers = {f.name: getattr(job.options, f.name) for f in fields(job.options)}
    numbers = {k: v for k, v in numbers.items() if isinstance(v, int | float) and not isinstance(v, bool)}
    if key == "help":
        tell(*HELP.splitlines())
    elif key == "settings":
        own = {"length": job.stop.length, "seed": job.seed}
        tell(*(f"{k.replace('_', '-')} {v}" for k, v in (own | numbers).items()))
    elif key == "length":
        job.stop = replace(job.stop, length=int(_number(name, value, whole=True)))
    elif key == "seed":
        job.seed = int(_number(name, value, whole=True))
    elif key in numbers:
        number = _number(name, value, whole=isinstance(numbers[key], int))
        changed: dict[str, Any] = {key: number}
        try:
            job.options = replace(job.options, **changed)
        except SettingsError as error:
            raise SettingsError(error.message.replace(key, f":{name}", 1), hint=error.hint) from None
    else:
        raise SettingsError(f":{name}: no such command or setting", hint=":help lists them")


def _number(name: str, text: str, *, whole: bool) -> float:
    from charrnn.errors import SettingsError

    try:
        number = int(text) if whole else float(text)
    except ValueError:
        raise SettingsError(f":{name}: {text!r} is not {'a whole' if whole else 'a'} number") from None
    if number < 0 and name in ("length", "seed"):
        raise SettingsError(f":{name}: {text} is below 0")
    return number
