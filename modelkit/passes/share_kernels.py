"""Keep a matrix once that is both looked up and convolved with."""

import numpy as np
import onnx_ir as ir

from modelkit.model import Model, fresh_name, release
from modelkit.passes.changes import Changes
from modelkit.passes.surgery import constant, is_onnx

_UNIT = np.array([2, 3], np.int64)
_FEW = 1 << 16  # numbers; fewer are no size


def share_kernels(model: Model) -> Changes:
    """Let Conv read Unsqueeze(w) where its kernel [out, in, 1, 1] has the numbers of ``w``.

    Language models look tokens up in the matrix that they also score them with: as a kernel it
    would lie in the file twice.  ONNX Runtime computes the Unsqueeze once, when it opens the model,
    and so has the same constant as before.  Exact; comes last, or it would be folded again.
    """
    if model.opset_imports.get("", 0) < 13:
        return Changes(0)
    matrices = [value for value in model.graph.initializers.values() if _rank(value) == 2]
    count = 0
    for node in list(model.graph):
        kernel = node.inputs[1] if is_onnx(node, "Conv") else None
        if kernel is None or kernel.name not in model.graph.initializers:
            continue
        if _rank(kernel) != 4 or len(kernel.uses()) != 1:
            continue
        twin = next((value for value in matrices if _same(value, kernel)), None)
        if twin is not None:
            _read(model, node, twin)
            count += 1
    return Changes(count)


def _rank(value: ir.Value) -> int:
    tensor = value.const_value
    if tensor is None or value.is_graph_input() or value.is_graph_output() or tensor.size < _FEW:
        return 0
    return len(tensor.shape)


def _same(matrix: ir.Value, kernel: ir.Value) -> bool:
    one, other = matrix.const_value, kernel.const_value
    assert one is not None and other is not None
    if one.dtype != other.dtype or (*one.shape, 1, 1) != tuple(other.shape):
        return False
    rows, others = one.numpy(), other.numpy()[:, :, 0, 0]
    # The first row tells nearly all apart, and is read sooner.
    same = np.array_equal(rows[0], others[0]) and np.array_equal(rows, others)
    release(one)
    release(other)
    return same


def _read(model: Model, conv: ir.Node, matrix: ir.Value) -> None:
    kernel = conv.inputs[1]
    assert kernel is not None and kernel.name is not None
    axes = constant(model, model.graph, "kernel_axes", _UNIT)
    made = ir.node("Unsqueeze", [matrix, axes], name=fresh_name(model.graph, f"{kernel.name}_node"))
    made.outputs[0].name = fresh_name(model.graph, f"{kernel.name}_shared")
    made.outputs[0].shape, made.outputs[0].type = kernel.shape, kernel.type
    model.graph.insert_before(conv, made)
    conv.replace_input_with(1, made.outputs[0])
    del model.graph.initializers[kernel.name]
