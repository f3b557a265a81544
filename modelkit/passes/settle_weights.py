"""Tell weights from inputs in models of an early IR version."""

from modelkit.model import Model
from modelkit.passes.changes import Changes

FIRST = 4
"""The IR version from which weights need not be listed among the inputs."""


def settle_weights(model: Model) -> Changes:
    """Take weights off the list of inputs where IR version 3 and older made them stand there.

    ONNX Runtime treats them as constants too.  From IR version 4 on such an input is a default that
    callers may replace, and stays.  Raises the IR version to 4.
    """
    if model.ir_version >= FIRST:
        return Changes()
    weights = [value for value in model.graph.inputs if value.is_initializer()]
    for value in weights:
        model.graph.inputs.remove(value)
    model.ir_version = FIRST
    return Changes(max(1, len(weights)), (f"{len(weights)} weights are no inputs any more",))
