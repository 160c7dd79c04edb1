"""`python -m benchmarks.suggest TEXT...`: what the settings that `charrnn train TEXT` chooses are worth.

For each text and time: the loss with chosen settings, with those of the quickstart before there were chosen ones, and
the best of a random search. Time is that of one processor spent on training, so that a busy machine changes nothing;
a trial that is far behind the best trial at the same share of its time is stopped, as is one that learns the text by
heart. With --against-chosen, so is whatever is far behind the chosen settings: that takes half the time, but says less
about the trials. Results are added to a file as they come: the same command continues a benchmark that was stopped.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

QUICKSTART = {
    "model.cell": "lstm", "model.hidden_size": 256, "training.batch_size": 16, "training.seq_length": 32,
    "training.learning_rate": 0.005,
}  # fmt: skip
LOOKS = 12  # validations of a trial
VALIDATED = 50_000  # characters at most: validation should not take longer than training
# Share of the time -> nats behind the best that end a trial.
BEHIND = ((0.16, 0.3), (0.25, 0.2), (0.5, 0.1), (0.75, 0.06))
RISEN = 0.3  # nats above its own best: it only learns by heart


def drawn(text: str, count: int) -> list[dict[str, Any]]:
    """The settings of a random search, the same for the same text."""
    rng = random.Random(text)
    return [_drawn(rng) for _ in range(count)]


def _drawn(rng: random.Random) -> dict[str, Any]:
    optimizer, times, decays = rng.choice([("muon", 2, [0.0, 0.075, 0.15]), ("adam", 1, [0.0])])
    rate = times * math.exp(rng.uniform(math.log(0.002), math.log(0.015)))
    return {
        "model.cell": rng.choice(["gru", "lstm"]),
        "model.hidden_size": 32 * round(math.exp(rng.uniform(math.log(64), math.log(448))) / 32),
        "model.num_layers": rng.choice([1, 1, 2]),
        "model.dropout": rng.choice([0.0, 0.2, 0.4]),
        "model.weight_dropout": rng.choice([0.0, 0.3, 0.5]),
        "training.batch_size": rng.choice([8, 16, 32]),
        "training.seq_length": rng.choice([32, 64]),
        "training.optimizer": optimizer,
        "training.learning_rate": float(f"{rate:.2g}"),
        "training.weight_decay": rng.choice(decays),
    }


def trained(path: Path, seconds: float, settings: dict[str, Any], others: list[dict[str, Any]]) -> dict[str, Any]:
    """Train on a text for seconds of one processor; its best validation loss and how it came about."""
    from charrnn.config.load import config_from_dict
    from charrnn.errors import DivergenceError
    from charrnn.evaluation.loss import evaluate
    from charrnn.runs.directory import RunDirectory
    from charrnn.runs.text import encode_corpus
    from charrnn.training.trainer import Trainer

    sections: dict[str, Any] = {"corpus": {"source": str(path)}, "model": {}, "training": {"epochs": None}}
    for name, value in {**settings, "training.max_minutes": seconds / 60, "training.replicas": 1}.items():
        section, _, key = name.partition(".")
        sections[section][key] = value
    config = config_from_dict(sections, where="the benchmark")
    trainer = Trainer(config, encode_corpus(config.corpus), RunDirectory(Path()), clock=time.process_time)
    curve: list[tuple[float, float]] = []
    t, n = config.training, trainer.counters
    trainer.group.start()
    try:
        ended = False
        while not ended:
            trainer.take_step()
            passes = n.epoch + n.window / trainer.stream.windows_per_epoch
            share = max(n.seconds / seconds, passes / (t.epochs or math.inf))
            ended = share >= 1
            if share >= (len(curve) + 1) / LOOKS or ended:
                val_ids, separator = trainer.val_ids[:VALIDATED], trainer.separator
                loss = evaluate(trainer.model, val_ids, separator=separator, before=trainer.stream.ids).loss
                ended = ended or _hopeless(share, loss, curve, others)
                curve.append((round(share, 3), round(loss, 4)))
    except DivergenceError:
        pass
    finally:
        trainer.group.close()
    best = min((loss for _, loss in curve), default=math.nan)
    return {
        "loss": best, "seconds": round(n.seconds, 2), "passes": round(passes, 1), "curve": curve,
        "settings": settings, "parameters": trainer.model.params.size, "chars_per_second": round(n.chars / n.seconds),
    }  # fmt: skip


def _hopeless(share: float, loss: float, curve: list[tuple[float, float]], others: list[dict[str, Any]]) -> bool:
    """Whether a trial has no chance of being the best, by how the others were at that time and by its own past."""
    if any(loss > earlier + RISEN for _, earlier in curve):
        return True
    then = [lost for other in others for at, lost in other["curve"] if abs(at - share) < 0.5 / LOOKS]
    return bool(then) and any(share >= since and loss > min(then) + behind for since, behind in BEHIND)


def chosen(path: Path, seconds: float) -> dict[str, Any]:
    """What the rule says; its speed is measured in time of one processor as well."""
    from charrnn.config.load import config_from_dict
    from charrnn.config.suggest import suggest
    from charrnn.runs.text import encode_corpus
    from charrnn.training.choice import measure_speed, outline_of

    sections = {"corpus": {"source": str(path)}, "training": {"replicas": 1}}
    config = config_from_dict(sections, where="the benchmark")
    text = encode_corpus(config.corpus)
    speed = measure_speed(config, text, seconds / 60, clock=time.process_time)
    found = suggest(outline_of(path.name, text), speed=speed, minutes=seconds / 60).settings
    late = ("eval_every", "sample_every", "log_every", "checkpoint_every", "max_minutes")
    return {f"{section}.{k}": v for section, values in found.items() for k, v in values.items() if k not in late}


def cut(name: str, characters: int, offset: int, folder: Path) -> Path:
    """That many characters of a text, as a file."""
    from charrnn.data.corpora import resolve

    text = "".join(path.read_text(encoding="utf-8") for path in resolve(name))[offset : offset + characters]
    if len(text) < characters:
        sys.exit(f"{name}: fewer than {characters:,} characters from {offset:,} on")
    path = folder / f"{Path(name).stem}-{offset}-{characters}.txt"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def contests(path: Path, seconds: float, trials: int) -> Iterator[tuple[str, dict[str, Any]]]:
    """Names and settings of what is trained; all are validated on the same text."""
    best = chosen(path, seconds)
    corpus = {name: value for name, value in best.items() if name.startswith("corpus.")}
    yield "chosen", best
    yield "quickstart", {**QUICKSTART, **corpus}
    yield from ((f"trial {k}", {**settings, **corpus}) for k, settings in enumerate(drawn(path.name, trials)))


def main() -> None:
    """Parse the command line, train what is not in the file yet, print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.suggest", description=__doc__)
    parser.add_argument("texts", nargs="+", help="named corpora or files")
    parser.add_argument("--sizes", type=int, nargs="+", default=[10_000, 100_000, 1_000_000], help="characters")
    parser.add_argument("--offset", type=int, default=0, help="characters of each text to skip")
    parser.add_argument("--seconds", type=float, nargs="+", default=[30.0], help="of training per run")
    parser.add_argument("--trials", type=int, default=12, help="of the random search")
    parser.add_argument("--against-chosen", action="store_true", help="stop what is far behind the chosen settings")
    parser.add_argument("--output", type=Path, default=Path("suggest.jsonl"), help="file with every run")
    args = parser.parse_args()
    from charrnn.blas import choose_kernel

    choose_kernel(threads=1)
    table = Table("text", "characters", "seconds", "chosen", "quickstart", "best trial", "behind", "chosen settings")
    for name in args.texts:
        for size in args.sizes:
            path = cut(name, size, args.offset, args.output.parent / "texts")
            for seconds in args.seconds:
                runs = _measured(path, seconds, args.trials, args.output, against_chosen=args.against_chosen)
                own, trials = runs["chosen"], [run for k, run in runs.items() if k.startswith("trial")]
                best = min(trials, key=lambda run: run["loss"], default=None)
                table.add_row(
                    name, f"{size:,}", f"{seconds:g}", _reached(own), _reached(runs["quickstart"]),
                    _reached(best) if best else "no trials", f"{own['loss'] - best['loss']:+.3f}" if best else "",
                    _short(own["settings"]),
                )  # fmt: skip
    Console(width=None if sys.stdout.isatty() else 160).print(table)


def _measured(
    path: Path, seconds: float, trials: int, output: Path, *, against_chosen: bool
) -> dict[str, dict[str, Any]]:
    lines = output.read_text(encoding="utf-8").splitlines() if output.exists() else []
    found = [run for run in map(json.loads, lines) if (run["text"], run["budget"]) == (path.name, seconds)]
    runs = {run["name"]: run for run in found}
    for name, settings in contests(path, seconds, trials):
        if name in runs:
            continue
        others = _rivals(name, runs, against_chosen=against_chosen)
        runs[name] = {"text": path.name, "budget": seconds, "name": name, **trained(path, seconds, settings, others)}
        with output.open("a", encoding="utf-8") as file:
            file.write(json.dumps(runs[name]) + "\n")
        print(f"{path.name} {seconds:g} s, {name}: {runs[name]['loss']:.4f} {_short(settings)}", file=sys.stderr)
    return runs


def _rivals(name: str, runs: dict[str, dict[str, Any]], *, against_chosen: bool) -> list[dict[str, Any]]:
    """The runs that this one is stopped for being far behind of."""
    if name == "chosen" or (name == "quickstart" and not against_chosen):
        return []
    return [run for k, run in runs.items() if against_chosen or k.startswith("trial")]


def _reached(run: dict[str, Any]) -> str:
    """The best loss, and where the run was stopped."""
    at = run["curve"][-1][0] if run["curve"] else 0.0
    return f"{run['loss']:.3f}" + (f" (stopped at {at:.0%})" if at < 1 else "")


def _short(settings: dict[str, Any]) -> str:
    s = {name.partition(".")[2]: value for name, value in settings.items()}
    size = f"{s['cell'].upper()} {s.get('num_layers', 1)}x{s['hidden_size']}"
    dropped = f"{s.get('dropout', 0):g}/{s.get('weight_dropout', 0):g}"
    optimizer = f"{s.get('optimizer', 'adam')} {s['learning_rate']:g}/{s.get('weight_decay', 0):g}"
    return f"{size}, {s['batch_size']} x {s['seq_length']}, {optimizer}, dropped {dropped}"


if __name__ == "__main__":
    main()
