"""Read and write YAML by the core schema of YAML 1.2, refusing its surprises.

PyYAML follows YAML 1.1: it reads ``3e-3`` as text, ``no`` as False, ``010`` as 8, ``1:30`` as 90 and keeps the last of
two equal keys. Settings must mean what they look like, so the loader here reads scalars by the core schema (YAML 1.2.2,
section 10.3.2) and refuses what no settings file needs: tags, anchors and aliases, merge keys, keys that are not text,
several documents, and files large or deep enough to be an attack. It does not know which settings exist.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, NoReturn

import yaml

from charrnn.errors import SettingsError, shown

MAX_BYTES = 1 << 20
MAX_DEPTH = 50
MAX_DIGITS = 30

_QUOTE_HINT = "text that holds ': ' or ' #', or starts with a sign such as * & ! % @ [ {, needs quotes"


def _null(text: str) -> None:
    return None


def _boolean(text: str) -> bool:
    return text.lower() == "true"


def _integer(text: str) -> int:
    if len(text.lstrip("+-")) > MAX_DIGITS:
        raise ValueError(f"an integer of more than {MAX_DIGITS} digits")
    base = {"0o": 8, "0x": 16}.get(text[:2], 10)
    return int(text, base)


def _real(text: str) -> float:
    # Python spells the special values without the dot that YAML requires.
    return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))


def _string(text: str) -> str:
    """Join escaped surrogate pairs, as JSON writes them; a lone half is not a character and cannot be encoded."""
    if text.isascii():
        return text
    try:
        return text.encode("utf-16", "surrogatepass").decode("utf-16")
    except UnicodeDecodeError:
        raise ValueError("half of a surrogate pair, which is not a character") from None


_TAG = "tag:yaml.org,2002:"
_STR = _TAG + "str"

# Tried in this order, so that 12 is an integer before it is a number: kind, pattern, first characters, meaning.
_SCALARS: tuple[tuple[str, re.Pattern[str], list[str], Callable[[str], object]], ...] = (
    ("null", re.compile(r"(?:~|null|Null|NULL|)\Z"), ["~", "n", "N", ""], _null),
    ("bool", re.compile(r"(?:true|True|TRUE|false|False|FALSE)\Z"), list("tTfF"), _boolean),
    ("int", re.compile(r"(?:[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)\Z"), list("-+0123456789"), _integer),
    (
        "float",
        re.compile(
            r"(?:[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))\Z"
        ),
        list("-+.0123456789"),
        _real,
    ),
)


class _Problem(yaml.MarkedYAMLError):
    """A rule of ours that a text breaks; carried with its position by PyYAML's own error type."""

    def __init__(self, problem: str, mark: yaml.Mark | None, hint: str | None = None) -> None:
        super().__init__(problem=problem, problem_mark=mark)
        self.hint = hint


class _Loader(yaml.SafeLoader):
    """The safe loader with the core schema's scalars and fewer features."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 (PyYAML's protocol; filled below, replacing the inherited)

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """Compose one node, after refusing everything that could make the tree large, deep or typed."""
        event: Any = self.peek_event()  # type: ignore[no-untyped-call]
        mark: Any = event.start_mark
        if isinstance(event, yaml.AliasEvent):
            raise _Problem("aliases (*name) are not allowed here", mark, _QUOTE_HINT)
        if getattr(event, "anchor", None) is not None:
            raise _Problem("anchors (&name) are not allowed here", mark, _QUOTE_HINT)
        if getattr(event, "tag", None) is not None:
            raise _Problem("tags (!name) are not allowed here", mark, _QUOTE_HINT)
        if self._depth >= MAX_DEPTH:
            raise _Problem(f"nested deeper than {MAX_DEPTH} levels", mark)
        self._depth += 1
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Build a mapping whose keys are text and appear once."""
        found: dict[str, object] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                raise _Problem("a key must be text", key_node.start_mark)
            if key_node.tag != _STR:
                raise _Problem(
                    f"a key must be text, found {shown(key_node.value)}", key_node.start_mark, "put the key in quotes"
                )
            key = self.construct_object(key_node)
            if key in found:
                raise _Problem(f"the key {shown(key)} appears twice", key_node.start_mark, "keep one of the two")
            found[key] = self.construct_object(value_node, deep=deep)
        return found


def _constructor(convert: Callable[[str], object]) -> Callable[[_Loader, yaml.ScalarNode], object]:
    def construct(loader: _Loader, node: yaml.ScalarNode) -> object:
        try:
            return convert(node.value)
        except ValueError as error:
            raise _Problem(str(error), node.start_mark) from None

    return construct


class _Dumper(yaml.SafeDumper):
    """Writes what `_Loader` reads back as the same object; quotes what a YAML 1.1 reader would misread, too."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 (as in the loader)

    def ignore_aliases(self, data: Any) -> bool:
        """Write an object that occurs twice twice: the loader refuses aliases."""
        return True

    def represent_real(self, value: float) -> yaml.ScalarNode:
        """`repr` is the shortest text that reads back as the same float."""
        return self.represent_scalar(_TAG + "float", re.sub(r"(inf|nan)\Z", r".\1", repr(value)))

    def represent_text(self, value: str) -> yaml.ScalarNode:
        """Double quotes wherever a line break could be folded or normalised, single ones where a version disagrees."""
        if not value.isprintable():
            return self.represent_scalar(_STR, value, style='"')
        means = _YAML11.resolve(yaml.ScalarNode, value, (True, False))  # type: ignore[no-untyped-call]
        return self.represent_scalar(_STR, value, style=None if means == _STR else "'")


_YAML11 = yaml.resolver.Resolver()
_Dumper.add_representer(float, _Dumper.represent_real)
_Dumper.add_representer(str, _Dumper.represent_text)
_Loader.add_constructor(_STR, _constructor(_string))
for _kind, _pattern, _first, _convert in _SCALARS:
    _Loader.add_implicit_resolver(_TAG + _kind, _pattern, _first)
    _Dumper.add_implicit_resolver(_TAG + _kind, _pattern, _first)
    _Loader.add_constructor(_TAG + _kind, _constructor(_convert))


def load_yaml(text: str, *, where: str) -> object:
    """Read one YAML document.

    Args:
        text: the document.
        where: its name in an error, usually the file's path.

    Returns:
        None, bool, int, float, str, or lists and dicts (keys are str) of these; None for an empty document.

    Raises:
        SettingsError: not YAML, or YAML that is refused here; the message names the line and column.
    """
    if len(text) > MAX_BYTES or len(text.encode("utf-8", "surrogatepass")) > MAX_BYTES:
        raise SettingsError(f"{where}: larger than {MAX_BYTES} bytes", hint="is this really a settings file?")
    loader: _Loader | None = None
    try:
        loader = _Loader(text)
        value: object = loader.get_single_data()
    except yaml.YAMLError as error:
        _refuse(error, text, where)
    except (ValueError, OverflowError) as error:
        # PyYAML raises these for escapes and version numbers beyond what chr() and int() accept.
        mark = loader.get_mark() if loader is not None else None
        raise SettingsError(
            f"{where}: {_place(mark)}an escape or number out of range: {_one_line(str(error))}"
        ) from None
    finally:
        if loader is not None:
            loader.dispose()
    return value


def load_scalar(text: str, *, where: str) -> object:
    """Read one value as a YAML scalar: quoted text, else null, a boolean or a number, else the text itself.

    Unlike in a file, nothing needs quotes to stay text, so that ``--set corpus.source=*.txt`` works.

    Args:
        text: the value.
        where: its name in an error.

    Raises:
        SettingsError: a quoted text that does not end, or a number that is refused.
    """
    text = text.strip()
    if text[:1] in {"'", '"'}:
        value = load_yaml(text, where=where)
        if not isinstance(value, str):
            raise SettingsError(f"{where}: found more than one value", hint="quote the whole value, or none of it")
        return value
    try:
        for _, pattern, _, convert in _SCALARS:
            if pattern.match(text):
                return convert(text)
        return _string(text)
    except ValueError as error:
        raise SettingsError(f"{where}: {error}") from None


def dump_yaml(obj: object) -> str:
    """Write an object as YAML that `load_yaml` reads back as an equal object.

    Args:
        obj: what `load_yaml` may return; keys keep their order.

    Raises:
        yaml.YAMLError: an object of another type.
    """
    # No folding: PyYAML's folded lines are hard to read and to compare.
    return yaml.dump(obj, Dumper=_Dumper, allow_unicode=True, sort_keys=False, default_flow_style=False, width=1 << 30)


def _refuse(error: yaml.YAMLError, text: str, where: str) -> NoReturn:
    """Turn PyYAML's many-line errors into ours of one line."""
    hint = getattr(error, "hint", None)
    place, problem = "", str(error)
    if isinstance(error, yaml.reader.ReaderError):
        line = text.count("\n", 0, error.position)
        column = error.position - (text.rfind("\n", 0, error.position) + 1)
        place = f"line {line + 1}, column {column + 1}: "
        problem = f"the character U+{ord(text[error.position]):04X} is not allowed in YAML"
        hint = "save the file as plain text in UTF-8"
    elif isinstance(error, yaml.MarkedYAMLError):
        place = _place(error.problem_mark)
        problem = error.problem or error.context or problem
        if problem == "but found another document":
            problem, hint = "a second document begins; one is allowed", "remove the '---' line"
    if "'\\t'" in problem:
        hint = "indent with spaces, not tabs"
    if hint is None and not isinstance(error, _Problem):
        hint = _QUOTE_HINT
    raise SettingsError(f"{where}: {place}{_one_line(problem)}", hint=hint) from None


def _place(mark: yaml.Mark | None) -> str:
    return "" if mark is None else f"line {mark.line + 1}, column {mark.column + 1}: "


def _one_line(text: str) -> str:
    return " ".join(text.split())
