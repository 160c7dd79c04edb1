"""`python -m benchmarks.suggest TEXT...`: what the settings that `charrnn train TEXT` chooses are worth.

For each text and time: the loss with chosen settings, with those of the quickstart before there were chosen ones, and
the best of a random search. Time is that of one processor spent on training, so that a busy machine changes nothing.
The search trains all its trials for a quarter of the time, the better ones for half, and the best two to the end; in
thirteen searches without that rule, it would have lost none of the best trials. A run that is far behind or only
learns the text by heart is stopped earlier. Results are added to a file as they come: the same command continues a
benchmark that was stopped.
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
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from charrnn.config.schema import Config
    from charrnn.data.encode import EncodedText

QUICKSTART = {
    "model.cell": "lstm", "model.hidden_size": 256, "training.batch_size": 16, "training.seq_length": 32,
    "training.learning_rate": 0.005,
}  # fmt: skip
# Shares of the time at which a run is validated: closer at its beginning, where a small text is soon learned by heart.
LOOKS = (*(0.75**k / 12 for k in range(10, 0, -1)), *(k / 12 for k in range(1, 13)))
VALIDATED = 50_000  # characters at most: validation should not take longer than training
RUNGS = {3 / 12: 5, 6 / 12: 2}  # share of the time -> trials that go on
FAR_BEHIND = ((1 / 6, 0.3), (1 / 4, 0.2), (1 / 2, 0.1), (3 / 4, 0.06))  # share of the time -> nats that end a run
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


class Contestant:
    """Settings that learn a text for seconds of one processor, with pauses.

    Attributes:
        curve: share of the time -> validation loss.
        ended: whether it has used its time, or failed.
    """

    def __init__(self, name: str, config: Config, settings: dict[str, Any], text: EncodedText) -> None:
        from charrnn.runs.directory import RunDirectory
        from charrnn.training.trainer import Trainer

        self.name, self.settings, self.seconds = name, settings, 60 * (config.training.max_minutes or math.inf)
        self.trainer = Trainer(config, text, RunDirectory(Path()), clock=time.process_time)
        self.trainer.group.start()
        self.curve: list[tuple[float, float]] = []
        self.ended = False

    @property
    def loss(self) -> float:
        """The best so far."""
        return min((loss for _, loss in self.curve), default=math.inf)

    @property
    def passes(self) -> float:
        """Over the training part."""
        n = self.trainer.counters
        return n.epoch + n.window / self.trainer.stream.windows_per_epoch

    def look(self) -> None:
        """Train until the next validation, and validate."""
        from charrnn.errors import DivergenceError
        from charrnn.training.look import validation_loss

        n, epochs = self.trainer.counters, self.trainer.config.training.epochs or math.inf
        share, due = 0.0, LOOKS[len(self.curve)]
        try:
            while share < due:
                self.trainer.take_step()
                share = max(n.seconds / self.seconds, self.passes / epochs)
        except DivergenceError:
            self.ended = True
            return
        self.curve.append((round(share, 4), round(validation_loss(self.trainer, VALIDATED), 4)))
        self.ended = share >= 1 or self.curve[-1][1] > self.loss + RISEN

    def result(self) -> dict[str, Any]:
        """What is kept of it."""
        self.trainer.group.close()
        n = self.trainer.counters
        return {
            "name": self.name, "loss": self.loss if self.curve else math.nan, "seconds": round(n.seconds, 2),
            "passes": round(self.passes, 1), "curve": self.curve, "settings": self.settings,
            "parameters": self.trainer.model.params.size, "chars_per_second": round(n.chars / max(n.seconds, 1e-9)),
        }  # fmt: skip


def run_alone(contestant: Contestant, leader: dict[str, Any] | None) -> dict[str, Any]:
    """Train to the end, or until it is far behind the leader."""
    while not contestant.ended:
        contestant.look()
        if leader and _far_behind(contestant, [leader["curve"]]):
            break
    return contestant.result()


def search(trials: list[Contestant], dropped: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Train the trials side by side; each is given back when it ends.

    Args:
        trials: not begun.
        dropped: those of an earlier search of the same trials.
    """
    past = [run["curve"] for run in dropped]
    for look in LOOKS:
        for trial in trials:
            trial.look()
        curves = past + [trial.curve for trial in trials]
        going = [trial for trial in trials if not (trial.ended or _far_behind(trial, curves))]
        if places := RUNGS.get(look):
            best = sorted(_best_until(curve, look) for curve in curves)[:places]
            going = [trial for trial in going if trial.loss <= best[-1]]
        over = [trial for trial in trials if trial not in going]
        yield from (trial.result() for trial in over)
        past, trials = past + [trial.curve for trial in over], going


def _far_behind(run: Contestant, curves: list[list[tuple[float, float]]]) -> bool:
    """Whether it has no chance against the best of some curves, by what they were at the same share of their time."""
    if not run.curve:
        return True
    share, loss = run.curve[-1]
    best = min(_best_until(curve, share) for curve in curves)
    return any(share >= since and loss > best + behind for since, behind in FAR_BEHIND)


def _best_until(curve: list[tuple[float, float]], share: float) -> float:
    return min((loss for at, loss in curve if at < share + 0.01), default=math.inf)


def chosen(path: Path, seconds: float) -> dict[str, Any]:
    """What the rule says; its speed is measured in time of one processor as well."""
    from charrnn.config.suggest import suggest
    from charrnn.runs.text import encode_corpus
    from charrnn.training.choice import measure_speed, outline_of

    config = _config(path, seconds, {})
    text = encode_corpus(config.corpus)
    speed = measure_speed(config, text, seconds / 60, clock=time.process_time)
    found = suggest(outline_of(path.name, text), speed=speed, minutes=seconds / 60).settings
    late = ("eval_every", "sample_every", "log_every", "checkpoint_every", "max_minutes")
    return {f"{section}.{k}": v for section, values in found.items() for k, v in values.items() if k not in late}


def _config(path: Path, seconds: float, settings: dict[str, Any]) -> Config:
    from charrnn.config.load import config_from_dict

    training = {"epochs": None, "max_minutes": seconds / 60, "replicas": 1}
    sections: dict[str, dict[str, Any]] = {"corpus": {"source": str(path)}, "model": {}, "training": training}
    for name, value in settings.items():
        section, _, key = name.partition(".")
        sections[section][key] = value
    return config_from_dict(sections, where="the benchmark")


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


def main() -> None:
    """Parse the command line, train what is not in the file yet, print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.suggest", description=__doc__)
    parser.add_argument("texts", nargs="+", help="named corpora or files")
    parser.add_argument("--sizes", type=int, nargs="+", default=[10_000, 100_000, 1_000_000], help="characters")
    parser.add_argument("--offset", type=int, default=0, help="characters of each text to skip")
    parser.add_argument("--seconds", type=float, nargs="+", default=[30.0], help="of training per run")
    parser.add_argument("--trials", type=int, default=12, help="of the random search")
    parser.add_argument("--output", type=Path, default=Path("suggest.jsonl"), help="file with every run")
    args = parser.parse_args()
    from charrnn.blas import choose_kernel

    choose_kernel(threads=1)
    table = Table("text", "characters", "seconds", "chosen", "quickstart", "best trial", "behind", "chosen settings")
    for name in args.texts:
        for size in args.sizes:
            path = cut(name, size, args.offset, args.output.parent / "texts")
            for seconds in args.seconds:
                runs = measured(path, seconds, args.trials, args.output)
                own, trials = runs["chosen"], [run for k, run in runs.items() if k.startswith("trial")]
                best = min(trials, key=lambda run: run["loss"], default=None)
                table.add_row(
                    name, f"{size:,}", f"{seconds:g}", _reached(own), _reached(runs["quickstart"]),
                    _reached(best) if best else "no trials", f"{own['loss'] - best['loss']:+.3f}" if best else "",
                    _short(own["settings"]),
                )  # fmt: skip
    Console(width=None if sys.stdout.isatty() else 160).print(table)


def measured(path: Path, seconds: float, trials: int, output: Path) -> dict[str, dict[str, Any]]:
    """Name -> run, for one text and time; all are validated on the same text."""
    from charrnn.runs.text import encode_corpus

    lines = output.read_text(encoding="utf-8").splitlines() if output.exists() else []
    found = [run for run in map(json.loads, lines) if (run["text"], run["budget"]) == (path.name, seconds)]
    runs = {run["name"]: run for run in found}
    best = runs["chosen"]["settings"] if "chosen" in runs else chosen(path, seconds)
    corpus = {name: value for name, value in best.items() if name.startswith("corpus.")}
    text = encode_corpus(_config(path, seconds, corpus).corpus)

    def enter(name: str, settings: dict[str, Any]) -> Contestant:
        settings = {**settings, **corpus}
        return Contestant(name, _config(path, seconds, settings), settings, text)

    def keep(run: dict[str, Any]) -> None:
        runs[run["name"]] = run = {"text": path.name, "budget": seconds, **run}
        with output.open("a", encoding="utf-8") as file:
            file.write(json.dumps(run) + "\n")
        print(f"{path.name} {seconds:g} s, {run['name']}: {_reached(run)} {_short(run['settings'])}", file=sys.stderr)

    if "chosen" not in runs:
        keep(run_alone(enter("chosen", best), None))
    if "quickstart" not in runs:
        keep(run_alone(enter("quickstart", QUICKSTART), runs["chosen"]))
    drawn_now = {f"trial {k}": settings for k, settings in enumerate(drawn(path.name, trials))}
    dropped = [run for name, run in runs.items() if name in drawn_now]
    for run in search([enter(k, settings) for k, settings in drawn_now.items() if k not in runs], dropped):
        keep(run)
    return runs


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
