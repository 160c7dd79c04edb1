"""Optimisers: a few lines each over the flat parameter vector.

An optimiser owns its moments (vectors of the parameters' size, by name, so that checkpoints can save them) and updates
the parameters in place, block by block: a block and its temporaries stay in cache, which halves the time of a pass
over a million parameters. If a network has compiled kernels, `charrnn.nn.compiled.updates` may do the same in one pass,
bit for bit. Weight decay is decoupled for `adamw` (Loshchilov and Hutter 2019) and `muon`, and an L2 term of the
gradient for the others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from typing import ClassVar

import numpy as np

from charrnn.nn.params import Array

BLOCK = 1 << 15


def blocks(size: int) -> Iterator[slice]:
    """A vector of this size in pieces."""
    return (slice(start, min(start + BLOCK, size)) for start in range(0, size, BLOCK))


@dataclass(frozen=True)
class OptimizerOptions:
    """Constants of all optimisers; each uses the ones its formula names."""

    momentum: float = 0.9
    nesterov: bool = False
    beta1: float = 0.9
    beta2: float = 0.99
    rho: float = 0.95
    epsilon: float = 1e-8
    weight_decay: float = 0.0

    @classmethod
    def of(cls, settings: object) -> OptimizerOptions:
        """Take each option from the attribute of `settings` with the same name."""
        return cls(**{field.name: getattr(settings, field.name) for field in fields(cls)})


class Optimizer:
    """Base class: blocks, moments, weight decay. A subclass names its moments and updates one block.

    Args:
        size: number of parameters.
        dtype: of the parameters.
        options: see `OptimizerOptions`.

    Attributes:
        compiled: replaces the work of `step`, with the same arguments; None to use NumPy.
    """

    name: ClassVar[str]
    moment_names: ClassVar[tuple[str, ...]] = ()
    decoupled_decay: ClassVar[bool] = False

    def __init__(self, size: int, dtype: np.dtype[np.floating], options: OptimizerOptions | None = None) -> None:
        self.options = options or OptimizerOptions()
        self.moments: dict[str, Array] = {name: np.zeros(size, dtype) for name in self.moment_names}
        self.steps_done = 0
        self.compiled: Callable[[Optimizer, Array, Array, float, float], None] | None = None
        self._scratch = np.empty(min(size, BLOCK), dtype)

    def step(self, params: Array, grad: Array, learning_rate: float, scale: float = 1.0) -> None:
        """One update of `params` (N,) in place by the gradient `scale` times `grad` (N,), which may be overwritten."""
        self.steps_done += 1
        if self.compiled is not None:
            self.compiled(self, params, grad, learning_rate, scale)
            return
        decay = self.options.weight_decay
        for block in blocks(params.size):
            p, g = params[block], grad[block]
            scratch = self._scratch[: p.size]
            if scale != 1.0:
                g *= g.dtype.type(scale)
            if decay and self.decoupled_decay:
                p *= p.dtype.type(1.0 - learning_rate * decay)
            elif decay:
                np.multiply(p, decay, out=scratch)
                g += scratch
            self.update(p, g, learning_rate, {k: m[block] for k, m in self.moments.items()}, scratch)

    def update(self, p: Array, g: Array, rate: float, moments: dict[str, Array], scratch: Array) -> None:
        """Change the block `p` in place given its gradient `g`; `scratch` has its size."""
        raise NotImplementedError


class SGD(Optimizer):
    """Gradient descent with momentum, v = μ v + g, p -= rate v; Nesterov looks ahead: p -= rate (g + μ v).

    Source: Sutskever et al. (2013), equations 1-4, in the form where the rate multiplies v.
    """

    name = "sgd"
    moment_names = ("velocity",)

    def update(self, p: Array, g: Array, rate: float, moments: dict[str, Array], scratch: Array) -> None:
        """See the class."""
        v, mu = moments["velocity"], self.options.momentum
        v *= mu
        v += g
        if self.options.nesterov:
            np.multiply(v, mu, out=scratch)
            scratch += g
            scratch *= rate
        else:
            np.multiply(v, rate, out=scratch)
        p -= scratch


class Adagrad(Optimizer):
    """s += g², p -= rate g / (sqrt(s) + ε). Source: Duchi, Hazan and Singer (2011), diagonal form."""

    name = "adagrad"
    moment_names = ("square_sum",)

    def update(self, p: Array, g: Array, rate: float, moments: dict[str, Array], scratch: Array) -> None:
        """See the class."""
        s = moments["square_sum"]
        np.multiply(g, g, out=scratch)
        s += scratch
        np.sqrt(s, out=scratch)
        scratch += self.options.epsilon
        np.divide(g, scratch, out=scratch)
        scratch *= rate
        p -= scratch


class RMSprop(Optimizer):
    """s = ρ s + (1-ρ) g², p -= rate g / (sqrt(s) + ε). Source: Tieleman and Hinton (2012), lecture 6.5."""

    name = "rmsprop"
    moment_names = ("square_mean",)

    def update(self, p: Array, g: Array, rate: float, moments: dict[str, Array], scratch: Array) -> None:
        """See the class."""
        s, rho = moments["square_mean"], self.options.rho
        np.multiply(g, g, out=scratch)
        scratch *= 1.0 - rho
        s *= rho
        s += scratch
        np.sqrt(s, out=scratch)
        scratch += self.options.epsilon
        np.divide(g, scratch, out=scratch)
        scratch *= rate
        p -= scratch


class Adam(Optimizer):
    """m = β1 m + (1-β1) g, v = β2 v + (1-β2) g², p -= rate m̂ / (sqrt(v̂) + ε), m̂ and v̂ corrected for their start at 0.

    Source: Kingma and Ba (2015), algorithm 1.
    """

    name = "adam"
    moment_names = ("mean", "square_mean")

    def corrected(self, rate: float) -> tuple[float, float]:
        """The ε and the rate of a step, with the bias corrections of the moments included.

        sqrt(v̂) + ε = (sqrt(v) + ε sqrt(c2)) / sqrt(c2) with c2 = 1 - β2^t.
        """
        root = (1.0 - self.options.beta2**self.steps_done) ** 0.5
        return self.options.epsilon * root, rate * root / (1.0 - self.options.beta1**self.steps_done)

    def update(self, p: Array, g: Array, rate: float, moments: dict[str, Array], scratch: Array) -> None:
        """See the class."""
        m, v, o = moments["mean"], moments["square_mean"], self.options
        epsilon, rate = self.corrected(rate)
        np.multiply(g, 1.0 - o.beta1, out=scratch)
        m *= o.beta1
        m += scratch
        np.multiply(g, g, out=scratch)
        scratch *= 1.0 - o.beta2
        v *= o.beta2
        v += scratch
        np.sqrt(v, out=scratch)
        scratch += epsilon
        np.divide(m, scratch, out=scratch)
        scratch *= rate
        p -= scratch


class AdamW(Adam):
    """Adam with weight decay applied to the parameters directly: p -= rate λ p (Loshchilov and Hutter 2019)."""

    name = "adamw"
    decoupled_decay = True
