"""The common form of all filters, and the softmax they share."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
History = npt.NDArray[np.intp]
# Dividing by less could overflow, and nothing but the largest logit has any weight long before that.
LOWEST_TEMPERATURE = 1e-290


@dataclass
class StepContext:
    """What a filter may look at next to the logits.

    Attributes:
        history: (M, N) ids read or drawn, the newest last; as many as the filters asked for with `window`, or fewer in
            the beginning.
        uniforms: (N,) numbers in [0, 1), one per stream; new ones at each step.
    """

    history: History
    uniforms: FloatArray


class LogitsFilter:
    """One change of the logits, the same for each of N independent streams.

    The constructor takes the filter's options (see `charrnn.sampling.options`) as keyword arguments. A filter always
    leaves at least one symbol of a stream above minus infinity, if one came in.

    Attributes:
        window: how many of the last symbols it wants to see.
        random: whether it uses `StepContext.uniforms`.
    """

    window: int = 0
    random: bool = False

    def apply(self, logits: FloatArray, context: StepContext) -> None:
        """Change (V, N) logits in place."""
        raise NotImplementedError

    def accept(self, history: History) -> None:
        """Called after history[-1] was read or drawn; override it to keep state."""


def softmax(logits: FloatArray) -> FloatArray:
    """Probabilities over axis 0."""
    weights: FloatArray = np.exp(logits - logits.max(axis=0))
    weights /= weights.sum(axis=0)
    return weights


def surprises(probabilities: FloatArray) -> FloatArray:
    """Minus the natural logarithm, element by element; infinity for what cannot happen."""
    out: FloatArray = np.full(probabilities.shape, np.inf)
    np.log(probabilities, out=out, where=probabilities > 0.0)
    np.negative(out, out=out, where=probabilities > 0.0)
    return out


def entropies(probabilities: FloatArray) -> FloatArray:
    """(V, N) probabilities -> (N,) entropies in nats."""
    parts = np.multiply(
        probabilities, surprises(probabilities), out=np.zeros(probabilities.shape), where=probabilities > 0.0
    )
    total: FloatArray = parts.sum(axis=0)
    return total
