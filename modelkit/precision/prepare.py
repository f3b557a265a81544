"""What half precision needs before it starts: plain nodes, types, an opset that knows the type."""

import onnx_ir as ir

from modelkit.model import Model, clone
from modelkit.model.walk import inside
from modelkit.passes.convert_opset import convert_opset
from modelkit.passes.inline_functions import inline_functions
from modelkit.passes.keep_paddings import keep_paddings
from modelkit.passes.lift_constants import lift_constants
from modelkit.passes.restore_convolutions import restore_convolutions
from modelkit.precision.masks import fill_masks
from modelkit.precision.slots import slots_of
from modelkit.precision.types import settle_types, versions_of

_OLDEST_OPSET = 13
_NEWEST_OPSET = 22  # the first in which every operator of convolutional networks takes bfloat16


def prepared(model: Model, half: ir.DataType) -> Model:
    """A copy without functions, constants as initializers, types settled, masks filled.

    Every node has a name of its own.  An opset below 13 is raised, and for
    bfloat16 one below 22 if operators of the model need it.

    Raises:
        Unsupported: an opset that cannot be raised.
    """
    copy = clone(model)
    restore_convolutions(copy)
    inline_functions(copy)
    lift_constants(copy)
    keep_paddings(copy)
    settle_types(copy)
    wanted = _opset(copy, half)
    if wanted:
        convert_opset(copy, wanted)
        lift_constants(copy)
        settle_types(copy)
    fill_masks(copy, half)
    _name_nodes(copy)
    return copy


def _name_nodes(model: Model) -> None:
    """Give every node a name of its own, by which reports and searches know it."""
    taken: set[str] = set()
    for node in inside(model.graph):
        stem = name = node.name or f"{node.op_type}_{node.outputs[0].name or 'none'}"
        number = 0
        while name in taken:
            number += 1
            name = f"{stem}_{number}"
        node.name = name
        taken.add(name)


def _opset(model: Model, half: ir.DataType) -> int:
    """The opset to raise the model to; 0: none."""
    versions = versions_of(model)
    if not {"", "ai.onnx"} & set(model.graph.opset_imports):
        return 0  # classical models may hold operators of ai.onnx.ml only
    current = versions[""]
    newer = versions | {"": _NEWEST_OPSET}
    if half is ir.DataType.BFLOAT16 and current < _NEWEST_OPSET:
        for node in inside(model.graph):
            before, after = (slots_of(node, half, each) for each in (versions, newer))
            if after.narrows and not before.narrows:
                return _NEWEST_OPSET
    return _OLDEST_OPSET if current < _OLDEST_OPSET else 0
