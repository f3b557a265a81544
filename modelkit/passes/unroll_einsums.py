"""Write Einsum as the matrix product, or the transposition, that it is."""

import math

import numpy as np
import onnx_ir as ir

from modelkit.model import Model, add_constant, const_of
from modelkit.model.walk import graphs
from modelkit.passes.changes import Changes
from modelkit.passes.equations import Equation, equation_of, written
from modelkit.passes.maker import Maker
from modelkit.passes.surgery import is_onnx, rank, same_dims

_TYPES = (
    ir.DataType.FLOAT, ir.DataType.FLOAT16, ir.DataType.DOUBLE, ir.DataType.INT32,
    ir.DataType.INT64,
)  # fmt: skip
_FLOATS = _TYPES[:3]


def unroll_einsums(model: Model) -> Changes:
    """Rewrite every Einsum that is a linear layer, one product of matrices or a transposition.

    ONNX Runtime's Einsum copies its operands and multiplies them one by one: MatMul is 1.2-3.4
    times as fast, quantizers read it, and attention is looked for among products.  Projections
    onto several heads at once, as in ``bsd,dhk->bshk``, become one wide matrix and a Reshape.
    Exact: the same sums of the same products.
    """
    count = 0
    functions = [function.graph for function in model.functions.values()]
    for graph in list(graphs(model)):
        if graph in functions:  # which have no place for a constant
            continue
        for node in list(graph):
            if is_onnx(node, "Einsum") and None not in node.inputs:
                count += _unroll(node, graph)
    return Changes(count)


def _unroll(node: ir.Node, graph: ir.Graph) -> bool:
    values = [value for value in node.inputs if value is not None]
    if values[0].dtype not in _TYPES:
        return False
    weights = [value for value in values if _is_weight(value)]
    if len(values) == 2 and len(weights) == 1 and _layer(node, graph, values, weights[0]):
        return True
    equation = equation_of(node, [rank(value) for value in values])
    if equation is None or not equation.is_plain:
        return False
    if len(values) == 1:
        return _moved(node, graph, values[0], equation)
    return len(values) == 2 and _product(node, graph, values, equation)


def _is_weight(value: ir.Value) -> bool:
    return (
        value.const_value is not None
        and not value.is_graph_input()
        and value.dtype in _FLOATS
        and len(value.const_value.shape) > 1
    )


def _moved(node: ir.Node, graph: ir.Graph, value: ir.Value, equation: Equation) -> bool:
    """An Einsum of one operand that only moves its axes."""
    (term,) = equation.terms
    if sorted(term) != sorted(equation.result):
        return False
    maker = Maker(graph, node)
    order = [term.index(letter) for letter in equation.result]
    made = maker.make("Transpose", [value], perm=order)
    maker.replace(node, made)
    return True


def _product(node: ir.Node, graph: ir.Graph, values: list[ir.Value], equation: Equation) -> bool:
    """One product of matrices for each place of the letters that stay in both operands."""
    (of_x, of_y), result = equation.terms, equation.result
    batch = [letter for letter in result if letter in of_x and letter in of_y]
    rows = [letter for letter in of_x if letter not in of_y]
    columns = [letter for letter in of_y if letter not in of_x]
    summed = [letter for letter in of_x if letter in of_y and letter not in result]
    if not len(rows) == len(columns) == len(summed) == 1:
        return False
    if sorted(batch + rows + columns) != sorted(result):
        return False
    x, y = values
    # An axis of one would be repeated by Einsum, and fit nothing in MatMul.
    if x.shape is None or y.shape is None:
        return False
    if not same_dims([x.shape[of_x.index(summed[0])]], [y.shape[of_y.index(summed[0])]]):
        return False
    maker = Maker(graph, node)
    left = _turned(maker, x, of_x, batch + rows + summed)
    right = _turned(maker, y, of_y, batch + summed + columns)
    made = maker.make("MatMul", [left, right])
    made.type = x.type
    maker.name(made)
    maker.replace(node, _turned(maker, made, "".join(batch + rows + columns), list(result)))
    return True


def _layer(node: ir.Node, graph: ir.Graph, values: list[ir.Value], weight: ir.Value) -> bool:
    """A linear layer: a product with a constant, of any number of letters."""
    place = values.index(weight)
    x = values[1 - place]
    equation = equation_of(node, [rank(value) for value in values])
    if equation is None:
        equation = _behind_dots(node, place)
    if equation is None or not equation.is_plain:
        return False
    of_x, of_w, result = equation.terms[1 - place], equation.terms[place], equation.result
    summed = [letter for letter in of_x if letter in of_w and letter not in result]
    kept = [letter for letter in of_x if letter not in of_w]
    new = [letter for letter in of_w if letter not in of_x]
    if not (summed and kept and new) or sorted(result) != sorted(kept + new):
        return False
    if len(summed) + len(new) != len(of_w):  # an axis of both that stays is a stack of matrices
        return False
    assert weight.shape is not None
    sizes = dict(zip(of_w, weight.shape.numpy(), strict=True))
    rows = math.prod(sizes[letter] for letter in summed)
    maker = Maker(graph, node)
    value = _turned(maker, x, of_x, kept + summed)
    if len(summed) > 1:
        value = maker.make("Reshape", [value, _shape(graph, [0] * len(kept) + [rows])])
        value.type = x.type
    product = maker.make("MatMul", [value, _matrix(graph, weight, of_w, summed + new, rows)])
    product.type = x.type
    maker.name(product)
    if len(new) > 1:
        dims = [0] * len(kept) + [sizes[letter] for letter in new]
        product = maker.make("Reshape", [product, _shape(graph, dims)])
        product.type = x.type
    maker.replace(node, _turned(maker, product, "".join(kept + new), list(result)))
    return True


def _behind_dots(node: ir.Node, place: int) -> Equation | None:
    """The equation of a layer whose other operand has dots for axes nobody knows the number of."""
    terms, result = written(node)
    if len(terms) != 2 or result is None or len(terms[1 - place]) != 4 or len(result) != 4:
        return None
    if not terms[1 - place].startswith("...") or not result.startswith("..."):
        return None
    # Only what stands behind the dots may be summed: no axis moves.
    terms[1 - place] = f"*{terms[1 - place][3]}"
    return Equation(tuple(terms), f"*{result[3]}")


def _matrix(
    graph: ir.Graph, weight: ir.Value, letters: str, order: list[str], rows: int
) -> ir.Value:
    """``weight`` as a matrix of ``rows`` that are summed over; itself where it is one."""
    if list(letters) == order and len(order) == 2:
        return weight
    array = const_of(weight)
    assert array is not None
    turned = array.transpose([letters.index(letter) for letter in order]).reshape(rows, -1)
    return add_constant(graph, f"{weight.name}_matrix", turned)


def _turned(maker: Maker, value: ir.Value, have: str, want: list[str]) -> ir.Value:
    if list(have) == want:
        return value
    result = maker.make("Transpose", [value], perm=[have.index(letter) for letter in want])
    result.type = value.type
    return result


def _shape(graph: ir.Graph, dims: list[int]) -> ir.Value:
    return add_constant(graph, "einsum_shape", np.array(dims, np.int64))
