"""The YAML reader: scalars by YAML 1.2's core schema, surprises refused, errors of one line; and the writer."""

from __future__ import annotations

import math

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from charrnn.config.yaml import MAX_BYTES, MAX_DEPTH, dump_yaml, load_scalar, load_yaml
from charrnn.errors import SettingsError, shown


def same(left: object, right: object) -> bool:
    """Equal in type and value; 1, 1.0 and True differ."""
    return repr(left) == repr(right)


SCALARS = {
    "3e-3": 0.003,
    "1e5": 100000.0,
    "-1E+2": -100.0,
    ".5": 0.5,
    "5.": 5.0,
    "0.10": 0.1,
    "-.inf": -math.inf,
    ".INF": math.inf,
    ".NaN": math.nan,
    "0o17": 15,
    "0x1F": 31,
    "010": 10,
    "+7": 7,
    "-0": 0,
    "true": True,
    "True": True,
    "FALSE": False,
    "null": None,
    "~": None,
    "NULL": None,
    "": None,
    "no": "no",
    "Yes": "Yes",
    "on": "on",
    "off": "off",
    "y": "y",
    "tRue": "tRue",
    "1:30": "1:30",
    "2024-01-31": "2024-01-31",
    "1_000": "1_000",
    "0b11": "0b11",
    "-0x1F": "-0x1F",
    "1e": "1e",
    ".": ".",
    "inf": "inf",
    "nan": "nan",
    "=": "=",
    "<<": "<<",
    "'12'": "12",
    '"true"': "true",
    "''": "",
    '"\\ud83d\\ude00"': "\U0001f600",
}


@pytest.mark.parametrize(("text", "value"), SCALARS.items())
def test_scalars_mean_what_the_core_schema_says(text: str, value: object) -> None:
    assert same(load_yaml(f"a: {text}\n", where="f"), {"a": value})


@pytest.mark.parametrize(("text", "value"), SCALARS.items())
def test_a_value_of_the_command_line_means_the_same_as_in_a_file(text: str, value: object) -> None:
    assert same(load_scalar(text, where="--set"), value)


@pytest.mark.parametrize("text", ["*.txt", "a: b", "# x", "[1]", "{", "&x", "!t", "@", "a\\nb"])
def test_text_on_the_command_line_needs_no_quotes(text: str) -> None:
    assert load_scalar(text, where="--set") == text


@pytest.mark.parametrize("text", ["'a", "'a' b", "'a': 1", "1" * 31, "\udc80"])
def test_a_broken_value_of_the_command_line_is_refused(text: str) -> None:
    with pytest.raises(SettingsError, match=r"^--set: "):
        load_scalar(text, where="--set")


def test_an_empty_document_is_null() -> None:
    assert load_yaml("# nothing\n", where="f") is None


def test_a_byte_order_mark_and_windows_line_ends_do_no_harm() -> None:
    assert load_yaml("\ufeffa: 1\r\nb:\r\n  - x\r\n", where="f") == {"a": 1, "b": ["x"]}


@pytest.mark.parametrize(
    ("text", "place", "problem"),
    [
        ("a: 1\nb: 2\na: 3\n", "line 3, column 1", "the key 'a' appears twice"),
        ("x:\n  a: 1\n  'a': 1\n", "line 3, column 3", "the key 'a' appears twice"),
        ("a: &x 1\n", "line 1, column 4", "anchors"),
        ("a: &x []\nb: *x\n", "line 1, column 4", "anchors"),
        ("a: *x\n", "line 1, column 4", "aliases"),
        ("- !!python/name:os.system\n", "line 1, column 3", "tags"),
        ("- !!str 1\n", "line 1, column 3", "tags"),
        ("--- 1\n--- 2\n", "line 2, column 1", "second document"),
        ("1: a\n", "line 1, column 1", "a key must be text, found '1'"),
        ("true: a\n", "line 1, column 1", "a key must be text, found 'true'"),
        ("~: a\n", "line 1, column 1", "a key must be text, found '~'"),
        ("? [a]\n: 1\n", "line 1, column 3", "a key must be text"),
        ("a: -" + "1" * 31, "line 1, column 4", "more than 30 digits"),
        ("a: 0x" + "1" * 31, "line 1, column 4", "more than 30 digits"),
        ("a:\n\t- b\n", "line 2, column 1", "cannot start any token"),
        ("a: 'b\n", "line 2, column 1", "end of stream"),
        ("a: b: c\n", "line 1, column 5", "not allowed here"),
        ("a: 1\nb: \x01\n", "line 2, column 4", "U+0001"),
        ('a: "\\ud800"\n', "line 1, column 4", "surrogate"),
        ('a: "\\UFFFFFFFF"\n', "line 1, column", "out of range"),
        ("%YAML " + "9" * 5000 + ".1\n---\n", "line 1, column", "out of range"),
    ],
)
def test_what_is_refused_is_refused_in_one_line_with_its_place(text: str, place: str, problem: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load_yaml(text, where="configs/a.yaml")
    message = caught.value.message
    assert message.startswith(f"configs/a.yaml: {place}")
    assert problem in message
    assert len(message.splitlines()) == 1
    assert caught.value.exit_code == 2


def test_tabs_and_signs_get_a_hint() -> None:
    for text, hint in (("a:\n\t- b\n", "tabs"), ("a: *.txt\n", "quotes")):
        with pytest.raises(SettingsError) as caught:
            load_yaml(text, where="f")
        assert hint in (caught.value.hint or "")


def test_thirty_digits_are_still_read() -> None:
    assert load_yaml("-" + "9" * 30, where="f") == -(10**30 - 1)


def test_depth_is_limited_exactly() -> None:
    def nested(depth: int) -> str:
        return "[" * depth + "]" * depth

    assert str(load_yaml(nested(MAX_DEPTH), where="f")) == nested(MAX_DEPTH)
    with pytest.raises(SettingsError, match="nested deeper than 50 levels"):
        load_yaml(nested(MAX_DEPTH + 1), where="f")
    with pytest.raises(SettingsError, match="nested deeper than 50 levels"):
        load_yaml("- " * 10_000 + "x", where="f")


@pytest.mark.parametrize("letter", ["x", "é"])
def test_size_is_limited_in_bytes(letter: str) -> None:
    width = len(letter.encode())
    fits = "#" + letter * ((MAX_BYTES - 1) // width)
    assert load_yaml(fits, where="f") is None
    with pytest.raises(SettingsError, match="larger than 1048576 bytes"):
        load_yaml(fits + letter, where="f")


@pytest.mark.parametrize("text", ["no", "1e3", "010", "null", "", "~", "true", "1:30", "0x1F", "2024-01-31", "=", "<<"])
def test_text_that_looks_like_something_else_is_quoted_for_readers_of_both_versions(text: str) -> None:
    written = dump_yaml({"a": text})
    assert load_yaml(written, where="f") == {"a": text}
    assert yaml.safe_load(written) == {"a": text}
    assert written == f"a: '{text}'\n"


@pytest.mark.parametrize("value", [1e-05, 1e17, 5e-324, 1.7976931348623157e308, -0.0, math.inf, -math.inf, math.nan])
def test_floats_come_back_as_the_same_floats(value: float) -> None:
    assert same(load_yaml(dump_yaml([value]), where="f"), [value])


def test_written_yaml_keeps_order_and_one_line_a_key() -> None:
    assert dump_yaml({"b": 1e-05, "a": {"c": None, "d": "x " * 80}}) == f"b: 1e-05\na:\n  c: null\n  d: '{'x ' * 80}'\n"


def test_an_object_that_occurs_twice_is_written_twice() -> None:
    part = {"x": [1]}
    assert load_yaml(dump_yaml([part, part]), where="f") == [part, part]


LEAVES = (
    st.none()
    | st.booleans()
    | st.integers(-(10**30) + 1, 10**30 - 1)
    | st.floats()
    | st.text()
    | st.sampled_from(
        ["\x85", "a\u2028b", " ", "\n", "\t", "- a", "a: b", "a #b", "---", "...", "'", '"', "\ufeff", "\x00"]
    )
)
OBJECTS = st.recursive(
    LEAVES, lambda o: st.lists(o, max_size=4) | st.dictionaries(st.text(), o, max_size=4), max_leaves=12
)


@settings(max_examples=300, deadline=None)
@given(OBJECTS)
@example({"x" * 200: ["y " * 100]})
def test_what_is_written_is_read_back_equal(obj: object) -> None:
    assert same(load_yaml(dump_yaml(obj), where="f"), obj)


@settings(max_examples=500, deadline=None)
@given(st.text() | st.text("ab01:- \n\t[]{},'\"#&*!|>?%@~.<=eExo\\U\x85", max_size=40))
@example('"\\x')
@example("!")
@example("? ")
@example("|9\n")
@example("%TAG ! !\n--- !a b")
def test_any_text_gives_an_object_or_an_error_of_one_line(text: str) -> None:
    problem: str | None = None
    obj: object = None
    try:
        obj = load_yaml(text, where="f")
    except SettingsError as error:
        problem = error.message
    if problem is None:
        assert same(load_yaml(dump_yaml(obj), where="f"), obj)
    else:
        assert len(problem.splitlines()) == 1
        assert problem.startswith("f: ")


def test_values_are_shown_as_yaml_spells_them_and_short() -> None:
    assert [shown(v) for v in (None, True, False, 0, "a")] == ["null", "true", "false", "0", "'a'"]
    assert len(shown("x" * 1000)) == 60
    assert shown(10**5000) == "a huge integer"
