"""The tensors a model holds: initializers and Constant nodes, everywhere in it."""

import onnx_ir as ir

from modelkit.model import Model, nodes

Named = tuple[str, ir.TensorProtocol]


def initializers(model: Model) -> list[ir.Value]:
    """Those of the main graph, of functions, and of every subgraph."""
    bodies = [model.graph, *(function.graph for function in model.functions.values())]
    graphs = {id(graph): graph for graph in bodies}
    for body in bodies:
        graphs |= {id(graph): graph for graph in body.subgraphs()}
    return [
        value
        for graph in graphs.values()
        for value in graph.initializers.values()
        if value.const_value is not None
    ]


def tensors(model: Model) -> list[Named]:
    """Initializers and the values of Constant nodes, with their names."""
    found = [
        (value.name or "", value.const_value)
        for value in initializers(model)
        if value.const_value is not None
    ]
    for node in nodes(model):
        attribute = node.attributes.get("value") if node.op_type == "Constant" else None
        if attribute is None or attribute.is_ref() or attribute.type != ir.AttributeType.TENSOR:
            continue
        found.append((node.outputs[0].name or "", attribute.as_tensor()))
    return found


def size(tensor: ir.TensorProtocol) -> int:
    """Bytes of its values; characters, of strings."""
    if tensor.dtype == ir.DataType.STRING:
        return sum(map(len, tensor.string_data())) if isinstance(tensor, ir.StringTensor) else 0
    return tensor.nbytes


def dtype_name(kind: ir.DataType | None) -> str:
    """Numpy's name of an element type; "?" where it is not known."""
    name = kind.name.lower() if kind else "?"
    return {"float": "float32", "double": "float64"}.get(name, name)


def dims_text(tensor: ir.TensorProtocol) -> str:
    """The shape as ``[1,2,3]``."""
    return "[" + ",".join(map(str, tensor.shape.numpy())) + "]"
