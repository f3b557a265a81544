"""Leave out optional inputs that hold what their absence means."""

import onnx_ir as ir

from modelkit.model import Model
from modelkit.model.walk import graphs
from modelkit.passes.changes import Changes
from modelkit.passes.surgery import is_onnx
from modelkit.passes.uniform import uniform

RECURRENT = ("GRU", "LSTM", "RNN")
_STATES = range(5, 7)  # initial_h, and initial_c of LSTM
_ZEROS = {"Conv": (2,), "ConvTranspose": (2,), "Gemm": (2,)}


def remove_default_inputs(model: Model) -> Changes:
    """Leave out initial states of recurrent layers, and biases, that are all zero.

    Exporters compute states of zeros of the batch's size at every run.  Exact.
    """
    count = 0
    for graph in list(graphs(model)):
        for node in graph:
            places = _STATES if is_onnx(node, *RECURRENT) else _ZEROS.get(node.op_type, ())
            if node.op_type in (*RECURRENT, *_ZEROS) and is_onnx(node, node.op_type):
                count += sum(_dropped(node, place) for place in places)
    return Changes(count)


def _dropped(node: ir.Node, place: int) -> bool:
    value = node.inputs[place] if place < len(node.inputs) else None
    if value is None or uniform(value) != 0:
        return False
    node.replace_input_with(place, None)
    while node.inputs and node.inputs[-1] is None:
        node.resize_inputs(len(node.inputs) - 1)
    return True
