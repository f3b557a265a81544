"""The equations of Einsum, as letters for axes (ONNX Einsum-12)."""

from collections.abc import Sequence
from dataclasses import dataclass

import onnx_ir as ir

_DOTS = "..."
_NAMES = "0123456789"
"""Stand for the axes that dots stand for, the last axis first."""


@dataclass(frozen=True)
class Equation:
    """One letter for each axis of the operands and of the result."""

    terms: tuple[str, ...]
    result: str

    @property
    def is_plain(self) -> bool:
        """Whether no term has a letter twice, which would mean a diagonal."""
        return all(len(set(term)) == len(term) for term in (*self.terms, self.result))


def equation_of(node: ir.Node, ranks: Sequence[int | None]) -> Equation | None:
    """The equation of an Einsum whose operands have ``ranks``; None for what it does not say.

    Dots need a rank; a result that is not written is the letters that occur once, sorted.
    """
    terms, result = written(node)
    if len(terms) != len(ranks):
        return None
    if result is None:
        left = "".join(terms)
        if _DOTS in left:
            return None
        result = "".join(sorted(letter for letter in set(left) if left.count(letter) == 1))
    most = 0
    spelled = []
    for term, rank in zip(terms, ranks, strict=True):
        letters = term.replace(_DOTS, "", 1)
        if _DOTS in term:
            if rank is None or not 0 <= rank - len(letters) <= len(_NAMES):
                return None
            most = max(most, rank - len(letters))
            term = term.replace(_DOTS, _names(rank - len(letters)))
        elif rank is not None and rank != len(letters):
            return None
        spelled.append(term)
    return _checked(spelled, result.replace(_DOTS, _names(most)) if _DOTS in result else result)


def written(node: ir.Node) -> tuple[list[str], str | None]:
    """The terms of an Einsum as they stand in the file, and its result if that is written."""
    text = (node.attributes.get_string("equation", "") or "").replace(" ", "")
    left, arrow, result = text.partition("->")
    return left.split(","), result if arrow else None


def _names(count: int) -> str:
    return _NAMES[:count][::-1]


def _checked(terms: Sequence[str], result: str) -> Equation | None:
    known = set("".join(terms))
    if not set(result) <= known or any("." in term for term in (*terms, result)):
        return None
    return Equation(tuple(terms), result)
