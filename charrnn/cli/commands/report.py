"""`charrnn report`."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import TYPE_CHECKING, Annotated, Any

import typer

from charrnn.cli.arguments import RunDirectories, chosen_runs, output_file
from charrnn.cli.output import tell
from charrnn.cli.text_options import Corpus

if TYPE_CHECKING:
    from charrnn.cli.commands.inspected import ModelAndText
    from charrnn.runs.history import History
    from charrnn.runs.reading import Row

EXAMPLE = "Example: charrnn report checkpoints/quickstart -o report.html"

_COLUMNS = ("step", "chars", "seconds", "train_loss", "val_loss", "learning_rate", "grad_norm")
_SAMPLES = 12  # of a run; more are thinned out evenly
_SAMPLE_CHARS = 2000  # of each
_FIRST_CHARS, _FIRST_TEMPERATURE = 500, 0.7  # of the sample at the top
_SAMPLE_BYTES = 1 << 24  # of the end of samples.txt
_POINTS = 1000  # of a curve; as many as a page is wide


def report(
    runs: RunDirectories = None,
    output: Annotated[Path, output_file("HTML page to write.")] = Path("report.html"),
    length: Annotated[int, typer.Option(min=2, help="Maximum number of characters of coloured text.")] = 1200,
    activations: Annotated[
        bool,
        typer.Option(
            "--activations/--no-activations",
            "--inside/--no-inside",
            help="Include a fresh sample, gzip and n-grams, coloured text, memory curves and error tables.",
        ),
    ] = True,
    corpus: Corpus = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Also write the page's data to standard output as JSON.")
    ] = False,
) -> None:
    """Write an HTML page about one or more runs.

    It opens with which run is best, and a sample of each; then come curves, coloured text, memory, errors and settings.
    """
    from charrnn.cli.output import write_json
    from charrnn.cli.views.progress import byte_progress
    from charrnn.files import write_output, writing
    from charrnn.inspection.report import check_page, finite, render
    from charrnn.runs.history import read_histories

    check_page(output)
    histories = read_histories(chosen_runs(runs))
    shown = [_run(history) for history in histories]
    groups = _by_text(histories)
    texts = [_text_name(group[0]) for group in groups]
    data: dict[str, Any] = {
        "title": f"{', '.join(h.name for h in histories)} on {', '.join(dict.fromkeys(texts))}",
        "runs": shown,
        "rankings": [_ranking(group) for group in groups],
        "texts": [],
        "memory": [],
        "errors": [],
    }
    if activations:
        steps = len(groups) + _STEPS * len(histories)
        with byte_progress("report", " steps") as tick:
            done = iter(range(1, steps + 1))
            for group, ranking in zip(groups, data["rankings"], strict=True):
                ranking["baselines"] = _baselines(group[0], corpus)
                tick(next(done), steps)
            for history, run in zip(histories, shown, strict=True):
                _look_inside(history, run, data, length, corpus, lambda: tick(next(done), steps))
    with writing(output):
        write_output(output, render(data).encode("utf-8"))
    if as_json:
        write_json(finite(data))
    tell(f"wrote {output}")


def _by_text(histories: Sequence[History]) -> list[list[History]]:
    """Runs whose losses can be compared: of one text, split and encoded alike."""
    import msgspec

    groups: dict[object, list[History]] = {}
    for history in histories:
        corpus = history.config().corpus
        text = _counters(history).get("text_sha256") or corpus.title
        key = (text, msgspec.structs.replace(corpus, source="-"))
        groups.setdefault(key, []).append(history)
    return list(groups.values())


def _ranking(group: Sequence[History]) -> dict[str, Any]:
    """One text: the `names` of its runs, those with a validation loss (nats) from the lowest, `baselines` in bits."""
    losses = [(h.best.val_loss, h.name) for h in group if h.best is not None and h.best.val_loss is not None]
    ordered = sorted(losses, key=lambda pair: pair[0])
    names = [name for _, name in ordered]
    return {
        "text": _text_name(group[0]),
        "names": names + [h.name for h in group if h.name not in names],
        "runs": [{"name": name, "nats": nats} for nats, name in ordered],
        "baselines": {},
    }


def _baselines(history: History, corpus: list[str] | None) -> dict[str, float]:
    """Bits per character of compressors and n-grams on the validation part; none where there is no such part."""
    from charrnn.cli.text_options import parts_of
    from charrnn.evaluation.baselines import baselines
    from charrnn.runs.checkpoint import find_checkpoint, load_checkpoint

    loaded = load_checkpoint(find_checkpoint(history.path))
    parts = parts_of(loaded, corpus, without="leave out what needs it with --no-activations")
    if len(parts["val"]) < 2:
        return {}
    found = baselines(parts["val"], loaded.vocabulary, parts)
    named = {name: found[name] for name in ("gzip", "xz", "bz2")}
    return named | ({f"order-{found['ngram_order']} n-grams": found["ngram"]} if "ngram" in found else {})


def _text_name(history: History) -> str:
    from charrnn.config.schema import source_name

    return ", ".join(_without_folder(source_name(source)) for source in history.config().corpus.sources)


def _without_folder(value: Any) -> Any:
    """A setting without the folders of this machine, which are nobody else's business."""
    if isinstance(value, list | tuple):
        return [_without_folder(v) for v in value]
    for kind in (PurePosixPath, PureWindowsPath):
        if isinstance(value, str) and (value.startswith("~") or kind(value).is_absolute()):
            return kind(value).name
    return value


def _counters(history: History) -> dict[str, Any]:
    """What the run's last checkpoint counted; nothing where there is none."""
    from charrnn.runs.checkpoint import load_checkpoint

    file = history.path / "last.npz"
    return dict(load_checkpoint(file).counters) if os.path.lexists(file) else {}


def _run(history: History) -> dict[str, Any]:
    """What the page shows of one run without its weights."""
    from charrnn.config.load import config_to_dict
    from charrnn.runs.reading import Row

    config = history.config()
    last = history.rows[-1] if history.rows else Row(0)
    best = history.best
    parameters = None
    if os.path.lexists(history.path / "last.npz"):
        from charrnn.runs.checkpoint import load_checkpoint

        parameters = sum(v.size for v in load_checkpoint(history.path / "last.npz").params.values())
    seconds = last.seconds or 0.0
    return {
        "name": history.name,
        "cell": config.model.cell,
        "parameters": parameters,
        "steps": last.step,
        "chars": last.chars,
        "seconds": round(seconds, 1),
        "speed": round((last.chars or 0) / max(seconds, 1e-9)) if seconds else None,
        "train_loss": last.train_loss,
        "best": None if best is None else best.val_loss,
        "history": {name: [row[name] for row in _thinned(history.rows)] for name in _COLUMNS},
        "samples": _samples(history.path / "samples.txt"),
        "advice": _advice(history),
        "settings": {
            f"{section}.{k}": _without_folder(v)
            for section, values in config_to_dict(config).items()
            for k, v in values.items()
        },
    }


def _advice(history: History) -> list[str]:
    """What can be said of a run without its text, as lines."""
    from charrnn.cli.views.advice import facts_lines, with_options
    from charrnn.evaluation.diagnosis import diagnose

    found = diagnose(history, look=False)
    return facts_lines(found) + [with_options(piece) for piece in found.advice]


def _thinned(rows: Sequence[Row]) -> list[Row]:
    """At most twice `_POINTS` rows: some with a validation and some without, evenly, and the last of each."""
    kept = []
    for measured in (True, False):
        places = [k for k, row in enumerate(rows) if (row.val_loss is not None) == measured]
        kept += places[::-1][:: max(1, -(-len(places) // _POINTS))]
    return [rows[k] for k in sorted(kept)]


def _samples(path: Path) -> list[dict[str, Any]]:
    from charrnn.runs.reading import read_text

    text = read_text(path, limit=_SAMPLE_BYTES, end=True) or ""
    parts = re.split(r"^--- step ([0-9]{1,18}) ---\n", text, flags=re.MULTILINE)
    found = [
        {"step": int(step), "text": body.rstrip("\n")[:_SAMPLE_CHARS]}
        for step, body in zip(parts[1::2], parts[2::2], strict=True)
    ]
    every = max(1, -(-len(found) // _SAMPLES))
    return found[::-1][::every][::-1]


_STEPS = 4  # of `_look_inside`, as its progress counts them


def _look_inside(
    history: History, run: dict[str, Any], data: dict[str, Any], length: int, corpus: list[str] | None,
    step: Callable[[], None],
) -> None:  # fmt: skip
    """Add what takes the network and its text, calling `step` after each part."""
    from charrnn.api import TrainedModel
    from charrnn.cli.commands.inspected import inspected
    from charrnn.cli.views.inspection import error_breakdown
    from charrnn.inspection.memory import gradient_memory, loss_by_context
    from charrnn.inspection.report import memory_data, units_data
    from charrnn.inspection.trace import trace_text

    piece = inspected(history.path, None, 0, length, corpus)
    written = TrainedModel([piece.checkpoint]).generate(length=_FIRST_CHARS, temperature=_FIRST_TEMPERATURE, seed=1)
    run["sample"] = {"text": written, "how": f"from its best checkpoint, temperature {_FIRST_TEMPERATURE}"}
    step()
    data["texts"].append(units_data(history.name, piece.text, trace_text(piece.model, piece.ids, **piece.around)))
    step()
    whole: ModelAndText = inspected(history.path, None, 0, 200_000, corpus)
    try:
        separator = whole.around["separator"]
        gradient = gradient_memory(whole.model, whole.ids, places=16, separator=separator)
        loss = loss_by_context(whole.model, whole.ids, places=256, separator=separator)
        data["memory"].append(memory_data(history.name, gradient, loss))
    except ValueError as error:
        tell(f"note: {history.name}: no memory curves: {error}")
    step()
    tables = {title: [asdict(share) for share in shares] for title, shares in error_breakdown(whole, corpus).items()}
    data["errors"].append({"name": history.name, "tables": tables})
    step()
