"""The equations that a cell declares are those that its code computes; the reference cells are those of the package."""

from __future__ import annotations

import ast

import numpy as np
import pytest

from charrnn.nn.cells import CELLS
from charrnn.nn.cells import reference as plain
from charrnn.nn.cells.equations import parse, translate
from charrnn.nn.gradcheck import numerical_gradient, relative_error
from tests.strategies import make_case


class Numbers:
    """Writes an expression as its value."""

    def __init__(self, values: dict[str, np.ndarray]) -> None:
        self.values = values

    def name(self, name: str) -> np.ndarray:
        return self.values[name]

    def number(self, value: float) -> np.ndarray:
        return np.float64(value)

    def binary(self, operator: str, left: np.ndarray, right: np.ndarray) -> np.ndarray:
        return {"+": np.add, "-": np.subtract, "*": np.multiply}[operator](left, right)

    def call(self, function: str, argument: np.ndarray) -> np.ndarray:
        return np.tanh(argument) if function == "tanh" else plain.sigmoid(argument)


@pytest.mark.parametrize("name", plain.STEPS)
def test_the_equations_are_the_reference_cell(name: str) -> None:
    cell, rng = CELLS[name], np.random.default_rng(0)
    p = {key: rng.normal(size=shape) for key, shape in cell.param_shapes(5, 4).items()}
    x, state = rng.normal(size=(5, 3)), tuple(rng.normal(size=(len(cell.state_names), 4, 3)))
    from_input = np.split(p["weight_ih"] @ x + p["bias"][:, None], len(cell.gates))
    from_state = np.split(p["weight_hh"] @ state[0], len(cell.gates))
    values = dict(zip(cell.state_names, state, strict=True))
    for gate, own, recurrent in zip(cell.gates, from_input, from_state, strict=True):
        if gate in cell.recurrent_biases:
            recurrent = recurrent + p[cell.recurrent_biases[gate]][:, None]
        values |= {f"x_{gate}": own, f"u_{gate}": recurrent, f"a_{gate}": own + recurrent}
    for target, expression in parse(cell.equations):
        values[target] = translate(expression, Numbers(values))
    expected, _ = plain.STEPS[name][0](p, x, state)
    for key, array in zip(cell.state_names, expected, strict=True):
        np.testing.assert_allclose(values[key], array, rtol=1e-12)


@pytest.mark.parametrize("name", plain.STEPS)
def test_the_reference_goes_back_as_central_differences_say(name: str) -> None:
    case = make_case(name, T=5, B=3, H=4, L=2)
    params = {key: values.copy() for key, values in case.model.params.items()}

    def loss() -> float:
        nats, *_ = plain.loss_and_grad(name, 2, params, case.inputs, case.targets, case.state)
        return nats / case.inputs.size

    _, grads, _, dstates = plain.loss_and_grad(name, 2, params, case.inputs, case.targets, case.state)
    values = params | {f"state.{k}": s for k, s in enumerate(case.state)}
    for key, gradient in (grads | {f"state.{k}": d for k, d in enumerate(dstates)}).items():
        tried = np.random.default_rng(0).choice(gradient.size, min(6, gradient.size), replace=False)
        error = relative_error(gradient.reshape(-1)[tried], numerical_gradient(loss, values[key], tried))
        assert error < 1e-6, (key, error)


@pytest.mark.parametrize("equation", ["h", "h = a / b", "h = abs(a)", "h = tanh(a, b)", "h = 'a'", "h += a"])
def test_what_is_no_equation_is_refused(equation: str) -> None:
    def read() -> None:
        for _, expression in parse([equation]):
            translate(expression, Numbers({"a": np.ones(1), "b": np.ones(1)}))

    with pytest.raises(ValueError, match="not"):
        read()
    assert isinstance(parse(["h = a"])[0][1], ast.Name)


def test_a_number_stands_for_itself() -> None:
    assert translate(ast.parse("2", mode="eval").body, Numbers({})) == 2.0
