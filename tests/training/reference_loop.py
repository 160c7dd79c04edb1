"""A training run written once more: plain, slow, in float64, from the descriptions of the settings.

Nothing of the package is imported. `Loop(...).run()` returns what happened as tuples, in order:

    ("evaluated", step, val_loss, best)
    ("report", step, epoch, chars, train_loss, val_loss or None, grad_norm, learning_rate, chars_per_second, seconds)
    ("sample", step, text)
    ("saved", step, "last" or "best")
    ("rolled back", step, to_step, rate_scale)
    ("finished", reason)        the reason is "diverged" where the run ends with an error
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tests.training.reference_network import Network
from tests.training.reference_rules import (
    Arrays,
    Windows,
    begins_document,
    clipped,
    drawn,
    forgets,
    rate,
    unit_mask,
    update,
    weight_mask,
)
from tests.training.reference_start import Text, begun, opening
from tests.training.reference_text import parts_of, symbols_of

TEMPERATURE = 0.8  # of the samples that a run shows
Event = tuple[Any, ...]


class DivergedError(Exception):
    """A loss that is not a number."""


@dataclass
class Progress:
    """All that a checkpoint must bring back."""

    params: Arrays
    state: list[np.ndarray]
    memory: dict[str, Arrays] = field(default_factory=dict)
    mean: Arrays | None = None
    step: int = 0
    epoch: int = 0
    window: int = 0
    chars: int = 0
    seconds: float = 0.0
    plateaus: int = 0
    bad: int = 0
    rate_scale: float = 1.0
    reported: list[tuple[float, int, float]] = field(default_factory=list)  # nats, characters, seconds of a step


class Loop:
    """One run.

    Args:
        settings: `corpus`, `model` and `training` as dicts.
        text: the whole corpus.
        params: the parameters it starts with, by name.
        step_seconds: what the clock shows for the n-th call of a step, from 0.
        diverging: calls of a step, counted in the same way, whose loss is not a number.
    """

    def __init__(
        self,
        settings: Mapping[str, Mapping[str, Any]],
        text: bytes,
        params: Mapping[str, np.ndarray],
        *,
        step_seconds: Callable[[int], float],
        diverging: Collection[int] = (),
    ) -> None:
        c, m, self.t = settings["corpus"], settings["model"], settings["training"]
        self.m, self.step_seconds, self.diverging = m, step_seconds, diverging
        symbols = symbols_of(c, text)
        self.symbols = sorted(set(symbols))
        train, val, _ = ([self.symbols.index(symbol) for symbol in part] for part in parts_of(c, symbols))
        separator: Any = c["document_separator"]
        if separator is not None:
            separator = separator.encode() if c["encoding"] == "bytes" else separator
            separator = [self.symbols.index(symbol) for symbol in separator]
        self.train, self.val, self.separator = train, val, separator
        t = self.t
        self.windows = Windows(
            self.train, t["batch_size"], t["seq_length"], t["random_offsets"], t["seed"], self.separator
        )
        embedded = "head.weight" if m["tie_weights"] else "embedding.weight" if m["embedding_size"] else None
        self.network = Network(m["cell"], m["num_layers"], embedded, len(self.symbols))
        start = {name: values.astype(np.float64) for name, values in params.items()}
        self.now = Progress(start, self._zeros(self.windows.columns))
        if t["ema_decay"] is not None:
            self.now.mean = dict(start)
        self.best_loss: float | None = None
        self.best_params: Arrays | None = None
        self.rollbacks, self.calls = 0, 0
        self.val_loss = self.grad_norm = self.learning_rate = math.nan
        limits = [] if t["max_steps"] is None else [t["max_steps"]]
        limits += [] if t["epochs"] is None else [max(1, round(t["epochs"] * self.windows.per_epoch))]
        self.total = min(limits, default=None)

    def _zeros(self, columns: int) -> list[np.ndarray]:
        shape = (self.network.states, self.m["hidden_size"], columns)
        return [np.zeros(shape) for _ in range(self.network.layers)]

    def run(self) -> list[Event]:
        events: list[Event] = []
        self.saved = copy.deepcopy(self.now)
        if self.t["on_divergence"] == "rollback":
            events.append(("saved", 0, "last"))
        reason = None
        while reason is None:
            try:
                reason = self._advance(events)
            except DivergedError:
                if self.t["on_divergence"] == "stop" or self.rollbacks == self.t["max_rollbacks"]:
                    return [*events, ("finished", "diverged")]
                events.append(self._roll_back())
        return [*events, ("finished", reason)]

    def _advance(self, events: list[Event]) -> str | None:
        t, n = self.t, self.now
        self._step()
        reason = self._end()
        evaluate = len(self.val) > 1 and (reason is not None or self._due("eval_every"))
        if evaluate:
            self._evaluate(events)
            reason = reason or self._end()
        if evaluate or reason or self._due("log_every"):
            events.append(self._report(evaluate))
        if self._due("sample_every") or (reason and t["sample_every"]):
            events.append(("sample", n.step, self._sample()))
        if reason or self._due("checkpoint_every"):
            self.saved = copy.deepcopy(n)
            events.append(("saved", n.step, "last"))
        return reason

    def _due(self, setting: str) -> bool:
        every = self.t[setting]
        return every is not None and self.now.step % every == 0

    def _end(self) -> str | None:
        t, n = self.t, self.now
        if self.total is not None and n.step == self.total:
            return "max_steps" if n.step == t["max_steps"] else "epochs"
        if t["max_minutes"] is not None and n.seconds >= 60 * t["max_minutes"]:
            return "max_minutes"
        return "patience" if t["patience"] is not None and n.bad >= t["patience"] else None

    def _step(self) -> None:
        t, m, n = self.t, self.m, self.now
        if n.window == 0:
            n.state = self._zeros(self.windows.columns)
        inputs, targets, resets = self.windows.cut(n.epoch, n.window)
        key = {"seed": t["seed"], "step": n.step}
        for layer in n.state:
            layer[:, :, forgets(self.windows.columns, t["state_reset"], **key)] = 0.0
        layers, shape = range(m["num_layers"]), (m["hidden_size"], *inputs.shape)
        units = weights = None
        if m["dropout"]:
            units = [unit_mask(shape, m["dropout"], m["variational_dropout"], **key, layer=k) for k in layers]
        if m["weight_dropout"]:
            shapes = [n.params[f"layers.{k}.weight_hh"].shape for k in layers]
            weights = [weight_mask(shapes[k], m["weight_dropout"], **key, layer=k) for k in layers]
        nats, grads, _ = self.network.loss_and_grad(
            n.params, inputs, targets, n.state, resets=resets, unit_masks=units, weight_masks=weights
        )
        self.grad_norm = math.sqrt(sum(float((g**2).sum()) for g in grads.values()))
        call, self.calls = self.calls, self.calls + 1
        if call in self.diverging:
            raise DivergedError
        self.learning_rate = n.rate_scale * rate(
            t, step=n.step, total=self.total, seconds=n.seconds, plateaus=n.plateaus
        )
        n.step += 1
        for name, g in clipped(grads, self.grad_norm, t).items():
            memory = n.memory.setdefault(name, {})
            n.params[name] = update(name, n.params[name], g, memory, n.step, self.learning_rate, t)
        if n.mean is not None:
            d = min(t["ema_decay"], (1 + n.step) / (10 + n.step))
            n.mean = {name: d * mean + (1 - d) * n.params[name] for name, mean in n.mean.items()}
        n.chars += inputs.size
        n.seconds += self.step_seconds(call)
        n.reported.append((nats, inputs.size, self.step_seconds(call)))
        n.window += 1
        if n.window == self.windows.per_epoch:
            n.epoch, n.window = n.epoch + 1, 0

    def _shown(self) -> Arrays:
        """The weights that are validated, kept and sampled from."""
        return self.now.params if self.now.mean is None else self.now.mean

    def _evaluate(self, events: list[Event]) -> None:
        n, text, first = self.now, self.train + self.val, len(self.train) + 1
        resets = [(place, 0) for place in range(len(text) - 1) if begins_document(text, place, self.separator)]
        log_p = self.network.predict(self._shown(), np.array(text[:-1])[:, None], self._zeros(1), resets)
        self.val_loss = -float(np.mean([log_p[place - 1, text[place], 0] for place in range(first, len(text))]))
        best = self.best_loss is None or self.val_loss < self.best_loss
        n.bad = 0 if best else n.bad + 1
        if n.bad and n.bad % self.t["plateau_patience"] == 0:
            n.plateaus += 1
        events.append(("evaluated", n.step, self.val_loss, best))
        if best:
            self.best_loss, self.best_params = self.val_loss, dict(self._shown())
            events.append(("saved", n.step, "best"))

    def _report(self, evaluated: bool) -> Event:
        n = self.now
        nats, chars, seconds = (sum(column) for column in zip(*n.reported, strict=True))
        n.reported = []
        epoch = round(n.epoch + n.window / self.windows.per_epoch, 6)
        val_loss = self.val_loss if evaluated else None
        rates = (self.grad_norm, self.learning_rate, chars / seconds, n.seconds)
        return ("report", n.step, epoch, n.chars, nats / chars, val_loss, *rates)

    def _sample(self) -> str:
        newline: Any = 10 if isinstance(self.symbols[0], int) else "\n"
        line_end = self.symbols.index(newline) if newline in self.symbols else 0
        text, log_p = begun(
            lambda state: Text(self.network, self._shown(), state, self.separator),
            opening(self.train, line_end, self.separator), self.now.state,
        )  # fmt: skip
        rng, made = np.random.default_rng([self.t["seed"], 0]), []
        for _ in range(self.t["sample_length"]):
            symbol = drawn(log_p, TEMPERATURE, rng.random())
            made.append(self.symbols[symbol])
            log_p = text.read(symbol)
        return bytes(made).decode("utf-8", "replace") if isinstance(made[0], int) else "".join(made)

    def _roll_back(self) -> Event:
        failed, scale = self.now.step + 1, self.now.rate_scale * self.t["rollback_lr_factor"]
        self.rollbacks += 1
        self.now = copy.deepcopy(self.saved)
        self.now.rate_scale = self.saved.rate_scale = scale
        return ("rolled back", failed, self.now.step, scale)
