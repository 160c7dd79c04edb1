"""Divergence, old weights in new runs, locks, signals, and encodings that were cut short."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from charrnn.data import encode as encoding
from charrnn.data.encode import encode_text
from charrnn.errors import CheckpointError, DivergenceError, SettingsError
from charrnn.locks import FileLock, LockedError
from charrnn.runs.checkpoint import load_checkpoint
from charrnn.runs.events import RolledBack, StepReport
from charrnn.runs.transfer import check_transferable
from charrnn.training import trainer as module
from tests.conftest import ROOT, SENTENCES, Run, assert_one_line_error
from tests.reliability.processes import assert_same_state, train, write_settings
from tests.training.small_runs import config, finish, history, start

DIVERGING = ("training.on_divergence=rollback", "training.grad_clip=null", "training.checkpoint_every=3")


def poison(trainer: object, at_step: int) -> None:
    """The gradient of one step is not a number, once."""
    group = trainer.group  # type: ignore[attr-defined]
    real, left = group.run, [1]

    def run(index: int, *, step: int, **others: Any) -> float:
        nats = real(index, step=step, **others)
        if step == at_step and left:
            left.pop()
            trainer.model.grads.flat[3] = np.nan  # type: ignore[attr-defined]
        return float(nats)

    group.run = run


def test_a_rollback_goes_on_from_the_last_checkpoint_with_a_lower_rate(tmp_path: Path) -> None:
    trainer = start(tmp_path / "a", config("gru", *DIVERGING))
    poison(trainer, at_step=10)
    events = finish(trainer)
    back = [e for e in events if isinstance(e, RolledBack)]
    assert [(b.step, b.to_step, b.lr_scale) for b in back] == [(11, 9, 0.5)]
    rows = history(tmp_path / "a")
    assert [row["event"] for row in rows if "event" in row] == ["rollback"]
    steps = [row["step"] for row in rows if "event" not in row]
    assert steps == sorted(set(steps))  # nothing is told twice
    rates = {e.step: e.learning_rate for e in events if isinstance(e, StepReport)}
    undisturbed = start(tmp_path / "b", config("gru", *DIVERGING))
    plain = {e.step: e.learning_rate for e in finish(undisturbed) if isinstance(e, StepReport)}
    assert rates[12] == pytest.approx(plain[12] / 2)
    assert load_checkpoint(tmp_path / "a" / "last.npz").counters["rollbacks"] == 1


def test_a_rollback_says_after_which_step_the_validation_diverged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, seen = module.validation_loss, list[int]()

    def loss(trainer: Any, *arguments: Any) -> float:
        seen.append(trainer.counters.step)
        return math.nan if len(seen) == 2 else real(trainer, *arguments)

    monkeypatch.setattr(module, "validation_loss", loss)
    events = finish(start(tmp_path / "a", config("gru", *DIVERGING)))
    back = [e for e in events if isinstance(e, RolledBack)]
    assert [b.step for b in back] == [seen[1]]
    assert f"step {seen[1]}:" in back[0].reason


def test_a_rolled_back_run_resumes_to_the_same_bits(tmp_path: Path) -> None:
    runs = []
    for name, stop in (("a", None), ("b", 14)):
        trainer = start(tmp_path / name, config("gru", *DIVERGING))
        poison(trainer, at_step=10)
        for event in trainer.run():
            if isinstance(event, StepReport) and event.step == 12 and stop:
                trainer.stop_requested = True
        if stop:
            trainer = start(tmp_path / name, config("gru", *DIVERGING), resume=True)
            finish(trainer)
        runs.append(trainer)
    np.testing.assert_array_equal(runs[0].model.params.flat, runs[1].model.params.flat)


def test_rollbacks_are_bounded_and_stop_is_the_default(tmp_path: Path) -> None:
    hopeless = config("rnn", "training.learning_rate=1e38", "training.grad_clip=null", "training.warmup_steps=0")
    with pytest.raises(DivergenceError):
        finish(start(tmp_path / "a", hopeless))
    again = config(
        "rnn", "training.learning_rate=1e38", "training.grad_clip=null", "training.warmup_steps=0",
        "training.on_divergence=rollback", "training.max_rollbacks=2",
    )  # fmt: skip
    with pytest.raises(DivergenceError):
        finish(start(tmp_path / "b", again))
    rows = history(tmp_path / "b")
    assert [row["lr_scale"] for row in rows if "event" in row] == [0.5, 0.25]
    load_checkpoint(tmp_path / "b" / "last.npz")  # sound: reading refuses what is not finite


def test_parameters_that_are_not_finite_are_not_saved(tmp_path: Path) -> None:
    trainer = start(tmp_path / "a", config("gru"))
    finish(trainer)
    trainer.model.params.flat[0] = np.inf
    with pytest.raises(DivergenceError, match="nothing was saved"):
        trainer.checkpoint()


def test_damaged_counters_are_a_checkpoint_error(tmp_path: Path) -> None:
    from charrnn.training.progress import Counters

    finish(start(tmp_path / "a", config("gru")))
    saved = load_checkpoint(tmp_path / "a" / "last.npz")
    for name, value in (("step", "many"), ("step", -1), ("replicas", 0), ("seconds", None)):
        saved.counters = {**saved.counters, name: value}
        with pytest.raises(CheckpointError, match="counters"):
            Counters.of(saved)
        saved.counters[name] = 1


def test_a_resumed_run_with_other_moments_is_refused(tmp_path: Path) -> None:
    finish(start(tmp_path / "a", config("gru")))
    run = tmp_path / "a"
    saved = load_checkpoint(run / "last.npz")
    del saved.moments["mean"]
    from charrnn.runs.checkpoint import save_checkpoint

    save_checkpoint(run / "last.npz", saved)
    with pytest.raises(CheckpointError, match="moments"):
        start(run, config("gru"), resume=True)


def test_old_weights_start_a_new_run_and_learn_new_symbols(charrnn_here: Run, tmp_path: Path) -> None:
    settings = write_settings(tmp_path, cell="lstm", steps=150)
    assert charrnn_here("train", "-c", settings, "--run-dir", tmp_path / "old", "-q").returncode == 0
    other = tmp_path / "other.txt"
    other.write_text((SENTENCES.replace("dog", "größe €") + "Zebra!\n") * 9, encoding="utf-8")
    common = ("-c", settings, "--set", f"corpus.source={other}", "--set", "training.max_steps=5")
    done = charrnn_here("train", *common, "--run-dir", tmp_path / "new", "--init-from", tmp_path / "old", "-q")
    assert done.returncode == 0, done.stderr
    old, new = (load_checkpoint(tmp_path / name / "last.npz") for name in ("old", "new"))
    assert set(new.vocabulary.values) == set(old.vocabulary.values) | {ord(c) for c in other.read_text("utf-8")}
    assert charrnn_here("train", *common, "--run-dir", tmp_path / "afresh", "-q").returncode == 0
    evaluations = [
        charrnn_here("eval", tmp_path / n / "last.npz", "--text", other, "--json", "--no-baselines")
        for n in ("new", "afresh")
    ]
    losses = [json.loads(done.stdout)["loss"] for done in evaluations]
    assert losses[0] < losses[1]
    again = charrnn_here(
        "train", *common, "--set", "training.max_steps=8", "--run-dir", tmp_path / "new", "--resume", "-q"
    )
    assert again.returncode == 0, again.stderr  # a resumed run keeps the wider vocabulary
    own = json.loads(charrnn_here("eval", tmp_path / "new", "--json", "--no-baselines").stdout)
    assert own["loss"] == pytest.approx(new.counters["val_loss"], abs=0.5)  # of its own text, by its own ids
    assert charrnn_here("sample", tmp_path / "new", "--prime", "Zebra€", "--length", 3).returncode == 0
    assert_one_line_error(
        charrnn_here("train", *common, "--run-dir", tmp_path / "x", "--init-from", tmp_path / "old", "--set",
                "model.hidden_size=13"), 2, "model.hidden_size", "12",
    )  # fmt: skip
    assert not (tmp_path / "x").exists()
    assert_one_line_error(charrnn_here("train", *common, "--resume", "--init-from", tmp_path / "old"), 2, "--init-from")


def test_weights_go_with_their_symbols(tmp_path: Path) -> None:
    finish(start(tmp_path / "a", config("gru")))
    saved = load_checkpoint(tmp_path / "a" / "last.npz")
    text = tmp_path / "more.txt"
    text.write_text("0zebra~ " * 200, encoding="utf-8")
    encoded = encode_text([text], "utf-8", tmp_path / "cache", known=saved.vocabulary)
    from charrnn.nn.network import CharRNN
    from charrnn.runs.transfer import transplant

    model = CharRNN(len(encoded.vocabulary), cell="gru", hidden_size=12, num_layers=2)
    model.init(np.random.default_rng(0))
    fresh = model.params["head.bias"].copy()
    assert transplant(saved, model, encoded.vocabulary) == len(encoded.vocabulary) - len(saved.vocabulary) > 0
    for symbol in "a. t":
        old, new = (int(v.encode(symbol)[0]) for v in (saved.vocabulary, encoded.vocabulary))
        np.testing.assert_array_equal(model.params["head.weight"][new], saved.params["head.weight"][old])
        old_column = saved.params["layers.0.weight_ih"][:, old]
        np.testing.assert_array_equal(model.params["layers.0.weight_ih"][:, new], old_column)
    tilde = int(encoded.vocabulary.encode("~")[0])
    assert model.params["head.bias"][tilde] == fresh[tilde]
    with pytest.raises(SettingsError, match=r"model\.cell"):
        check_transferable(saved.config, config("rnn"))


@pytest.mark.extras
def test_two_trainings_cannot_share_a_directory(tmp_path: Path, charrnn: Run) -> None:
    settings = write_settings(tmp_path, steps=1_000_000)
    run = tmp_path / "run"
    first = train(settings, run, "--progress", "plain")
    assert first.stderr is not None
    first.stderr.readline()
    for how in ("--resume", "--overwrite"):
        done = charrnn("train", "-c", settings, "--run-dir", run, how)
        assert_one_line_error(done, 2, "another process is training", "--run-dir")
    first.kill()
    first.communicate()
    ended = charrnn("train", "-c", settings, "--run-dir", run, "--overwrite", "-q", "--set", "training.max_steps=2")
    assert ended.returncode == 0, ended.stderr  # a dead process keeps no lock


def test_a_lock_waits_or_refuses(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with FileLock(path, wait=False), pytest.raises(LockedError), FileLock(path, wait=False):
        pass
    with FileLock(tmp_path / "lock", wait=True):
        pass


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="no such signal")
def test_a_closed_terminal_saves(tmp_path: Path) -> None:
    settings = write_settings(tmp_path, steps=1_000_000)
    inherited = signal.signal(signal.SIGHUP, signal.SIG_DFL)  # ignored where the tests run under nohup
    try:
        process = train(settings, tmp_path / "run", "--progress", "plain")
    finally:
        signal.signal(signal.SIGHUP, inherited)
    assert process.stderr is not None
    process.stderr.readline()
    time.sleep(0.2)
    process.send_signal(signal.SIGHUP)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 129, err
    assert "--resume" in err
    load_checkpoint(tmp_path / "run" / "last.npz")


@pytest.mark.extras
def test_a_second_interrupt_stops_at_once_without_damage(tmp_path: Path) -> None:
    settings = write_settings(tmp_path, steps=40)
    process = train(settings, tmp_path / "run", "--progress", "plain", "--set", "training.sample_length=1000000000")
    assert process.stderr is not None
    process.stderr.readline()
    deadline, last = time.monotonic() + 60, tmp_path / "run" / "last.npz"
    while time.monotonic() < deadline:  # the sample after step 9 would take hours
        if last.exists() and load_checkpoint(last).counters["step"] == 8:
            break
        time.sleep(0.05)
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    hangs = threading.Timer(60, process.kill)
    hangs.start()
    while not (line := process.stderr.readline()).startswith("note: finishing the step"):
        assert line, "it does not say that it heard"
    hangs.cancel()
    assert "Ctrl-C again stops at once" in line
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 130
    assert f"charrnn: stopped at once; saved before: {last}\n" in errors
    assert errors.endswith(f"  continue with: charrnn train --resume {tmp_path / 'run'}\n")
    resumed = train(settings, tmp_path / "run", "--resume", "-q", "--set", "training.sample_length=10")
    resumed.communicate()
    whole = train(settings, tmp_path / "whole", "-q")
    whole.communicate()
    assert_same_state(tmp_path / "run", tmp_path / "whole")


def test_an_encoding_cut_short_is_taken_up_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoding, "_CHUNK_BYTES", 100)
    monkeypatch.setattr(encoding, "_NOTE_CHUNKS", 2)
    files = [tmp_path / "a.txt", tmp_path / "b.txt"]
    files[0].write_text("né€😀x" * 70, encoding="utf-8")
    files[1].write_text("\ufeffzweite" * 90, encoding="utf-8")
    total = sum(f.stat().st_size for f in files)
    whole = encode_text(files, "utf-8", tmp_path / "undisturbed")
    for cut in (total // 3, total // 2, total - 1):
        cache = tmp_path / f"cache{cut}"

        def stop(done: int, _: int | None, limit: int = total + cut) -> None:
            if done >= limit:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            encode_text(files, "utf-8", cache, progress=stop)
        first: list[int] = []
        again = encode_text(files, "utf-8", cache, progress=lambda done, _, seen=first: seen.append(done))
        second_pass = [done for done in first if done > total]
        assert second_pass[0] > total + 200  # it did not begin again
        assert second_pass[-1] == 2 * total
        np.testing.assert_array_equal(again.ids, whole.ids)
        assert sorted(p.suffix for p in cache.iterdir()) == [".ids", ".lock"]


def test_a_note_that_lies_is_not_believed(tmp_path: Path) -> None:
    text = tmp_path / "a.txt"
    text.write_text("abc" * 50, encoding="utf-8")
    first = encode_text([text], "utf-8", tmp_path / "c")
    expected = first.ids.copy()
    first.path.unlink()
    first.path.with_suffix(".part").write_bytes(b"\1\2")
    for note in (b"{", b'{"file": 0, "offset": 50, "characters": 999}', b"[]", b'{"file": "x"}'):
        first.path.with_suffix(".note").write_bytes(note)
        np.testing.assert_array_equal(encode_text([text], "utf-8", tmp_path / "c").ids, expected)
        first.path.unlink()
        first.path.with_suffix(".part").write_bytes(b"\1\2")
    with pytest.raises(SettingsError, match="cannot be written"):
        encode_text([text], "utf-8", Path("/proc/nowhere"))


@pytest.mark.extras
def test_two_processes_encode_the_same_text_once(tmp_path: Path) -> None:
    settings = write_settings(tmp_path, steps=2)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "CHARRNN_HOME": str(tmp_path / "home")}
    command = [sys.executable, "-m", "charrnn", "train", "-c", str(settings), "-q", "--run-dir"]
    running = [subprocess.Popen([*command, str(tmp_path / f"r{k}")], env=environment) for k in range(3)]
    assert [process.wait(timeout=60) for process in running] == [0, 0, 0]
    assert len(list((tmp_path / "home").rglob("*.ids"))) == 1
