"""`charrnn eval`."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from charrnn.cli.arguments import Checkpoints, chosen, only_one
from charrnn.cli.output import tell
from charrnn.cli.text_options import Corpus, Ngram, Unknown, UnknownInText, parts_of, with_ngram

if TYPE_CHECKING:
    from charrnn.api import TrainedModel
    from charrnn.evaluation.loss import Score
    from charrnn.evaluation.mixture import FloatArray, Mixture
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
    split: Annotated[Split | None, typer.Option(help="Part of the run's own corpus. Default: val.")] = None,
    baselines: Annotated[
        bool | None,
        typer.Option(
            "--baselines/--no-baselines",
            help="Also measure gzip, xz, bz2 and a character n-gram model fitted to the training part (the default).",
        ),
    ] = None,
    dynamic: Annotated[
        bool,
        typer.Option(
            "--dynamic", help="Also run dynamic evaluation: keep training on the text while reading it (slower)."
        ),
    ] = False,
    dynamic_rate: Annotated[
        float | None, typer.Option(min=0.0, max=1.0, help="Learning rate of --dynamic. Default: 0.0003.")
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
    unknown: UnknownInText = Unknown.error,
    corpus: Corpus = None,
    as_json: Annotated[bool, typer.Option("--json", help="Write one JSON object.")] = False,
) -> None:
    """Measure how well a model predicts a text.

    The result is in nats, bits per character and perplexity, next to those of compressors and an n-gram model.
    """
    from charrnn.api import load
    from charrnn.cli.output import write_json
    from charrnn.cli.views.memorised import check_one_text
    from charrnn.cli.views.progress import byte_progress
    from charrnn.runs.kernels import speed_up_reading
    from charrnn.runs.text import separator_ids

    only_one(text=text, split=split)
    closely = {"per_char": per_char, "per_line": per_line, "surprising": surprising}
    for extra in ({"dynamic": dynamic}, {"memorization": memorisation}, {"baselines": baselines}):
        only_one(**closely, **extra)
    _check_together(
        per_char, dynamic=dynamic, dynamic_rate=dynamic_rate, models=len(checkpoints or ()), as_json=as_json
    )
    part = (split or Split.val).value
    baselines = baselines is not False and not any(closely.values())
    paths = chosen(checkpoints)
    model = load(*paths)
    if memorisation:
        check_one_text(model)
    loaded = model.checkpoints[0]
    uses = {"read another text with --text FILE": text is None, "leave out --memorization": memorisation}
    without = next((way for way, needed in (uses | {"leave out --ngram": ngram}).items() if needed), None)
    parts = _parts(loaded, corpus, without) if baselines or any(uses.values()) else None
    ids, name, before = _text(loaded, text, unknown, part, parts or {})
    if ngram:
        model = with_ngram(model, corpus)
    around: Around = {"separator": separator_ids(loaded.config.corpus, loaded.vocabulary), "before": before}
    with byte_progress("compiling kernels", "kernel") as tick:
        speed_up_reading(model.checkpoints, model.models, len(ids), tick=tick)
    weighed_here = text is None and part == "val"
    if any(closely.values()):
        _closely(model, ids, around, per_char, surprising, weighed_here=weighed_here, as_json=as_json)
        return
    score, mixed = _scores(model, ids, around, weighed_here=weighed_here)
    report: dict[str, Any] = {
        "checkpoint": " + ".join(map(str, paths)), "text": name, "characters": score.characters, "loss": score.loss,
        "nats": score.nats, "bits_per_char": score.bits_per_char, "perplexity": score.perplexity,
    }  # fmt: skip
    if mixed is not None:
        report["mixture"] = _numbers(mixed) | {"ngram_order": model.mixture.ngram.order if model.mixture else 0}
    report["health"] = _health(model, ids, score.loss)
    if dynamic:
        report["dynamic"] = _dynamic(loaded, ids, around, dynamic_rate)
    if text is None and (achievable := _achievable(loaded, part)) is not None:
        report["entropy_bound"] = achievable
    if memorisation:
        from charrnn.cli.views.memorised import memorised

        report["memorisation"] = memorised(model, parts or {})
    if baselines:
        from charrnn.evaluation.baselines import baselines as measured

        counts = None if model.mixture is None else model.mixture.ngram
        report["baselines"] = measured(ids, loaded.vocabulary, parts, counts)
    if as_json:
        write_json(report)
    else:
        _show(report)


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


def _parts(loaded: Checkpoint, corpus: list[str] | None, without: str | None) -> dict[str, IdArray] | None:
    """The parts of the training text; None where nobody knows it and only the baselines need it.

    Args:
        loaded: a checkpoint of the run.
        corpus: where the text is now.
        without: how to do without it; None if only the baselines need it.
    """
    from charrnn.runs.text import UnknownTextError

    try:
        return parts_of(loaded, corpus, without=without or "leave out the n-gram model with --no-baselines")
    except UnknownTextError as error:
        if without:
            raise
        tell(f"note: no n-gram model to compare with: {error.message}")
        return None


def _text(
    loaded: Checkpoint, text: Path | None, unknown: Unknown, part: str, parts: dict[str, IdArray]
) -> tuple[IdArray, str, IdArray | None]:
    """The text to read, its name in messages, and what comes before it."""
    from charrnn.amounts import counted
    from charrnn.config.schema import source_name
    from charrnn.errors import DataError
    from charrnn.runs.text import file_ids, text_before

    if text is None:
        ids, name = parts[part], f"{loaded.config.corpus.title}, {part} part"
    else:
        ids, name = file_ids(text, loaded, unknown.value), source_name(str(text))
    if len(ids) < 2:
        raise DataError(
            f"{name}: {counted(len(ids), 'character')}, but at least 2 are needed to predict one",
            hint="choose another --split, or a longer --text",
        )
    return ids, name, text_before(parts, part) if text is None else None


def _closely(
    model: TrainedModel, ids: IdArray, around: Around, per_char: PerCharacter | None, count: int | None, *,
    weighed_here: bool, as_json: bool,
) -> None:  # fmt: skip
    """Characters, positions or lines instead of the whole."""
    from charrnn.cli.views import scores as scored
    from charrnn.evaluation.scoring import character_nats

    nats = character_nats(model.models, ids, **around)
    if model.mixture is not None:
        nats[1:] = _mixed(model.mixture, nats[1:], ids, weighed_here=weighed_here)
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

    built, mixture = model.models, model.mixture
    if len(built) == 1 and mixture is None:
        return evaluate(built[0], ids, **around), None
    nats = mixed_surprisals(built, ids, **around)
    alone = Score(float(nats.sum()), nats.size)
    if mixture is None:
        return alone, None
    both = _mixed(mixture, nats, ids, weighed_here=weighed_here)
    return alone, Score(float(both.sum()), both.size)


def _mixed(mixture: Mixture, nats: FloatArray, ids: IdArray, *, weighed_here: bool) -> FloatArray:
    """(N - 1,) nats with the counts; see `_scores`."""
    from charrnn.evaluation.mixture import cross_fitted

    return cross_fitted(mixture.ngram, nats, ids) if weighed_here else mixture.nats(nats, ids)


def _numbers(score: Score) -> dict[str, float]:
    return {"loss": score.loss, "bits_per_char": score.bits_per_char, "perplexity": score.perplexity}


def _health(model: TrainedModel, ids: IdArray, loss: float) -> dict[str, Any]:
    """What is wrong with the network, or with the worst of several; nulls where the text cannot show it."""
    from dataclasses import asdict, fields

    from charrnn.evaluation.health import Health, check_health

    found = [asdict(health) for network in model.models if (health := check_health(network, ids, loss=loss))]
    names = [field.name for field in fields(Health)]
    if not found:
        return {**dict.fromkeys(names), "notes": []}
    worst = Health(**{name: max(health[name] for health in found) for name in names})
    steps = [n for c in model.checkpoints if isinstance(n := c.counters.get("step"), int) and n > 0]
    return {**asdict(worst), "notes": list(worst.notes(max(steps, default=None)))}


def _achievable(loaded: Checkpoint, part: str) -> dict[str, float] | None:
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
    start, stop = bounds[part]
    nats = known[2][start + 1 : stop]  # the first character of a part has no context and is not scored
    loss = float(nats.mean())
    return {"loss": loss, "bits_per_char": loss / math.log(2), "entropy_rate": known[0].entropy_rate()}


def _dynamic(loaded: Checkpoint, ids: IdArray, around: Around, rate: float | None) -> dict[str, float]:
    import math

    from charrnn.errors import SettingsError
    from charrnn.evaluation.dynamic import RATE, dynamic_evaluate

    rate = RATE if rate is None else rate
    # On NumPy's kernels: the others copy all weights at every step, which takes as long as they save in 20 characters.
    model = loaded.build_model()
    score = dynamic_evaluate(model, ids, square_mean=loaded.moments.get("square_mean"), rate=rate, **around)
    if not math.isfinite(score.nats):
        raise SettingsError(f"--dynamic-rate {rate:g}: too large, the loss becomes {score.nats}", hint="lower it")
    return _numbers(score) | {"rate": rate}


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
