"""`python -m benchmarks.curves RUN... -o FILE`: validation losses against seconds of training, next to published ones.

Seconds are on a logarithmic axis, so that recipes of half a minute and of twenty share a picture. The runs are those of
`charrnn train`; the published losses are nanoGPT's for tiny-shakespeare.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from charrnn.inspection.plots.figures import new_figure, plain, save, style
from charrnn.runs.history import History, read_history

TICKS = (5, 10, 30, 60, 180, 600, 1200)
PUBLISHED = {"nanoGPT's CPU recipe": 1.886, "nanoGPT's GPU recipe": 1.4697}


def draw(histories: list[History], output: Path) -> None:
    """One line per run, and its last loss beside its end."""
    figure = new_figure(8, 4.5)
    axes = figure.subplots()
    for name, loss in PUBLISHED.items():
        axes.axhline(loss, color="#999999", linewidth=0.8)
        axes.annotate(
            f"{name}: {loss:.3g}", (0.01, loss), (0, 3), ("axes fraction", "data"), "offset points", fontsize=8
        )
    for k, history in enumerate(histories):
        points = [(row["seconds"], row["val_loss"]) for row in history.rows if row["val_loss"] is not None]
        axes.plot(*zip(*points, strict=True), **style(k), label=plain(history.name))
        axes.annotate(f"{points[-1][1]:.3f}", points[-1], (4, -4), textcoords="offset points", fontsize=9)
    axes.set(xscale="log", xlabel="seconds of training", ylabel="validation loss, nats per character", ylim=(None, 2.2))
    axes.set_xticks(TICKS, [f"{seconds:,}" for seconds in TICKS])
    axes.set_xticks([], minor=True)
    axes.set_xlim(4, 2_000)
    axes.grid(True, color="#e4e4e4")
    axes.legend(fontsize=9)
    save(figure, output)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN")
    parser.add_argument("-o", "--output", type=Path, default=Path("curves.svg"))
    args = parser.parse_args()
    draw([read_history(run) for run in args.runs], args.output)
