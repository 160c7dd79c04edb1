"""A minute of a user's life: train, sample, evaluate, resume and sweep with the `charrnn` that is installed.

It runs in an empty folder, needs nothing of the tests and no pytest: `python tests/smoke.py`. `.ci/versions.py` runs
it with other versions of Python and of the dependencies.
"""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

CHARRNN = Path(sys.executable).with_name("charrnn")
SETTINGS = """\
corpus: {source: text.txt}
model: {cell: gru, hidden_size: 16}
training: {batch_size: 4, seq_length: 16, epochs: null, max_steps: 40, learning_rate: 0.01}
"""
SWEEP = "{base: tiny.yaml, grid: {model.cell: [rnn, lstm]}}\n"


def main() -> None:
    """Run the commands, each on what the one before left."""
    Path("text.txt").write_text("the cat sat on the mat. the dog ran to the cat.\n" * 60, encoding="utf-8")
    Path("tiny.yaml").write_text(SETTINGS, encoding="utf-8")
    Path("sweep.yaml").write_text(SWEEP, encoding="utf-8")

    trained = summary("train", "--config", "tiny.yaml", "--run-dir", "run", "--progress", "plain", "--json")
    expect(trained["steps"] == 40, trained)
    sampled = charrnn("sample", "run", "--prime", "the ", "--length", "30", "--seed", "1", "--top-k", "5")
    expect(sampled.startswith("the ") and len(sampled.rstrip("\n")) >= 30, sampled)
    before = summary("eval", "run", "--json")["loss"]
    expect(0 < before < math.log(30), before)

    more = ("--resume", "--set", "training.max_steps=80", "--json")
    expect(summary("train", "--config", "tiny.yaml", "--run-dir", "run", *more)["steps"] == 80, "resumed")
    after = summary("eval", "run", "--json")["loss"]
    expect(after < before, (before, after))

    swept = summary("sweep", "sweep.yaml", "--dir", "swept", "--jobs", "1", "--json")
    expect([trial["status"] for trial in swept["runs"]] == ["done", "done"], swept)
    charrnn("config", "show", "quickstart")  # a file that the package carries
    sys.stdout.write(f"smoke: train, sample, eval, resume and sweep work; {before:.3f} nats, resumed {after:.3f}\n")


def charrnn(*arguments: str) -> str:
    """What a command prints; ends this program where the command fails."""
    done = subprocess.run([CHARRNN, *arguments], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode or "Warning" in done.stderr:
        sys.exit(f"smoke: charrnn {' '.join(arguments)}: exit code {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def summary(*arguments: str) -> dict[str, Any]:
    """The JSON object that a command prints."""
    found: dict[str, Any] = json.loads(charrnn(*arguments))
    return found


def expect(truth: bool, seen: object) -> None:
    """End this program where something is not as it must be."""
    if not truth:
        sys.exit(f"smoke: not expected: {seen}")


if __name__ == "__main__":
    main()
