"""Forged files against every gate: `python -m tests.reliability.forging GATE COUNT [SEED]` says what it ran.

A forged file is read as something sound or refused by one of our errors, in a line; nothing hangs, and nothing takes
much more memory than the file. What a gate lets through is used, as its command would use it.
"""

from __future__ import annotations

import json
import random
import shutil
import signal
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from charrnn.api import TrainedModel
from charrnn.config.load import parse_config
from charrnn.data.decoding import TextRules
from charrnn.data.encode import encode_text
from charrnn.data.vocabulary import Vocabulary
from charrnn.errors import CharRNNError
from charrnn.evaluation.compression.codec import compress, decompress
from charrnn.formats import exporter
from charrnn.formats.load import import_model, read_vocabulary
from charrnn.runs.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from charrnn.runs.directory import RunDirectory
from charrnn.runs.history import read_history
from charrnn.runs.npz import read_arrays
from charrnn.runs.table import find_runs
from charrnn.sweep.directory import SweepDirectory
from charrnn.sweep.plan import read_plan
from charrnn.training.progress import Counters
from tests.checkpoints import make
from tests.reliability import forgeries as forge
from tests.reliability.mutations import ROWS, safetensors, safetensors_header, torch_file

SECONDS = 10  # a file of 100 kB takes no longer, on a machine that has nothing else to do
MEMORY = 12_000_000  # beside the file: the table of all code points twice, and what is computed with a small network
SETTINGS = """\
corpus:
  source: text.txt
  val_fraction: 0.1
  document_separator: null
model:
  cell: gru
  hidden_size: 4
  num_layers: 1
training:
  batch_size: 4
  learning_rate: 0.01
  epochs: null
  max_steps: 5
  seed: 1
"""
SWEEP = """\
base: run.yaml
set: {training.max_steps: 2}
grid:
  model.cell: [lstm, gru]
  training.learning_rate: [0.1, 0.2]
random:
  training.beta1: {uniform: [0.1, 0.9]}
trials: 2
seed: 1
seeds: [1, 2]
budget: {trial_steps: 3}
jobs: 1
"""
SUMMARY = {"reason": "max_steps", "steps": 10, "train_loss": 3.0, "val_loss": 3.1, "best_val_loss": 3.1}
TRIAL = {"name": "a", "overrides": {"model.cell": "gru"}, "status": "done", "attempts": 1, "exit_code": 0, "loss": 3.1}
RUN_FILES = (
    "config.yaml",
    "history.jsonl",
    "samples.txt",
    "summary.json",
    "trial.json",
    "last.npz",
    "best.npz",
    ".lock",
)

Gate = Callable[[Path, random.Random], None]


def checkpoint(folder: Path, rng: random.Random) -> None:
    _used(folder, forge.forged_npz(read_arrays(folder / "sound.npz"), rng))


def _used(folder: Path, data: bytes) -> None:
    (folder / "a.npz").write_bytes(data)
    loaded = load_checkpoint(folder / "a.npz")
    if sum(v.size for v in loaded.params.values()) < 10_000:
        Counters.of(loaded)
        assert len(TrainedModel([loaded]).generate(length=2, seed=1)) <= 8


def settings(folder: Path, rng: random.Random) -> None:
    parse_config(forge.forged_yaml(SETTINGS, rng), where="f")


def sweep(folder: Path, rng: random.Random) -> None:
    (folder / "run.yaml").write_text(SETTINGS, encoding="utf-8")
    (folder / "s.yaml").write_bytes(forge.forged_yaml(SWEEP, rng).encode("utf-8", "surrogatepass"))
    plan = read_plan(folder / "s.yaml")
    assert all(trial.name.isprintable() and "/" not in trial.name for trial in plan.trials)


def history(folder: Path, rng: random.Random) -> None:
    lines = [json.dumps(row) for row in ROWS]
    lines[rng.randrange(len(lines))] = forge.forged_json(rng.choice(ROWS), rng)
    run = _run(folder)
    (run / "history.jsonl").write_bytes("\n".join(lines).encode("utf-8", "surrogatepass") + b"\n")
    _look(folder)
    read_history(run)


def records(folder: Path, rng: random.Random) -> None:
    run = _run(folder)
    for name, sound in (("summary.json", SUMMARY), ("trial.json", TRIAL)):
        (run / name).write_bytes(forge.forged_json(sound, rng).encode("utf-8", "surrogatepass"))
    (run / "config.yaml").write_bytes(forge.forged_yaml(SETTINGS, rng).encode("utf-8", "surrogatepass"))
    (folder / "runs" / "sweep.json").write_bytes(
        forge.forged_json({"trials": [TRIAL], "before": []}, rng).encode("utf-8", "replace")
    )
    _look(folder)


def run_directory(folder: Path, rng: random.Random) -> None:
    """Files in whose place there is something else."""
    run, outside = _run(folder), folder / "outside"
    outside.write_bytes(b"mine")
    for name in rng.sample(RUN_FILES, rng.choice((1, 1, 2, 3))):
        forge.put_something_else(run / name, outside, rng)
    _look(folder)
    for act in (
        lambda: read_history(run), lambda: load_checkpoint(run / "last.npz"), lambda: RunDirectory(run).cut_logs(0, 0),
        lambda: RunDirectory(run).append_sample(1, "x"), lambda: RunDirectory(run).sync_logs(),
        lambda: RunDirectory(run).lock().__enter__(),
    ):  # fmt: skip
        try:
            act()
        except CharRNNError as error:
            _check(error)
    assert outside.read_bytes() == b"mine"


def _run(folder: Path) -> Path:
    shutil.rmtree(folder / "runs", ignore_errors=True)
    run = folder / "runs" / "a"
    run.mkdir(parents=True)
    (run / "config.yaml").write_text(SETTINGS, encoding="utf-8")
    (run / "history.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS), encoding="utf-8")
    return run


def _look(folder: Path) -> None:
    """As `runs` and a sweep do."""
    left_out: list[str] = []
    found = find_runs(folder / "runs", left_out=left_out.append)
    assert len(found) + len(left_out) <= 1
    assert all(reason.isprintable() for reason in left_out)
    directory = SweepDirectory(folder / "runs")
    for trial in directory.trials():
        assert directory.status(trial)
        assert directory.error_of(trial.name)


def imported(folder: Path, rng: random.Random) -> None:
    form = rng.choice(("json", "safetensors", "torch", "vocabulary"))
    path = folder / f"w.{form}"
    if form == "json":
        facts = json.loads((folder / "sound.json").read_text(encoding="utf-8"))
        path.write_bytes(forge.forged_json(facts, rng).encode("utf-8", "surrogatepass"))
    elif form == "safetensors":
        header = forge.forged_json(safetensors_header(), rng).encode("utf-8", "surrogatepass")
        path.write_bytes(safetensors(header, extra=rng.choice((0, 0, 0, 0, 1, -1, 1 << 40))))
    elif form == "torch":
        path.write_bytes(torch_file(forge.forged_pickle(rng)))
    else:
        (folder / "v.json").write_bytes(forge.forged_json(["a", "b", "é", "😀"], rng).encode("utf-8", "surrogatepass"))
        read_vocabulary(folder / "v.json")
        return
    import_model(path, None if form == "json" else Vocabulary.of("abcd"), source="x").build_model()


def text(folder: Path, rng: random.Random) -> None:
    path = folder / "t.bin"
    path.write_bytes(forge.forged_text(rng))
    encoding = rng.choice(("utf-8", "utf-8", "utf-16", "bytes", "latin-1", "utf-7", "shift_jis"))
    form = None if encoding == "bytes" else rng.choice((None, "nfc", "nfkd"))
    rules = TextRules(encoding, rng.choice(("keep", "unix")), form)
    shutil.rmtree(folder / "cache", ignore_errors=True)
    encoded = encode_text([path], rules.encoding, folder / "cache", rules=rules)
    assert int(encoded.ids.max()) < len(encoded.vocabulary)


def cache(folder: Path, rng: random.Random) -> None:
    """What an earlier process, or a failing disk, left beside the encoded text never becomes the text."""
    path, kept = folder / "c.txt", folder / "kept"
    path.write_text("the cat sat on the mat\n" * 20, encoding="utf-8")
    sound = encode_text([path], "utf-8", kept)
    expected = np.array(sound.ids)
    at = {"file": 0, "offset": 23, "characters": 23, "pending": "", "flag": 0, "held": "", "tail": "\n", "endings": []}
    note = {"position": at, "read": 23, "sha256": "0" * 64}
    ids = sound.path
    if rng.random() < 0.3:
        data = bytearray(expected.tobytes())
        data[rng.randrange(len(data))] = rng.choice((len(sound.vocabulary), 255))
        ids.write_bytes(data)
    else:
        ids.write_bytes(rng.randbytes(rng.choice((0, 5, len(expected) + 1))))
    ids.with_suffix(".part").write_bytes(rng.randbytes(rng.choice((0, 23, 999))))
    ids.with_suffix(".note").write_bytes(forge.forged_json(note, rng).encode("utf-8", "surrogatepass"))
    again = encode_text([path], "utf-8", kept)
    assert (again.ids == expected).all()


def compressed(folder: Path, rng: random.Random) -> None:
    made = load_checkpoint(folder / "sound.npz")
    network, content = made.build_model(), b"ab" * rng.choice((0, 1, 30))
    data = bytearray(compress(content, network, made.vocabulary, streams=rng.choice((1, 3)))[0])
    for _ in range(rng.choice((1, 2))):
        place = rng.choice((4, 5, 6, 7, 8, 9, 12, 15, 24, *range(28, len(data) + 1)))
        data[place : place + rng.choice((1, 2))] = rng.randbytes(rng.choice((0, 1, 2, 40)))
    assert decompress(bytes(data), network, made.vocabulary) == content


GATES: dict[str, Gate] = {
    "checkpoint": checkpoint, "settings": settings, "sweep": sweep, "history": history, "records": records,
    "text": text, "run directory": run_directory, "import": imported, "cache": cache, "compressed": compressed,
}  # fmt: skip


def prepare(folder: Path) -> None:
    """The sound files that forgeries start from."""
    made: Checkpoint = make("gru")
    save_checkpoint(folder / "sound.npz", made)
    exporter("json")(made, folder / "sound.json")


def _check(error: CharRNNError) -> None:
    assert error.message.isprintable(), error.message
    assert len(error.message) < 2000, error.message
    assert error.hint is None or error.hint.isprintable()


def _late(number: int, frame: object) -> None:
    raise TimeoutError


def forge_many(gate: str, folder: Path, count: int, seed: int, *, trace: bool = False) -> dict[str, Any]:
    """Try `count` forgeries; the input that fails is the one of the seed in the error."""
    prepare(folder)
    refused, slowest, most = 0, 0.0, 0
    before = signal.signal(signal.SIGALRM, _late)
    for k in range(seed, seed + count):
        signal.alarm(12 * SECONDS)  # of a busy machine
        started = time.process_time()
        if trace:
            tracemalloc.start()
        try:
            GATES[gate](folder, random.Random(f"{gate} {k}"))
        except CharRNNError as error:
            refused += 1
            _check(error)
        except BaseException as error:
            raise AssertionError(f"{gate}, seed {k}") from error
        finally:
            if trace:
                most = max(most, tracemalloc.get_traced_memory()[1])
                tracemalloc.stop()
        slowest = max(slowest, time.process_time() - started)
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)
    return {"gate": gate, "inputs": count, "refused": refused, "slowest": round(slowest, 2), "most bytes": most}


def main() -> None:
    """See the module."""
    gate, count, seed = sys.argv[1], int(sys.argv[2]), int((sys.argv[3:] or ["0"])[0])
    started = time.process_time()
    with tempfile.TemporaryDirectory() as name:
        found = forge_many(gate, Path(name), count, seed, trace="--trace" in sys.argv)
    print(json.dumps({**found, "seconds": round(time.process_time() - started, 1)}), flush=True)


if __name__ == "__main__":
    main()
