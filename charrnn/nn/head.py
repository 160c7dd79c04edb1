"""The output layer: softmax cross-entropy over the symbols.

    logits = W h + b        p = softmax(logits)        loss = -ln p[target]        dlogits = p - onehot(target)

A window is processed in pieces of a few time steps, so that a vocabulary of 100,000 symbols does not need
V*T*B numbers at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, MutableMapping

import numpy as np
import numpy.typing as npt

from charrnn.nn.buffers import flatten_time
from charrnn.nn.init import uniform_
from charrnn.nn.params import Array, IntArray, Shapes

_PIECE = 1 << 18  # logits at once


def check_targets(inputs: IntArray, targets: IntArray) -> None:
    """Each input has one target.

    Raises:
        ValueError: other shapes.
    """
    if inputs.shape != targets.shape:
        raise ValueError(f"targets of shape {targets.shape} for inputs of shape {inputs.shape}")


class SoftmaxHead:
    """Linear layer and cross-entropy.

    Args:
        params: `weight` (V, H) and `bias` (V,), read at every `refresh`.
    """

    def __init__(self, params: Mapping[str, Array]) -> None:
        self.params = params
        self.vocab_size, self.hidden_size = params["weight"].shape
        dtype = params["weight"].dtype
        self.fused = np.empty((self.vocab_size, self.hidden_size + 1), dtype)
        self.d_fused = np.empty_like(self.fused)
        self.w_back = np.empty((self.hidden_size, self.vocab_size), dtype)
        self._logits = np.empty(0, dtype)

    @staticmethod
    def param_shapes(vocab_size: int, hidden_size: int) -> Shapes:
        """Name -> shape."""
        return {"weight": (vocab_size, hidden_size), "bias": (vocab_size,)}

    def init(self, rng: np.random.Generator) -> None:
        """Uniform weights, zero bias: the first predictions are nearly uniform over the symbols."""
        uniform_(self.params["weight"], rng, fan=self.hidden_size)
        self.params["bias"][...] = 0.0

    def refresh(self, *, backward: bool) -> None:
        """Bring the kernels up to date with the parameters; once per window."""
        self.fused[:, :-1] = self.params["weight"]
        self.fused[:, -1] = self.params["bias"]
        if backward:
            self.w_back[...] = self.params["weight"].T

    def logits(self, h: Array) -> Array:
        """(H+1, T, B) states, last row ones -> (V, T, B) unnormalised log-probabilities, newly allocated."""
        return (self.fused @ flatten_time(h)).reshape(self.vocab_size, *h.shape[1:])

    def loss(self, h: Array, targets: IntArray) -> Array:
        """(H+1, T, B) states, last row ones, and (T, B) ids -> (T, B) nats of each target."""
        nats = np.empty(targets.shape, h.dtype)
        for piece, logits in self._pieces(h):
            flat = np.ravel(targets[piece])
            nats[piece] = _softmax_in_place(logits, flat)[0].reshape(-1, targets.shape[1])
        return nats

    def loss_and_grad(
        self, h: Array, targets: IntArray, grads: MutableMapping[str, Array], *, dh: Array, scale: float
    ) -> float:
        """Cross-entropy and its gradients.

        Args:
            h: (H+1, T, B) states, last row ones.
            targets: (T, B) ids.
            grads: `weight` and `bias`, overwritten.
            dh: (H, T, B), overwritten with the gradient of the states.
            scale: the gradients are those of `scale` times the sum of nats (1/(T*B) for the mean).

        Returns:
            The sum of nats over the window, unscaled.
        """
        total = 0.0
        scale_ = h.dtype.type(scale)
        for number, (piece, logits) in enumerate(self._pieces(h)):
            flat = np.ravel(targets[piece])
            nats, sums = _softmax_in_place(logits, flat)
            total += float(nats.sum(dtype=np.float64))
            np.divide(scale_, sums, out=sums)
            np.multiply(logits, sums, out=logits)
            logits[flat, np.arange(flat.size)] -= scale_
            states = flatten_time(h[:, piece])
            if number == 0:
                np.matmul(logits, states.T, out=self.d_fused)
            else:
                self.d_fused += logits @ states.T
            np.matmul(self.w_back, logits, out=flatten_time(dh[:, piece]))
        grads["weight"][...] = self.d_fused[:, :-1]
        grads["bias"][...] = self.d_fused[:, -1]
        return total

    def _pieces(self, h: Array) -> Iterator[tuple[slice, Array]]:
        _, time_steps, columns = h.shape
        steps = max(1, min(time_steps, _PIECE // (self.vocab_size * columns)))
        if self._logits.size < self.vocab_size * steps * columns:
            self._logits = np.empty(self.vocab_size * steps * columns, h.dtype)
        for start in range(0, time_steps, steps):
            piece = slice(start, min(start + steps, time_steps))
            count = (piece.stop - start) * columns
            logits = self._logits[: self.vocab_size * count].reshape(self.vocab_size, count)
            np.matmul(self.fused, flatten_time(h[:, piece]), out=logits)
            yield piece, logits


def _softmax_in_place(logits: Array, targets: IntArray) -> tuple[Array, Array]:
    """Turn (V, N) logits into exp(logit - max); return the (N,) nats of the targets and the (N,) sums."""
    logits -= logits.max(axis=0)
    picked = logits[targets, np.arange(targets.size)]
    np.exp(logits, out=logits)
    sums = logits.sum(axis=0)
    return np.log(sums) - picked, sums


def log_softmax(logits: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    """(V, N) logits -> log-probabilities, nats."""
    x = logits.astype(np.float64)
    x -= x.max(axis=0)
    out: npt.NDArray[np.float64] = x - np.log(np.exp(x).sum(axis=0))
    return out
