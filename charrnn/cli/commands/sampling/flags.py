"""The flags of the sampling options, made from the declarations in `charrnn.sampling.options`."""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable
from dataclasses import fields
from typing import TYPE_CHECKING, Annotated, Any

import typer

from charrnn.errors import DataError, SettingsError, shown
from charrnn.sampling.options import Declaration, SamplingOptions, declarations, help_of

if TYPE_CHECKING:
    from charrnn.data.vocabulary import Vocabulary

PANEL = "How to choose characters"
_ESCAPES = {r"\n": "\n", r"\t": "\t", r"\r": "\r", r"\\": "\\"}
# What a flag's text is, and what stands for an option that was not given.
_TYPES: dict[str, tuple[Any, Any]] = {
    "symbols": (str, ""), "biases": (list[str] | None, None), "range": (str | None, None), "names": (str | None, None),
}  # fmt: skip


class SamplingFlags:
    """The flags as they were typed; `options` checks them and turns characters into ids.

    Args:
        kind: of the options.
        values: option name -> what was typed; those left out have their defaults.
    """

    def __init__(self, kind: type[SamplingOptions] = SamplingOptions, **values: Any) -> None:
        self.kind, self.values = kind, {p.name: p.default for p in flag_parameters(kind)} | values

    def options(self, vocabulary: Vocabulary) -> SamplingOptions:
        """What the flags mean to a model with this vocabulary.

        Raises:
            SettingsError: a value that is not possible or not understood.
        """
        values = {}
        for name, declared in declarations(self.kind).items():
            flag, typed = f"--{name.replace('_', '-')}", self.values[name]
            values[name] = _READERS[declared.kind](flag, typed, vocabulary)
        try:
            options = self.kind(**values)
            for name, needed in options.idle().items():
                raise SettingsError(f"{name}: changes nothing without --{needed.replace('_', '-')}")
            return options
        except SettingsError as error:  # settings begin with their name; here it is a flag's
            name, _, rest = error.message.partition(":")
            hint = error.hint and error.hint.replace("_", "-")
            raise SettingsError(f"--{name.replace('_', '-')}:{rest}", hint=hint) from None


def flag_parameters(kind: type[SamplingOptions]) -> list[inspect.Parameter]:
    """One parameter of a command for each option."""
    out = []
    for f in fields(kind):
        declared: Declaration = f.metadata["declaration"]
        annotation, default = _TYPES.get(declared.kind, ({"int": int}.get(str(f.type), float), f.default))
        settings: dict[str, Any] = {"metavar": declared.metavar}
        if declared.low is not None and not declared.not_zero and type(default) is int:
            settings["min"] = int(declared.low)
        flag = typer.Option(help=help_of(f.name, kind).replace("_", "-"), rich_help_panel=PANEL, **settings)
        out.append(
            inspect.Parameter(
                f.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[annotation, flag]
            )
        )
    return out


def with_sampling_flags(
    command: Callable[..., None], kind: type[SamplingOptions] = SamplingOptions
) -> Callable[..., None]:
    """Give a command a flag for each option behind its own; they come as its first argument, `SamplingFlags`."""
    # Not typing.get_type_hints: Python 3.10's puts Optional around the Annotated of all that default to None, and
    # Typer then no longer finds what the Annotated says.
    own = inspect.signature(command, eval_str=True)
    flags = flag_parameters(kind)

    @functools.wraps(command)
    def wrapped(**arguments: Any) -> None:
        typed = {parameter.name: arguments.pop(parameter.name) for parameter in flags}
        command(SamplingFlags(kind, **typed), **arguments)

    parameters = [*list(own.parameters.values())[1:], *flags]
    wrapped.__signature__ = own.replace(parameters=parameters)  # type: ignore[attr-defined]
    wrapped.__annotations__ = {p.name: p.annotation for p in parameters} | {"return": None}
    return wrapped


def _ids(flag: str, text: str, vocabulary: Vocabulary) -> tuple[int, ...]:
    # Characters that the model does not have cannot be written anyway.
    symbols = [_symbol(flag, character, vocabulary) for character in characters(text, vocabulary.encoding)]
    return tuple(symbol for symbol in symbols if symbol is not None)


def _symbol(flag: str, character: str, vocabulary: Vocabulary) -> int | None:
    """The id of a character, or None where the model does not have it."""
    try:
        ids = vocabulary.encode(character)
    except DataError:
        return None
    if len(ids) > 1:
        raise SettingsError(f"{flag}: {shown(character)} is {len(ids)} bytes to this model; name bytes, as in \\xff")
    return int(ids[0])


def _biases(flag: str, texts: list[str] | None, vocabulary: Vocabulary) -> tuple[tuple[int, float], ...]:
    return tuple(_bias(flag, text, vocabulary) for text in texts or ())


def _bias(flag: str, text: str, vocabulary: Vocabulary) -> tuple[int, float]:
    spelled, equals, number = text.rpartition("=")
    symbols = characters(spelled, vocabulary.encoding)
    try:
        value = float(number)
    except ValueError:
        value = None
    if not equals or len(symbols) != 1 or value is None:
        raise SettingsError(f"{flag}: {shown(text)} is not a character, =, and a number, as in 'e=-2.5'")
    symbol = _symbol(flag, symbols[0], vocabulary)
    if symbol is None:
        raise SettingsError(f"{flag}: the model has no {shown(symbols[0])}")
    return symbol, value


def _low_and_high(flag: str, text: str | None, vocabulary: Vocabulary) -> tuple[float, float] | None:
    if text is None:
        return None
    try:
        low, high = (float(part) for part in text.split(":"))
    except ValueError:
        raise SettingsError(f"{flag}: {shown(text)} is not LOW:HIGH, as in 0.5:1.5") from None
    return low, high


def _names(flag: str, text: str | None, vocabulary: Vocabulary) -> tuple[str, ...] | None:
    return None if text is None else tuple(name.strip().replace("-", "_") for name in text.split(","))


def characters(text: str, encoding: str) -> list[str]:
    r"""A text character by character, with \n, \t, \r, \\, \xff, \uffff and \U0010ffff read as in Python."""

    def read(spelled: str) -> str:
        if len(spelled) < 3:
            return _ESCAPES.get(spelled, spelled)
        code = int(spelled[2:], 16)
        # A byte that is no character by itself travels as Python carries such bytes, and `encode` knows.
        return chr(0xDC00 + code) if encoding == "bytes" and spelled[1] == "x" and code > 0x7F else chr(code)

    pieces = re.findall(r"\\[ntr\\]|\\x[0-9a-fA-F]{2}|\\u[0-9a-fA-F]{4}|\\U00[01][0-9a-fA-F]{5}|.", text, re.DOTALL)
    try:
        return [read(piece) for piece in pieces]
    except ValueError:
        raise SettingsError(f"{shown(text)} names a character that does not exist") from None


_READERS: dict[str, Callable[[str, Any, Vocabulary], Any]] = {
    "number": lambda flag, value, vocabulary: value,
    "symbols": _ids,
    "biases": _biases,
    "range": _low_and_high,
    "names": _names,
}
