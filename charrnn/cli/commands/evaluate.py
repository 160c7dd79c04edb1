"""`charrnn eval`."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from charrnn.cli.arguments import Checkpoints, chosen
from charrnn.cli.output import tell
from charrnn.cli.text_options import Corpus, Ngram, Unknown, parts_of, with_ngram

if TYPE_CHECKING:
    from charrnn.api import TrainedModel
    from charrnn.evaluation.loss import Score
    from charrnn.evaluation.reading import Around
    from charrnn.nn.params import IdArray
    from charrnn.runs.checkpoint import Checkpoint

EXAMPLE = "Example: charrnn eval checkpoints/quickstart --split val; charrnn sample -q | charrnn eval --text - --json"


class PerCharacter(str, Enum):
    """How characters are shown."""

    json = "json"
    color = "color"


class Split(str, Enum):
    """Parts of the corpus."""

    train = "train"
    val = "val"
    test = "test"


def evaluate(
    checkpoints: Checkpoints = None,
    text: Annotated[
        Path | None, typer.Option(help="File to evaluate instead of a split; - reads standard input.")
    ] = None,
    split: Annotated[Split, typer.Option(help="Part of the run's own corpus.")] = Split.val,
    baselines: Annotated[
        bool, typer.Option(help="Also measure gzip, xz, bz2 and a character n-gram model fitted to the training part.")
    ] = True,
    dynamic: Annotated[
        bool,
        typer.Option(
            "--dynamic", help="Also run dynamic evaluation: keep training on the text while reading it (slower)."
        ),
    ] = False,
    dynamic_rate: Annotated[
        float | None, typer.Option(min=0.0, help="Learning rate of --dynamic. Default: 0.0003.")
    ] = None,
    ngram: Ngram = False,
    memorisation: Annotated[
        bool,
        typer.Option(
            "--memorization",
            "--memorisation",
            help="Also report how much of a 5,000-character sample is copied from the training text.",
        ),
    ] = False,
    per_char: Annotated[
        PerCharacter | None, typer.Option("--per-char", help="Show the surprise of every character instead.")
    ] = None,
    per_line: Annotated[bool, typer.Option("--per-line", help="Show the loss line by line instead.")] = False,
    surprising: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Show the N most surprising positions in context instead.")
    ] = None,
    unknown: Annotated[
        Unknown, typer.Option(help="What to do with characters of --text that the model does not know.")
    ] = Unknown.error,
    corpus: Corpus = None,
    as_json: Annotated[bool, typer.Option("--json", help="Write one JSON object.")] = False,
) -> None:
    """Measure how well a model predicts a text.

    The result is in nats, bits per character and perplexity, next to those of compressors and an n-gram model.
    """
    from charrnn.api import load
    from charrnn.cli.output import write_json
    from charrnn.cli.views.progress import byte_progress
    from charrnn.config.schema import source_name
    from charrnn.runs.kernels import speed_up_reading
    from charrnn.runs.text import file_ids, separator_ids, text_before

    _check_one_view(per_char=per_char, per_line=per_line, surprising=surprising)
    _check_together(
        per_char, dynamic=dynamic, dynamic_rate=dynamic_rate, models=len(checkpoints or ()), as_json=as_json
    )
    paths = chosen(checkpoints)
    model = load(*paths)
    loaded = model.checkpoints[0]
    parts = parts_of(loaded, corpus) if text is None or baselines or memorisation else None
    if text is None:
        ids, name = (parts or {})[split.value], f"{loaded.config.corpus.title}, {split.value} part"
        before = text_before(parts or {}, split.value)
    else:
        ids, name = file_ids(text, loaded, unknown.value), source_name(str(text))
        before = None
    _check_length(ids, name)
    if ngram:
        model = with_ngram(model, corpus)
    around: Around = {"separator": separator_ids(loaded.config.corpus, loaded.vocabulary), "before": before}
    with byte_progress("compiling kernels", "kernel") as tick:
        speed_up_reading(model.checkpoints, model.models, len(ids), tick=tick)
    if per_char or per_line or surprising:
        _closely(model, ids, around, per_char, surprising, as_json=as_json)
        return
    score, mixed = _scores(model, ids, around, weighed_here=text is None and split is Split.val)
    report: dict[str, Any] = {
        "checkpoint": " + ".join(map(str, paths)), "text": name, "characters": score.characters, "loss": score.loss,
        "nats": score.nats, "bits_per_char": score.bits_per_char, "perplexity": score.perplexity,
    }  # fmt: skip
    if mixed is not None:
        report["mixture"] = _numbers(mixed) | {"ngram_order": model.mixture.ngram.order if model.mixture else 0}
    report["health"] = _health(model, ids, score.loss)
    if dynamic:
        report["dynamic"] = _dynamic(loaded, ids, around, dynamic_rate)
    if text is None and (achievable := _achievable(loaded, split)) is not None:
        report["entropy_bound"] = achievable
    if memorisation:
        from charrnn.cli.views.memorised import memorised

        report["memorisation"] = memorised(loaded, parts or parts_of(loaded, corpus))
    if baselines:
        from charrnn.evaluation.baselines import baselines as measured

        counts = None if model.mixture is None else model.mixture.ngram
        report["baselines"] = measured(ids, loaded.vocabulary, parts, counts)
    if as_json:
        write_json(report)
    else:
        _show(report)


def _check_one_view(**given: object) -> None:
    from charrnn.errors import SettingsError

    chosen = [f"--{name.replace('_', '-')}" for name, value in given.items() if value]
    if len(chosen) > 1:
        raise SettingsError(f"{chosen[0]} and {chosen[1]} cannot both be given")


def _check_together(
    per_char: PerCharacter | None, *, dynamic: bool, dynamic_rate: float | None, models: int, as_json: bool
) -> None:
    from charrnn.errors import SettingsError

    if dynamic and models > 1:
        raise SettingsError("--dynamic is for one model", hint="evaluate the models one by one")
    if dynamic_rate is not None and not dynamic:
        raise SettingsError("--dynamic-rate is the rate of --dynamic", hint="add --dynamic")
    if as_json and per_char is not None and per_char.value != "json":
        raise SettingsError(f"--per-char {per_char.value} and --json cannot both be given", hint="--per-char json")


def _closely(
    model: TrainedModel, ids: IdArray, around: Around, per_char: PerCharacter | None, count: int | None, *,
    as_json: bool,
) -> None:  # fmt: skip
    """Characters, positions or lines instead of the whole."""
    from charrnn.cli.views import scores as scored
    from charrnn.evaluation.scoring import character_nats

    nats = character_nats(model.models, ids, **around)
    if model.mixture is not None:
        nats[1:] = model.mixture.nats(nats[1:], ids)
    if per_char is not None:
        scored.per_character(model, ids, nats, per_char.value)
    elif count:
        scored.surprising(model, ids, nats, count, as_json=as_json)
    else:
        scored.per_line(model, ids, nats, as_json=as_json)


def _scores(model: TrainedModel, ids: IdArray, around: Around, *, weighed_here: bool) -> tuple[Score, Score | None]:
    """The loss of one model, or of the mean of several; and that of the mixture with n-gram counts.

    Args:
        model: one or several networks, mixed with counts or not.
        ids: (N,) of the text.
        around: what comes before it, and its separator.
        weighed_here: the counts were weighed on this very text, so each half of it gets the weights of the other.
    """
    from charrnn.evaluation.loss import Score, evaluate, mixed_surprisals
    from charrnn.evaluation.mixture import cross_fitted

    built, mixture = model.models, model.mixture
    if len(built) == 1 and mixture is None:
        return evaluate(built[0], ids, **around), None
    nats = mixed_surprisals(built, ids, **around)
    alone = Score(float(nats.sum()), nats.size)
    if mixture is None:
        return alone, None
    both = cross_fitted(mixture.ngram, nats, ids) if weighed_here else mixture.nats(nats, ids)
    return alone, Score(float(both.sum()), both.size)


def _numbers(score: Score) -> dict[str, float]:
    return {"loss": score.loss, "bits_per_char": score.bits_per_char, "perplexity": score.perplexity}


def _health(model: TrainedModel, ids: IdArray, loss: float) -> dict[str, Any]:
    """What is wrong with the network, or with the worst of several."""
    from dataclasses import asdict

    from charrnn.evaluation.health import Health, check_health

    found = [asdict(check_health(network, ids, loss=loss)) for network in model.models]
    worst = Health(**{name: max(health[name] for health in found) for name in found[0]})
    steps = [n for c in model.checkpoints if isinstance(n := c.counters.get("step"), int) and n > 0]
    return {**asdict(worst), "notes": list(worst.notes(max(steps, default=None)))}


def _achievable(loaded: Checkpoint, split: Split) -> dict[str, float] | None:
    """The loss of the generator of a synthetic corpus over the characters that were scored; None for other corpora."""
    import math

    from charrnn.data.synthetic import generator_nats
    from charrnn.data.windows import split_bounds

    corpus = loaded.config.corpus
    base = Path(str(loaded.counters.get("started_in") or ""))
    sha256 = str(loaded.counters.get("text_sha256") or "") or None
    known = generator_nats(base / corpus.sources[0], sha256=sha256) if len(corpus.sources) == 1 else None
    if known is None or corpus.split != "tail":
        return None
    bounds = split_bounds(len(known[1]), val_fraction=corpus.val_fraction, test_fraction=corpus.test_fraction)
    start, stop = bounds[split.value]
    nats = known[2][start + 1 : stop]  # the first character of a part has no context and is not scored
    loss = float(nats.mean())
    return {"loss": loss, "bits_per_char": loss / math.log(2), "entropy_rate": known[0].entropy_rate()}


def _dynamic(loaded: Checkpoint, ids: IdArray, around: Around, rate: float | None) -> dict[str, float]:
    from charrnn.evaluation.dynamic import RATE, dynamic_evaluate

    rate = RATE if rate is None else rate
    # On NumPy's kernels: the others copy all weights at every step, which takes as long as they save in 20 characters.
    model = loaded.build_model()
    score = dynamic_evaluate(model, ids, square_mean=loaded.moments.get("square_mean"), rate=rate, **around)
    return _numbers(score) | {"rate": rate}


def _check_length(ids: IdArray, name: str) -> None:
    from charrnn.amounts import counted
    from charrnn.errors import DataError

    if len(ids) < 2:
        raise DataError(
            f"{name}: {counted(len(ids), 'character')}, but at least 2 are needed to predict one",
            hint="choose another --split, or a longer --text",
        )


def _show(report: dict[str, Any]) -> None:
    from charrnn.cli.views.table import print_table

    rows = [
        (
            f"this model: {report['checkpoint']}",
            f"{report['bits_per_char']:.4f}",
            f"{report['loss']:.4f}",
            f"{report['perplexity']:.3f}",
        )
    ]
    if "entropy_bound" in report:
        a = report["entropy_bound"]
        numbers = (f"{a['bits_per_char']:.4f}", f"{a['loss']:.4f}", f"{2 ** a['bits_per_char']:.3f}")
        rows.append(("lowest possible (the generator itself)", *numbers))
    if "dynamic" in report:
        d = report["dynamic"]
        numbers = (f"{d['bits_per_char']:.4f}", f"{d['loss']:.4f}", f"{d['perplexity']:.3f}")
        rows.append(("this model, with dynamic evaluation", *numbers))
    if "mixture" in report:
        m = report["mixture"]
        numbers = (f"{m['bits_per_char']:.4f}", f"{m['loss']:.4f}", f"{m['perplexity']:.3f}")
        rows.append((f"this model mixed with order-{m['ngram_order']} counts", *numbers))
    baselines = dict(report.get("baselines", {}))
    order, chars = baselines.pop("ngram_order", None), baselines.pop("ngram_chars", 0)
    for name, bits in baselines.items():
        nats = bits * 0.6931471805599453
        label = f"order-{order} counts of {chars:,} characters (Kneser-Ney)" if name == "ngram" else name
        rows.append((label, f"{bits:.4f}", f"{nats:.4f}", f"{2**bits:.3f}"))
    title = f"{report['text']}: {report['characters']:,} characters"
    among = "memorisation" in report
    print_table(title, ("", "bits per character", "nats", "perplexity"), rows, among=among)
    for note in report["health"]["notes"]:
        tell(f"note: {note}")
    if "memorisation" in report:
        from charrnn.cli.views.memorised import show_memorised

        show_memorised(report["memorisation"])
