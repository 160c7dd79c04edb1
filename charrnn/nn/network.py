"""The network: recurrent layers and a softmax head over one flat parameter vector.

It knows ids, windows and states, but no texts, files or settings.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from charrnn.nn.buffers import Arena, Workspace
from charrnn.nn.cells import CELLS, RecurrentCell
from charrnn.nn.compiled import make_engine
from charrnn.nn.dropout import DropoutKey, Dropping, fill_mask, weight_mask
from charrnn.nn.embedding import Embedding
from charrnn.nn.head import SoftmaxHead, check_targets
from charrnn.nn.params import Array, FlatParams, IntArray, Shapes

if TYPE_CHECKING:
    from charrnn.nn.compiled.engine import Engine

State = list[Array]


class CharRNN:
    """A character-level recurrent network.

    Args:
        vocab_size: V, number of symbols.
        cell: a key of `charrnn.nn.cells.CELLS`.
        hidden_size: H.
        num_layers: L.
        dropout: share of the states dropped between layers and before the head, in training.
        variational_dropout: drop the same states at all steps of a window.
        embedding_size: E, numbers per symbol; 0 feeds symbols to the first layer directly.
        tie_weights: use the head's weights as the embedding's table, so that E is H.
        weight_dropout: share of the recurrent weights dropped in training, drawn again for each window.
        dtype: float32; float64 to check gradients.
        params: storage to use (shared memory, say); zeros if omitted, to be filled by `init`.
        fuse_one_hot: see `RecurrentCell`.

    Example:
        >>> model = CharRNN(vocab_size=65, cell="gru", hidden_size=32)
        >>> model.init(np.random.default_rng(0))
        >>> ids = np.zeros((8, 4), dtype=np.intp)
        >>> nats = model.loss_and_grad(ids, ids, model.zero_state(4))
    """

    def __init__(
        self,
        vocab_size: int,
        *,
        cell: str = "lstm",
        hidden_size: int = 256,
        num_layers: int = 1,
        dropout: float = 0.0,
        variational_dropout: bool = False,
        weight_dropout: float = 0.0,
        embedding_size: int = 0,
        tie_weights: bool = False,
        dtype: npt.DTypeLike = np.float32,
        params: FlatParams | None = None,
        fuse_one_hot: bool | None = None,
    ) -> None:
        self.vocab_size, self.hidden_size, self.num_layers = vocab_size, hidden_size, num_layers
        self.cell_name, self.dropout = cell, dropout
        self.variational_dropout, self.weight_dropout = variational_dropout, weight_dropout
        shapes = self.param_shapes(
            vocab_size, cell=cell, hidden_size=hidden_size, num_layers=num_layers, embedding_size=embedding_size,
            tie_weights=tie_weights,
        )  # fmt: skip
        self.params = params if params is not None else FlatParams(shapes, dtype)
        self.dtype = self.params.dtype
        self._table = "head.weight" if tie_weights else "embedding.weight"
        self.embedding: Embedding | None = None
        if embedding_size:
            self.embedding = Embedding(self.params["layers.0.weight_ih"], self.params[self._table])
        self.layers: list[RecurrentCell] = [
            CELLS[cell](
                self.layer_params(index),
                input_size=hidden_size if index else vocab_size,
                hidden_size=hidden_size,
                symbols=index == 0,
                fuse_one_hot=fuse_one_hot,
            )
            for index in range(num_layers)
        ]
        self.head = SoftmaxHead(self.params.under("head"))
        self.engine: Engine | None = None
        self._grads: FlatParams | None = None
        self.state_grads: State = []
        self._arena = Arena(self.dtype, on_growth=self._forget_workspaces)
        self._workspaces: dict[tuple[int, int], list[Workspace]] = {}

    def use_compiled(self, *, threads: int = 1) -> None:
        """Run windows and steps on compiled kernels, which split the columns among threads; see `charrnn.nn.compiled`.

        Raises:
            ValueError: they cannot be used.
        """
        each = [layer.params for layer in self.layers]
        self.engine = make_engine(self.cell_name, each, self.head.params, threads=threads)

    @staticmethod
    def param_shapes(
        vocab_size: int,
        *,
        cell: str,
        hidden_size: int,
        num_layers: int,
        embedding_size: int = 0,
        tie_weights: bool = False,
    ) -> Shapes:
        """Name -> shape of every parameter, in storage order: `layers.0.weight_ih`, ..., `head.bias`.

        Raises:
            ValueError: tie_weights, but the embedding's size is not the hidden size.
        """
        if tie_weights and embedding_size != hidden_size:
            raise ValueError(f"a tied embedding has {hidden_size} numbers per symbol, not {embedding_size}")
        shapes: Shapes = (
            {"embedding.weight": (vocab_size, embedding_size)} if embedding_size and not tie_weights else {}
        )
        for index in range(num_layers):
            size = hidden_size if index else embedding_size or vocab_size
            layer = CELLS[cell].param_shapes(size, hidden_size)
            shapes |= {f"layers.{index}.{name}": shape for name, shape in layer.items()}
        return shapes | {f"head.{k}": shape for k, shape in SoftmaxHead.param_shapes(vocab_size, hidden_size).items()}

    def layer_params(self, index: int) -> dict[str, Array]:
        """The parameters that a layer uses; with an embedding, the first layer's input weights are the product."""
        params = self.params.under(f"layers.{index}")
        if index == 0 and self.embedding is not None:
            params["weight_ih"] = self.embedding.product
        return params

    def input_weights(self) -> Array:
        """(G*H, V): column v is what symbol v adds to the first layer's pre-activations."""
        if self.embedding is not None:
            self.embedding.refresh()
        return self.layer_params(0)["weight_ih"]

    def _layer_grads(self, index: int) -> dict[str, Array]:
        grads = self.grads.under(f"layers.{index}")
        if index == 0 and self.embedding is not None:
            grads["weight_ih"] = self.embedding.gradient
        return grads

    @property
    def grads(self) -> FlatParams:
        """Gradients of the last window, with the parameters' names and shapes."""
        if self._grads is None:
            self._grads = self.params.like()
        return self._grads

    @grads.setter
    def grads(self, grads: FlatParams) -> None:
        self._grads = grads

    def init(self, rng: np.random.Generator, *, forget_bias: float = 1.0) -> None:
        """Fill all parameters in place."""
        for layer in self.layers:
            layer.init(rng, forget_bias=forget_bias)
        self.head.init(rng)
        if self.embedding is not None:
            own = self._table == "embedding.weight"
            self.embedding.init(rng, fan=self.hidden_size, own_table=own)

    def zero_state(self, columns: int) -> State:
        """One (S, H, B) array of zeros per layer; index 0 is h, index 1 the LSTM's c."""
        return [np.zeros((len(c.state_names), c.hidden_size, columns), self.dtype) for c in self.layers]

    def loss(
        self, inputs: IntArray, targets: IntArray, state: State, *, resets: IntArray | None = None, refresh: bool = True
    ) -> Array:
        """(T, B) nats of each target of a window, without dropout.

        Args:
            inputs: (T, B) ids.
            targets: (T, B) ids, the symbols that follow.
            state: see `zero_state`; overwritten with the state after the window.
            resets: (R, 2) pairs (t, b) before which the state is zero, sorted by t.
            refresh: False if the parameters have not changed since the last call.
        """
        check_targets(inputs, targets)
        if refresh:
            self.refresh(backward=False)
        if self.engine is not None:
            return self.engine.loss(inputs, targets, state, resets=resets)
        return self.head.loss(self._forward(inputs, state, None, resets), targets)

    def advance(self, inputs: IntArray, state: State, *, resets: IntArray | None = None) -> None:
        """Advance the state over a window, computing no loss; uses the parameters of the last refresh, see `loss`."""
        if self.engine is not None:
            self.engine.loss(inputs, inputs, state, resets=resets)
        else:
            self._forward(inputs, state, None, resets)

    def loss_and_grad(
        self,
        inputs: IntArray,
        targets: IntArray,
        state: State,
        *,
        dropout_key: DropoutKey | None = None,
        resets: IntArray | None = None,
        scale: float | None = None,
    ) -> float:
        """Sum of nats of a window; `grads` is overwritten with the gradient of the mean.

        Backpropagation is truncated at the window's start (Williams and Peng 1990); `state_grads` keeps the rest.

        Args:
            inputs: (T, B) ids.
            targets: (T, B) ids, the symbols that follow.
            state: see `zero_state`; overwritten with the state after the window.
            dropout_key: determines the masks; None for no dropout.
            resets: (R, 2) pairs (t, b) before which the state is zero, sorted by t.
            scale: gradients are of `scale` times the sum; 1/(T*B) if omitted.
        """
        check_targets(inputs, targets)
        weight_masks = self._weight_masks(dropout_key)
        self.refresh(backward=True, weight_masks=weight_masks)
        scale = 1.0 / inputs.size if scale is None else scale
        if self.engine is None:
            nats = self._run_layers(inputs, targets, state, dropout_key, resets, scale)
        else:
            key = dropout_key if self.dropout else None
            dropping = None if key is None else Dropping(self.dropout, self.variational_dropout, key)
            nats, self.state_grads = self.engine.loss_and_grad(
                inputs, targets, state, resets=resets, scale=scale, dropping=dropping,
                grads=[*map(self._layer_grads, range(self.num_layers)), self.grads.under("head")],
            )  # fmt: skip
        for index, mask in enumerate(weight_masks):
            d_weight = self.grads[f"layers.{index}.weight_hh"]
            d_weight *= mask
        self._embedding_gradient()
        return nats

    def _run_layers(
        self, inputs: IntArray, targets: IntArray, state: State, dropout_key: DropoutKey | None,
        resets: IntArray | None, scale: float,
    ) -> float:  # fmt: skip
        top = self._forward(inputs, state, dropout_key, resets)
        workspaces = self._workspaces[inputs.shape]
        dh = self._arena.view("dh_window", (self.hidden_size, *inputs.shape))
        nats = self.head.loss_and_grad(top, targets, self.grads.under("head"), dh=dh, scale=scale)
        dropping = self._drops(dropout_key)
        self.state_grads = []
        for index in reversed(range(self.num_layers)):
            ws = workspaces[index]
            if dropping:
                np.multiply(dh, ws["mask"], out=dh)
            below = self._output(workspaces[index - 1], dropping) if index else inputs
            gradient = self.layers[index].backward(
                dh, ws, self._layer_grads(index), x=below, dx=dh if index else None, resets=resets
            )
            self.state_grads.insert(0, gradient)
        return nats

    def trace(self, inputs: IntArray, state: State) -> tuple[list[dict[str, Array]], Array]:
        """The network's states and gates over a window, without dropout.

        Args:
            inputs: (T, B) ids.
            state: see `zero_state`; overwritten with the state after the window.

        Returns:
            For each layer, name -> (T, H, B) copies of its states and gates; and the (T, V, B) log-probabilities (nats)
            of the next symbol.
        """
        self._refresh_layers(backward=False)
        T, B = inputs.shape
        if inputs.dtype != np.intp:
            inputs = inputs.astype(np.intp)
        layers: list[dict[str, Array]] = []
        x: Any = inputs
        for layer, ws, values in zip(self.layers, self._windows(T, B, dropping=False), state, strict=True):
            x = layer.forward(x, values, ws)  # one layer after the other, as they share buffers
            layers.append({name: a.copy() for name, a in layer.activations(ws).items()})
        logits = self.head.logits(x).transpose(1, 0, 2)
        logits = logits - logits.max(axis=1, keepdims=True)
        log_p: Array = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
        return layers, log_p

    def state_gradient_norms(self, inputs: IntArray, targets: IntArray, state: State) -> Array:
        """How much the loss at the end of a window depends on the state before each of its steps.

        Args:
            inputs: (T, B) ids.
            targets: (B,) ids that follow the last step.
            state: before the window; overwritten with the state after it.

        Returns:
            (T, B) Euclidean norms of the gradient of the nats of `targets` with respect to the states (of all layers)
            before each step. `grads` is overwritten with the gradient of the sum of the nats.
        """
        self._refresh_layers(backward=True)
        top = self._forward(inputs, state, None, None)
        T, B = inputs.shape
        workspaces = self._workspaces[(T, B)]
        dh = self._arena.view("dh_window", (self.hidden_size, T, B))
        dh[...] = 0.0
        self.head.loss_and_grad(top[:, T - 1 :], targets[None], self.grads.under("head"), dh=dh[:, T - 1 :], scale=1.0)
        squares = np.zeros((T, B))  # float64: the square of what vanished is often too small for float32
        for index in reversed(range(self.num_layers)):
            below = self._output(workspaces[index - 1], False) if index else inputs
            self.layers[index].backward(
                dh, workspaces[index], self._layer_grads(index), x=below, dx=dh if index else None, squares=squares
            )
        self._embedding_gradient()
        norms: Array = np.sqrt(squares)
        return norms

    def refresh(self, *, backward: bool, weight_masks: Sequence[Array] = ()) -> None:
        """Bring all kernels up to date with the parameters; recurrent weights are multiplied by their masks."""
        if self.engine is None:
            self._refresh_layers(backward=backward, weight_masks=weight_masks)
            return
        if self.embedding is not None:
            self.embedding.refresh()
        dropped = [layer.params["weight_hh"] * mask for layer, mask in zip(self.layers, weight_masks, strict=False)]
        self.engine.refresh(backward=backward, recurrent=dropped)

    def _refresh_layers(self, *, backward: bool, weight_masks: Sequence[Array] = ()) -> None:
        if self.embedding is not None:
            self.embedding.refresh()
        for index, layer in enumerate(self.layers):
            dropped = layer.params["weight_hh"] * weight_masks[index] if weight_masks else None
            layer.refresh(backward=backward, w_hh=dropped)
        self.head.refresh(backward=backward)

    def _embedding_gradient(self) -> None:
        if self.embedding is None:
            return
        if self._table == "embedding.weight":  # the head has already filled its own
            self.grads[self._table][...] = 0.0
        self.embedding.backward(self.grads["layers.0.weight_ih"], self.grads[self._table])

    def workspace_bytes(self) -> int:
        """Bytes of all window buffers held."""
        return self._arena.nbytes + (0 if self.engine is None else self.engine.nbytes)

    def _weight_masks(self, key: DropoutKey | None) -> list[Array]:
        if key is None or not self.weight_dropout:
            return []
        shapes = [layer.params["weight_hh"].shape for layer in self.layers]
        return [
            weight_mask((rows, columns), self.dtype, self.weight_dropout, key, index)
            for index, (rows, columns) in enumerate(shapes)
        ]

    def _drops(self, key: DropoutKey | None) -> bool:
        return key is not None and self.dropout > 0.0

    def _output(self, ws: Workspace, dropping: bool) -> Array:
        return ws["dropped"] if dropping else ws["hx"][: self.hidden_size + 1, 1:]

    def _forward(self, inputs: IntArray, state: State, key: DropoutKey | None, resets: IntArray | None) -> Array:
        if inputs.dtype != np.intp:
            inputs = inputs.astype(np.intp)
        H, dropping = self.hidden_size, self._drops(key)
        workspaces = self._windows(*inputs.shape, dropping=dropping)
        x: Any = inputs
        for index, (layer, ws) in enumerate(zip(self.layers, workspaces, strict=True)):
            x = layer.forward(x, state[index], ws, resets=resets)
            if dropping and key is not None:
                fill_mask(ws["mask"], self.dropout, key, index, variational=self.variational_dropout)
                np.multiply(x[:H], ws["mask"], out=ws["dropped"][:H])
                ws["dropped"][H] = 1.0
                x = ws["dropped"]
        top: Array = x
        return top

    def _forget_workspaces(self) -> None:
        self._workspaces.clear()

    def _windows(self, time_steps: int, columns: int, *, dropping: bool) -> Sequence[Workspace]:
        key = (time_steps, columns)
        if key not in self._workspaces or (dropping and "mask" not in self._workspaces[key][0]):
            self._workspaces.pop(key, None)
            # Twice, because a buffer that grows makes earlier views stale.
            for _ in range(2):
                made = [self._make_workspace(index, time_steps, columns, dropping) for index in range(self.num_layers)]
            self._workspaces[key] = made
        return self._workspaces[key]

    def _make_workspace(self, index: int, time_steps: int, columns: int, dropping: bool) -> Workspace:
        layer, H = self.layers[index], self.hidden_size
        own = layer.own_shapes(time_steps, columns)
        if dropping:
            own |= {"mask": (H, time_steps, columns), "dropped": (H + 1, time_steps, columns)}
        arrays = {name: self._arena.view(f"layers.{index}.{name}", shape) for name, shape in own.items()}
        for name, shape in layer.shared_shapes(time_steps, columns).items():
            arrays[name] = self._arena.view(f"shared.{name}", shape)
        return Workspace(arrays, time_steps, columns)
