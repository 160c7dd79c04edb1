"""Replay small hostile inputs against the command line: `python -m tests.reliability.replay CASES.json [NUMBER...]`.

A case is a command, and a file that takes the place of one in a sound run (`ck/a`, `ck/b`, `base`), sweep (`d`) or
import. What is right is the same for all: an exit code that is documented, one line on standard error, nothing raw on
the terminal, ten seconds of processor time (so that a busy machine changes no verdict) and a bounded amount of memory.
A training that is to go on for ever is right if it ends within a moment of SIGTERM, saved.
"""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.conftest import ROOT

SECONDS = 10.0
GRACE = 120.0  # seconds from SIGTERM to the end, of a machine that may be busy
MEGABYTES = 300  # NumPy, rich and the settings take 70; PyTorch, where an import needs it, 250 more
DOCUMENTED = {0, 1, 2, 3, 4, 5, 6}  # 1 is the disk or the memory; what is unexpected is found by its words
SYMBOLS = "\n !',-.:;?ABCDEFGHIJKLMNOPRSTUVWYabcdefghijklmnopqrstuvwxyz"

_SETTINGS = """
corpus: {source: mid.txt}
model: {cell: CELL, hidden_size: 24}
training: {batch_size: 16, seq_length: 32, epochs: null, max_steps: 120, learning_rate: 0.01, log_every: 20,
  eval_every: 40, checkpoint_every: 40, sample_every: 40, sample_length: 60, replicas: 1}
"""
_SWEEP = """
base: sw-base.yaml
set: {training.max_steps: 5, model.hidden_size: 4, training.log_every: 1, training.eval_every: 2,
  training.sample_every: null}
grid: {model.cell: [lstm, gru]}
"""


@dataclass
class Outcome:
    """What a command did.

    Attributes:
        seconds: of processor time.
        wrong: what is against the rules; empty where all is well.
    """

    code: int
    out: str
    err: str
    seconds: float
    megabytes: float
    wrong: list[str] = field(default_factory=list)


def charrnn(folder: Path, words: list[str], *, limit: float = 60.0) -> Outcome:
    """Run a command in a folder and judge what it does by the rules that hold for all."""
    started = time.perf_counter()
    env = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "100", "CHARRNN_HOME": str(folder / "home")}
    with (folder / "out.log").open("w+b") as out, (folder / "err.log").open("w+b") as err:
        child = subprocess.Popen(
            [sys.executable, "-m", "charrnn", *words],
            stdin=subprocess.DEVNULL, stdout=out, stderr=err, cwd=folder, env=env,
        )  # fmt: skip
        status, usage, asked = None, None, 0.0
        while status is None:
            pid, found, usage = os.wait4(child.pid, os.WNOHANG)
            status, now = found if pid else None, time.perf_counter()
            if status is None and asked and now > asked + GRACE:
                child.kill()
            elif status is None and not asked and now > started + limit and _enough(child.pid, now - started, limit):
                asked = now
                child.terminate()
            time.sleep(0.01)
        child.returncode = os.waitstatus_to_exitcode(status)
        texts = []
        for file in (out, err):
            file.seek(0)
            texts.append(file.read().decode("utf-8", "replace"))
    assert usage is not None
    outcome = Outcome(child.returncode, *texts, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)
    endless = asked and words[0] == "train" and outcome.code == 143 and "saved in" in outcome.err
    outcome.wrong = [] if endless else ["HANG"] if asked else _judge(outcome)
    return outcome


def _enough(pid: int, passed: float, limit: float) -> bool:
    """Whether a process has had processor time enough, which a busy machine does not give it at once."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK") > 2 * SECONDS or passed > 10 * limit


def _judge(o: Outcome) -> list[str]:
    wrong = []
    if o.code not in DOCUMENTED or "unexpected" in o.err or "Traceback" in o.err:
        wrong.append(f"exit {o.code}")
    if o.code and len([line for line in o.err.splitlines() if line.startswith("charrnn: error: ")]) != 1:
        wrong.append("not one line")
    if "Warning" in o.err:
        wrong.append("warning")
    if re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f]", re.sub("\r(?=\n)", "", o.err + o.out)):
        wrong.append("control character")
    if o.seconds > SECONDS:
        wrong.append(f"{o.seconds:.0f} s")
    if o.megabytes > MEGABYTES + (350 if "torch" in o.err or ".pt" in o.err else 0):
        wrong.append(f"{o.megabytes:.0f} MB")
    return wrong


def make_sound(folder: Path) -> None:
    """Runs, a sweep and texts in which single files are then replaced."""
    folder.mkdir(parents=True, exist_ok=True)
    words = "the cat Sat on A mat; Did it? No! 'Yes,' Said: x-y. Go Be We Fit Jam Ka Lo Her In Ma Oh Pa Run Up Vet quiz"
    text = "".join(
        f"{words[k % len(words) :]} {SYMBOLS[k % len(SYMBOLS)]}{words[: k % len(words)]}\n" for k in range(360)
    )
    (folder / "mid.txt").write_text((text + SYMBOLS)[-40_000:], encoding="utf-8")
    (folder / "t2.txt").write_text(text[:2000], encoding="utf-8")
    (folder / "v.txt").write_text(SYMBOLS[:55], encoding="utf-8")
    (folder / "v.json").write_text(json.dumps(sorted(SYMBOLS[:55])), encoding="utf-8")
    (folder / "sw.yaml").write_text(_SWEEP, encoding="utf-8")
    for name, cell in (("t.yaml", "gru"), ("b.yaml", "lstm"), ("sw-base.yaml", "gru")):
        (folder / name).write_text(_SETTINGS.replace("CELL", cell), encoding="utf-8")
    for settings, run in (("t.yaml", "ck/a"), ("b.yaml", "ck/b"), ("b.yaml", "base")):
        made = charrnn(folder, ["train", "-c", settings, "--run-dir", run, "-q"])
        assert made.code == 0, made.err
    made = charrnn(folder, ["sweep", "sw.yaml", "--dir", "d", "-q"])
    assert made.code == 0, made.err
    _negative(folder)


def _negative(folder: Path) -> None:
    """A checkpoint whose weights are as large and as negative as float32 allows."""
    import numpy as np

    with np.load(folder / "base" / "last.npz", allow_pickle=False) as file:
        arrays = dict(file)
    arrays |= {name: np.full_like(v, -1e38) for name, v in arrays.items() if name.startswith("params/")}
    np.savez(folder / "neg.npz", **arrays)


def prepare(folder: Path, case: dict[str, Any], beside: Path) -> list[str]:
    """Put a case's files in place; the words of its command."""
    command = re.sub(r" (jsonraw|st|pt|vocab)$", "", case["command"]) if case["kind"] == "import" else case["command"]
    words = command.split()
    contents = case.get("contents", {})
    if words[-1] in contents:
        words.pop()
    root = {"rundir": folder / "ck" / "a", "sweepdir": folder / "d"}.get(case["kind"], folder)
    for name, text in contents.items():
        (root / name).write_bytes(ast.literal_eval(text))
    for name in case["files"]:
        data = (beside / name).read_bytes()
        if name.endswith(".npz"):
            for target in ("last.npz", "best.npz"):
                (folder / "ck" / "a" / target).write_bytes(data)
        elif name.endswith(".crnn"):
            from charrnn.evaluation.compression.codec import model_mark
            from charrnn.runs.checkpoint import load_checkpoint

            mark = model_mark(load_checkpoint(folder / "base" / "best.npz").build_model())
            (folder / name).write_bytes(data[:16] + mark + data[24:])  # made for another model
        else:
            target = "v.json" if command.find("v.json") > 0 and case["today"].endswith("py:78") else None
            (folder / (target or "f" + name.rpartition(".f")[2])).write_bytes(data)
    return [word.replace("CKPT", "base") for word in words]


def main() -> None:
    """Replay a file of cases and list what is wrong."""
    path = Path(sys.argv[1])
    cases = json.loads(path.read_text(encoding="utf-8"))
    wanted = [int(word) for word in sys.argv[2:]] or range(len(cases))
    with tempfile.TemporaryDirectory() as name:
        sound, work = Path(name) / "sound", Path(name) / "work"
        make_sound(sound)
        bad = 0
        for number in wanted:
            shutil.rmtree(work, ignore_errors=True)
            shutil.copytree(sound, work)
            case = cases[number]
            if number == 6:  # judges the run that the case before it made
                charrnn(work, prepare(work, cases[4], path.parent))
            o = charrnn(work, prepare(work, case, path.parent))
            bad += bool(o.wrong)
            verdict = f"WRONG ({', '.join(o.wrong)})" if o.wrong else "right"
            figures = f"exit {o.code}, {o.seconds:.1f} s, {o.megabytes:.0f} MB"
            print(
                f"{number:3} {verdict}: {figures} | {case['kind']}, was {case['today']} | {o.err[:150]!r}", flush=True
            )
        print(f"{bad} of {len(list(wanted))} wrong")


if __name__ == "__main__":
    main()
