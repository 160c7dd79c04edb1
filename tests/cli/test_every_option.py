"""Every option of every command, used once from a real process."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import get_args, get_type_hints

import pytest

from charrnn.cli.app import attempt
from charrnn.data.corpora import catalogue, corpus_path
from tests.cli_reference import commands
from tests.conftest import ROOT, SENTENCES, assert_one_line_error, train_here

# All run in one folder. `a` and `b` are runs of one vocabulary, `t.yaml` trains for a moment.
LINES = {
    "charrnn sample": [
        "a --length 20 --prompt the --seed 1 --num-samples 2 --separator == --unknown skip --no-include-prompt --quiet "
        "--raw",
        "a --prompt-file prime.txt --seed 1 --best-of 3 --include-prompt --json",
        "a --fill form.txt --seed 1 --unknown skip --length 10",
        "a --seed 1 --stop . --stop-on-newline --until-words 4 --color surprise --memorization --corpus text.txt",
        "a --beam 3 --length-penalty 0.5 --length 10", "a --seed 1 --length 30 --constrain [a-z]+[.]",
        "a --prompt the --seed 1 --length 5 --no-include-prompt --cold", "a --prompt-file prime.txt --include-prompt",
        "items --num-items 2 --seed 1 --length 300 --unique --not-in-training", "a --ngram --seed 1 --length 9",
        "a --interactive --seed 1 --length 5",
        "bytes --seed 1 --length 5 --output-encoding latin-1",
        "a --seed 1 --length 20 --temperature 0.9 --top-k 8 --top-p 0.95 --min-p 0.01 --typical 0.9 --top-n-sigma 3 "
        "--repetition-penalty 1.1 --presence-penalty 0.1 --frequency-penalty 0.1 --penalty-window 30 --ban q "
        "--dry-multiplier 0.5 --dry-base 1.5 --dry-allowed-length 5 --dry-window 100 --dry-breakers . "
        "--xtc-probability 0.2 --xtc-threshold 0.2 --logit-bias e=0.5 --mirostat-tau 3 --mirostat-eta 0.2",
        "a b --seed 1 --length 20 --dynamic-temperature 0.5:1.2 --dynamic-exponent 1 --top-k 5 "
        "--order top-k,min-p,temperature",
    ],
    "charrnn eval": [
        "a --corpus text.txt --split val --no-baselines --json --dynamic --dynamic-rate 0.0001 --memorization",
        "a b --text form.txt --unknown skip --baselines",
        "a --text form.txt --unknown skip --per-char json",
        "a --text form.txt --unknown skip --per-line",
        "a --text form.txt --unknown skip --surprising 2 --ngram",
    ],
    "charrnn next": ["a b --prompt the --top 3 --json", "a --prompt the"],
    "charrnn rank": ["form.txt a --by total --prompt the --top 1 --unknown skip --json", "form.txt a --prompt the "
                     "--unknown skip"],
    "charrnn compress": [
        "a form.txt --output f.crnn --streams 2 --no-baselines --json --ngram --corpus text.txt",
        "a form.txt -o g.crnn --baselines --quiet",
    ],
    "charrnn decompress": ["a f.crnn --output back.txt --quiet --corpus text.txt"],
    "charrnn export": ["a --to json --output m.json"],
    "charrnn import": [
        "m.json --run-dir imported --overwrite",
        "torch.json --run-dir foreign --vocab text.txt --rnn core --head out --embedding table --nonlinearity tanh",
    ],
    "charrnn train": [
        "--config t.yaml --run-dir new --set model.cell=gru --set model.hidden_size=24 --init-from a --progress plain",
        "--config t.yaml --run-dir new --overwrite --quiet --json",
        "text.txt --minutes 0.02 --set model.hidden_size=8 --quiet",
        "--config t.yaml --run-dir new --resume --set training.max_steps=4 --json",
        "new --resume --corpus text.txt --set training.max_steps=5 --json",
    ],
    "charrnn compare": [
        "t.yaml --budget 2 --set model.hidden_size=5 --run-dir compared --target-loss 2.5 --progress none --json",
        "t.yaml --budget 2 --run-dir compared --overwrite --quiet --json",
        "t.yaml --budget 2 --run-dir compared --resume --json",
    ],
    "charrnn sweep": [
        "s.yaml --run-dir swept --set training.max_steps=2 --dry-run",
        "s.yaml --print-commands",
        "s.yaml --run-dir swept --jobs 1 --progress none --json",
        "s.yaml --run-dir swept --resume --retry-failed --quiet --json",
        "s.yaml --run-dir swept --overwrite --quiet --json",
    ],
    "charrnn runs": [
        "swept --sort loss --reverse --where model.hidden_size>4 --columns loss,steps --top 1 --csv",
        "swept --effects --json", "swept --paths",
    ],
    "charrnn doctor": ["a --corpus text.txt --json"],
    "charrnn watch": ["a --once --wait --interval 0.1"],
    "charrnn plot": ["a b --x chars --json"],
    "charrnn report": [
        "a --corpus text.txt --output r.html --length 50 --activations --json", "a --no-activations -o r.html --json",
    ],
    "charrnn gradcheck": [
        "--config t.yaml --set model.num_layers=2 --tolerance 0.01 --entries 2 --seq-length 3 --batch-size 2 "
        "--vocab-size 5 --json",
    ],
    "charrnn find-lr": ["--config t.yaml --set training.seed=2 --from 1e-4 --to 0.5 --steps 12 --output lr.csv --json"],
    "charrnn config show": ["t.yaml --set training.seed=3 --json"],
    "charrnn config schema": [""],
    "charrnn config list": ["--json"],
    "charrnn config suggest": ["text.txt --minutes 0.1 --set model.cell=gru"],
    "charrnn corpus list": ["--json"],
    "charrnn corpus info": ["text.txt --encoding latin-1 --json"],
    "charrnn corpus build": [
        "recall --output recall.txt --chars 500 --seed 2 --lag 5 --noise 3 --symbols 4 --overwrite --json",
        "brackets -o brackets.txt --chars 500 --depth 3", "markov -o markov.txt --chars 500 --order 2",
    ],
    "charrnn inspect units": [
        "a --unit 2 --layer 0 --signal h --text form.txt --unknown skip --start 1 --length 20 --json",
        "a --find position-in-line --corpus text.txt --json", "a --saturation --json",
        "a --output units.html --length 50",
    ],
    "charrnn inspect predictions": [
        "a --corpus text.txt --text form.txt --unknown skip --start 1 --length 10 --extremes 2 --json",
    ],
    "charrnn inspect memory": ["a b --corpus text.txt --text text.txt --unknown skip --steps 10 --positions 2 --json"],
    "charrnn inspect embeddings": ["a --json"],
    "charrnn inspect errors": ["a --corpus text.txt --text text.txt --unknown skip --start 1 --length 100 --json"],
    "charrnn inspect weights": ["a --json"],
}  # fmt: skip
# Commands that go on with what another has written; it runs before them.
AFTER = {
    "charrnn decompress": "charrnn compress", "charrnn import": "charrnn export", "charrnn runs": "charrnn sweep",
}  # fmt: skip
# The same where an extra is installed: the modules it needs, then the command.
WITH_EXTRAS = [
    ("matplotlib", "plot a --output curves.png"),
    ("plotext", "plot a --terminal"),
    ("matplotlib", "compare t.yaml --budget 2 --run-dir drawn --quiet --plot drawn.png"),
    ("matplotlib", "inspect memory a --text text.txt --steps 10 --positions 2 --output memory.png"),
    ("matplotlib", "inspect embeddings a --output embeddings.png"),
]
# Real processes too, but in need of a cluster or of a search that is going on.
ELSEWHERE = {
    ("charrnn sweep", "--scheduler"): "sweep/test_cluster.py",
    ("charrnn sweep", "--join"): "sweep/test_search.py",
}
FETCH = "charrnn corpus fetch"  # has a test of its own, without a network


def options(command: object) -> set[str]:
    """The long spelling of each of a command's options, older ones left out; of a pair such as --x/--no-x both."""
    found = set()
    for parameter in command.params:  # type: ignore[attr-defined]
        if parameter.param_type_name == "option":
            for words in (parameter.opts, parameter.secondary_opts):
                found |= set([word for word in words if word.startswith("--")][:1])
    return found - {"--help"}


def used(name: str) -> set[str]:
    lines = [*LINES.get(name, ()), *(line for _, line in WITH_EXTRAS if f"charrnn {line}".startswith(f"{name} "))]
    here = {word for line in lines for word in shlex.split(line) if word.startswith("--")}
    return here | {option for command, option in ELSEWHERE if command == name}


def test_none_is_forgotten() -> None:
    for name, command in commands():
        assert options(command) == (used(name) if name != FETCH else {"--force", "--json"}), name
    assert {*LINES, FETCH} == {name for name, _ in commands()}
    for (_, option), file in ELSEWHERE.items():
        assert f'"{option}"' in (ROOT / "tests" / file).read_text()


@pytest.fixture(scope="module")
def folder(runs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    runs = shutil.copytree(runs, tmp_path_factory.mktemp("options"), dirs_exist_ok=True)
    (runs / "form.txt").write_text("the {{word}} sat\nthe dog ran")
    (runs / "prime.txt").write_text("the cat")
    (runs / "t.yaml").write_text(
        "corpus: {source: text.txt}\nmodel: {cell: rnn, hidden_size: 6}\n"
        "training: {batch_size: 2, seq_length: 8, epochs: null, max_steps: 3, sample_every: null, replicas: 1}\n"
    )
    (runs / "s.yaml").write_text("base: t.yaml\nset: {training.max_steps: 2}\nseeds: 2\n")
    V, H, E = len(set(SENTENCES)), 4, 3
    shapes = {
        "core.weight_ih_l0": (H, E), "core.weight_hh_l0": (H, H), "core.bias_ih_l0": (H,), "core.bias_hh_l0": (H,),
        "out.weight": (V, H), "out.bias": (V,), "table.weight": (V, E),
    }  # fmt: skip
    params = {
        name: [0.1] * shape[0] if len(shape) == 1 else [[0.1] * shape[1]] * shape[0] for name, shape in shapes.items()
    }
    (runs / "torch.json").write_text(json.dumps({"params": params}))
    raw = ["--config", "t.yaml", "--set", "corpus.encoding=bytes", "--run-dir", "bytes"]
    apart = ["--config", "t.yaml", "--set", "corpus.document_separator=.", "--run-dir", "items"]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(runs)
        train_here(*raw)
        train_here(*apart)
    return runs


def run(folder: Path, words: list[str], stdin: str = "", **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "charrnn", *words], cwd=folder, input=stdin, capture_output=True, text=True, timeout=60,
        env={**os.environ, "PYTHONPATH": str(ROOT), **variables}, check=False,
    )  # fmt: skip


@pytest.mark.extras  # needs none, but takes half a minute of processes
@pytest.mark.parametrize("name", [name for name in LINES if name not in AFTER.values()])
def test_real_processes(folder: Path, name: str) -> None:
    for command in (AFTER[name], name) if name in AFTER else (name,):
        for line in LINES[command]:
            done = run(folder, [*command.split()[1:], *shlex.split(line)], stdin="the cat\n")
            assert done.returncode == 0, (command, line, done.stderr)
            if "--json" in line:
                assert isinstance(json.loads(done.stdout), dict), (command, line)
    if name == "charrnn decompress":
        assert (folder / "back.txt").read_text() == (folder / "form.txt").read_text()


@pytest.mark.extras
@pytest.mark.parametrize(("module", "line"), WITH_EXTRAS, ids=lambda word: word)
def test_with_extras(folder: Path, module: str, line: str) -> None:
    if find_spec(module) is None:
        pytest.skip(f"no {module}")
    done = run(folder, shlex.split(line))
    assert done.returncode == 0, done.stderr


def test_a_text_is_fetched_again_only_by_force(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHARRNN_HOME", str(tmp_path))
    path = corpus_path(catalogue()["tiny-shakespeare"])
    path.parent.mkdir(parents=True)
    path.write_text("here already")
    nowhere = {"https_proxy": "http://127.0.0.1:1", "no_proxy": ""}  # nothing listens there
    words = ["corpus", "fetch", "tiny-shakespeare", "--json"]
    here = run(tmp_path, words, **nowhere)
    assert here.returncode == 0, here.stderr
    assert json.loads(here.stdout)["path"] == str(path)
    assert_one_line_error(run(tmp_path, [*words, "--force"], **nowhere), 3, "cannot be fetched")
    assert path.read_text() == "here already"


def test_the_options_of_the_program_itself(folder: Path) -> None:
    from charrnn import __version__

    assert run(folder, ["--version"]).stdout == f"charrnn {__version__}\n"
    assert "Traceback" in run(folder, ["--debug", "eval", "missing"]).stderr
    assert "--temperature" in run(folder, ["sample", "--help"]).stdout


def test_no_file_is_called_like_standard_output(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    tried = set()
    for line, command in commands():
        for parameter in command.params:  # type: ignore[attr-defined]
            for place, said in (("-", "-: standard output is not"), ("no/file", "no/file: cannot be written: No such")):
                if {"--output", "--plot"} & set(parameter.opts):
                    assert attempt([*line.split()[1:], parameter.opts[0], place]).code == 2
                    assert said in capsys.readouterr().err, (line, place)
                    tried.add(line)
    assert len(tried) == 11
    assert not list(tmp_path.iterdir())


def test_nan_is_no_number_for_any_option(capsys: pytest.CaptureFixture[str]) -> None:
    tried = 0
    for line, command in commands():
        hints = get_type_hints(command.callback)  # type: ignore[attr-defined]
        required = [p for p in command.params if p.required]  # type: ignore[attr-defined]
        given = [word for p in required for word in ([] if p.param_type_name == "argument" else [p.opts[0]]) + ["x"]]
        for parameter in command.params:  # type: ignore[attr-defined]
            if float in (hint := hints.get(parameter.name), *get_args(hint)):
                assert attempt([*line.split()[1:], *given, parameter.opts[0], "nan"]).code == 2
                assert f"Invalid value for '{parameter.opts[0]}'" in capsys.readouterr().err
                tried += 1
    assert tried > 20
