"""Shapes of operators that slide a window or change resolution: convolutions, pools, Resize."""

from collections.abc import Sequence
from typing import Any

import onnx_ir as ir

from modelkit.model import const_of, dims
from modelkit.model.dims import Dim
from modelkit.passes.symbols.known import Known, Shape, option


def _conv(node: ir.Node, known: Known) -> Shape | None:
    data, weight = known.shape(node.inputs[0]), known.shape(node.inputs[1])
    if data is None or weight is None or len(data) != len(weight):
        return None
    return (data[0], weight[0], *_slid(node, data[2:], option(node, "kernel_shape", weight[2:])))


def _pool(node: ir.Node, known: Known) -> Shape | None:
    data, kernel = known.shape(node.inputs[0]), option(node, "kernel_shape")
    if data is None or kernel is None or len(kernel) != len(data) - 2:
        return None
    sides = _slid(node, data[2:], kernel)
    return (*data[:2], *(known.fresh() if side is None else side for side in sides))


def _slid(node: ir.Node, sides: Sequence[Dim], kernel: Sequence[Any]) -> list[Any]:
    count = len(sides)
    strides = option(node, "strides", [1] * count)
    dilations = option(node, "dilations", [1] * count)
    pads = option(node, "pads", [0] * 2 * count)
    mode = option(node, "auto_pad", "NOTSET")
    up = option(node, "ceil_mode", 0)
    if not len(kernel) == len(strides) == len(dilations) == len(pads) // 2 == count:
        return [None] * count
    result: list[Dim | None] = []
    for place, side in enumerate(sides):
        window, stride = kernel[place], strides[place]
        if not isinstance(window, int) or stride < 1 or window < 1:
            result.append(None)
        elif mode in ("SAME_UPPER", "SAME_LOWER"):
            result.append(_strided(side, 1, stride))
        else:
            first, last = (0, 0) if mode == "VALID" else (pads[place], pads[place + count])
            lost = dilations[place] * (window - 1) + 1 - first - last
            result.append(
                _rounded_up(side, lost, stride, first) if up else _strided(side, lost, stride)
            )
    return result


def _rounded_up(side: Dim, lost: int, stride: int, first: int) -> int | None:
    """ceil((side - lost) / stride) + 1, where no window starts behind the image.

    ``first`` is the padding before it.  Runtimes differ on whether such a window counts.
    """
    if not isinstance(side, int) or side < lost:
        return None
    steps = -((lost - side) // stride)
    return steps + 1 if steps * stride < side + first else None


def _strided(side: Dim, lost: int, stride: int) -> Dim | None:
    """floor((side - lost) / stride) + 1."""
    room = dims.subtract(side, lost)
    return None if room is None else dims.windows(room, stride)


def _global_pool(node: ir.Node, known: Known) -> Shape | None:
    data = known.shape(node.inputs[0])
    return None if data is None else (*data[:2], *[1] * (len(data) - 2))


def _conv_transpose(node: ir.Node, known: Known) -> Shape | None:
    data, weight = known.shape(node.inputs[0]), known.shape(node.inputs[1])
    if data is None or weight is None or len(data) != len(weight) or len(data) < 3:
        return None
    group = option(node, "group", 1)
    channels = dims.multiply(weight[1], group) or known.fresh()
    sides = _spread(node, data[2:], option(node, "kernel_shape", weight[2:]))
    return (data[0], channels, *(known.fresh() if side is None else side for side in sides))


def _spread(node: ir.Node, sides: Sequence[Dim], kernel: Sequence[Any]) -> list[Dim | None]:
    """Sides of stride * (side - 1) + what the kernel covers behind the last step, less padding."""
    count = len(sides)
    strides, dilations = (option(node, key, [1] * count) for key in ("strides", "dilations"))
    pads, added = option(node, "pads", [0] * 2 * count), option(node, "output_padding", [0] * count)
    told = option(node, "auto_pad", "NOTSET") == "NOTSET" and option(node, "output_shape") is None
    if not told or not count == len(kernel) == len(strides) == len(dilations) == len(added):
        return [None] * count
    if len(pads) != 2 * count or not all(isinstance(window, int) for window in kernel):
        return [None] * count
    result: list[Dim | None] = []
    for place, side in enumerate(sides):
        covered = dilations[place] * (kernel[place] - 1) + 1 - strides[place] + added[place]
        steps = dims.multiply(side, strides[place])
        lost = pads[place] + pads[place + count]
        result.append(None if steps is None else dims.add(steps, covered - lost))
    return result


def _resize(node: ir.Node, known: Known) -> Shape | None:
    data = known.shape(node.inputs[0])
    if data is None or option(node, "axes") is not None:
        return None
    sizes = known.content(node.inputs[3]) if len(node.inputs) > 3 else None
    if sizes is not None and option(node, "keep_aspect_ratio_policy", "stretch") == "stretch":
        return tuple(known.fresh() if item is None else item for item in sizes.items)
    scales = node.inputs[2 if len(node.inputs) > 2 else 1] if len(node.inputs) > 1 else None
    factors = const_of(scales) if scales is not None else option(node, "scales")
    return _scaled(data, factors, known)


def _scaled(data: Shape, factors: Any, known: Known) -> Shape:
    if factors is None or len(factors) != len(data):
        return tuple(known.fresh() for _ in data)
    result = (
        dims.multiply(dim, int(factor)) if float(factor).is_integer() and factor > 0 else None
        for dim, factor in zip(data, factors, strict=True)
    )
    return tuple(known.fresh() if dim is None else dim for dim in result)


def _depth_to_space(node: ir.Node, known: Known) -> Shape | None:
    data, block = known.shape(node.inputs[0]), option(node, "blocksize", 1)
    if data is None or len(data) != 4:
        return None
    inside = node.op_type == "SpaceToDepth"
    area = block * block
    channels = dims.multiply(data[1], area) if inside else dims.divide_exactly(data[1], area)
    sides = (
        dims.divide_exactly(side, block) if inside else dims.multiply(side, block)
        for side in data[2:]
    )
    found = (data[0], channels, *sides)
    return tuple(known.fresh() if dim is None else dim for dim in found)


def complete(rule: Any) -> Any:
    """``rule`` with a fresh name for each dim it could not tell."""

    def completed(node: ir.Node, known: Known) -> Shape | None:
        shape = rule(node, known)
        if shape is None:
            return None
        return tuple(known.fresh() if dim is None else dim for dim in shape)

    return completed


RULES = {
    "AveragePool": _pool, "Conv": complete(_conv), "ConvInteger": complete(_conv),
    "ConvTranspose": _conv_transpose, "DepthToSpace": _depth_to_space,
    "GlobalAveragePool": _global_pool, "GlobalLpPool": _global_pool,
    "GlobalMaxPool": _global_pool, "LpPool": _pool, "MaxPool": _pool, "Resize": _resize,
    "SpaceToDepth": _depth_to_space, "Upsample": _resize,
}  # fmt: skip
