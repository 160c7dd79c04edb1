"""What to change in a run, from its curve, its settings and its text: the one place that decides it.

Every rule is a function of numbers, so that it says the same while the run trains, at its end and a year later. The
limits are measured: see docs/advice.md.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from charrnn.amounts import counted, duration
from charrnn.config.schema import Config
from charrnn.evaluation.curve import Curve, Point, noise
from charrnn.evaluation.health import FEW_STEPS, Health
from charrnn.evaluation.text_facts import PASSAGE, TextFacts
from charrnn.runs.events import Advice

_RISEN = 0.05  # nats above the best validation loss that are no accident
_ROSE = 0.3  # nats by which a training loss does not rise by chance
_FAST, _USUAL = 0.05, 0.005  # learning rates of optimisers that scale each step by the gradient's size
_ANNEALED = ("cosine", "linear")
_GAIN = {True: 1.6, False: 0.5}  # of the fall in a run's second half: what twice the time adds, annealed or not
_WORTH = 0.05  # nats that are worth twice the time
_REPEATED = 0.2  # share of passages seen before
_BORNE = 2.0  # parameters for each character of a text beyond which more gain nothing
_TOO_MANY = 10.0  # times as many that are worth a word
_HELD_BACK = 0.4  # weight dropout with which such a network does not learn by heart
_FEW_FOR = 30  # characters for each parameter from which a network may be too small
_SHORT = 20_000  # characters below which a text holds hardly more than some words


@dataclass(frozen=True)
class Case:
    """All that advice is drawn from.

    Attributes:
        config: the run's settings.
        curve: its losses so far.
        parameters: scalars that it learns; None if unknown.
        text: None if it was not looked at.
        health: of the network at the end; None before, or if unknown.
        reason: why the run ended, as in `RunFinished`; None while it has not.
    """

    config: Config
    curve: Curve = field(default_factory=Curve)
    parameters: int | None = None
    text: TextFacts | None = None
    health: Health | None = None
    reason: str | None = None

    @property
    def ended(self) -> bool:
        """Whether it has reached its own end."""
        return self.reason not in (None, "stopped")


def advise(case: Case) -> tuple[Advice, ...]:
    """Everything there is to say, most important first; nothing where the run is in order."""
    pieces = case.curve.pieces()
    sick = (*_learning_rate(case, pieces), *_health(case, pieces))
    text = (*_size(case), *_repeated(case), *_unlike(case))
    slower_first = any(piece.settings[0].startswith("training.learning_rate") for piece in sick)
    end = (*_underfitting(case, pieces), *_capacity(case, pieces)) if case.ended and not slower_first else ()
    return (*sick, *_overfitting(case, pieces), *text, *end)


def _learning_rate(case: Case, pieces: list[Point]) -> Iterator[Advice]:
    t = case.config.training
    slower = _slower(case) if t.grad_clip is not None else (*_slower(case), "training.grad_clip=1.0")
    if case.curve.rollbacks:
        times = "once" if case.curve.rollbacks == 1 else f"{case.curve.rollbacks} times"
        text = f"the loss was NaN or infinite {times}: the learning rate is too high"
        yield Advice("learning-rate-high", text, slower)
    elif (rise := _rise(pieces)) is not None:
        low, high = rise
        text = (
            f"the training loss itself rose, from {low.train_loss:.2f} at step {low.step:,} to {high.train_loss:.2f} "
            f"at step {high.step:,}: the learning rate is too high"
        )
        yield Advice("learning-rate-high", text, slower)
    elif t.optimizer != "sgd" and t.learning_rate > _FAST:
        text = f"a learning rate of {t.learning_rate:g} is far above what {t.optimizer} usually tolerates"
        yield Advice("learning-rate-high", text, (f"training.learning_rate={_USUAL}",))


def _slower(case: Case) -> tuple[str, ...]:
    return (f"training.learning_rate={_rounded(case.config.training.learning_rate / 4)}",)


def _rise(pieces: list[Point]) -> tuple[Point, Point] | None:
    """The lowest training loss and the highest after it, where they are further apart than by chance."""
    found, low = None, None
    for point in pieces:
        if low is None or point.train_loss < low.train_loss:
            low = point
        elif found is None or point.train_loss - low.train_loss > found[1].train_loss - found[0].train_loss:
            found = low, point
    limit = max(_ROSE, 4 * noise([point.train_loss for point in pieces]))
    return found if found is not None and found[1].train_loss - found[0].train_loss > limit else None


def _health(case: Case, pieces: list[Point]) -> Iterator[Advice]:
    found = {} if case.health is None else case.health.findings(pieces[-1].step if pieces else None)
    reset = min(0.5, max(0.1, 2 * case.config.training.state_reset))
    for key, text in found.items():
        yield Advice(key, text, (f"training.state_reset={_rounded(reset)}",) if key == "derailing" else _slower(case))


def _overfitting(case: Case, pieces: list[Point]) -> Iterator[Advice]:
    best = case.curve.best
    if best is None or best.val_loss is None or (case.text is not None and case.text.harder):
        return
    later = [point for point in pieces if point.step > best.step]
    losses = [point.val_loss for point in later if point.val_loss is not None]
    if not losses or later[-1].train_loss >= best.train_loss:
        return
    wobble = 3 * noise([point.val_loss for point in pieces if point.val_loss is not None])
    limit = max(_RISEN if len(losses) > 2 else 3 * _RISEN, wobble)
    if case.reason == "patience":  # it saw that itself, and stopped
        limit = max(limit, 4 * _RISEN)
    if min(losses[-3:]) - best.val_loss <= limit:
        return
    text = (
        f"overfitting since step {best.step:,} (epoch {best.epoch:.1f}): the validation loss has risen from "
        f"{best.val_loss:.2f} to {losses[-1]:.2f} nats while the training loss fell to {later[-1].train_loss:.2f}"
    )
    yield Advice("overfitting", text, _against_overfitting(case))


def _against_overfitting(case: Case) -> tuple[str, ...]:
    m, t = case.config.model, case.config.training
    found = [] if m.dropout >= 0.5 else [f"model.dropout={_rounded(min(0.5, m.dropout + 0.2))}"]
    if t.patience is None:
        found.append("training.patience=5")
    if m.dropout >= 0.2:
        found.append(f"model.hidden_size={max(8, m.hidden_size // 2)}")
    return tuple(found)


def bearable(chars: int) -> int:
    """Parameters that a text of `chars` training characters bears: more of them gain less than 0.02 nats."""
    return max(500, round(_BORNE * chars))


def _size(case: Case) -> Iterator[Advice]:
    if case.text is None or case.parameters is None:
        return
    chars = case.text.train_chars
    borne = bearable(chars)
    held_back = case.config.model.weight_dropout >= _HELD_BACK  # as the choice of settings for so small a text has it
    if case.parameters > _TOO_MANY * borne and not held_back:
        hidden = max(8, int(case.config.model.hidden_size * math.sqrt(borne / case.parameters)))
        yield Advice(
            "text-too-small",
            f"{case.parameters:,} parameters can memorise {chars:,} characters; without a weight_dropout of "
            f"{_HELD_BACK:g} or more, a text of this size supports about {_rough(borne)}, so use more text or a "
            "smaller network",
            (f"model.hidden_size={hidden}",),
        )
    elif chars < _SHORT:
        yield Advice("text-too-small", f"{chars:,} characters are too few to learn a language from: use more text")


def _repeated(case: Case) -> Iterator[Advice]:
    share = None if case.text is None else case.text.repeated_share
    if share is not None and share > _REPEATED:
        yield Advice(
            "repeated-text",
            f"{share:.0%} of the validation part's {PASSAGE}-character passages also occur in the training part, so "
            "the validation loss looks better than it is: remove repeated text",
        )


def _unlike(case: Case) -> Iterator[Advice]:
    text, c = case.text, case.config.corpus
    if text is None or not (text.harder or (text.sorted_lines and text.val_chars)):
        return
    if text.sorted_lines:
        seen = "the lines are in alphabetical order, so the validation part (the end) is unlike the training part"
    else:
        word = "harder" if text.harder > 0 else "easier"
        seen = (
            f"the validation part is unlike the training part (by its character pairs alone {abs(text.harder):.2f} "
            f"nats {word})"
        )
    remedy: tuple[str, ...] = () if c.split == "shuffled" else ("corpus.split=shuffled",)
    if remedy and c.document_separator is None:
        remedy = ("corpus.documents=lines", *remedy)
    yield Advice("validation-unlike", f"{seen}, and its loss says little: mix the text or split it at random", remedy)


def _underfitting(case: Case, pieces: list[Point]) -> Iterator[Advice]:
    if case.reason == "patience" or not pieces:
        return
    if (steps := pieces[-1].step) < FEW_STEPS:
        text = f"{counted(steps, 'step')} {'is' if steps == 1 else 'are'} only a start: a network needs thousands"
        yield Advice("underfitting", text, _longer(case, math.ceil(10 * FEW_STEPS / max(1, steps))))
        return
    validated = sum(point.val_loss is not None for point in pieces) >= 4
    pieces = pieces if validated else [replace(point, val_loss=None) for point in case.curve.pieces(least=4)]
    if len(pieces) < 2:
        return
    gain = likely_gain(pieces, annealed=case.config.training.schedule in _ANNEALED)
    if gain < _WORTH:
        return
    what = "validation" if validated else "training"
    text = (
        f"the {what} loss was still falling at the end: training twice as long ({duration(2 * pieces[-1].seconds)} "
        f"in total) is likely to lower it by about {gain:.2f} nats"
    )
    yield Advice("underfitting", text, _longer(case, 2))


def likely_gain(pieces: list[Point], *, annealed: bool) -> float:
    """Nats that a run of twice the length is likely to gain; 0 where the loss falls no longer."""
    losses = [point.train_loss if point.val_loss is None else point.val_loss for point in pieces]
    half = pieces[-1].chars / 2
    middle = min(range(len(pieces)), key=lambda k: abs(pieces[k].chars - half))
    if min(losses[-3:]) > min(losses) + _WORTH / 5:  # the best is behind it
        return 0.0
    last = pieces[-1]
    gap = 0.0 if last.val_loss is None else last.val_loss - last.train_loss
    room = min(1.0, max(0.0, (0.5 - gap) / 0.3))  # the wider the gap, the sooner it overfits
    return max(0.0, _GAIN[annealed] * room * (losses[middle] - losses[-1]))


def _longer(case: Case, times: int) -> tuple[str, ...]:
    t = case.config.training
    bound = {"epochs": t.epochs, "max_steps": t.max_steps, "max_minutes": t.max_minutes}.get(case.reason or "")
    return () if bound is None else (f"training.{case.reason}={_rounded(times * bound)}",)


def _capacity(case: Case, pieces: list[Point]) -> Iterator[Advice]:
    m, text = case.config.model, case.text
    if len(pieces) < 5 or text is None or case.parameters is None or m.dropout or m.weight_dropout:
        return
    last = pieces[-1]
    if case.parameters * _FEW_FOR > text.train_chars or last.val_loss is None or last.val_loss - last.train_loss > 0.3:
        return
    if likely_gain(pieces, annealed=case.config.training.schedule in _ANNEALED) < _WORTH:
        yield Advice(
            "network-too-small",
            f"the loss has stopped falling without overfitting: {case.parameters:,} parameters may be too few for "
            f"{text.train_chars:,} characters",
            (f"model.hidden_size={2 * m.hidden_size}",),
        )


def why_ended(reason: str | None, config: Config) -> str | None:
    """Why a run ended, as a sentence without its subject; None where it has not."""
    t = config.training
    validations = counted(t.patience or 0, "validation")
    return {
        "epochs": f"ended after {counted(t.epochs or 0, 'epoch')} (training.epochs)",
        "max_steps": f"ended after {counted(t.max_steps or 0, 'step')} (training.max_steps)",
        "max_minutes": f"ended after {duration(60 * (t.max_minutes or 0))} of training (training.max_minutes)",
        "patience": f"ended because {validations} brought no better loss (training.patience)",
        "stopped": "stopped by a signal",
    }.get(reason or "")


def _rounded(value: float) -> str:
    return f"{value:.2g}" if value < 10 else f"{value:.10g}"


def _rough(count: int) -> str:
    digits = 10 ** max(0, len(str(count)) - 2)
    return f"{round(count / digits) * digits:,}"
