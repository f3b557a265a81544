"""Einsum with a constant operand becomes MatMul, the one form of a linear layer quantizers read.

Equal: the same sums of the same products.  Projections onto several heads at once, as in
``bsd,dhk->bshk``, become one wide matrix and a Reshape.
"""

import math

import numpy as np
import onnx_ir as ir

from modelkit.model import Model, add_constant
from modelkit.model.walk import graphs
from modelkit.passes import Changes
from modelkit.passes.surgery import is_onnx
from modelkit.quantize.maker import Maker
from modelkit.quantize.weights import array_of, is_weight


def unroll_einsums(model: Model) -> Changes:
    """Rewrite every Einsum of an activation and a constant that is a linear layer, in place."""
    count = 0
    for graph in list(graphs(model)):
        for node in list(graph):
            if is_onnx(node, "Einsum") and len(node.inputs) == 2:
                count += _unroll(node, graph)
    return Changes(count)


def _unroll(node: ir.Node, graph: ir.Graph) -> bool:
    places = [place for place in (0, 1) if is_weight(node.inputs[place])]
    equation = (node.attributes.get_string("equation", "") or "").replace(" ", "")
    if len(places) != 1 or "->" not in equation:
        return False
    left, result = equation.split("->")
    terms = left.split(",")
    weight, x = node.inputs[places[0]], node.inputs[1 - places[0]]
    if len(terms) != 2 or weight is None or x is None or x.dtype is None:
        return False
    of_x, of_w = terms[1 - places[0]], terms[places[0]]
    if of_x.startswith("...") and result.startswith("..."):
        # Only what stands behind the dots may be summed: no axis moves.
        if len(of_x) != 4 or len(result) != 4:
            return False
        of_x, result = f"*{of_x[3]}", f"*{result[3]}"
    return _product(node, graph, x, weight, (of_x, of_w, result))


def _product(
    node: ir.Node, graph: ir.Graph, x: ir.Value, weight: ir.Value, terms: tuple[str, str, str]
) -> bool:
    of_x, of_w, result = terms
    summed = [letter for letter in of_x if letter in of_w and letter not in result]
    kept = [letter for letter in of_x if letter not in of_w]
    new = [letter for letter in of_w if letter not in of_x]
    plain = all(len(set(term)) == len(term) and "." not in term for term in terms)
    if not (plain and summed and kept and new) or sorted(result) != sorted(kept + new):
        return False
    if len(summed) + len(new) != len(of_w):  # an axis of both that stays is a stack of matrices
        return False
    sizes = dict(zip(of_w, array_of(weight).shape, strict=True))
    order = [of_w.index(letter) for letter in summed + new]
    rows = math.prod(sizes[letter] for letter in summed)
    matrix = array_of(weight).transpose(order).reshape(rows, -1)
    kind = weight.dtype.numpy() if weight.dtype is not None else matrix.dtype
    maker = Maker(graph, node)
    rank = len(kept)
    value = _turned(maker, x, of_x, kept + summed)
    if len(summed) > 1:
        value = maker.make("Reshape", [value, _shape(graph, [0] * rank + [rows])])
        value.type = x.type
    plain_weight = add_constant(graph, f"{weight.name}_matrix", matrix.astype(kind))
    product = maker.make("MatMul", [value, plain_weight])
    product.type = x.type
    maker.name(product)
    if len(new) > 1:
        dims = [0] * rank + [sizes[letter] for letter in new]
        product = maker.make("Reshape", [product, _shape(graph, dims)])
        product.type = x.type
    maker.replace(node, _turned(maker, product, "".join(kept + new), list(result)))
    return True


def _turned(maker: Maker, value: ir.Value, have: str, want: list[str]) -> ir.Value:
    if list(have) == want:
        return value
    result = maker.make("Transpose", [value], perm=[have.index(letter) for letter in want])
    result.type = value.type
    return result


def _shape(graph: ir.Graph, dims: list[int]) -> ir.Value:
    return add_constant(graph, "einsum_shape", np.array(dims, np.int64))
