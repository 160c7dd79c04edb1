"""Filters one after another, and the memory of what was read and drawn."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from charrnn.errors import SettingsError
from charrnn.sampling.filters.cuts import Ban
from charrnn.sampling.filters.filter import FloatArray, History, LogitsFilter, StepContext
from charrnn.sampling.options import FilterSpec, SamplingOptions, filter_specs


class RecentIds:
    """The last ids of N streams.

    Args:
        window: how many to keep.
        batch_size: N.
    """

    def __init__(self, window: int, batch_size: int) -> None:
        self.window = window
        # Twice the room, so that the ids in use lie in one piece and are moved only once in `window` steps.
        self._rows = np.empty((2 * window, batch_size), np.intp)
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


class FilterChain:
    """Runs filters in order.

    Args:
        filters: first to last.
        batch_size: N streams.
        prime: (P,) ids that every stream begins with.

    Attributes:
        random: whether a filter needs uniform numbers.
    """

    def __init__(self, filters: Sequence[LogitsFilter], batch_size: int, prime: npt.NDArray[np.integer]) -> None:
        self.filters = tuple(filters)
        self.random = any(f.random for f in self.filters)
        self._recent = RecentIds(max((f.window for f in self.filters), default=0), batch_size)
        # A filter with a window of 0 may still keep state of the newest id.
        self._listening = [f for f in self.filters if type(f).accept is not LogitsFilter.accept]
        self._nothing = np.zeros(batch_size)
        for symbol in prime[len(prime) - min(self._recent.window, len(prime)) :]:
            self.accept(np.full(batch_size, symbol, np.intp))

    def apply(self, logits: FloatArray, uniforms: FloatArray | None = None) -> None:
        """Change (V, N) logits in place; (N,) numbers in [0, 1) where `random`."""
        context = StepContext(self._recent.rows, self._nothing if uniforms is None else uniforms)
        for step in self.filters:
            step.apply(logits, context)

    def accept(self, ids: npt.NDArray[np.intp]) -> None:
        """Pass on the (N,) ids that were drawn."""
        self._recent.add(ids)
        history = self._recent.rows if self._recent.window else ids[None]
        for step in self._listening:
            step.accept(history)


def build_chain(
    options: SamplingOptions, vocab_size: int, batch_size: int = 1, prime: npt.ArrayLike = ()
) -> FilterChain:
    """The filters that are on, bans first, then in the order of the options.

    Args:
        options: see `SamplingOptions`.
        vocab_size: V.
        batch_size: N streams.
        prime: (P,) ids that every stream begins with.

    Raises:
        SettingsError: an id that the model does not have, or no symbol left to draw.
    """
    banned, read = options.banned(), np.asarray(prime, np.intp)
    named = [*banned, *options.dry_breakers, *(key for key, _ in options.logit_bias)]
    if max(named, default=0) >= vocab_size:
        raise SettingsError(f"id {max(named)} is not among the model's {vocab_size} symbols")
    if len(banned) == vocab_size:
        raise SettingsError("ban: every symbol of the model is banned")
    specs = filter_specs(type(options))
    filters = [filter_class(specs[name])(**options.values_of(name)) for name in options.active()]
    return FilterChain([*([Ban(banned)] if banned else []), *filters], batch_size, read)


def filter_class(spec: FilterSpec) -> Callable[..., LogitsFilter]:
    """The class that a declaration names."""
    module, _, name = spec.home.partition(":")
    home = module if "." in module else f"charrnn.sampling.filters.{module}"
    found: Callable[..., LogitsFilter] = getattr(importlib.import_module(home), name)
    return found
