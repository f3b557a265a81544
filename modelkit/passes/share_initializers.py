"""Keep equal weights once."""

from collections import defaultdict
from collections.abc import Hashable

import numpy as np
import onnx_ir as ir

from modelkit.model import Model, release
from modelkit.model.walk import graphs
from modelkit.passes.changes import Changes

SAMPLE = 16
LARGEST_BYTES = 1 << 30


def share_initializers(model: Model) -> Changes:
    """Let readers of initializers with equal type, shape and bytes read the first of them.

    Bytes are compared in full only where type, shape and a few elements agree, so that a large
    model is not read through.  Inputs with a default, outputs and strings stay.
    """
    count = 0
    for graph in graphs(model):
        alike: dict[Hashable, list[ir.Value]] = defaultdict(list)
        for value in list(graph.initializers.values()):
            tensor = value.const_value
            if tensor is None or value.is_graph_input() or tensor.dtype is ir.DataType.STRING:
                continue
            if tensor.nbytes > LARGEST_BYTES:
                continue
            twins = alike[(tensor.dtype, tuple(tensor.shape), _sample(value))]
            twin = next((other for other in twins if _equal(other, value)), None)
            if twin is None or value.is_graph_output():
                twins.append(value)
                continue
            value.replace_all_uses_with(twin)
            assert value.name is not None
            del graph.initializers[value.name]
            count += 1
    return Changes(count)


def _sample(value: ir.Value) -> bytes:
    assert value.const_value is not None
    array = value.const_value.numpy()
    if not array.ndim:
        return bytes(array.tobytes())
    # By index, because flattening a transposed view would copy all of it.
    places = np.arange(0, array.size, max(1, array.size // SAMPLE))
    found = bytes(array[np.unravel_index(places, array.shape)].tobytes())
    release(value.const_value)
    return found


def _equal(a: ir.Value, b: ir.Value) -> bool:
    if a.const_value is b.const_value:
        return True
    assert a.const_value is not None
    assert b.const_value is not None
    return bool(a.const_value.tobytes() == b.const_value.tobytes())
