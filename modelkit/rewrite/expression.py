"""Expressions: what to look for and what to put there, written as ordinary Python."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

# Any of several expressions, see ``either``; no ONNX operator has this name.
EITHER = "|"

Operand = Any
"""An Expr, a number, a numpy array (in a replacement), or None for an absent optional input."""


@dataclass(eq=False)
class Expr:
    """An operator applied to operands; without an operator it stands for any value.

    An operator with several outputs is several expressions, one for each ``output``, that have
    the same ``call``.
    """

    op: str = ""
    operands: tuple[Operand, ...] = ()
    attributes: dict[str, Any] = field(default_factory=dict)
    domain: str = ""
    name: str = ""
    is_shared: bool = False
    output: int = 0
    outputs: int = 1
    call: object = field(default_factory=object)

    def named(self, name: str) -> "Expr":
        """The same expression, given to ``when`` and ``after`` as the argument ``name``."""
        return replace(self, name=name)

    def shared(self) -> "Expr":
        """The same expression, which others may read too: its nodes stay if they do."""
        return replace(self, is_shared=True)

    def size(self) -> int:
        """How many operators the expression holds, the largest alternative counted."""
        sizes = [operand.size() for operand in self.operands if isinstance(operand, Expr)]
        if self.op == EITHER:
            return max(sizes)
        return (1 if self.op else 0) + sum(sizes)

    def __add__(self, other: Operand) -> "Expr":
        return Expr("Add", (self, other))

    def __radd__(self, other: Operand) -> "Expr":
        return Expr("Add", (other, self))

    def __mul__(self, other: Operand) -> "Expr":
        return Expr("Mul", (self, other))

    def __rmul__(self, other: Operand) -> "Expr":
        return Expr("Mul", (other, self))

    def __sub__(self, other: Operand) -> "Expr":
        return Expr("Sub", (self, other))

    def __rsub__(self, other: Operand) -> "Expr":
        return Expr("Sub", (other, self))

    def __truediv__(self, other: Operand) -> "Expr":
        return Expr("Div", (self, other))

    def __rtruediv__(self, other: Operand) -> "Expr":
        return Expr("Div", (other, self))

    def __pow__(self, other: Operand) -> "Expr":
        return Expr("Pow", (self, other))

    def __neg__(self) -> "Expr":
        return Expr("Neg", (self,))


class _Operators:
    """``op.Erf(x)`` is the operator Erf applied to x; keywords are attributes."""

    def __getattr__(self, name: str) -> Callable[..., Expr]:
        def make(*operands: Operand, _domain: str = "", **attributes: Any) -> Expr:
            return Expr(name, operands, attributes, _domain)

        return make

    def several(self, outputs: int, first: Expr) -> tuple[Expr, ...]:
        """All ``outputs`` outputs of the operator whose first one is ``first``."""
        return tuple(
            replace(first, output=place, outputs=outputs, name="") for place in range(outputs)
        )


op = _Operators()


def either(*expressions: Expr) -> Expr:
    """Any of ``expressions``, tried in this order."""
    return Expr(EITHER, expressions)


def convolution(x: Expr, w: Expr, b: Expr, name: str = "conv") -> Expr:
    """A Conv called ``name``, with or without the bias ``b``."""
    return either(op.Conv(x, w, b).named(name), op.Conv(x, w).named(name))
