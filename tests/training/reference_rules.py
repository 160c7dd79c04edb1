"""Textbook rules of training: updates, clipping, schedules, dropout masks, windows, samples; plain and in float64.

Nothing of the package is imported; `s` is the settings of `training` as a dict.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

Arrays = dict[str, np.ndarray]


def clipped(grads: Arrays, norm: float, s: Mapping[str, Any]) -> Arrays:
    """Pascanu et al. (2013): the whole gradient made shorter, or each value cut."""
    limit = s["grad_clip"]
    if limit is None or (s["grad_clip_mode"] == "norm" and norm <= limit):
        return grads
    if s["grad_clip_mode"] == "norm":
        return {name: g * (limit / norm) for name, g in grads.items()}
    return {name: np.minimum(np.maximum(g, -limit), limit) for name, g in grads.items()}


def update(
    name: str, p: np.ndarray, g: np.ndarray, memory: Arrays, t: int, rate: float, s: Mapping[str, Any]
) -> np.ndarray:
    """The parameters `name` after update number `t` (from 1); `memory` keeps what the rule remembers."""
    rule, eps, decay = s["optimizer"], s["epsilon"], s["weight_decay"]
    start = p
    if rule not in ("adamw", "muon"):
        g = g + decay * p
    if rule == "sgd":
        v = memory["v"] = s["momentum"] * memory.get("v", 0.0) + g
        return p - rate * (g + s["momentum"] * v if s["nesterov"] else v)
    if rule == "adagrad":
        n = memory["n"] = memory.get("n", 0.0) + g**2
        return p - rate * g / (np.sqrt(n) + eps)
    if rule == "rmsprop":
        n = memory["n"] = s["rho"] * memory.get("n", 0.0) + (1.0 - s["rho"]) * g**2
        return p - rate * g / (np.sqrt(n) + eps)
    m = memory["m"] = s["beta1"] * memory.get("m", 0.0) + (1.0 - s["beta1"]) * g
    n = memory["n"] = s["beta2"] * memory.get("n", 0.0) + (1.0 - s["beta2"]) * g**2
    m_hat, n_hat = m / (1.0 - s["beta1"] ** t), n / (1.0 - s["beta2"] ** t)
    p = p - rate * m_hat / (np.sqrt(n_hat) + eps)
    if rule == "muon" and name.endswith(("weight_hh", "weight_ih", "head.weight")) and name != "layers.0.weight_ih":
        p = (1.0 - rate * decay) * start if t % 4 else (1.0 - rate * decay) * start - rate * turned(m)
    return p - rate * decay * start if rule == "adamw" else p


def turned(g: np.ndarray) -> np.ndarray:
    """Muon's direction: singular values, as shares of the gradient's norm, go through Jordan's polynomial thrice."""
    u, values, v = np.linalg.svd(g, full_matrices=False)
    values = values / np.sqrt(np.sum(values**2))
    for _ in range(3):
        values = 3.4445 * values - 4.7750 * values**3 + 2.0315 * values**5
    return 0.2 * 2.0 * math.sqrt(max(g.shape)) * (u * values) @ v


def rate(s: Mapping[str, Any], *, step: int, total: int | None, seconds: float, plateaus: int) -> float:
    """Learning rate of the step after `step` steps and `seconds` of training.

    It rises in a straight line over the warm-up; the course that `schedule` names begins where the warm-up ends, and
    ends with the steps or the time, whichever is further on.
    """
    warm, past = s["warmup_steps"], max(0, step - s["warmup_steps"])
    done = past / max(1, total - warm) if total is not None else 0.0
    if s["max_minutes"] is not None:
        done = max(done, seconds / (60.0 * s["max_minutes"]))
    done, low, decay = min(done, 1.0), s["min_lr_ratio"], s["lr_decay"]
    course = {
        "constant": 1.0,
        "linear": 1.0 - (1.0 - low) * done,
        "cosine": low + (1.0 - low) * (1.0 + math.cos(math.pi * done)) / 2.0,
        "step": decay ** (past // s["lr_decay_steps"]),
        "exponential": decay ** (past / s["lr_decay_steps"]),
        "plateau": decay**plateaus,
    }[s["schedule"]]
    return s["learning_rate"] * course * (min(1.0, (step + 1) / warm) if warm else 1.0)


def _draws(key: list[int], counter: list[int], count: int) -> np.ndarray:
    """`count` 16-bit numbers of a Philox generator, low bits of each 64-bit word first."""
    words = np.random.Philox(key=key, counter=counter).random_raw(-(-count // 4))
    return (words[:, None] >> np.array([0, 16, 32, 48], np.uint64) & np.uint64(0xFFFF)).reshape(-1)[:count]


def _mask(draws: np.ndarray, share: float) -> np.ndarray:
    threshold = min(round(share * 65536), 65535)
    return np.where(draws < threshold, 0.0, 65536 / (65536 - threshold))


def unit_mask(
    shape: tuple[int, int, int], share: float, whole_window: bool, *, seed: int, step: int, layer: int, first: int = 0
) -> np.ndarray:
    """(H, T, B): key (seed, layer), counter (0, 0, block, step), a block being 16 columns of the batch."""
    H, T, B = shape
    drawn = 1 if whole_window else T
    blocks = [
        _draws([seed, layer], [0, 0, block, step], H * drawn * 16).reshape(H, drawn, 16)
        for block in range((first + B + 15) // 16)
    ]
    mask = _mask(np.concatenate(blocks, axis=2)[:, :, first : first + B], share)
    return np.repeat(mask, T, axis=1) if whole_window else mask


def weight_mask(shape: tuple[int, int], share: float, *, seed: int, step: int, layer: int) -> np.ndarray:
    """(G*H, H): key (seed, 2**32 + layer), counter (0, 0, 0, step)."""
    return _mask(_draws([seed, 2**32 + layer], [0, 0, 0, step], shape[0] * shape[1]).reshape(shape), share)


def forgets(columns: int, share: float, *, seed: int, step: int) -> np.ndarray:
    """(B,) whether a column begins from zero: key (seed, 2**33), counter (0, 0, block, step), 64 bits a column."""
    words = [
        int(word)
        for block in range((columns + 15) // 16)
        for word in np.random.Philox(key=[seed, 2**33], counter=[0, 0, block, step]).random_raw(16)
    ]
    return np.array([word < share * 2**64 for word in words[:columns]])


def begins_document(text: list[int], position: int, separator: list[int] | None) -> bool:
    """Whether the symbols just before `position` are the separator."""
    start = position - len(separator or [])
    return separator is not None and start >= 0 and text[start:position] == separator


@dataclass
class Windows:
    """Streams side by side over a text: column b of window k has the symbols from starts[b] + k * T on."""

    text: list[int]
    batch_size: int
    seq_length: int
    random_offsets: bool
    seed: int
    separator: list[int] | None

    def __post_init__(self) -> None:
        predictions = len(self.text) - 1
        self.columns = min(self.batch_size, predictions // self.seq_length)
        self.starts = [b * predictions // self.columns for b in range(self.columns)]
        self.steps = math.ceil(predictions / self.columns)
        self.shifts = self.seq_length if self.random_offsets and self.steps > self.seq_length else 1
        self.steps -= self.shifts - 1
        self.per_epoch = math.ceil(self.steps / self.seq_length)

    def cut(self, epoch: int, index: int) -> tuple[np.ndarray, np.ndarray, list[tuple[int, int]]]:
        """(T, B) inputs and targets, and the (t, b) where a document begins."""
        shift = int(np.random.default_rng([self.seed, epoch]).integers(self.shifts)) if self.shifts > 1 else 0
        length = min(self.seq_length, self.steps - index * self.seq_length)
        places = [[s + index * self.seq_length + shift + t for s in self.starts] for t in range(length)]
        inputs = np.array([[self.text[p] for p in row] for row in places])
        targets = np.array([[self.text[p + 1] for p in row] for row in places])
        begins = [
            (t, b)
            for t, row in enumerate(places)
            for b, p in enumerate(row)
            if begins_document(self.text, p, self.separator)
        ]
        return inputs, targets, begins


def drawn(log_p: np.ndarray, temperature: float, uniform: float) -> int:
    """The symbol at which the cumulative probability first exceeds `uniform`."""
    p = np.exp(log_p / temperature)
    total = 0.0
    for symbol, share in enumerate(p / p.sum()):
        total += share
        if total > uniform:
            return symbol
    return len(p) - 1
