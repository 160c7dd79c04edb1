"""A cell's equations as data, from which every export is made.

One equation per line, `name = expression` with numbers, + - * and the functions sigmoid and tanh, unit by unit. The
names:

    x_g    the input's part of gate g's pre-activation, with the bias       (W_ih x + b)_g
    u_g    its recurrent part, with its separate bias if it has one          (W_hh h + b_hg)_g
    a_g    their sum                                                        x_g + u_g
    h, c   a state: the old one before the equation that assigns it, the new one afterwards
"""

from __future__ import annotations

import ast
from collections.abc import Sequence
from typing import Protocol, TypeVar

T = TypeVar("T")
OPERATORS: dict[type[ast.operator], str] = {ast.Add: "+", ast.Sub: "-", ast.Mult: "*"}
FUNCTIONS = ("sigmoid", "tanh")


class Writer(Protocol[T]):
    """Writes expressions in another language; T is what an expression is there."""

    def name(self, name: str) -> T:
        """A gate, a state or a pre-activation."""

    def number(self, value: float) -> T:
        """A constant."""

    def binary(self, operator: str, left: T, right: T) -> T:
        """One of + - *."""

    def call(self, function: str, argument: T) -> T:
        """A sigmoid or a tanh."""


def parse(equations: Sequence[str]) -> list[tuple[str, ast.expr]]:
    """(name, expression) of each equation.

    Raises:
        ValueError: not of the form above.
    """
    out = []
    for equation in equations:
        match ast.parse(equation).body:
            case [ast.Assign(targets=[ast.Name(id=name)], value=value)]:
                out.append((name, value))
            case _:
                raise ValueError(f"not an equation: {equation}")
    return out


def translate(node: ast.expr, writer: Writer[T]) -> T:
    """An expression in a writer's language.

    Raises:
        ValueError: something other than names, numbers, + - *, sigmoid and tanh.
    """
    match node:
        case ast.Name(id=name):
            return writer.name(name)
        case ast.Constant(value=int() | float() as value):
            return writer.number(float(value))
        case ast.BinOp(left=left, op=op, right=right) if type(op) in OPERATORS:
            return writer.binary(OPERATORS[type(op)], translate(left, writer), translate(right, writer))
        case ast.Call(func=ast.Name(id=function), args=[argument]) if function in FUNCTIONS:
            return writer.call(function, translate(argument, writer))
    raise ValueError(f"not in an equation: {ast.unparse(node)}")
