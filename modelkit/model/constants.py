"""Values that are known before the model runs."""

from collections.abc import Callable

import numpy as np
import onnx_ir as ir

from modelkit.model.walk import inside


def const_of(value: ir.Value | None) -> np.ndarray | None:
    """The array of an initializer or Constant node, None for anything else.

    An initializer that is also a graph input is a default, not a constant (ONNX IR version 3).
    """
    if value is None:
        return None
    if value.const_value is not None:
        if value.is_graph_input():
            return None
        return value.const_value.numpy()
    node = value.producer()
    if node is None or node.op_type != "Constant" or node.domain not in ("", "ai.onnx"):
        return None
    tensor = ir.convenience.get_const_tensor(value)
    return None if tensor is None else tensor.numpy()


def fresh_name(graph: ir.Graph, stem: str) -> str:
    """``stem``, or ``stem_1``, ``stem_2`` ...: a value name the graph does not use.

    The names in use are counted once per graph and kept in its ``meta``.
    """
    taken = graph.meta.get("modelkit.names")
    if taken is None:
        taken = {value.name for node in inside(graph) for value in node.outputs}
        taken |= {value.name for value in graph.inputs} | set(graph.initializers)
        graph.meta["modelkit.names"] = taken
    name, number = stem, 0
    while name in taken:
        number += 1
        name = f"{stem}_{number}"
    taken.add(name)
    return name


def add_constant(graph: ir.Graph, stem: str, array: np.ndarray) -> ir.Value:
    """A new initializer holding ``array``, named after ``stem``.

    A view, as the transpose of a mapped weight, stays one until it is written.
    """
    name = fresh_name(graph, stem)
    tensor = ir.tensor(np.asarray(array), name=name)
    value = ir.Value(
        name=name,
        shape=ir.Shape(array.shape),
        type=ir.TensorType(tensor.dtype),
        const_value=tensor,
    )
    graph.register_initializer(value)
    return value


def add_lazy(
    graph: ir.Graph,
    stem: str,
    make: Callable[[], np.ndarray],
    dtype: ir.DataType,
    shape: tuple[int, ...],
) -> ir.Value:
    """A new initializer whose array is made when somebody asks for it, each time anew.

    What is written this way needs no memory beside the one that is being written.
    """
    name = fresh_name(graph, stem)

    def tensor() -> ir.TensorProtocol:
        return ir.Tensor(np.ascontiguousarray(make()), dtype=dtype, name=name)

    lazy = ir.LazyTensor(tensor, dtype=dtype, shape=ir.Shape(shape), name=name)
    value = ir.Value(name=name, shape=ir.Shape(shape), type=ir.TensorType(dtype), const_value=lazy)
    graph.register_initializer(value)
    return value
