"""Filters one after another, and the memory of what was read and drawn."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from charrnn.errors import SettingsError
from charrnn.sampling.filters.cuts import XTC, Ban, MinP, TopK, TopNSigma, TopP, Typical
from charrnn.sampling.filters.filter import Filter, FloatArray, History, Moment
from charrnn.sampling.filters.mirostat import Mirostat
from charrnn.sampling.filters.repetition import Dry, Penalties
from charrnn.sampling.filters.scaling import Bias, DynamicTemperature, Temperature
from charrnn.sampling.options import SamplerOptions


class Memory:
    """The last ids of N streams.

    Args:
        window: how many to keep.
        columns: N.
    """

    def __init__(self, window: int, columns: int) -> None:
        self.window = window
        # Twice the room, so that the ids in use lie in one piece and are moved only once in `window` steps.
        self._rows = np.empty((2 * window, columns), np.intp)
        self._start = self._stop = 0

    @property
    def rows(self) -> History:
        """(M, N) the last M <= window ids, the newest last; overwritten by later ones."""
        return self._rows[self._start : self._stop]

    def add(self, ids: npt.NDArray[np.integer]) -> None:
        """Keep (N,) more ids."""
        if not self.window:
            return
        if self._stop == len(self._rows):
            kept = self._rows[self._stop - self.window + 1 : self._stop].copy()
            self._rows[: len(kept)] = kept
            self._start, self._stop = 0, len(kept)
        self._rows[self._stop] = ids
        self._stop += 1
        self._start = max(self._start, self._stop - self.window)


class Chain:
    """Runs filters in order.

    Args:
        filters: first to last.
        columns: N streams.
        prime: (P,) ids that every stream begins with.

    Attributes:
        random: whether a filter needs uniform numbers.
    """

    def __init__(self, filters: Sequence[Filter], columns: int, prime: npt.NDArray[np.integer]) -> None:
        self.filters = tuple(filters)
        self.random = any(f.random for f in self.filters)
        self._memory = Memory(max((f.window for f in self.filters), default=0), columns)
        # Those that look back over no symbols at all may still want to know the newest one.
        self._listening = [f for f in self.filters if type(f).accept is not Filter.accept]
        self._nothing = np.zeros(columns)
        for symbol in prime[len(prime) - min(self._memory.window, len(prime)) :]:
            self.accept(np.full(columns, symbol, np.intp))

    def apply(self, logits: FloatArray, uniforms: FloatArray | None = None) -> None:
        """Change (V, N) logits in place; (N,) numbers in [0, 1) where `random`."""
        moment = Moment(self._memory.rows, self._nothing if uniforms is None else uniforms)
        for step in self.filters:
            step.apply(logits, moment)

    def accept(self, ids: npt.NDArray[np.intp]) -> None:
        """Tell the filters the (N,) ids that were drawn."""
        self._memory.add(ids)
        history = self._memory.rows if self._memory.window else ids[None]
        for step in self._listening:
            step.accept(history)


_MAKERS: dict[str, Callable[[SamplerOptions, int], Filter]] = {
    "bias": lambda o, n: Bias(o.biases()),
    "penalties": lambda o, n: Penalties(
        o.penalty_window, o.repetition_penalty, o.presence_penalty, o.frequency_penalty
    ),
    "dry": lambda o, n: Dry(
        n,
        multiplier=o.dry_multiplier,
        base=o.dry_base,
        allowed_length=o.dry_allowed_length,
        window=o.dry_window,
        breakers=o.dry_breakers,
    ),
    "top_n_sigma": lambda o, n: TopNSigma(o.top_n_sigma),
    "top_k": lambda o, n: TopK(o.top_k),
    "typical": lambda o, n: Typical(o.typical),
    "top_p": lambda o, n: TopP(o.top_p),
    "min_p": lambda o, n: MinP(o.min_p),
    "xtc": lambda o, n: XTC(o.xtc_probability, o.xtc_threshold),
    "temperature": lambda o, n: (
        DynamicTemperature(*o.dynamic_temperature, o.dynamic_exponent)
        if o.dynamic_temperature
        else Temperature(o.temperature)
    ),
    "mirostat": lambda o, n: Mirostat(n, o.mirostat_tau, o.mirostat_eta),
}


def build_chain(options: SamplerOptions, vocab_size: int, columns: int, prime: npt.NDArray[np.integer]) -> Chain:
    """The filters that are on, bans first, then in the order of the options.

    Args:
        options: see `SamplerOptions`.
        vocab_size: V.
        columns: N streams.
        prime: (P,) ids that every stream begins with.

    Raises:
        SettingsError: an id that the model does not have, or no symbol left to draw.
    """
    banned = options.banned()
    named = [*banned, *options.dry_breakers, *(key for key, _ in options.logit_bias)]
    if max(named, default=0) >= vocab_size:
        raise SettingsError(f"id {max(named)} is not among the model's {vocab_size} symbols")
    if len(banned) == vocab_size:
        raise SettingsError("ban: every symbol of the model is banned")
    filters = [Ban(banned)] if banned else []
    return Chain([*filters, *(_MAKERS[name](options, columns) for name in options.active())], columns, prime)
