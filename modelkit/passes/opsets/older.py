"""How operators were written before an opset changed them.

``RULES`` gives, for each operator, the opsets that changed its meaning or its signature, newest
first, and what turns the form of that opset into the one before.  Source: "Changelog.md" of ONNX.
"""

from collections.abc import Callable

import numpy as np
import onnx_ir as ir

from modelkit.model import const_of
from modelkit.passes.opsets.older_axes import (
    axes_input,
    from_front,
    pad_axes,
    reduce,
    softmax,
    split,
)
from modelkit.passes.opsets.schemas import refusal
from modelkit.passes.opsets.site import Site, constants, drop_inputs, has, scalar
from modelkit.passes.surgery import attribute, rank, same_shape


def _pad_inputs(site: Site) -> None:
    node = site.node
    node.attributes["pads"] = ir.AttrInt64s("pads", constants(node, 1))
    if has(node, 2):
        node.attributes["value"] = ir.AttrFloat32("value", scalar(node, 2))
    drop_inputs(node, 1)


def _clip(site: Site) -> None:
    node = site.node
    for place, name in ((1, "min"), (2, "max")):
        if has(node, place):
            node.attributes[name] = ir.AttrFloat32(name, scalar(node, place))
    drop_inputs(node, 1)


def _slice(site: Site) -> None:
    node = site.node
    if has(node, 4) and set(constants(node, 4)) != {1}:
        raise refusal(node, "its steps are not 1")
    for place, name in ((1, "starts"), (2, "ends"), (3, "axes")):
        if has(node, place):
            limit = 2**31
            found = [max(-limit, min(limit - 1, item)) for item in constants(node, place)]
            node.attributes[name] = ir.AttrInt64s(name, found)
    drop_inputs(node, 1)
    from_front(site)


def _topk(site: Site) -> None:
    node = site.node
    node.attributes["k"] = ir.AttrInt64("k", constants(node, 1)[0])
    drop_inputs(node, 1)


def _dropout(site: Site) -> None:
    node = site.node
    if has(node, 2) and constants(node, 2) != [0]:
        raise refusal(node, "it may train")
    if has(node, 1):
        node.attributes["ratio"] = ir.AttrFloat32("ratio", scalar(node, 1))
    node.attributes.pop("seed", None)
    drop_inputs(node, 1)


def _dropout_mask(site: Site) -> None:
    if any(value.uses() or value.is_graph_output() for value in site.node.outputs[1:]):
        raise refusal(site.node, "its mask had another type")


def _resize_inputs(site: Site) -> None:
    """Before opset 13 roi and scales are there, if empty."""
    node = site.node
    node.resize_inputs(max(3, len(node.inputs)))
    for place in (1, 2):
        if not has(node, place):
            node.replace_input_with(place, site.constant(np.zeros(0, dtype=np.float32)))


def _resize_plain(site: Site) -> None:
    """Before opset 11 there is one way to sample."""
    node = site.node
    sampling = attribute(node, "coordinate_transformation_mode", "half_pixel")
    near = attribute(node, "nearest_mode", "round_prefer_floor")
    mode = attribute(node, "mode", "nearest")
    if sampling != "asymmetric" or mode == "cubic" or (mode == "nearest" and near != "floor"):
        raise refusal(node, f"it samples {mode} {sampling} {near}")
    scales = const_of(node.inputs[2])
    if scales is None or not scales.size:
        raise refusal(node, "it is given sizes or computed scales")
    for name in [name for name in node.attributes if name != "mode"]:
        del node.attributes[name]
    node.replace_input_with(1, node.inputs[2])
    drop_inputs(node, 2)


def _upsample(site: Site) -> None:
    site.node.op_type = "Upsample"


def _upsample_scales(site: Site) -> None:
    node = site.node
    scales = const_of(node.inputs[1])
    if scales is None:
        raise refusal(node, "its scales are computed")
    node.attributes["scales"] = ir.AttrFloat32s("scales", [float(item) for item in scales])
    drop_inputs(node, 1)


def _constant(site: Site) -> None:
    node = site.node
    if "value" in node.attributes or "sparse_value" in node.attributes:
        return
    tensor = ir.convenience.get_const_tensor(node.outputs[0])
    if tensor is None or tensor.dtype is ir.DataType.STRING:
        raise refusal(node, "it holds strings")
    node.attributes.clear()
    node.attributes["value"] = ir.AttrTensor("value", ir.tensor(tensor.numpy()))


def _gemm(site: Site) -> None:
    node = site.node
    if not has(node, 2):
        dtype = node.outputs[0].dtype or ir.DataType.FLOAT
        node.resize_inputs(3)
        node.replace_input_with(2, site.constant(np.zeros(1, dtype=dtype.numpy())))


def _scatter(site: Site) -> None:
    site.node.op_type = "Scatter"


def _shape(site: Site) -> None:
    node = site.node
    start, end = attribute(node, "start", 0), attribute(node, "end")
    source = node.inputs[0]
    if start == 0 and end is None:
        node.attributes.pop("start", None)
        return
    whole = site.insert("Shape", [source])
    places = (start, 2**31 - 1 if end is None else end, 0)
    bounds = [site.constant(np.array([item], dtype=np.int64)) for item in places]
    site.become(site.insert("Slice", [whole, *bounds]))


def _roi_align(site: Site) -> None:
    mode = attribute(site.node, "coordinate_transformation_mode", "half_pixel")
    if mode != "output_half_pixel":
        raise refusal(site.node, f"it aligns {mode}")
    del site.node.attributes["coordinate_transformation_mode"]


def _grid_sample(site: Site) -> None:
    modes = {"linear": "bilinear", "cubic": "bicubic", "nearest": "nearest"}
    mode = modes[attribute(site.node, "mode", "linear")]
    site.node.attributes["mode"] = ir.AttrString("mode", mode)


def _dft(site: Site) -> None:
    node = site.node
    length = rank(node.inputs[0])
    axis = constants(node, 2)[0] if has(node, 2) else -2
    if axis < 0 and length is None:
        raise refusal(node, "the rank of its input is unknown")
    node.attributes["axis"] = ir.AttrInt64("axis", axis + (length or 0) if axis < 0 else axis)
    drop_inputs(node, 2)


def _one_scale(site: Site) -> None:
    """Before opset 13 one scale holds for the whole tensor."""
    scale = site.node.inputs[1]
    size = None if scale is None or scale.shape is None else scale.shape.numpy()
    if size is None or int(np.prod(size)) != 1:
        raise refusal(site.node, "it has a scale for each channel")
    site.node.attributes.pop("axis", None)


def _only(name: str, usual: str, *allowed: str) -> Callable[[Site], None]:
    def rule(site: Site) -> None:
        held = attribute(site.node, name, usual)
        if held not in allowed:
            raise refusal(site.node, f"{name} = {held} is newer")

    return rule


def _same_shapes(site: Site) -> None:
    """Before opset 8 these do not broadcast."""
    first = site.node.inputs[0]
    assert first is not None
    if not all(value is not None and same_shape(first, value) for value in site.node.inputs):
        raise refusal(site.node, "its inputs may have different shapes")


def _never(why: str) -> Callable[[Site], None]:
    def rule(site: Site) -> None:
        raise refusal(site.node, why)

    return rule


Rule = Callable[[Site], None]
REDUCTIONS = ("L1", "L2", "LogSum", "LogSumExp", "Max", "Mean", "Min", "Prod", "SumSquare")

RULES: dict[str, tuple[tuple[int, Rule], ...]] = {
    "Clip": ((11, _clip),),
    "Constant": ((12, _constant),),
    "DFT": ((20, _dft),),
    "DequantizeLinear": ((13, _one_scale),),
    "Dropout": ((12, _dropout), (10, _dropout_mask)),
    "Gemm": ((11, _gemm),),
    "GridSample": ((20, _grid_sample),),
    "Pad": ((19, _only("mode", "constant", "constant", "reflect", "edge")), (18, pad_axes),
            (11, _pad_inputs)),
    "QuantizeLinear": ((13, _one_scale),),
    "ReduceSum": ((13, reduce), (11, from_front)),
    "Resize": ((13, _resize_inputs), (11, _resize_plain), (10, _upsample)),
    "RoiAlign": ((16, _roi_align),),
    "Scan": ((9, _never("it had a batch axis")),),
    "ScatterElements": ((18, _only("reduction", "none", "none", "add", "mul")), (11, _scatter)),
    "ScatterND": ((18, _only("reduction", "none", "none", "add", "mul")),),
    "Shape": ((15, _shape),),
    "Slice": ((10, _slice),),
    "Split": ((18, split), (13, axes_input("split")), (11, from_front)),
    "Squeeze": ((13, axes_input("axes")), (11, from_front)),
    "TopK": ((11, from_front), (10, _topk)),
    "Unsqueeze": ((13, axes_input("axes")), (11, from_front)),
    "Upsample": ((9, _upsample_scales),),
    **{f"Reduce{name}": ((18, reduce), (11, from_front)) for name in REDUCTIONS},
    **dict.fromkeys(("Softmax", "LogSoftmax", "Hardmax"), ((13, softmax), (11, from_front))),
    **dict.fromkeys(("ArgMax", "ArgMin", "Concat", "Flatten", "Gather"), ((11, from_front),)),
    **dict.fromkeys(("Max", "Mean", "Min", "Sum"), ((8, _same_shapes),)),
}  # fmt: skip
"""Operator to (opset that changed it, rule to the form before), newest first."""
