"""Draws the rooms of the package and their imports, as they are: python -m tests.rooms > docs/images/rooms.svg."""

from __future__ import annotations

import ast
import re
import sys
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
JOBS = {
    "cli": "parse, call, present", "sweep": "many runs", "api": "what a notebook uses", "training": "the loop",
    "inspection": "a network from inside", "formats": "export and import", "sampling": "logits to text",
    "evaluation": "how well it predicts", "runs": "what a run is on disk", "data": "text to ids to windows",
    "config": "settings", "nn": "arrays only", "errors": "exit codes", "locks": "one writer per run",
    "files": "written whole",
    "blas": "kernel and threads", "amounts": "durations, counts",
}  # fmt: skip
WIDTH, ROW, BOX, HEIGHT = 900, 84, 184, 46


def layers() -> list[list[str]]:
    """Rooms row by row, the highest first, as the import contract has them."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8").partition("layers = [")[2].partition("\n]")[0]
    return [re.findall(r"charrnn\.(\w+)", line) for line in text.splitlines() if "charrnn." in line]


def arrows() -> Counter[tuple[str, str]]:
    """(room, room it imports from) -> number of modules that do, lazy imports and those for types included."""
    found: Counter[tuple[str, str]] = Counter()
    for path in (ROOT / "charrnn").rglob("*.py"):
        room = path.relative_to(ROOT / "charrnn").parts[0].removesuffix(".py")
        targets = set()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("charrnn."):
                targets.add(node.module.split(".")[1])
        found.update((room, target) for target in targets - {room} if not room.startswith("__"))
    return found


def svg() -> str:
    """The picture: a box per room, a line per pair of rooms, thicker the more modules import."""
    rows, pairs = layers(), arrows()
    place = {
        room: (WIDTH * (k + 1) / (len(row) + 1), 40 + ROW * y)
        for y, row in enumerate(rows)
        for k, room in enumerate(row)
    }
    lines, boxes = [], []
    for (a, b), count in sorted(pairs.items()):
        (x1, y1), (x2, y2) = place[a], place[b]
        bend = (x1 + x2) / 2 + (60 + 16 * abs(y2 - y1) / ROW) * (1 if (x1 + x2) / 2 >= WIDTH / 2 else -1)
        width = min(0.6 + 0.25 * count, 3.5)
        lines.append(
            f'<path d="M{x1:.0f},{y1 + HEIGHT / 2:.0f} Q{bend:.0f},{(y1 + y2) / 2:.0f} {x2:.0f},{y2 - HEIGHT / 2:.0f}" '
            f'stroke-width="{width:.2f}"><title>{a} imports {b}: {count} modules</title></path>'
        )
    for room, (x, y) in place.items():
        boxes.append(
            f'<g><rect x="{x - BOX / 2:.0f}" y="{y - HEIGHT / 2:.0f}" width="{BOX}" height="{HEIGHT}" rx="6"/>'
            f'<text x="{x:.0f}" y="{y - 3:.0f}" class="room">{room}</text>'
            f'<text x="{x:.0f}" y="{y + 14:.0f}" class="job">{JOBS[room]}</text></g>'
        )
    height = 40 + ROW * (len(rows) - 1) + HEIGHT
    caption = f"{len(place)} rooms, {len(pairs)} arrows, {len(rows)} rows; imports go down only"
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height + 24}" role="img" '
        f'aria-label="{caption}">',
        "<style>svg{background:#fff}path{fill:none;stroke:#3a6ea5;opacity:.45}rect{fill:#f4f7fb;stroke:#345}"
        "text{font-family:sans-serif;text-anchor:middle;fill:#123}.room{font-size:15px;font-weight:600}"
        ".job{font-size:11px;fill:#456}</style>",
        *lines, *boxes,
        f'<text x="{WIDTH / 2:.0f}" y="{height + 14}" class="job">{caption}</text>',
        "</svg>", "",
    ])  # fmt: skip


if __name__ == "__main__":
    sys.stdout.write(svg())
