"""Every filter again, for one stream, in plain Python: slow, with other formulas where there are any."""

from __future__ import annotations

import math

from hypothesis import assume, currently_in_test_context

OUT = -math.inf
MARGIN = 1e-9  # decisions closer than this may go either way, so such examples are not used


def clear(decision: bool) -> None:
    if currently_in_test_context():
        assume(decision)
    else:
        assert decision


def probabilities(logits: list[float]) -> list[float]:
    top = max(logits)
    weights = [math.exp(x - top) for x in logits]
    return [w / math.fsum(weights) for w in weights]


def entropy(p: list[float]) -> float:
    return -math.fsum(x * math.log(x) for x in p if x > 0)


def only(logits: list[float], kept: set[int]) -> list[float]:
    return [x if i in kept else OUT for i, x in enumerate(logits)]


def by_probability(logits: list[float]) -> list[int]:
    return sorted(range(len(logits)), key=lambda i: (-logits[i], i))


def until(p: list[float], order: list[int], enough: float) -> set[int]:
    kept: set[int] = set()
    for i in order:
        total = math.fsum(p[j] for j in kept)
        clear(not kept or abs(total - enough) > MARGIN)
        if kept and total >= enough:
            break
        kept.add(i)
    return kept


def top_k(logits: list[float], k: int) -> list[float]:
    return only(logits, set(by_probability(logits)[:k])) if k else logits


def top_p(logits: list[float], p: float) -> list[float]:
    return logits if p == 1 else only(logits, until(probabilities(logits), by_probability(logits), p))


def min_p(logits: list[float], share: float) -> list[float]:
    p = probabilities(logits)
    clear(p.count(max(p)) == logits.count(max(logits)))  # logits so close that only their rounded weights are equal
    clear(all(abs(x - share * max(p)) > MARGIN * max(p) for x in p if x > 0 and x != max(p)))
    return only(logits, {i for i, x in enumerate(p) if x == max(p) or x >= share * max(p)})


def typical(logits: list[float], enough: float) -> list[float]:
    if enough == 1:
        return logits
    p = probabilities(logits)
    here = [i for i, x in enumerate(p) if x > 0]
    odd = {i: abs(-math.log(p[i]) - entropy(p)) for i in here}
    for i in here:
        for j in here:
            clear(logits[i] == logits[j] or abs(odd[i] - odd[j]) > MARGIN)
    # Equal logits have equally odd symbols, up to rounding.
    order = sorted(here, key=lambda i: (min(odd[j] for j in here if logits[j] == logits[i]), i))
    return only(logits, until(p, order, enough))


def top_n_sigma(logits: list[float], n: float) -> list[float]:
    there = [x for x in logits if x > OUT]
    mean = math.fsum(there) / len(there)
    sigma = math.sqrt(math.fsum((x - mean) ** 2 for x in there) / len(there))
    clear(all(abs(x - (max(there) - n * sigma)) > MARGIN for x in there if x != max(there)))
    return [x if x == max(there) or x >= max(there) - n * sigma else OUT for x in logits] if n else logits


def xtc(logits: list[float], probability: float, threshold: float, uniform: float) -> list[float]:
    if uniform >= probability:
        return logits
    p = probabilities(logits)
    clear(all(abs(x - threshold) > MARGIN for x in p))
    above = [i for i in by_probability(logits) if p[i] >= threshold]
    return only(logits, set(range(len(logits))) - set(above[:-1]))


def temperature(logits: list[float], value: float) -> list[float]:
    """Up to a constant, which no probability notices: the largest is 0."""
    best = by_probability(logits)[0]
    if value == 0:
        return [0.0 if i == best else OUT for i in range(len(logits))]
    return [x / value - logits[best] / value for x in logits]


def dynamic_temperature(logits: list[float], low: float, high: float, exponent: float) -> list[float]:
    p = probabilities(logits)
    left = sum(x > OUT for x in logits)
    relative = min(max(entropy(p) / math.log(left), 0.0), 1.0) if left > 1 else 0.0
    return temperature(logits, low + (high - low) * relative**exponent)


def penalties(
    logits: list[float], history: list[int], window: int, repetition: float, presence: float, frequency: float
) -> list[float]:
    out = list(logits)
    recent = history[max(len(history) - window, 0) :]
    for i in set(recent):
        out[i] = out[i] / repetition if out[i] > 0 else out[i] * repetition
        out[i] -= presence + frequency * recent.count(i)
    return out


def dry(
    logits: list[float],
    history: list[int],
    *,
    multiplier: float,
    base: float,
    allowed_length: int,
    window: int,
    breakers: tuple[int, ...] = (),
) -> list[float]:
    """For each symbol: append it, and see how long a repeat that ends just before it there is."""
    out = list(logits)
    h = history[max(len(history) - window, 0) :]
    for symbol in range(len(logits)):
        longest = 0
        for place, follower in enumerate(h):
            if follower != symbol:
                continue
            n = 0
            while n < place and h[place - 1 - n] == h[len(h) - 1 - n] and h[len(h) - 1 - n] not in breakers:
                n += 1
            longest = max(longest, n)
        if longest >= allowed_length and symbol not in breakers:
            out[symbol] -= multiplier * base ** (longest - allowed_length)
    return out


def mirostat(logits: list[float], bound: float) -> list[float]:
    p = probabilities(logits)
    clear(all(abs(-math.log2(x) - bound) > MARGIN for x in p if x > 0 and x != max(p)))
    clear(all(max(p) - x > MARGIN for x in p if x != max(p)))  # which is the largest: a bound below it keeps only that
    return [y if x == max(p) or (x > 0 and -math.log2(x) <= bound) else OUT for x, y in zip(p, logits, strict=True)]
