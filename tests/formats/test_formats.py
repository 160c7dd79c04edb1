"""Every format against the model itself, and every way back."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from charrnn.api import load as load_model
from charrnn.data.vocabulary import Vocabulary
from charrnn.errors import CharRNNError, CheckpointError, SettingsError
from charrnn.evaluation.loss import evaluate
from charrnn.formats import EXPORTERS, exporter
from charrnn.formats.load import ArrayNames, import_model, read_vocabulary
from charrnn.nn.cells import CELLS
from charrnn.nn.stepper import Stepper
from charrnn.runs.checkpoint import Checkpoint, find_checkpoint, load_checkpoint, save_checkpoint
from charrnn.runs.start import text_model
from tests.checkpoints import TEXT, a_checkpoint, of_documents
from tests.conftest import Run, assert_one_line_error

every_cell = pytest.mark.parametrize("cell", sorted(CELLS))
every_peer = pytest.mark.parametrize("cell", sorted(name for name, cell in CELLS.items() if cell.torch_module))


def logits(checkpoint: Checkpoint, ids: np.ndarray) -> np.ndarray:
    """(T, B, V) step by step."""
    stepper = Stepper(checkpoint.build_model(), ids.shape[1])
    return np.stack([stepper.step(row).T.copy() for row in ids])


IDS = np.random.default_rng(0).integers(0, len(set(TEXT)), (50, 3))


@every_cell
@pytest.mark.parametrize("model", [{}, {"embedding_size": 5}, {"tie_weights": True}], ids=str)
def test_json_there_and_back(tmp_path: Path, cell: str, model: dict[str, Any]) -> None:
    checkpoint = a_checkpoint(cell, **model)
    exporter("json")(checkpoint, tmp_path / "m.json")
    back = import_model(tmp_path / "m.json", None, source="y")
    assert back.vocabulary == checkpoint.vocabulary
    assert back.config.corpus.source == "x"
    assert back.opening == checkpoint.opening
    np.testing.assert_allclose(logits(back, IDS), logits(checkpoint, IDS), atol=1e-5)
    if not model:
        for name, values in checkpoint.params.items():
            np.testing.assert_array_equal(back.params[name], values)


@pytest.mark.extras
@every_cell
@pytest.mark.parametrize("encoding", ["utf-8", "bytes"])
def test_safetensors_there_and_back(tmp_path: Path, cell: str, encoding: str) -> None:
    numpy_format = pytest.importorskip("safetensors.numpy")
    checkpoint = a_checkpoint(cell, encoding=encoding)
    exporter("safetensors")(checkpoint, tmp_path / "m.safetensors")
    arrays = numpy_format.load_file(tmp_path / "m.safetensors")
    for name, values in checkpoint.params.items():
        np.testing.assert_array_equal(arrays[name], values)
    back = import_model(tmp_path / "m.safetensors", None, source="y")
    assert back.vocabulary == checkpoint.vocabulary
    np.testing.assert_array_equal(logits(back, IDS), logits(checkpoint, IDS))


@pytest.mark.extras
@every_cell
@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("model", [{}, {"embedding_size": 5}], ids=str)
def test_onnx_runs_to_the_same_logits(tmp_path: Path, cell: str, layers: int, model: dict[str, Any]) -> None:
    pytest.importorskip("onnx")
    runtime = pytest.importorskip("onnxruntime")
    checkpoint = a_checkpoint(cell, layers, **model)
    exporter("onnx")(checkpoint, tmp_path / "m.onnx")
    session = runtime.InferenceSession(str(tmp_path / "m.onnx"), providers=["CPUExecutionProvider"])
    expected = logits(checkpoint, IDS)
    names = [i.name for i in session.get_inputs() if i.name != "ids"]
    assert len(names) == layers * len(CELLS[cell].state_names)
    state = {name: np.zeros((3, 12), np.float32) for name in names}
    for ids, wanted in zip(IDS, expected, strict=True):
        out = dict(zip([o.name for o in session.get_outputs()], session.run(None, {"ids": ids, **state}), strict=True))
        np.testing.assert_allclose(out["logits"], wanted, atol=1e-5)
        state = {name: out[f"new_{name}"] for name in names}
    facts = json.loads(session.get_modelmeta().custom_metadata_map["charrnn"])
    assert facts["vocabulary"] == checkpoint.vocabulary.to_meta()
    start = {f"state_{k}_{n}": [v] for k, layer in enumerate(facts["start"]["state"]) for n, v in layer.items()}
    symbol = checkpoint.vocabulary.encode("a").astype(np.int64)
    first = session.run(["logits"], {"ids": symbol, **{k: np.array(v, np.float32) for k, v in start.items()}})[0]
    _, after = text_model([checkpoint], [checkpoint.build_model()]).begin(symbol)
    np.testing.assert_allclose(first.T, after, atol=1e-5)


@pytest.mark.parity
@every_peer
@pytest.mark.parametrize("encoding", ["utf-8", "bytes"])
@pytest.mark.parametrize("documents", [False, True])
def test_torch_and_its_script(tmp_path: Path, cell: str, encoding: str, documents: bool) -> None:
    torch = pytest.importorskip("torch")
    checkpoint = a_checkpoint(cell, 2, encoding)
    if documents:
        checkpoint = of_documents(checkpoint)
    assert exporter("torch")(checkpoint, tmp_path / "m.pt") == [tmp_path / "m.pt", tmp_path / "m.py"]
    weights = torch.load(tmp_path / "m.pt", weights_only=True)
    kinds = {"rnn": torch.nn.RNN, "lstm": torch.nn.LSTM, "gru": torch.nn.GRU}
    V = len(checkpoint.vocabulary)
    network = torch.nn.ModuleDict({"rnn": kinds[cell](V, 12, 2), "head": torch.nn.Linear(12, V)})
    network.load_state_dict(weights)
    with torch.no_grad():
        found = network["head"](network["rnn"](torch.nn.functional.one_hot(torch.tensor(IDS), V).float())[0])
    np.testing.assert_allclose(found.numpy(), logits(checkpoint, IDS), atol=1e-5)
    words = [sys.executable, "m.py", "--length", "40", "--temperature", "0", "--prime", "ab"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=True)
    from charrnn.api import TrainedModel

    expected = "ab" + "".join(TrainedModel([checkpoint]).sample("ab", length=40, temperature=0.0))
    assert done.stdout.rstrip("\n") == expected.rstrip("\n")
    if documents:
        separator = checkpoint.config.corpus.document_separator
        assert separator
        assert expected.count(separator) > 1  # the state was zeroed on the way
    if (cell, encoding, documents) != ("gru", "utf-8", False):
        return
    again = [subprocess.run([*words[:4], "--seed", "3"], cwd=tmp_path, capture_output=True, check=True) for _ in "ab"]
    assert again[0].stdout == again[1].stdout


@pytest.mark.parity
@every_peer
@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("embedded", [False, True])
@pytest.mark.parametrize("biases", [False, True])
def test_a_torch_network_evaluates_to_its_loss(
    tmp_path: Path, cell: str, layers: int, embedded: bool, biases: bool
) -> None:
    torch = pytest.importorskip("torch")
    torch.manual_seed(1)
    V, H = len(set(TEXT)), 11
    kinds = {"rnn": torch.nn.RNN, "lstm": torch.nn.LSTM, "gru": torch.nn.GRU}
    parts = {"core": kinds[cell](6 if embedded else V, H, layers, bias=biases), "out": torch.nn.Linear(H, V)}
    network = torch.nn.ModuleDict(parts | ({"table": torch.nn.Embedding(V, 6)} if embedded else {}))
    path = tmp_path / "model.pt"
    torch.save({"state_dict": network.state_dict(), "epoch": 3}, path)
    (tmp_path / "text.txt").write_text(TEXT)
    checkpoint = import_model(path, read_vocabulary(tmp_path / "text.txt"), source="text.txt")
    ids = IDS[:, 0]
    x = torch.tensor(ids[:-1])[:, None]
    with torch.no_grad():
        x = network["table"](x) if embedded else torch.nn.functional.one_hot(x, V).float()
        out = network["out"](network["core"](x)[0])[:, 0]
        expected = torch.nn.functional.cross_entropy(out, torch.tensor(ids[1:])).item()
    found = evaluate(checkpoint.build_model(), ids.astype(np.uint8), streams=1).loss
    assert found == pytest.approx(expected, abs=1e-5)


@pytest.mark.parity
def test_the_commands_import_and_evaluate_to_its_loss(charrnn_here: Run, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    torch.manual_seed(2)
    text = "".join(np.random.default_rng(5).choice(list(TEXT), 250))
    V = len(set(text))
    network = torch.nn.ModuleDict(
        {"embed": torch.nn.Embedding(V, 5), "lstm": torch.nn.LSTM(5, 9, 2), "decoder": torch.nn.Linear(9, V)}
    )
    torch.save(network.state_dict(), tmp_path / "m.pt")
    (tmp_path / "text.txt").write_text(text)
    done = charrnn_here("import", "m.pt", "--vocab", "text.txt", "--run-dir", "r")
    assert done.returncode == 0, done.stderr
    report = json.loads(charrnn_here("eval", "r", "--text", "text.txt", "--no-baselines", "--json").stdout)
    ids = torch.tensor([sorted(set(text)).index(c) for c in text])
    with torch.no_grad():
        out = network["decoder"](network["lstm"](network["embed"](ids[:-1, None]))[0])[:, 0]
    assert report["loss"] == pytest.approx(torch.nn.functional.cross_entropy(out, ids[1:]).item(), abs=1e-5)
    assert report["characters"] == 249


@pytest.mark.parity
def test_names_decide_where_shapes_do_not(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    V = len(set(TEXT))
    network = torch.nn.ModuleDict(
        {"a": torch.nn.GRU(V, 7), "b": torch.nn.GRU(V, 7), "x": torch.nn.Linear(7, V), "y": torch.nn.Linear(7, V)}
    )
    torch.save(network.state_dict(), tmp_path / "m.pt")
    vocabulary = Vocabulary.of(TEXT)
    with pytest.raises(CheckpointError, match="2 recurrent networks"):
        import_model(tmp_path / "m.pt", vocabulary, source="x")
    with pytest.raises(CheckpointError, match="2 linear layers"):
        import_model(tmp_path / "m.pt", vocabulary, source="x", names=ArrayNames(rnn="b"))
    found = import_model(tmp_path / "m.pt", vocabulary, source="x", names=ArrayNames(rnn="b", head="y"))
    np.testing.assert_array_equal(found.params["head.weight"], network["y"].weight.detach().numpy())
    with pytest.raises(CheckpointError, match="contains no vocabulary"):
        import_model(tmp_path / "m.pt", None, source="x")
    both = torch.nn.ModuleDict({"r": torch.nn.LSTM(V, 7, bidirectional=True), "h": torch.nn.Linear(14, V)})
    torch.save(both.state_dict(), tmp_path / "b.pt")
    with pytest.raises(CheckpointError, match="bidirectional"):
        import_model(tmp_path / "b.pt", vocabulary, source="x")
    for name, value in (("list.pt", [1, 2]), ("empty.pt", {}), ("odd.pt", {"r.weight_ih_l0": torch.ones(7, V)})):
        torch.save(value, tmp_path / name)
        with pytest.raises(CheckpointError):
            import_model(tmp_path / name, vocabulary, source="x")


@pytest.mark.parity
def test_other_things_that_torch_writes(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    torch.save(torch.nn.Linear(2, 3), tmp_path / "module.pt")
    (tmp_path / "noise.pt").write_bytes(np.random.default_rng(0).bytes(3000))
    torch.save([1, 2], tmp_path / "list.pt")
    for name, reason in (("module", "pickled objects"), ("noise", "not a PyTorch file"), ("list", "not a state_dict")):
        with pytest.raises(CheckpointError, match=reason) as caught:
            import_model(tmp_path / f"{name}.pt", Vocabulary.of("abc"), source="x")
        assert len(caught.value.message) < 300
        assert "state_dict()" in str(caught.value.hint)
    for name in ("model.py", 'm"x.pt'):
        with pytest.raises(SettingsError, match="choose another file"):
            exporter("torch")(a_checkpoint(), tmp_path / name)
        assert not (tmp_path / name).exists()


def foreign(path: Path, checkpoint: Checkpoint, **more: np.ndarray) -> Path:
    """A file with the arrays of a network under PyTorch's names."""
    arrays = {f"core.{name.split('.')[2]}_l{name.split('.')[1]}": v for name, v in checkpoint.params.items()
              if name.startswith("layers")}  # fmt: skip
    arrays = {name.replace("bias_l", "bias_ih_l"): v for name, v in arrays.items()}
    arrays |= {name.replace("head", "out"): v for name, v in checkpoint.params.items() if name.startswith("head")}
    arrays |= more
    path.write_text(json.dumps({"params": {name: v.tolist() for name, v in arrays.items()}}))
    return path


def test_arrays_that_would_not_be_used_are_refused(tmp_path: Path) -> None:
    checkpoint = a_checkpoint("lstm")
    path = foreign(tmp_path / "m.json", checkpoint)
    found = import_model(path, checkpoint.vocabulary, source="x")
    np.testing.assert_allclose(logits(found, IDS), logits(checkpoint, IDS), atol=1e-5)
    for name, shape in (("middle.weight", (12, 12)), ("norm.scale", (12,)), ("core.weight_ih_l5", (48, 12))):
        path = foreign(tmp_path / "m.json", checkpoint, **{name: np.ones(shape)})
        with pytest.raises(CheckpointError, match=re.escape(f"{name}: not part of a network")):
            import_model(path, checkpoint.vocabulary, source="x")
    exporter("json")(checkpoint, path)
    changed = json.loads(path.read_text())
    changed["params"]["head.scale"] = [1.0]
    path.write_text(json.dumps(changed))
    with pytest.raises(CheckpointError, match=r"head\.scale: not part of a network"):
        import_model(path, None, source="x")


@pytest.mark.parametrize("table", [False, True])
def test_symbols_in_the_networks_own_order(tmp_path: Path, table: bool) -> None:
    """The same network with its symbols numbered another way, which a JSON list tells."""
    checkpoint = a_checkpoint("lstm")
    V = len(checkpoint.vocabulary)
    numbers = np.random.default_rng(0).permutation(V)  # the network's number of each of our symbols
    ours = np.argsort(numbers)
    more = {"out.weight": checkpoint.params["head.weight"][ours], "out.bias": checkpoint.params["head.bias"][ours]}
    if table:  # the one-hot symbols, as an embedding
        more["table.weight"] = np.eye(V)[ours]
    else:
        more["core.weight_ih_l0"] = checkpoint.params["layers.0.weight_ih"][:, ours]
    path = foreign(tmp_path / "m.json", checkpoint, **more)
    symbols = [chr(checkpoint.vocabulary.values[k]) for k in ours]
    (tmp_path / "v.json").write_text(json.dumps(symbols))
    found = import_model(path, read_vocabulary(tmp_path / "v.json"), source="x")
    assert found.vocabulary == checkpoint.vocabulary
    np.testing.assert_allclose(logits(found, IDS), logits(checkpoint, IDS), atol=1e-5)


@pytest.mark.parametrize("model", [{}, {"embedding_size": 12}], ids=str)
def test_an_output_layer_without_bias_is_found(tmp_path: Path, model: dict[str, Any]) -> None:
    checkpoint = a_checkpoint("lstm", **model)
    checkpoint.params["head.bias"][...] = 0.0
    more = {"embed.weight": checkpoint.params["embedding.weight"]} if model else {}
    path = foreign(tmp_path / "m.json", checkpoint, **more)
    data = json.loads(path.read_text())
    del data["params"]["out.bias"]
    path.write_text(json.dumps(data))
    found = import_model(path, checkpoint.vocabulary, source="x")
    np.testing.assert_allclose(logits(found, IDS), logits(checkpoint, IDS), atol=1e-5)


def test_what_a_vanilla_network_was_made_with_is_asked_for_or_said(charrnn_here: Run, tmp_path: Path) -> None:
    checkpoint = a_checkpoint("rnn")
    foreign(tmp_path / "m.json", checkpoint)
    (tmp_path / "v.json").write_text(json.dumps(sorted(set(TEXT))))
    words = ("import", "m.json", "--vocab", "v.json", "--overwrite", "--run-dir", "a")
    done = charrnn_here(*words)
    assert done.returncode == 0
    assert "note: assumed to use tanh" in done.stderr
    assert "note" not in charrnn_here(*words, "--nonlinearity", "tanh").stderr
    assert_one_line_error(charrnn_here(*words, "--nonlinearity", "relu"), 4, "relu cannot be imported")
    exporter("json")(checkpoint, tmp_path / "m.json")
    assert "note" not in charrnn_here(*words).stderr


def test_what_a_file_leaves_no_choice_of_is_refused(charrnn_here: Run, tmp_path: Path) -> None:
    for name, cell in (("gru", "gru"), ("rnn", "rnn")):
        exporter("json")(a_checkpoint(cell), tmp_path / f"{name}.json")
    for option in ("rnn", "head", "embedding"):
        done = charrnn_here("import", "gru.json", "--run-dir", "a", f"--{option}", "foo")
        assert_one_line_error(done, 4, f"gru.json: --{option} foo: its arrays are named by", f"leave out --{option}\n")
    done = charrnn_here("import", "gru.json", "--run-dir", "a", "--nonlinearity", "relu")
    assert_one_line_error(
        done, 4, "gru.json: --nonlinearity relu: it is for an nn.RNN, and this network is of cell gru"
    )
    assert_one_line_error(
        charrnn_here("import", "rnn.json", "--run-dir", "a", "--nonlinearity", "relu"), 4, "relu cannot be imported"
    )
    assert not (tmp_path / "a").exists()


def test_the_script_beside_the_weights_replaces_no_other_file(tmp_path: Path) -> None:
    checkpoint = a_checkpoint()
    (tmp_path / "train.py").write_text("mine")
    with pytest.raises(SettingsError, match=r"train\.py: the script goes there, but it exists already"):
        exporter("torch")(checkpoint, tmp_path / "train.pt")
    assert [path.name for path in tmp_path.iterdir()] == ["train.py"]


@pytest.mark.parity
def test_the_script_is_replaced_with_its_weights(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    for cell in ("gru", "lstm"):
        exporter("torch")(a_checkpoint(cell), tmp_path / "model.pt")
        assert f'"module": "{cell.upper()}"' in (tmp_path / "model.py").read_text()


def test_files_that_are_no_model(tmp_path: Path) -> None:
    for name, data in (("a.json", b"{}"), ("b.json", b"["), ("c.json", b'{"params": {"x": [1, [2]]}}')):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(CharRNNError) as caught:
            import_model(tmp_path / name, Vocabulary.of("ab"), source="x")
        assert len(caught.value.message.splitlines()) == 1
    for listed, reason in (('["b", "a", "b"]', "'b' .* appears twice"), ("[]", "no characters")):
        (tmp_path / "v.json").write_text(listed)
        with pytest.raises(CheckpointError, match=reason):
            read_vocabulary(tmp_path / "v.json")
    (tmp_path / "v.json").write_text('["ab"]')
    with pytest.raises(CheckpointError, match="single characters"):
        read_vocabulary(tmp_path / "v.json")


def test_the_commands(charrnn_here: Run, config_file: Path, tmp_path: Path) -> None:
    assert charrnn_here("train", "--config", config_file, "--quiet", "--run-dir", "a").returncode == 0
    done = charrnn_here("export", "a", "--to", "json", "--output", "m.json")
    assert done.stderr == "wrote m.json\n"
    assert charrnn_here("import", "m.json", "--run-dir", "b").returncode == 0
    words = ("--seed", "1", "--length", "50")
    assert charrnn_here("sample", "a", *words).stdout == charrnn_here("sample", "b", *words).stdout
    losses = [
        json.loads(charrnn_here("eval", run, "--text", "text.txt", "--no-baselines", "--json").stdout)["loss"]
        for run in ("a", "b")
    ]
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)
    taken = charrnn_here("import", "none.json", "--run-dir", "b")  # said before anything is read
    assert_one_line_error(taken, 2, "holds a run already", "hint: replace it with --overwrite, or choose another")
    assert_one_line_error(charrnn_here("import", "text.txt", "--run-dir", "c"), 4, "not a PyTorch file")
    assert_one_line_error(
        charrnn_here("export", "a", "--to", "json", "--output", "no/where.json"), 2, "cannot be written"
    )
    assert not (tmp_path / "c").exists()
    assert find_checkpoint(tmp_path / "b") == tmp_path / "b" / "last.npz"
    assert load_checkpoint(tmp_path / "b" / "last.npz").config.model.cell == "gru"


def test_the_name_of_the_file_says_the_format(charrnn_here: Run, tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "a.npz", a_checkpoint())
    for words, head in (
        (("-o", "m.JSON"), b'{"format": "charrnn"'), (("-o", "m.html"), b"<!DOCTYPE html>"), (("-o", "m"), b"<!DOC"),
        (("--to", "json", "-o", "m.txt"), b'{"format": "charrnn"'), (("--to", "json", "-o", "m"), b'{"format'),
    ):  # fmt: skip
        done = charrnn_here("export", "a.npz", *words)
        assert done.returncode == 0, done.stderr
        assert (tmp_path / words[-1]).read_bytes().lower().startswith(head.lower()), words
    before = sorted(tmp_path.iterdir())
    done = charrnn_here("export", "a.npz", "--to", "json", "-o", "p.html")
    assert_one_line_error(done, 2, "p.html: the name is that of a file in format html, not json", "call it p.json, or")
    assert_one_line_error(charrnn_here("export", "a.npz", "-o", "p.xml"), 2, "p.xml: no format has this suffix")
    with pytest.raises(SettingsError, match="in format html, not json"):
        load_model(tmp_path / "a.npz").export(tmp_path / "p.html", format="json")
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize("name", sorted(EXPORTERS))
def test_every_format_has_a_suffix(name: str) -> None:
    from charrnn.cli.commands.export import Format
    from charrnn.formats import SUFFIXES

    assert name in SUFFIXES
    assert name in {f.value for f in Format}


def test_the_page_holds_everything_and_no_text_ends_its_script(tmp_path: Path) -> None:
    checkpoint = a_checkpoint()
    exporter("html")(checkpoint, tmp_path / "p.html")
    page = (tmp_path / "p.html").read_text()
    facts = json.loads(re.search(r"const facts = (.*);\n", page)[1])  # type: ignore[index]
    assert facts["symbols"] == checkpoint.vocabulary.to_meta()["symbols"]
    assert page.count("<script>") == page.count("</script>") == 1
    assert "http://" not in page
    assert "https://" not in page
