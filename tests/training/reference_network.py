"""The network and its gradient as a textbook has them: float64, gate by gate, one step at a time.

Nothing of the package is imported. A window is (T, B) ids; a state (H, B); parameters are looked up by their names.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np

Arrays = dict[str, np.ndarray]
GATES = {"rnn": "h", "lstm": "ifgo", "gru": "rzn", "milstm": "ifgo"}  # in the order of their rows in the stored weights


def sigmoid(a: np.ndarray) -> np.ndarray:
    return 1.0 / (1.0 + np.exp(-a))


@dataclass
class Layer:
    """One recurrent layer: weights per gate, and what each step of the last window did."""

    cell: str
    W: Arrays
    U: Arrays
    b: Arrays
    b_hn: np.ndarray | None = None
    steps: list[Arrays] = field(default_factory=list)

    @classmethod
    def of(cls, cell: str, params: Mapping[str, np.ndarray], index: int, mask: np.ndarray | None) -> Layer:
        """Layer `index` of the parameters, its recurrent weights times `mask`."""
        stored = {name: params[f"layers.{index}.{name}"] for name in ("weight_ih", "weight_hh", "bias")}
        if mask is not None:
            stored["weight_hh"] = stored["weight_hh"] * mask
        H = stored["weight_hh"].shape[1]
        W, U, b = ({g: a[n * H : (n + 1) * H] for n, g in enumerate(GATES[cell])} for a in stored.values())
        return cls(cell, W, U, b, params.get(f"layers.{index}.bias_hn"))

    def forward(self, x: np.ndarray, state: np.ndarray, resets: set[tuple[int, int]]) -> np.ndarray:
        """(T, K, B) inputs -> (T, H, B) hidden states; the (S, H, B) state moves on in place."""
        self.steps, h_all = [], []
        for t, x_t in enumerate(x):
            state[:, :, [column for column in range(x.shape[2]) if (t, column) in resets]] = 0.0
            step = {"x": x_t, "h_prev": state[0].copy()}
            getattr(self, f"_{self.cell}")(step, state)
            self.steps.append(step)
            h_all.append(step["h"])
        return np.stack(h_all)

    def backward(self, dh: np.ndarray, resets: set[tuple[int, int]]) -> tuple[np.ndarray, Arrays, np.ndarray]:
        """(T, H, B) gradient of the hidden states -> that of inputs, parameters and the state before the window."""
        names, (_, H, B) = GATES[self.cell], dh.shape
        dW, dU, db = ({g: np.zeros_like(p[g]) for g in names} for p in (self.W, self.U, self.b))
        db_hn, dx = np.zeros(H), np.zeros((len(dh), *self.steps[0]["x"].shape))
        dh_next, dc_next = np.zeros((H, B)), np.zeros((H, B))
        for t in reversed(range(len(dh))):
            step = self.steps[t]
            # Gradient of the pre-activations, of what the recurrent weights made of them, and of h and c directly.
            da, rec, dh_next, dc_next = getattr(self, f"_{self.cell}_back")(step, dh[t] + dh_next, dc_next)
            for g in names:
                dW[g] += da[g] @ step["x"].T
                dU[g] += rec[g] @ step["h_prev"].T
                db[g] += da[g].sum(axis=1)
                dx[t] += self.W[g].T @ da[g]
                dh_next = dh_next + self.U[g].T @ rec[g]
            if self.b_hn is not None:
                db_hn += rec["n"].sum(axis=1)
            begun = [column for column in range(B) if (t, column) in resets]
            dh_next[:, begun], dc_next[:, begun] = 0.0, 0.0
        grads = {
            name: np.concatenate([d[g] for g in names])
            for name, d in (("weight_ih", dW), ("weight_hh", dU), ("bias", db))
        }
        if self.b_hn is not None:
            grads["bias_hn"] = db_hn
        return dx, grads, np.stack((dh_next, dc_next) if "lstm" in self.cell else (dh_next,))

    def _a(self, gate: str, step: Arrays) -> np.ndarray:
        return self.W[gate] @ step["x"] + self.b[gate][:, None] + self.U[gate] @ step["h_prev"]

    def _rnn(self, step: Arrays, state: np.ndarray) -> None:
        state[0] = step["h"] = np.tanh(self._a("h", step))

    def _rnn_back(self, s: Arrays, dh: np.ndarray, dc: np.ndarray) -> tuple[Arrays, Arrays, np.ndarray, np.ndarray]:
        da = {"h": dh * (1.0 - s["h"] ** 2)}
        return da, da, np.zeros_like(dh), dc

    def _lstm(self, step: Arrays, state: np.ndarray) -> None:
        step |= {g: sigmoid(self._a(g, step)) for g in "ifo"}
        step |= {"g": np.tanh(self._a("g", step)), "c_prev": state[1].copy()}
        state[1] = step["c"] = step["f"] * step["c_prev"] + step["i"] * step["g"]
        state[0] = step["h"] = step["o"] * np.tanh(step["c"])

    def _lstm_back(self, s: Arrays, dh: np.ndarray, dc: np.ndarray) -> tuple[Arrays, Arrays, np.ndarray, np.ndarray]:
        dc = dc + dh * s["o"] * (1.0 - np.tanh(s["c"]) ** 2)
        da = {
            "i": dc * s["g"] * s["i"] * (1.0 - s["i"]),
            "f": dc * s["c_prev"] * s["f"] * (1.0 - s["f"]),
            "g": dc * s["i"] * (1.0 - s["g"] ** 2),
            "o": dh * np.tanh(s["c"]) * s["o"] * (1.0 - s["o"]),
        }
        return da, da, np.zeros_like(dh), dc * s["f"]

    def _milstm(self, step: Arrays, state: np.ndarray) -> None:
        x = {g: self.W[g] @ step["x"] + self.b[g][:, None] for g in "ifgo"}
        u = {g: self.U[g] @ step["h_prev"] for g in "ifgo"}
        step |= {f"x_{g}": x[g] for g in "ifgo"} | {f"u_{g}": u[g] for g in "ifgo"}
        step |= {g: sigmoid(x[g] + u[g] + x[g] * u[g]) for g in "ifo"}
        step |= {"g": np.tanh(x["g"] + u["g"] + x["g"] * u["g"]), "c_prev": state[1].copy()}
        state[1] = step["c"] = step["f"] * step["c_prev"] + step["i"] * step["g"]
        state[0] = step["h"] = step["o"] * np.tanh(step["c"])

    def _milstm_back(self, s: Arrays, dh: np.ndarray, dc: np.ndarray) -> tuple[Arrays, Arrays, np.ndarray, np.ndarray]:
        da, _, direct, dc = self._lstm_back(s, dh, dc)
        from_x, from_u = ({g: da[g] * (1.0 + s[f"{other}_{g}"]) for g in "ifgo"} for other in "ux")
        return from_x, from_u, direct, dc

    def _gru(self, step: Arrays, state: np.ndarray) -> None:
        assert self.b_hn is not None
        step |= {g: sigmoid(self._a(g, step)) for g in "rz"}
        step["q"] = self.U["n"] @ step["h_prev"] + self.b_hn[:, None]
        step["n"] = np.tanh(self.W["n"] @ step["x"] + self.b["n"][:, None] + step["r"] * step["q"])
        state[0] = step["h"] = (1.0 - step["z"]) * step["n"] + step["z"] * step["h_prev"]

    def _gru_back(self, s: Arrays, dh: np.ndarray, dc: np.ndarray) -> tuple[Arrays, Arrays, np.ndarray, np.ndarray]:
        da = {"n": dh * (1.0 - s["z"]) * (1.0 - s["n"] ** 2)}
        da["r"] = da["n"] * s["q"] * s["r"] * (1.0 - s["r"])
        da["z"] = dh * (s["h_prev"] - s["n"]) * s["z"] * (1.0 - s["z"])
        return da, {**da, "n": da["n"] * s["r"]}, dh * s["z"], dc


@dataclass
class Network:
    """Layers and a softmax.

    Attributes:
        cell, layers: kind and number of the recurrent layers.
        embedding: name of the table of symbols, (V, E); None for one-hot symbols.
        vocab_size: V.
    """

    cell: str
    layers: int
    embedding: str | None
    vocab_size: int

    @property
    def states(self) -> int:
        return 2 if "lstm" in self.cell else 1

    def _symbols(self, params: Mapping[str, np.ndarray], ids: np.ndarray) -> np.ndarray:
        table = np.eye(self.vocab_size) if self.embedding is None else params[self.embedding]
        return table[ids].transpose(0, 2, 1)

    def log_probabilities(self, params: Mapping[str, np.ndarray], top: np.ndarray) -> np.ndarray:
        """(T, H, B) -> (T, V, B)."""
        logits = params["head.weight"] @ top + params["head.bias"][:, None]
        logits = logits - logits.max(axis=1, keepdims=True)
        return logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))

    def predict(
        self, params: Mapping[str, np.ndarray], ids: np.ndarray, state: list[np.ndarray], resets: Iterable = ()
    ) -> np.ndarray:
        """(T, B) ids -> (T, V, B) log-probabilities of the next symbols, without dropout; the state moves on."""
        x = self._symbols(params, ids)
        for k in range(self.layers):
            x = Layer.of(self.cell, params, k, None).forward(x, state[k], set(resets))
        return self.log_probabilities(params, x)

    def loss_and_grad(
        self,
        params: Mapping[str, np.ndarray],
        inputs: np.ndarray,
        targets: np.ndarray,
        state: list[np.ndarray],
        *,
        resets: Iterable[tuple[int, int]] = (),
        unit_masks: list[np.ndarray] | None = None,
        weight_masks: list[np.ndarray] | None = None,
    ) -> tuple[float, Arrays, list[np.ndarray]]:
        """Sum of nats, the gradients of their mean, and that of the states before the window; the state moves on.

        Args:
            params: by name.
            inputs: (T, B) ids.
            targets: (T, B) ids, the symbols that follow.
            state: (S, H, B) a layer.
            resets: (t, b) before which the state is zero.
            unit_masks: (H, T, B) a layer, by which its output is multiplied.
            weight_masks: of the recurrent weights of each layer.
        """
        resets, layers, x = set(resets), [], self._symbols(params, inputs)
        for k in range(self.layers):
            layers.append(Layer.of(self.cell, params, k, weight_masks[k] if weight_masks else None))
            x = layers[k].forward(x, state[k], resets)
            if unit_masks:
                x = x * unit_masks[k].transpose(1, 0, 2)
        log_p, (T, B) = self.log_probabilities(params, x), inputs.shape
        t, b = np.indices((T, B))
        nats = -log_p[t, targets, b].sum()
        d = np.exp(log_p)
        d[t, targets, b] -= 1.0
        d /= T * B
        grads = {"head.weight": np.einsum("tvb,thb->vh", d, x), "head.bias": d.sum(axis=(0, 2))}
        dx, before = np.einsum("vh,tvb->thb", params["head.weight"], d), []
        for k in reversed(range(self.layers)):
            if unit_masks:
                dx = dx * unit_masks[k].transpose(1, 0, 2)
            dx, own, d_state = layers[k].backward(dx, resets)
            if weight_masks:
                own["weight_hh"] = own["weight_hh"] * weight_masks[k]
            grads |= {f"layers.{k}.{name}": g for name, g in own.items()}
            before.insert(0, d_state)
        if self.embedding is not None:
            table = grads.setdefault(self.embedding, np.zeros_like(params[self.embedding]))
            np.add.at(table, inputs, dx.transpose(0, 2, 1))
        return float(nats), grads, before
