"""Filters against repetition: penalties on symbols of the last while, and DRY against loops."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from charrnn.sampling.filters.filter import FloatArray, History, LogitsFilter, StepContext

_MOST = 1e6  # of a DRY penalty: more than any logit, and still finite where all symbols are penalised


class Penalties(LogitsFilter):
    """Makes the most recent symbols less likely.

    Source: Keskar et al. (2019), CTRL, for the first penalty (with llama.cpp's care for negative logits); the other
    two are those of OpenAI's interface.

    Args:
        penalty_window: how many of the last symbols count.
        repetition_penalty: divides positive logits and multiplies negative ones; 1 changes nothing.
        presence_penalty: subtracted once from the logit of each symbol in the window.
        frequency_penalty: subtracted once per occurrence there.
    """

    def __init__(
        self,
        penalty_window: int,
        repetition_penalty: float = 1.0,
        presence_penalty: float = 0.0,
        frequency_penalty: float = 0.0,
    ) -> None:
        self.window, self.repetition = penalty_window, repetition_penalty
        self.presence, self.frequency = presence_penalty, frequency_penalty

    def apply(self, logits: FloatArray, context: StepContext) -> None:
        """Change (V, N) logits in place."""
        if not self.window:
            return
        recent, columns = context.history[-self.window :], logits.shape[1]
        places = recent * columns + np.arange(columns)
        counts = np.bincount(places.ravel(), minlength=logits.size).reshape(logits.shape)
        there = counts > 0
        np.divide(logits, self.repetition, out=logits, where=there & (logits > 0.0))
        np.multiply(logits, self.repetition, out=logits, where=there & (logits < 0.0))
        logits -= counts * self.frequency + there * self.presence


class Dry(LogitsFilter):
    """Penalises symbols that would prolong a repeat of something said before ("don't repeat yourself").

    If the last n symbols have occurred in the window before, and n is at least the allowed length, the symbol that
    followed them then loses multiplier * base ** (n - allowed length) now; the longest such n counts.
    Source: p-e-w (2024), text-generation-webui pull request 5677.

    Args:
        dry_multiplier: strength.
        dry_base: growth; at least 1.
        dry_allowed_length: the shortest repeat that counts.
        dry_window: how many of the last symbols are searched.
        dry_breakers: ids that no repeat contains, and that are never penalised.
    """

    def __init__(
        self,
        *,
        dry_multiplier: float,
        dry_base: float,
        dry_allowed_length: int,
        dry_window: int,
        dry_breakers: Sequence[int] = (),
    ) -> None:
        self.multiplier, self.base = dry_multiplier, dry_base
        self.allowed_length, self.window = dry_allowed_length, dry_window
        self._breakers = np.array(dry_breakers, np.intp)
        # Row d - 1: how many symbols at the end agree with those d places before. One more symbol makes such a run
        # longer by one or ends it, so nothing is searched twice.
        self._runs = np.zeros((max(self.window - 1, 0), 0), np.intp)
        self._since_breaker = np.zeros(0, np.intp)

    def accept(self, history: History) -> None:
        """Count on; history[-1] is new."""
        recent = history[-self.window :] if self.window else history[:0]
        if not len(recent):
            return
        if self._since_breaker.size != recent.shape[1]:
            self._runs = np.zeros((len(self._runs), recent.shape[1]), np.intp)
            self._since_breaker = np.zeros(recent.shape[1], np.intp)
        newest, earlier = recent[-1], recent[-2::-1]
        runs = self._runs[: len(earlier)]
        runs += 1
        runs *= earlier == newest
        self._since_breaker += 1
        self._since_breaker[np.isin(newest, self._breakers)] = 0

    def apply(self, logits: FloatArray, context: StepContext) -> None:
        """Change (V, N) logits in place."""
        recent = context.history[-self.window :] if self.window else context.history[:0]
        if len(recent) < 2:
            return
        lags = np.arange(1, len(recent))[:, None]
        # A run may have begun before the window did; only what lies inside counts.
        lengths = np.minimum(self._runs[: len(lags)], len(recent) - lags)
        np.minimum(lengths, self._since_breaker, out=lengths)
        rows, columns = np.nonzero(lengths >= self.allowed_length)
        if not len(rows):
            return
        followers = recent[len(recent) - 1 - rows, columns]
        longest = np.zeros(logits.shape, np.intp)
        np.maximum.at(longest, (followers, columns), lengths[rows, columns])
        longest[self._breakers] = 0
        meant = longest >= self.allowed_length
        with np.errstate(over="ignore"):
            penalties = self.multiplier * self.base ** (longest[meant] - self.allowed_length).astype(np.float64)
        logits[meant] -= np.minimum(penalties, _MOST)
