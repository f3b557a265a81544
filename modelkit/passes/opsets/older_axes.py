"""How axes, and the lengths along them, were given in older opsets."""

from collections.abc import Callable

import numpy as np
import onnx_ir as ir

from modelkit.passes.opsets.schemas import refusal
from modelkit.passes.opsets.site import Site, constants, drop_inputs, has
from modelkit.passes.surgery import attribute, bypass, rank


def axes_input(name: str) -> Callable[[Site], None]:
    """The second input was attribute ``name``."""

    def rule(site: Site) -> None:
        node = site.node
        if has(node, 1):
            found = constants(node, 1)
            if found or node.op_type == "Unsqueeze":
                node.attributes[name] = ir.AttrInt64s(name, found)
        drop_inputs(node, 1)

    return rule


def reduce(site: Site) -> None:
    """The axes of a reduction were an attribute, and there were always some."""
    node = site.node
    empty = not has(node, 1) or not constants(node, 1)
    if attribute(node, "noop_with_empty_axes", 0) and empty:
        if node.op_type not in ("ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd"):
            raise refusal(node, "it reduces no axis")
        source = node.inputs[0]
        assert source is not None
        if not bypass(node, source):
            node.op_type = "Identity"
            node.attributes.clear()
            drop_inputs(node, 1)
        return
    node.attributes.pop("noop_with_empty_axes", None)
    axes_input("axes")(site)


def from_front(site: Site) -> None:
    """Before opset 11 axes are counted from the front."""
    node = site.node
    for name in ("axis", "axes"):
        held = attribute(node, name)
        given = [held] if isinstance(held, int) else list(held or ())
        if all(axis >= 0 for axis in given):
            continue
        length = rank(node.outputs[0] if node.op_type == "Unsqueeze" else node.inputs[0])
        if length is None:
            raise refusal(node, f"{name} counts from the end of a value of unknown rank")
        fixed = [axis + length if axis < 0 else axis for axis in given]
        node.attributes[name] = (
            ir.AttrInt64(name, fixed[0]) if isinstance(held, int) else ir.AttrInt64s(name, fixed)
        )


def softmax(site: Site) -> None:
    """Before opset 13 all axes from ``axis`` on are one; only the last axis means the same."""
    node = site.node
    source, length, axis = node.inputs[0], rank(node.inputs[0]), attribute(node, "axis", -1)
    assert source is not None
    if axis == -1 or (length is not None and axis == length - 1):
        node.attributes["axis"] = ir.AttrInt64("axis", axis)
        return
    if length is None:
        raise refusal(node, "the rank of its input is unknown")
    order = list(range(length))
    order[axis], order[-1] = order[-1], order[axis]
    moved = site.insert("Transpose", [source], perm=order)
    result = site.insert(node.op_type, [moved], axis=length - 1)
    # Both are written for the older opset: they must not be moved again.
    site.become(site.insert("Transpose", [result], perm=order))


def split(site: Site) -> None:
    """Before opset 18 parts of unequal length are listed."""
    node = site.node
    parts = attribute(node, "num_outputs", len(node.outputs))
    node.attributes.pop("num_outputs", None)
    if has(node, 1):
        return
    axis, source = attribute(node, "axis", 0), node.inputs[0]
    length = source.shape[axis] if source is not None and source.shape is not None else None
    if not isinstance(length, int):
        raise refusal(node, "the length of the axis it splits is unknown")
    chunk = -(-length // parts)
    sizes = [min(chunk, length - chunk * place) for place in range(parts)]
    if min(sizes) < 0:
        raise refusal(node, "it makes more parts than there are")
    value = site.constant(np.array(sizes, dtype=np.int64))
    node.resize_inputs(2)
    node.replace_input_with(1, value)


def pad_axes(site: Site) -> None:
    """Before opset 18 every axis is padded."""
    node = site.node
    if has(node, 3):
        length, pads, axes = rank(node.inputs[0]), constants(node, 1), constants(node, 3)
        if length is None:
            raise refusal(node, "the rank of its input is unknown")
        whole = [0] * (2 * length)
        for place, axis in enumerate(axes):
            whole[axis % length] = pads[place]
            whole[axis % length + length] = pads[place + len(axes)]
        node.replace_input_with(1, site.constant(np.array(whole, dtype=np.int64)))
    drop_inputs(node, 3)
