"""Symbolic dims: integers, or sums of products of names with integer factors.

Equal expressions are equal objects and have equal text, so a dim survives being written into a
model and read back.  What a sum cannot say (a floor division, a minimum) becomes a name built from
its operands, equal again for equal operands.  Size is bounded: too long an expression is None.
"""

import ast
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import TypeVar

MAX_TERMS = 8
MAX_DEGREE = 6
MAX_TEXT = 120

T = TypeVar("T")
Monomial = tuple[str, ...]


class Symbolic:
    """A polynomial over names, each of which stands for an integer >= 0.  Immutable."""

    __slots__ = ("_hash", "terms")

    def __init__(self, terms: tuple[tuple[Monomial, int], ...]) -> None:
        self.terms = terms
        self._hash = hash(terms)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Symbolic) and self.terms == other.terms

    def __hash__(self) -> int:
        return self._hash

    def __repr__(self) -> str:
        return text(self)


Dim = int | Symbolic


def name(word: str) -> Symbolic:
    """The dim called ``word``."""
    return Symbolic((((word,), 1),))


def _terms(dim: Dim) -> Iterable[tuple[Monomial, int]]:
    if isinstance(dim, int):
        return (((), dim),) if dim else ()
    return dim.terms


def _made(terms: dict[Monomial, int]) -> Dim | None:
    kept = {monomial: factor for monomial, factor in terms.items() if factor}
    if not kept:
        return 0
    if len(kept) == 1 and () in kept:
        return kept[()]
    if len(kept) > MAX_TERMS or any(len(monomial) > MAX_DEGREE for monomial in kept):
        return None
    result = Symbolic(tuple(sorted(kept.items(), key=lambda item: (-len(item[0]), item[0]))))
    return result if len(text(result)) <= MAX_TEXT else None


def add(a: Dim, b: Dim) -> Dim | None:
    """The sum a + b."""
    if isinstance(a, int) and isinstance(b, int):
        return a + b
    total = dict(_terms(a))
    for monomial, factor in _terms(b):
        total[monomial] = total.get(monomial, 0) + factor
    return _made(total)


def subtract(a: Dim, b: Dim) -> Dim | None:
    """The difference a - b."""
    if isinstance(a, int) and isinstance(b, int):
        return a - b
    negative = multiply(b, -1)
    return None if negative is None else add(a, negative)


def multiply(a: Dim, b: Dim) -> Dim | None:
    """The product a * b."""
    if isinstance(a, int) and isinstance(b, int):
        return a * b
    total: dict[Monomial, int] = {}
    for left, x in _terms(a):
        for right, y in _terms(b):
            monomial = tuple(sorted(left + right))
            total[monomial] = total.get(monomial, 0) + x * y
    return _made(total)


def divide_exactly(a: Dim, b: Dim) -> Dim | None:
    """The dim that times ``b`` gives ``a``, where there provably is one; ``b`` is not 0."""
    if a == b and b != 0:
        return 1
    if isinstance(b, int):
        if b == 0 or any(factor % b for _, factor in _terms(a)):
            return None
        return _made({monomial: factor // b for monomial, factor in _terms(a)})
    if len(b.terms) != 1:
        return None
    (divisor, by), result = b.terms[0], {}
    for monomial, factor in _terms(a):
        rest = list(monomial)
        for word in divisor:
            if word not in rest:
                return None
            rest.remove(word)
        if factor % by:
            return None
        result[tuple(rest)] = factor // by
    return _made(result)


def divide(a: Dim, b: Dim) -> Dim | None:
    """floor(a / b) for a, b >= 0; None where it cannot be named or ``b`` may be 0."""
    if isinstance(a, int) and isinstance(b, int):
        return a // b if b > 0 else None
    exact = divide_exactly(a, b)
    return exact if exact is not None else _named(f"(({text(a)})//({text(b)}))")


def minimum(a: Dim, b: Dim) -> Dim | None:
    """The smaller of two dims."""
    return _extreme("Min", a, b, min)


def maximum(a: Dim, b: Dim) -> Dim | None:
    """The larger of two dims."""
    return _extreme("Max", a, b, max)


@lru_cache(maxsize=4096)
def smaller_of(dim: Dim) -> tuple[Dim, Dim] | None:
    """The operands of a :func:`minimum` that could not be told, None for any other dim."""
    if isinstance(dim, int) or len(dim.terms) != 1:
        return None
    monomial, factor = dim.terms[0]
    if factor != 1 or len(monomial) != 1 or not monomial[0].startswith("Min("):
        return None
    tree = ast.parse(monomial[0], mode="eval").body
    assert isinstance(tree, ast.Call)
    a, b = (_folded(argument, name, _integer, _OPERATIONS) for argument in tree.args)
    return None if a is None or b is None else (a, b)


def _extreme(label: str, a: Dim, b: Dim, pick: object) -> Dim | None:
    if isinstance(a, int) and isinstance(b, int):
        return min(a, b) if pick is min else max(a, b)
    difference = subtract(a, b)
    if difference is not None and nonnegative(difference):
        return b if pick is min else a
    opposite = subtract(b, a)
    if opposite is not None and nonnegative(opposite):
        return a if pick is min else b
    first, second = sorted((text(a), text(b)))
    return _named(f"{label}({first}, {second})")


def _named(word: str) -> Dim | None:
    return name(word) if len(word) <= MAX_TEXT else None


def windows(room: Dim, stride: int) -> Dim | None:
    """How many windows begin at 0, ``stride``, ... <= ``room``: none where that is negative."""
    if isinstance(room, int):
        return room // stride + 1 if room >= 0 else None
    if stride == 1:
        return add(room, 1)
    if nonnegative(room):
        steps = divide(room, stride)
        return None if steps is None else add(steps, 1)
    return _named(f"Windows({text(room)}, {stride})")


def nonnegative(dim: Dim) -> bool:
    """Whether ``dim`` is provably >= 0, taking every name as >= 0."""
    return dim >= 0 if isinstance(dim, int) else all(factor > 0 for _, factor in dim.terms)


def positive(dim: Dim) -> bool:
    """Whether ``dim`` is provably >= 1."""
    return nonnegative(dim) and any(not monomial and factor > 0 for monomial, factor in _terms(dim))


@lru_cache(maxsize=4096)
def _written(dim: Symbolic) -> str:
    parts = []
    for monomial, factor in dim.terms:
        size = abs(factor)
        words = [str(size)] if size != 1 or not monomial else []
        sign = "-" if factor < 0 else "+"
        parts.append((sign, "*".join([*words, *monomial])))
    (sign, head), *rest = parts
    return ("-" if sign == "-" else "") + head + "".join(f" {s} {p}" for s, p in rest)


def text(dim: Dim) -> str:
    """How ``dim`` is written into a model, as "batch*heads" or "past + 1"."""
    return str(dim) if isinstance(dim, int) else _written(dim)


@lru_cache(maxsize=4096)
def parse(word: str) -> Symbolic | int:
    """The dim that :func:`text` wrote; any other text is one name."""
    found = fold(word, name, _integer, _OPERATIONS)
    return name(word) if found is None else found


def multiple(word: str) -> tuple[str, int] | None:
    """The name and factor of a dim that :func:`text` wrote, as "8*h"; None for any other dim."""
    dim = parse(word)
    if isinstance(dim, int) or len(dim.terms) != 1:
        return None
    (monomial, factor), *_ = dim.terms
    return (monomial[0], factor) if len(monomial) == 1 and factor > 0 else None


def at(word: str, lengths: Mapping[str, int]) -> int | None:
    """What the dim that :func:`text` wrote is, where its names have ``lengths``; None: not told."""
    found = fold(word, lengths.get, _integer, _OPERATIONS)
    return found if isinstance(found, int) else None


def fold(
    word: str,
    named: Callable[[str], T | None],
    number: Callable[[int], T],
    operations: Mapping[str, Callable[[T, T], T | None]],
) -> T | None:
    """The dim that :func:`text` wrote, computed from what its names and numbers stand for.

    ``operations`` are Add, Sub, Mult, FloorDiv, Min, Max and Windows; None where one is missing,
    or where a name stands for nothing.  Any other text is one name.
    """
    if word.isidentifier() or len(word) > MAX_TEXT:
        return named(word)
    try:
        return _folded(ast.parse(word, mode="eval").body, named, number, operations)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return named(word)


def _folded(
    tree: ast.expr,
    named: Callable[[str], T | None],
    number: Callable[[int], T],
    operations: Mapping[str, Callable[[T, T], T | None]],
) -> T | None:
    match tree:
        case ast.Constant(value=int(given)):
            return number(given)
        case ast.Name(id=word):
            return named(word)
        case ast.UnaryOp(op=ast.USub(), operand=inner):
            label, pair = "Mult", [inner, ast.Constant(-1)]
        case ast.BinOp(left=left, op=operator, right=right):
            label, pair = type(operator).__name__, [left, right]
        case ast.Call(func=ast.Name(id=label), args=[left, right]):
            pair = [left, right]
        case _:
            return None
    a, b = (_folded(part, named, number, operations) for part in pair)
    return None if a is None or b is None or label not in operations else operations[label](a, b)


def _integer(number: int) -> Dim:
    return number


def _windows(room: Dim, stride: Dim) -> Dim | None:
    return windows(room, stride) if isinstance(stride, int) and stride > 0 else None


_OPERATIONS: Mapping[str, Callable[[Dim, Dim], Dim | None]] = {
    "Add": add, "Sub": subtract, "Mult": multiply, "FloorDiv": divide,
    "Min": minimum, "Max": maximum, "Windows": _windows,
}  # fmt: skip
