"""``fp16``: half precision that is proven right."""

import onnx_ir as ir

from modelkit.model import Model, clone
from modelkit.passes import run_passes
from modelkit.passes.convert_opset import convert_opset
from modelkit.passes.inline_functions import inline_functions
from modelkit.passes.lift_constants import lift_constants
from modelkit.precision.convert import Converted, convert
from modelkit.precision.masks import fill_masks
from modelkit.precision.plan import Evidence, Wishes, make_plan
from modelkit.precision.rules import Keep
from modelkit.precision.types import settle_types

_OLDEST_OPSET = 13


def fp16(model: Model, *, half=ir.DataType.FLOAT16, samples=()):
    copy = clone(model)
    inline_functions(copy); lift_constants(copy); settle_types(copy)
    fill_masks(copy, half)
    types, keep = make_plan(copy, half, Evidence(tuple(samples)), Wishes())
    done = convert(copy, types)
    print({(n.op_type, r) for n,r in keep.items()}, done)
    return copy, done
