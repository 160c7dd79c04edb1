"""The flags that say how a character is chosen, for every command that makes text."""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Annotated, Any

import typer

from charrnn.errors import DataError, SettingsError, shown
from charrnn.sampling.options import FIELDS, SamplerOptions

if TYPE_CHECKING:
    from charrnn.data.vocabulary import Vocabulary

_PANEL = "How a character is chosen"
_ESCAPES = {r"\n": "\n", r"\t": "\t", r"\r": "\r", r"\\": "\\"}


def _flag(text: str, **settings: Any) -> Any:
    return typer.Option(help=text, rich_help_panel=_PANEL, **settings)


@dataclass(frozen=True)
class SamplerFlags:
    """The flags as they were typed; `options` checks them and turns characters into ids."""

    temperature: Annotated[
        float, _flag("Below 1 safer, above 1 wilder; 0 always takes the most likely character.", min=0.0)
    ] = SamplerOptions.temperature
    top_k: Annotated[int, _flag("Keep the k most likely characters; 0 keeps all.", min=0)] = SamplerOptions.top_k
    top_p: Annotated[float, _flag("Keep the likeliest that reach this probability.", min=0.0, max=1.0)] = (
        SamplerOptions.top_p
    )
    min_p: Annotated[float, _flag("Drop characters below this share of the largest probability; 0 is off.")] = (
        SamplerOptions.min_p
    )
    typical: Annotated[float, _flag("Keep the most typical that reach this probability; 1 is off.")] = (
        SamplerOptions.typical
    )
    top_n_sigma: Annotated[float, _flag("Keep logits this many standard deviations below the largest; 0 is off.")] = (
        SamplerOptions.top_n_sigma
    )
    mirostat_tau: Annotated[float, _flag("Mirostat 2: surprise to aim at, bits a character; 0 is off.")] = (
        SamplerOptions.mirostat_tau
    )
    mirostat_eta: Annotated[float, _flag("Mirostat 2: how fast it corrects itself.")] = SamplerOptions.mirostat_eta
    repetition_penalty: Annotated[
        float, _flag("Divides positive and multiplies negative logits of characters in the window; 1 is off.")
    ] = SamplerOptions.repetition_penalty
    presence_penalty: Annotated[float, _flag("Taken from logits of characters in the window; 0 is off.")] = (
        SamplerOptions.presence_penalty
    )
    frequency_penalty: Annotated[float, _flag("The same, once for each time they are there; 0 is off.")] = (
        SamplerOptions.frequency_penalty
    )
    penalty_window: Annotated[
        int, _flag("How many of the last characters these penalties look at, prime included.")
    ] = SamplerOptions.penalty_window
    dry_multiplier: Annotated[float, _flag("Strength of the penalty on prolonging a repeat (DRY); 0 is off.")] = (
        SamplerOptions.dry_multiplier
    )
    dry_base: Annotated[float, _flag("DRY: growth of the penalty with each character of the repeat.")] = (
        SamplerOptions.dry_base
    )
    dry_allowed_length: Annotated[int, _flag("DRY: the shortest repeat whose prolongation is penalised.")] = (
        SamplerOptions.dry_allowed_length
    )
    dry_window: Annotated[int, _flag("DRY: how many of the last characters are searched, prime included.")] = (
        SamplerOptions.dry_window
    )
    dry_breakers: Annotated[str, _flag(r"DRY: characters that no repeat reaches across; \n is a line end.")] = ""
    xtc_probability: Annotated[float, _flag("How often the top choices are left out (XTC); 0 is off.")] = (
        SamplerOptions.xtc_probability
    )
    xtc_threshold: Annotated[
        float, _flag("XTC: leave out all characters of at least this probability but the last of them.")
    ] = SamplerOptions.xtc_threshold
    logit_bias: Annotated[
        list[str] | None,
        _flag(r"Add to a character's logit, as in 'e=-2.5' or '\n=-inf'; may be repeated.", metavar="CHARACTER=NUMBER"),
    ] = None
    ban: Annotated[str, _flag(r"Characters that are never written; \n is a line end.")] = ""
    dynamic_temperature: Annotated[
        str | None, _flag("A temperature from LOW to HIGH that grows with the entropy.", metavar="LOW:HIGH")
    ] = None
    dynamic_exponent: Annotated[float, _flag("Bends the way from entropy to temperature.")] = (
        SamplerOptions.dynamic_exponent
    )
    order: Annotated[
        str | None,
        _flag(f"The order of the filters; default: {','.join(SamplerOptions.order)}.", metavar="NAME,NAME,..."),
    ] = None

    def options(self, vocabulary: Vocabulary) -> SamplerOptions:
        """What the flags mean to a model with this vocabulary.

        Raises:
            SettingsError: a value that is not possible or not understood.
        """
        values = {name: getattr(self, name) for name in FIELDS}
        values["dry_breakers"] = _ids("--dry-breakers", self.dry_breakers, vocabulary)
        values["ban"] = _ids("--ban", self.ban, vocabulary)
        values["logit_bias"] = tuple(_bias(text, vocabulary) for text in self.logit_bias or ())
        values["dynamic_temperature"] = _low_and_high(self.dynamic_temperature)
        if self.order is None:
            del values["order"]
        else:
            values["order"] = tuple(name.strip().replace("-", "_") for name in self.order.split(","))
        try:
            return SamplerOptions(**values)
        except SettingsError as error:  # settings begin with their name; here it is a flag's
            name, _, rest = error.message.partition(":")
            hint = error.hint and error.hint.replace("_", "-")
            raise SettingsError(f"--{name.replace('_', '-')}:{rest}", hint=hint) from None


def with_sampler_flags(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command all flags of `SamplerFlags` behind its own; they come as its first argument."""
    # Not typing.get_type_hints: Python 3.10's puts Optional around the Annotated of all that default to None, and
    # Typer then no longer finds what the Annotated says.
    own = inspect.signature(command, eval_str=True)
    flag_hints = inspect.get_annotations(SamplerFlags, eval_str=True)

    @functools.wraps(command)
    def wrapped(**arguments: Any) -> None:
        flags = {field.name: arguments.pop(field.name) for field in fields(SamplerFlags)}
        command(SamplerFlags(**flags), **arguments)

    parameters = list(own.parameters.values())[1:]
    keyword = inspect.Parameter.KEYWORD_ONLY
    parameters += [
        inspect.Parameter(f.name, keyword, default=f.default, annotation=flag_hints[f.name])
        for f in fields(SamplerFlags)
    ]
    wrapped.__signature__ = own.replace(parameters=parameters)  # type: ignore[attr-defined]
    wrapped.__annotations__ = {p.name: p.annotation for p in parameters} | {"return": None}
    return wrapped


def _ids(flag: str, text: str, vocabulary: Vocabulary) -> tuple[int, ...]:
    # Characters that the model does not have cannot be written anyway.
    symbols = [_symbol(flag, character, vocabulary) for character in _characters(text, vocabulary.encoding)]
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


def _bias(text: str, vocabulary: Vocabulary) -> tuple[int, float]:
    spelled, equals, number = text.rpartition("=")
    characters = _characters(spelled, vocabulary.encoding)
    try:
        value = float(number)
    except ValueError:
        value = None
    if not equals or len(characters) != 1 or value is None:
        raise SettingsError(f"--logit-bias: {shown(text)} is not a character, =, and a number, as in 'e=-2.5'")
    symbol = _symbol("--logit-bias", characters[0], vocabulary)
    if symbol is None:
        raise SettingsError(f"--logit-bias: the model has no {shown(characters[0])}")
    return symbol, value


def _low_and_high(text: str | None) -> tuple[float, float] | None:
    if text is None:
        return None
    try:
        low, high = (float(part) for part in text.split(":"))
    except ValueError:
        raise SettingsError(f"--dynamic-temperature: {shown(text)} is not LOW:HIGH, as in 0.5:1.5") from None
    return low, high


def _characters(text: str, encoding: str) -> list[str]:
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
