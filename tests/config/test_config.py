"""The settings: defaults, overrides, refusals in words, and the way to YAML and back."""

from __future__ import annotations

import copy
import math
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from msgspec import inspect

from charrnn.config import load as config_module
from charrnn.config.load import (
    Config,
    CorpusSettings,
    ModelSettings,
    TrainingSettings,
    config_from_dict,
    config_to_dict,
    dump_config,
    given_settings,
    json_schema,
    load_config,
    parse_config,
)
from charrnn.errors import SettingsError
from charrnn.nn.cells import CELLS
from charrnn.nn.clip import CLIPPERS
from charrnn.nn.optimizers import OPTIMIZERS
from charrnn.nn.schedule import SCHEDULES

MINIMAL = "corpus: {source: python-docs}\n"
SECTIONS: dict[str, type[msgspec.Struct]] = {
    "corpus": CorpusSettings,
    "model": ModelSettings,
    "training": TrainingSettings,
}


def refusal(text: str, *overrides: str) -> SettingsError:
    """The error that `text` and the overrides give, which must be one line and exit code 2."""
    with pytest.raises(SettingsError) as caught:
        parse_config(text, where="configs/a.yaml", overrides=overrides)
    assert len(caught.value.message.splitlines()) == 1
    assert caught.value.exit_code == 2
    return caught.value


def with_value(path: str, text: str) -> str:
    """A document that is right but for the setting at `path`, which is `text`."""
    section, _, name = path.partition(".")
    if section == "corpus":
        return f"corpus:\n  {name}: {text}\n" + ("" if name == "source" else "  source: x\n")
    return MINIMAL + f"{section}:\n  {name}: {text}\n"


def test_everything_has_a_default_but_the_source() -> None:
    config = parse_config(MINIMAL, where="f")
    assert config == Config(corpus=CorpusSettings(source="python-docs"))
    assert (config.model.cell, config.model.hidden_size, config.training.learning_rate) == ("lstm", 256, 0.003)
    assert (config.training.epochs, config.training.max_steps, config.training.grad_clip) == (10.0, None, 1.0)
    for text in ("", "{}", "corpus: {}", "model: {cell: gru}"):
        assert refusal(text).message == "configs/a.yaml: corpus.source: missing"


@pytest.mark.parametrize("path", sorted(config_module._allowed_names()))
def test_every_default_name_is_registered_and_every_registered_name_is_allowed(path: str) -> None:
    section, _, name = path.partition(".")
    registries: dict[str, dict[str, Any]] = {
        "model.cell": CELLS,
        "training.optimizer": OPTIMIZERS,
        "training.schedule": SCHEDULES,
        "training.grad_clip_mode": CLIPPERS,
    }
    registry = registries[path]
    assert getattr(getattr(parse_config(MINIMAL, where="f"), section), name) in registry
    for key in registry:
        assert getattr(getattr(parse_config(with_value(path, key), where="f"), section), name) == key


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[]", "settings: found [], allowed: a mapping of corpus, model, training"),
        ("training:", "training: found null, allowed: a mapping of settings"),
        ("training: {optimiser: adam}", "training.optimiser: unknown setting (did you mean training.optimizer?)"),
        ("training: {OPTIMIZER: adam}", "training.OPTIMIZER: unknown setting (did you mean training.optimizer?)"),
        ("trainig: {}", "trainig: unknown setting (did you mean training?)"),
        ("batch_size: 3", "batch_size: unknown setting (did you mean training.batch_size?)"),
        ("model: {seed: 3}", "model.seed: unknown setting (did you mean training.seed?)"),
        ("training: {val_fraction: 0}", "training.val_fraction: unknown setting (did you mean corpus.val_fraction?)"),
        ("model: {zzzz: 3}", "model.zzzz: unknown setting"),
        ('model: {"a\\nb": 3}', "model.'a\\nb': unknown setting"),
        ("model: {cell: ltsm}", "model.cell: found 'ltsm', allowed: gru, lstm, milstm, rnn (did you mean 'lstm'?)"),
        ("model: {cell: LSTM}", "model.cell: found 'LSTM', allowed: gru, lstm, milstm, rnn (did you mean 'lstm'?)"),
        ("model: {cell: 3}", "model.cell: found 3, allowed: gru, lstm, milstm, rnn"),
        ("model: {cell: null}", "model.cell: found null, allowed: gru, lstm, milstm, rnn"),
        ("training: {batch_size: 0}", "training.batch_size: found 0, allowed: integer >= 1"),
        ("training: {batch_size: 64.0}", "training.batch_size: found 64.0, allowed: integer >= 1"),
        ("training: {batch_size: '12'}", "training.batch_size: found '12', allowed: integer >= 1"),
        ("training: {batch_size: true}", "training.batch_size: found true, allowed: integer >= 1"),
        ("training: {learning_rate: true}", "training.learning_rate: found true, allowed: number > 0"),
        ("training: {learning_rate: .nan}", "training.learning_rate: found nan, allowed: finite number > 0"),
        ("training: {epochs: .inf}", "training.epochs: found inf, allowed: finite number > 0, or null"),
        ("model: {forget_bias: 1e999}", "model.forget_bias: found inf, allowed: finite number"),
        ("training: {grad_clip: -1}", "training.grad_clip: found -1, allowed: number > 0, or null"),
        ("training: {nesterov: yes}", "training.nesterov: found 'yes', allowed: true or false"),
        ("model: {hidden_size: [1]}", "model.hidden_size: found [1], allowed: integer >= 1 and <= 65536"),
        ("training: {epochs: null}", "training: no stopping condition"),
        (
            "model: {tie_weights: true, embedding_size: 8}",
            "model.embedding_size: found 8, allowed with model.tie_weights: null or the hidden size, 256",
        ),
    ],
)
def test_a_refusal_names_path_found_allowed_and_nearest(text: str, message: str) -> None:
    document = text if text == "[]" else MINIMAL + text
    assert refusal(document).message == f"configs/a.yaml: {message}"


def test_a_long_value_is_shortened() -> None:
    found = refusal(with_value("model.hidden_size", "x" * 500)).message.split("found ")[1].split(", allowed")[0]
    assert len(found) == 60
    assert found.endswith("...")


def test_without_a_near_name_the_names_there_are_become_the_hint() -> None:
    assert refusal(MINIMAL + "model: {zzzz: 3}").hint == "allowed in model: " + ", ".join(
        ModelSettings.__struct_fields__
    )


@pytest.mark.parametrize(
    "name", ["bytes", "utf8", "UTF-8", "latin-1", "cp1252", "utf-16", "GB18030", "shift_jis", "koi8-r"]
)
def test_every_text_encoding_of_python_is_allowed(name: str) -> None:
    assert parse_config(with_value("corpus.encoding", name), where="f").corpus.encoding == name


@pytest.mark.parametrize(
    ("name", "near"), [("latin2x", "latin2"), ("utf-81", "utf-8"), ("hex", None), ("idna", None), ("'x\\0'", None)]
)
def test_what_encodes_no_text_files_is_refused(name: str, near: str | None) -> None:
    message = refusal(with_value("corpus.encoding", name)).message
    assert message.startswith("configs/a.yaml: corpus.encoding: found ")
    assert "such as utf-8, latin-1" in message
    assert ("did you mean" in message) == (near is not None)
    assert near is None or f"did you mean '{near}'" in message


def test_a_source_is_one_or_a_list() -> None:
    assert parse_config(with_value("corpus.source", "[a.txt, poems/*.txt]"), where="f").corpus.source == (
        "a.txt",
        "poems/*.txt",
    )
    overridden = parse_config(MINIMAL, where="f", overrides=["corpus.source=[a.txt, p/*.txt]"])
    assert overridden.corpus.sources == ("a.txt", "p/*.txt")
    assert parse_config(MINIMAL, where="f", overrides=["corpus.source=[ab]*.txt"]).corpus.sources == ("[ab]*.txt",)
    for text in ("[]", "[3]", "['']", "[a, 3]"):
        message = refusal(with_value("corpus.source", text)).message
        assert message.endswith("allowed: text, not empty"), message


def test_a_text_has_a_name_for_messages_and_one_for_others() -> None:
    def names(*source: str) -> tuple[str, str]:
        corpus = CorpusSettings(source=source)
        return corpus.title, corpus.label

    assert names("-") == ("standard input", "a text")
    assert names("/home/me/my.txt", "b.txt") == ("/home/me/my.txt, b.txt", "my.txt and others")
    assert names("poems/*.txt") == ("poems/*.txt", "poems")
    assert names(".") == (".", "a text")


def test_documents_have_an_end() -> None:
    def end(**given: Any) -> str | None:
        return config_from_dict({"corpus": {"source": "x", **given}}, where="f").corpus.document_separator

    assert end() is None
    assert end(document_separator="--") == "--"
    assert end(documents="lines") == "\n"
    assert end(documents="files") == "\x1c"
    assert end(documents="files", document_separator="--") == "--"
    for wrong, message in (
        ({"documents": "lines", "document_separator": "x"}, "corpus.document_separator: found 'x', allowed with"),
        ({"split": "shuffled"}, "corpus.split: shuffled needs documents"),
        ({"encoding": "bytes", "normalize": "nfc"}, "corpus.normalize: found 'nfc', allowed with"),
    ):
        with pytest.raises(SettingsError, match=message):
            end(**wrong)


# The ranges as the design states them, apart from the annotations that implement them: (accepted, refused).
RANGES = {
    "corpus.source": (["x"], ["''", "null", "3"]),
    "corpus.val_fraction": (["0", "0.999"], ["-0.001", "1", "null"]),
    "corpus.test_fraction": (["0", "0.89"], ["-0.001", "1"]),
    "corpus.normalize": (["nfc", "nfkd", "null"], ["NFC", "3", "nf"]),
    "corpus.split_seed": (["0", str(2**63 - 1)], ["-1", str(2**63), "null"]),
    "corpus.document_separator": (["null", '"\\n\\n"'], ["''", "3"]),
    "model.hidden_size": (["1", "65536"], ["0", "65537", "null"]),
    "model.num_layers": (["1", "64"], ["0", "65"]),
    "model.dropout": (["0", "0.999"], ["-0.1", "1"]),
    "model.forget_bias": (["-3", "0.5"], ["null", "'1'"]),
    "training.epochs": (["0.5", "3"], ["0", "-1"]),
    "training.max_steps": (["1", "null"], ["0", "1.5"]),
    "training.max_minutes": (["0.1", "null"], ["0"]),
    "training.momentum": (["0", "0.99"], ["1", "-0.1"]),
    "training.beta1": (["0", "0.99"], ["1", "-0.1"]),
    "training.beta2": (["0", "0.99"], ["1", "-0.1"]),
    "training.rho": (["0", "0.99"], ["1", "-0.1"]),
    "training.epsilon": (["1e-12"], ["0"]),
    "training.learning_rate": (["3e-3", "1"], ["0", "-1", "null"]),
    "training.warmup_steps": (["0"], ["-1"]),
    "training.min_lr_ratio": (["0", "1"], ["-0.1", "1.1"]),
    "training.lr_decay_steps": (["1"], ["0"]),
    "training.lr_decay": (["0.1", "1"], ["0", "1.1"]),
    "training.grad_clip": (["0.1", "null"], ["0"]),
    "training.max_rollbacks": (["1"], ["0", "null"]),
    "training.rollback_lr_factor": (["0.1", "0.9"], ["0", "1"]),
    "training.weight_decay": (["0", "0.1"], ["-0.1"]),
    "training.seed": (["0", str(2**63 - 1)], ["-1", str(2**63)]),
    "training.kernels": (["auto", "numpy", "compiled"], ["fast", "null", "1"]),
    "training.replicas": (["1", "256", "auto"], ["0", "257", "two", "null", "1.5"]),
    "training.log_every": (["1"], ["0", "null"]),
    "training.eval_every": (["1", "null"], ["0"]),
    "training.checkpoint_every": (["1"], ["0", "null"]),
    "training.sample_every": (["1", "null"], ["0"]),
    "training.sample_length": (["1"], ["0"]),
    "training.state_reset": (["0", "0.5"], ["1", "-0.1", "null"]),
    "training.ema_decay": (["0", "0.999", "null"], ["1", "-0.1"]),
    "training.plateau_patience": (["1"], ["0", "null"]),
    "model.weight_dropout": (["0", "0.9"], ["1", "-0.1"]),
    "model.embedding_size": (["1", "64", "null"], ["0", "1.5"]),
    "training.patience": (["1", "null"], ["0"]),
    "training.batch_size": (["1"], ["0", "null"]),
    "training.seq_length": (["1"], ["0", "null"]),
}


def test_the_table_of_ranges_forgets_no_setting() -> None:
    named = {*config_module._allowed_names(), "corpus.encoding", "training.nesterov", "training.on_divergence"}
    named |= {"corpus.newlines", "corpus.documents", "corpus.split"}
    named |= {"training.tensorboard", "training.random_offsets", "model.tie_weights", "model.variational_dropout"}
    there = {f"{section}.{name}" for section, cls in SECTIONS.items() for name in cls.__struct_fields__}
    assert set(RANGES) | named == there


@pytest.mark.parametrize("path", RANGES)
def test_the_ends_of_every_range_hold(path: str) -> None:
    accepted, refused = RANGES[path]
    for text in accepted:
        parse_config(with_value(path, text), where="f")
    for text in refused:
        assert refusal(with_value(path, text)).message.startswith(f"configs/a.yaml: {path}: found ")


def test_the_held_out_shares_leave_something_to_train_on() -> None:
    text = "corpus: {source: x, val_fraction: 0.5, test_fraction: 0.5}"
    assert "corpus.val_fraction + corpus.test_fraction" in refusal(text).message
    assert parse_config(text, where="f", overrides=["corpus.val_fraction=0.49"]).corpus.val_fraction == 0.49


@pytest.mark.parametrize("limit", ["epochs=1", "max_steps=1", "max_minutes=1"])
def test_one_limit_is_enough(limit: str) -> None:
    parse_config(MINIMAL + "training: {epochs: null}", where="f", overrides=[f"training.{limit}"])


def test_overrides_win_over_the_file_and_later_over_earlier() -> None:
    overrides = ["training.seed=1", "training.seed=2", "model.cell=gru", "corpus.source=*.txt", "training.patience=3"]
    config = parse_config(MINIMAL + "training: {seed: 0}", where="f", overrides=[*overrides, "training.patience=null"])
    assert (config.training.seed, config.model.cell, config.corpus.source) == (2, "gru", "*.txt")
    assert config.training.patience is None
    assert parse_config("", where="f", overrides=["corpus.source='3'"]).corpus.source == "3"


@pytest.mark.parametrize(
    ("override", "problem"),
    [
        ("training.bach_size=3", ": training.bach_size: unknown setting (did you mean training.batch_size?)"),
        ("training.batch_size=0", ": training.batch_size: found 0, allowed: integer >= 1"),
        ("training.batch_size=nan", ": training.batch_size: found 'nan', allowed: integer >= 1"),
        ("training.epochs=.nan", ": training.epochs: found nan, allowed: finite number > 0, or null"),
        ("model.cell=ltsm", ": model.cell: found 'ltsm', allowed: gru, lstm, milstm, rnn (did you mean 'lstm'?)"),
        ("corpus.source=", ": corpus.source: found null, allowed: text, not empty"),
        ("training.batch_size", ": no '=' found"),
        ("training={batch_size: 3}", ": training is a section"),
        ("=3", ": '': unknown setting"),
        ("seed=3", ": seed: unknown setting (did you mean training.seed?)"),
    ],
)
def test_a_wrong_override_is_blamed_on_the_option(override: str, problem: str) -> None:
    assert refusal(MINIMAL, override).message == f"`overrides` {override}{problem}"


def test_a_file_is_read_and_a_missing_one_answered_with_near_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tiny.yaml").write_text(MINIMAL, encoding="utf-8")
    assert load_config(tmp_path / "tiny.yaml", ["training.seed=5"]).training.seed == 5
    with pytest.raises(SettingsError) as caught:
        load_config(tmp_path / "tinny.yaml")
    assert caught.value.message == f"{tmp_path / 'tinny.yaml'}: no such settings file"
    assert caught.value.hint == f"did you mean {tmp_path / 'tiny.yaml'}?"
    with pytest.raises(SettingsError) as caught:
        load_config(tmp_path / "completely-else")
    assert caught.value.hint == f"{tmp_path} has: tiny.yaml"
    with pytest.raises(SettingsError) as caught:
        load_config(tmp_path / "no" / "a.yaml")
    assert caught.value.hint == f"there is no directory {tmp_path / 'no'}"
    monkeypatch.chdir(tmp_path)
    for wrong, right in (("lsmt", "lstm"), ("quikstart", "quickstart"), ("tinny", "tiny.yaml")):
        with pytest.raises(SettingsError) as caught:
            load_config(Path(wrong))
        assert caught.value.hint == f"did you mean {right}?"


def test_what_is_no_readable_text_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "latin.yaml").write_bytes(b"corpus: {source: \xe9}")
    (tmp_path / "big.yaml").write_bytes(b"#" * (1 << 20) + b"\n")
    for path, problem in (
        ("latin.yaml", "not UTF-8"),
        ("big.yaml", "larger than"),
        (".", "a directory, not a settings file"),
        ("\0", "null"),
    ):
        with pytest.raises(SettingsError, match=problem):
            load_config(tmp_path / path)


def test_builtins_are_checked_like_a_file_and_left_alone() -> None:
    builtins = config_to_dict(parse_config(MINIMAL, where="f"))
    before = copy.deepcopy(builtins)
    assert config_from_dict(builtins, where="ckpt.npz").corpus.source == "python-docs"
    assert builtins == before
    wrong: list[Any] = [None, 3, {1: 2}, {"corpus": {1: 2}}, {"corpus": {"source": 10**5000}}]
    rates: list[Any] = [math.nan, 10**400, "1", None, []]
    wrong += [builtins | {"training": {"learning_rate": rate}} for rate in rates]
    for obj in wrong:
        with pytest.raises(SettingsError, match=r"^ckpt\.npz: "):
            config_from_dict(obj, where="ckpt.npz")
    assert builtins == before


def test_settings_cannot_be_changed_and_equal_ones_hash_equal() -> None:
    config = parse_config(MINIMAL, where="f")
    with pytest.raises(AttributeError):
        config.training.seed = 3  # type: ignore[misc]
    assert hash(config) == hash(parse_config(dump_config(config), where="f"))


def test_the_schema_describes_every_setting_and_takes_names_from_the_registries() -> None:
    schema = json_schema()
    assert schema["required"] == ["corpus"]
    assert schema["additionalProperties"] is False
    for section, kind in SECTIONS.items():
        part = schema["$defs"][schema["properties"][section]["$ref"].rpartition("/")[2]]
        assert list(part["properties"]) == list(kind.__struct_fields__)
        assert part["additionalProperties"] is False
        assert all(len(entry["description"]) > 5 for entry in part["properties"].values())
    training = schema["$defs"]["TrainingSettings"]["properties"]
    assert schema["$defs"]["ModelSettings"]["properties"]["cell"]["enum"] == sorted(CELLS)
    assert training["optimizer"]["enum"] == sorted(OPTIMIZERS)
    assert training["schedule"]["enum"] == sorted(SCHEDULES)
    assert training["grad_clip_mode"]["enum"] == sorted(CLIPPERS)
    batch_size = {name: entry for name, entry in training["batch_size"].items() if name != "description"}
    assert batch_size == {"type": "integer", "minimum": 1, "default": 64}


def test_a_new_cell_is_a_valid_name_everywhere_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(CELLS, "mgu", CELLS["gru"])
    assert parse_config(with_value("model.cell", "mgu"), where="f").model.cell == "mgu"
    assert "mgu" in json_schema()["$defs"]["ModelSettings"]["properties"]["cell"]["enum"]


def values(path: str, kind: inspect.Type) -> st.SearchStrategy[Any]:
    """Any value that the setting at `path` may take."""
    if path == "corpus.encoding":
        return st.sampled_from(["utf-8", "bytes", "latin-1", "gb18030"])
    if names := config_module._allowed_names().get(path):
        return st.sampled_from(names)
    if isinstance(kind, inspect.Metadata):
        return values(path, kind.type)
    if isinstance(kind, inspect.UnionType):
        return st.one_of([values(path, member) for member in kind.types])
    if isinstance(kind, inspect.IntType):
        return st.integers(kind.ge, 2**63 - 1 if kind.le is None else kind.le)
    if isinstance(kind, inspect.FloatType):
        low, high = (kind.gt if kind.ge is None else kind.ge), (kind.lt if kind.le is None else kind.le)
        finite = st.floats(low, high, allow_nan=False, allow_infinity=False)
        return finite.filter(lambda x: x not in (kind.gt, kind.lt))
    if isinstance(kind, inspect.StrType):
        return st.text(min_size=kind.min_length or 0)
    if isinstance(kind, inspect.LiteralType):
        return st.sampled_from(kind.values)
    if isinstance(kind, inspect.VarTupleType):
        return st.lists(values(path, kind.item_type), min_size=kind.min_length or 0, max_size=3).map(tuple)
    return {inspect.BoolType: st.booleans(), inspect.NoneType: st.none()}[type(kind)]


def section_dicts(section: str, cls: type[msgspec.Struct]) -> st.SearchStrategy[dict[str, Any]]:
    info = inspect.type_info(cls)
    assert isinstance(info, inspect.StructType)
    fields = {field.name: values(f"{section}.{field.name}", field.type) for field in info.fields}
    required = {field.name: fields.pop(field.name) for field in info.fields if field.required}
    return st.fixed_dictionaries(required, optional=fields)


@settings(max_examples=150, deadline=None)
@given(st.fixed_dictionaries({name: section_dicts(name, cls) for name, cls in SECTIONS.items()}))
def test_every_valid_config_comes_back_equal(obj: dict[str, dict[str, Any]]) -> None:
    corpus, training = obj["corpus"], obj["training"]
    assume(corpus.get("val_fraction", 0.1) + corpus.get("test_fraction", 0.0) < 1)
    assume(any(training.get(name, default) for name, default in (("epochs", 10), ("max_steps", 0), ("max_minutes", 0))))
    divided = corpus.get("documents", "text") != "text"
    if divided:
        corpus.pop("document_separator", None)
    assume(divided or corpus.get("document_separator") or corpus.get("split") != "shuffled")
    assume(corpus.get("encoding") != "bytes" or corpus.get("normalize") is None)
    model = obj["model"]
    assume(not model.get("tie_weights") or model.get("embedding_size") in (None, model.get("hidden_size", 256)))
    config = config_from_dict(obj, where="f")
    for section, given_values in obj.items():
        assert {name: getattr(getattr(config, section), name) for name in given_values} == given_values
    assert parse_config(dump_config(config), where="f") == config
    assert config_from_dict(config_to_dict(config), where="f") == config


GOOD = dump_config(Config(corpus=CorpusSettings(source="python-docs")))
PIECES = st.sampled_from(
    [
        ":",
        ": ",
        "\n",
        " ",
        "  ",
        "-",
        "[",
        "}",
        "'",
        '"',
        "#",
        "&a",
        "*a",
        "!",
        "|",
        "e",
        ".",
        "0",
        "9" * 20,
        "null",
        "\t",
        "é",
    ]
)
EDITS = st.lists(st.tuples(st.integers(0, len(GOOD)), st.integers(0, 4), PIECES), min_size=1, max_size=4)


@settings(max_examples=300, deadline=None)
@given(EDITS)
def test_a_damaged_file_gives_settings_or_an_error_of_one_line(edits: list[tuple[int, int, str]]) -> None:
    text = GOOD
    for position, length, piece in edits:
        text = text[:position] + piece + text[position + length :]
    problem: str | None = None
    config: Config | None = None
    try:
        config = parse_config(text, where="f")
    except SettingsError as error:
        problem = error.message
    if problem is None:
        assert isinstance(config, Config)
        assert parse_config(dump_config(config), where="f") == config
    else:
        assert problem.startswith("f: ")
        assert len(problem.splitlines()) == 1


def test_a_base_stands_in_for_defaults_and_gives_way_to_everything_else() -> None:
    base = {"model": {"cell": "gru", "hidden_size": 99}, "training": {"seed": 5}}
    own = {"corpus": {"source": "x"}, "model": {"hidden_size": 7}}
    config = config_from_dict(own, where="test", overrides=["training.seed=6"], base=base)
    assert (config.model.cell, config.model.hidden_size, config.training.seed) == ("gru", 7, 6)
    assert own == {"corpus": {"source": "x"}, "model": {"hidden_size": 7}}
    assert given_settings(own, where="test", overrides=["training.seed=6"]) == {
        "corpus.source": "x", "model.hidden_size": 7, "training.seed": 6,
    }  # fmt: skip
