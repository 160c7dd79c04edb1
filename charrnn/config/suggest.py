"""Choose settings for a text and a time by a rule fitted on measurements (docs/results.md).

It reads no files and no clock: the rule goes by the size of the text and by how often this machine can read it in the
time.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from charrnn.amounts import counted, duration
from charrnn.nn.cells import CELLS

# The network by which the machine's speed is measured.
REFERENCE: dict[str, Any] = {
    "model.cell": "gru", "model.hidden_size": 256, "model.num_layers": 1,
    "training.batch_size": 32, "training.seq_length": 32,
}  # fmt: skip

_OFTEN = 130  # passes over the text, from which on a network that drops too little memorises it

# Passes of the network in the time -> what keeps it from memorising the text: dropout of units and of recurrent
# weights, and Muon's weight decay. In few passes it has no time to memorise, and whatever is dropped only slows
# learning.
_REGULARISATION = (
    (5, 0.0, 0.0, 0.025),
    (16, 0.0, 0.2, 0.075),
    (45, 0.0, 0.3, 0.075),
    (_OFTEN, 0.1, 0.5, 0.15),
    (math.inf, 0.4, 0.5, 0.15),
)
_STREAMS, _FEW_PASSES = 16, 4  # of fewer passes a larger batch makes more

# Units of one layer: as many as the time allows (by characters read), but no more than a text of this size supports.
_TIME_UNITS, _TIME_POWER = 196 / 1.8e6**0.25, 0.25
_TEXT_UNITS, _TEXT_POWER = 128 / 9e3**0.4, 0.4
_SIZES = (32, 48, 64, 96, 128, 160, 192, 256, 320, 384, 512, 640, 768, 1024)
_MUON_RATE, _ADAM_RATE, _SLOW_ADAM_RATE = 0.012, 0.0062, 0.0051  # of 256 units and 512 characters per update
_FEWEST_UPDATES = 6  # per pass: a smaller text is read in fewer streams

# With time for this many passes, an LSTM that learns slowly, with Adam, ends ahead of a GRU with Muon, which memorises
# the text sooner. On texts of fewer characters, whose networks are small, it does not.
_SLOW_PASSES, _FEW_CHARACTERS = 90, 50_000
_LSTM_UNITS = 0.9  # times those of a GRU, for about as many parameters
_MOST_PASSES, _MOST_PASSES_SLOW, _MOST_PASSES_FEW = 100, 150, 300  # by then they had stopped improving
_VALIDATED = 200_000  # characters: enough for a precise loss
_LOOKS = 25  # validations in a run, if they take less than a tenth of its time
_EVALUATION_SPEED = 3.0  # times that of training


@dataclass(frozen=True)
class LineOutline:
    """What the rule knows of a text's lines, from some of them.

    Attributes:
        count: of the lines looked at that are not blank.
        characters, words: mean per line.
        distinct: share of them that differ from all before.
        blank: share of blank lines among all.
        prose: share that are indented or end with a punctuation mark, as lines of verse, speech and code do.
        letters: share of letters among their characters.
    """

    count: int
    characters: float
    words: float
    distinct: float
    blank: float
    prose: float
    letters: float

    @property
    def is_list(self) -> bool:
        """Whether they are names or words, whose order says nothing, rather than a text."""
        short = self.characters <= 30 and self.words <= 3
        return short and self.count >= 100 and self.distinct >= 0.7 and self.letters >= 0.6 and self._plain

    @property
    def _plain(self) -> bool:
        return self.blank <= 0.02 and self.prose <= 0.2


@dataclass(frozen=True)
class TextOutline:
    """What the rule knows of a text.

    Attributes:
        name: for the reader.
        characters: of the whole text, validation part included.
        symbols: how many different ones.
        sorted_lines: its lines are in alphabetical order, so that its end is unlike the rest.
        lines: what they are like; None if that is unknown.
    """

    name: str
    characters: int
    symbols: int
    sorted_lines: bool = False
    lines: LineOutline | None = None

    @property
    def apart(self) -> str | None:
        """The lines as a message names them, where each is a document of its own; None where they are one text."""
        if self.lines is not None and self.lines.is_list:
            return f"a {'sorted ' if self.sorted_lines else ''}list, whose lines"
        return "its sorted lines" if self.sorted_lines else None


@dataclass(frozen=True)
class Suggestion:
    """Settings and why.

    Attributes:
        settings: section -> setting -> value; all others keep their defaults.
        remarks: path of a setting -> why it is what it is.
        lines: what was chosen and why, in three lines.
    """

    settings: dict[str, dict[str, Any]]
    remarks: dict[str, str]
    lines: tuple[str, str, str]


def suggest(text: TextOutline, *, speed: float, minutes: float, fixed: Mapping[str, Any] | None = None) -> Suggestion:
    """Choose the settings of a run.

    Args:
        text: what is learned from.
        speed: characters per second on which this machine trains the `REFERENCE` network.
        minutes: of training.
        fixed: path of a setting -> value that the user has chosen; the rest is made to fit.
    """
    choice = _Choice(text, speed, 60.0 * minutes, fixed or {})
    choice.part()
    choice.network()
    choice.steps()
    choice.end()
    choice.update_rule()
    choice.intervals()
    return Suggestion(choice.sections(), choice.remarks, choice.lines())


class _Choice:
    """The settings as they are chosen, each from those before it."""

    def __init__(self, text: TextOutline, speed: float, seconds: float, fixed: Mapping[str, Any]) -> None:
        self.text, self.speed, self.seconds, self.fixed = text, speed, seconds, fixed
        self.chosen: dict[str, Any] = {}
        self.remarks: dict[str, str] = {}

    def set(self, path: str, value: Any, remark: str) -> Any:
        """Choose a setting, unless the user has; returns its value."""
        self.chosen[path] = self.fixed.get(path, value)
        self.remarks[path] = "as you set it" if path in self.fixed else remark
        return self.chosen[path]

    def part(self) -> None:
        """What is kept for validation."""
        size, fixed = self.text.characters, self.fixed
        fraction = 0.1 if size <= 10 * _VALIDATED else float(f"{_VALIDATED / size:.2g}")
        held_out = self.set(
            "corpus.val_fraction", fraction, f"of the text is for validation: {size * fraction:,.0f} characters"
        )
        self.validated = held_out * size
        self.train = max(1.0, size - self.validated - fixed.get("corpus.test_fraction", 0.0) * size)
        documents = ("corpus.documents", "corpus.document_separator", "corpus.split")
        if self.text.apart and not any(path in fixed for path in documents):
            why = "they are in alphabetical order" if self.text.sorted_lines else "their order says nothing"
            self.set("corpus.documents", "lines", why)
            self.set("corpus.split", "shuffled", "so the validation part is drawn from all of them")

    def network(self) -> None:
        """Size, from the time and the text, and dropout, from how often the text is read."""
        readable = self.speed * self.seconds
        bought, borne = _TIME_UNITS * readable**_TIME_POWER, _TEXT_UNITS * self.train**_TEXT_POWER
        self.small_text = borne < bought
        units = min(_SIZES, key=lambda size: abs(math.log(size / min(bought, borne))))
        why = (
            "a larger network would memorise a text of this size"
            if self.small_text
            else "the size that learns most in the time"
        )
        units = self.cell(units)
        self.set("model.hidden_size", units, f"units; {why}")
        self.set("model.num_layers", 1, "one wide layer learns more in minutes than two narrow ones")
        self.passes = self.passes_of(*self.network_size())
        dropout, weight_dropout, self.decay = next(r for limit, *r in _REGULARISATION if self.passes < limit)
        against, none = "against memorising the text", "none: that of the weights is enough"
        if not weight_dropout:
            against = none = "no time to overfit"
        self.set("model.dropout", dropout, f"of the units: {against}" if dropout else none)
        self.set("model.weight_dropout", weight_dropout, f"of the recurrent weights: {against}")

    def cell(self, units: int) -> int:
        """The cell; returns its number of units, from that of a GRU."""
        lstm_units = 16 * round(_LSTM_UNITS * units / 16)
        slow = self.passes_of("lstm", lstm_units, 1) >= _SLOW_PASSES and self.train >= _FEW_CHARACTERS
        cell, why = "gru", "learns faster than an LSTM of equal size"
        if slow:
            cell, why = "lstm", "beats a GRU of equal size after this many passes"
        self.slow = self.set("model.cell", cell, why) == "lstm" and slow
        return lstm_units if self.slow else units

    def steps(self) -> None:
        """What an update reads, and how fast that is."""
        t = self.set("training.seq_length", 32, "characters per update; the state is carried over")
        most = max(1.0, self.train / (t * _FEWEST_UPDATES))
        wanted = 2 * _STREAMS if self.passes < _FEW_PASSES else _STREAMS
        columns = self.set(
            "training.batch_size",
            int(min(wanted, 2 ** round(math.log2(most)))),
            "parallel streams; fewer give more updates",
        )
        self.own_speed = self.speed_of(*self.network_size(), columns)
        self.per_step = columns * t

    def end(self) -> None:
        """When the run ends."""
        few = self.train < _FEW_CHARACTERS and self.passes >= _OFTEN
        most = _MOST_PASSES_FEW if few else _MOST_PASSES_SLOW if self.slow else _MOST_PASSES
        many = self.own_speed * self.seconds / self.train > most / 2  # the estimate may be far off
        limit = "passes at most; more teach nothing new" if many else "no limit on passes"
        passes = self.set("training.epochs", most if many else None, limit)
        minutes = self.set("training.max_minutes", self.seconds / 60.0, "of training at most")
        self.per_second = self.own_speed / self.per_step
        by_passes = (passes or math.inf) * self.train / self.per_step
        by_count = min(by_passes, self.fixed.get("training.max_steps") or math.inf)
        untimed = minutes is None and by_count < math.inf
        self.total = by_count if untimed else min(by_count, self.per_second * self.seconds)

    def update_rule(self) -> None:
        """Optimiser, its learning rate and weight decay."""
        rule, why = "muon", "learns as much as Adam in half the steps"
        if self.slow:
            rule, why = "adam", "memorises later than Muon"
        muon = self.set("training.optimizer", rule, why) == "muon"
        decay, of = (self.decay, "of the matrices, against overfitting") if muon else (0.0, "none, except with Muon")
        self.set("training.weight_decay", decay, of)
        rate = _MUON_RATE if muon else _SLOW_ADAM_RATE if self.slow else _ADAM_RATE
        rate *= (256 / max(192, self.chosen["model.hidden_size"])) ** 0.5 * (self.per_step / 512) ** 0.5
        self.set("training.learning_rate", float(f"{rate:.2g}"), "peak; larger networks need lower rates")
        self.set("training.schedule", "cosine", "falls to a hundredth of the peak as the time runs out")

    def intervals(self) -> None:
        """Steps between reports, samples, validations and checkpoints."""
        evaluation = max(1e-9, self.validated / (_EVALUATION_SPEED * self.own_speed))
        looks = max(2.0, min(_LOOKS, 0.1 * self.total / self.per_second / evaluation))
        self.set("training.eval_every", _round(self.total / looks), "steps between validations")
        self.set(
            "training.checkpoint_every", _round(min(30 * self.per_second, self.total / 2)), "steps between checkpoints"
        )
        self.set("training.sample_every", _round(min(10 * self.per_second, self.total / 6)), "steps between samples")
        self.set("training.log_every", _round(min(self.per_second / 2, self.total / 40)), "steps between reports")

    def network_size(self) -> tuple[str, int, int]:
        """Cell, units, layers."""
        c = self.chosen
        return c["model.cell"], c["model.hidden_size"], c["model.num_layers"]

    def passes_of(self, cell: str, units: int, layers: int) -> float:
        """Over the training part in the time."""
        found: float = self.speed_of(cell, units, layers, _STREAMS) * self.seconds / self.train
        return found

    def speed_of(self, cell: str, units: int, layers: int, columns: int) -> float:
        """Characters per second of training, from those of the reference."""
        r, symbols = REFERENCE, self.text.symbols
        reference = _operations(
            r["model.cell"], r["model.hidden_size"], r["model.num_layers"], symbols, r["training.batch_size"]
        )
        return self.speed * reference / _operations(cell, units, layers, symbols, columns)

    def sections(self) -> dict[str, dict[str, Any]]:
        """By section."""
        found: dict[str, dict[str, Any]] = {}
        for path, value in self.chosen.items():
            section, _, name = path.partition(".")
            found.setdefault(section, {})[name] = value
        return found

    def lines(self) -> tuple[str, str, str]:
        """What was chosen and why."""
        c, text, train = self.chosen, self.text, self.train
        cell, units, layers = self.network_size()
        columns, steps = c["training.batch_size"], c["training.seq_length"]
        size = float(f"{_parameters(cell, units, layers, text.symbols):.2g}")
        bears = self.small_text and self.fixed.keys().isdisjoint({"model.hidden_size", "model.weight_dropout"})
        dropped = [f"{p.partition('.')[2]} {c[p]:g}" for p in ("model.dropout", "model.weight_dropout") if c[p]]
        seconds, passes = self.total / self.per_second, self.total * columns * steps / train
        undropped = "no dropout" + (" (no time to overfit)" if self.passes < _REGULARISATION[0][0] else "")
        said = f"; {text.apart} are shuffled, each a document of its own" if "corpus.split" in c else ""
        return (
            f"text: {text.name}, {text.characters:,} characters ({counted(text.symbols, 'symbol')}), "
            f"{self.validated:,.0f} of them for validation{said}",
            f"network: {cell.upper()} {layers}x{units}, about {size:,.0f} parameters"
            + (", as many as a text of this size supports; " if bears else "; ")
            + (f"{' and '.join(dropped)} against memorising it" if dropped else undropped),
            f"training: about {duration(seconds)} for {passes:,.1f} passes at {self.own_speed:,.0f} characters per "
            f"second; {columns} x {steps} characters per step, learning rate {c['training.learning_rate']:g}",
        )


def _operations(cell: str, units: int, layers: int, symbols: int, columns: int) -> float:
    """Of a network, per character, relative to others: its products, and what calls cost, which all columns share."""
    return len(CELLS[cell].gates) * units * units * (2 * layers - 1) + units * symbols + 5e5 * layers / columns


def _parameters(cell: str, units: int, layers: int, symbols: int) -> int:
    return len(CELLS[cell].gates) * units * (units * (2 * layers - 1) + symbols + 1) + symbols * (units + 1)


def _round(steps: float) -> int:
    """The nearest of 1, 2, 5, 10, 20, 50 and so on; at least 1."""
    if steps <= 1:
        return 1
    power: int = 10 ** math.floor(math.log10(steps))
    return min((power, 2 * power, 5 * power, 10 * power), key=lambda k: abs(math.log(k / steps)))
