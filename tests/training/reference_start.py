"""Where the samples of a run begin, written once more: plain, symbol by symbol, from the description."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from tests.training.reference_network import Network

LENGTH, CARRIED = 256, 7  # symbols of an opening at most, states of training that are tried


def opening(train: list[int], line_end: int, separator: list[int] | None) -> list[int]:
    """The last lines or documents of the training part."""
    mark, tail = separator or [line_end], train[-4 * LENGTH :]
    ends = [k + len(mark) for k in range(len(tail) - len(mark) + 1) if tail[k : k + len(mark)] == mark]
    stop = ends[-1] if ends else len(tail)
    begins = [end - len(mark) for end in ends if stop - LENGTH <= end < stop]
    piece = tail[begins[0] if begins else max(0, stop - LENGTH) : stop]
    return piece if ends or separator is None else piece + separator


class Text:
    """A network that reads symbol by symbol and forgets after separators."""

    def __init__(
        self, network: Network, params: Mapping[str, np.ndarray], state: list[np.ndarray], separator: list[int] | None
    ) -> None:
        self.network, self.params, self.separator = network, params, separator
        self.state, self.seen = [layer.copy() for layer in state], [-1]

    def read(self, symbol: int) -> np.ndarray:
        """(V,) log-probabilities of the next symbol."""
        if self.separator and self.seen[-len(self.separator) :] == self.separator:
            for layer in self.state:
                layer[...] = 0.0
        self.seen.append(symbol)
        log_p: np.ndarray = self.network.predict(self.params, np.array([[symbol]]), self.state)[0, :, 0]
        return log_p


def begun(
    text: Callable[[list[np.ndarray]], Text], symbols: list[int], carried: list[np.ndarray]
) -> tuple[Text, np.ndarray]:
    """A text that has read the opening from the state that finds its second half least surprising."""
    used = [k for k in range(carried[0].shape[2]) if all(np.abs(layer[:, :, k]).max() > 0 for layer in carried)]
    count = min(CARRIED, len(used))
    chosen = sorted({used[k * (len(used) - 1) // max(1, count - 1)] for k in range(count)})
    states = [[0.0 * layer[:, :, [0]] for layer in carried], *([layer[:, :, [k]] for layer in carried] for k in chosen)]
    tried = []
    for state in states:
        one = text(state)
        log_p, nats = one.read(symbols[0]), 0.0
        for k, symbol in enumerate(symbols[1:], 1):
            nats -= log_p[symbol] if k >= len(symbols) // 2 else 0.0
            log_p = one.read(symbol)
        tried.append((nats, one, log_p))
    _, best, log_p = min(tried, key=lambda found: found[0])
    return best, log_p
