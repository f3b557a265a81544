"""Compute an inverted residual in parts of its channels, one after the other.

Why: such a block widens its feature map, filters each channel alone and narrows it again.  Where
the wide map is larger than the caches each operator reads it from memory and writes it back; a part
of its channels stays near from the first convolution to the last, and never all of it is held:
0.97-1.46x at batch 1, 1.1-1.6x at batch 4, 0.6-0.9 of the memory.
Equal: up to float rounding; the last convolution adds its channels part by part.
Source: Sandler et al., MobileNetV2: Inverted Residuals and Linear Bottlenecks, 2018.
"""

from dataclasses import dataclass
from math import prod

import numpy as np
import onnx_ir as ir

from modelkit.fusions.linear_as_conv import BLOCK
from modelkit.fusions.repeat_as_resize import repeated
from modelkit.rewrite import Capture, Expr, convolution, either, op

LEVEL = "all"
OPSET = 11
ORDER = 29  # behind squeeze_excite and what completes convolutions

_FEWEST = 32  # channels of a part; with fewer the 1x1 convolutions get slow
_SMALLEST = 1 << 20  # bytes of a part; more parts cost more than they keep near
_LARGEST = 3 << 20  # bytes of one image's wide map that stays whole

_FACTORS = ("Sigmoid", "HardSigmoid")


def _conv(x: Expr, name: str) -> Expr:
    return convolution(x, Expr(), Expr(), name)


def _active(x: Expr, name: str) -> Expr:
    kinds = [Expr(kind, (x,)) for kind in ("Relu", "HardSwish", "Gelu")]
    kinds += [x * Expr(kind, (x,)) for kind in _FACTORS]
    return either(*(kind.named(name) for kind in (*kinds, op.Clip(x, Expr(), Expr()))))


def _filtered(x: Expr) -> Expr:
    return _active(_conv(_active(_conv(x, "widen"), "widened"), "each"), "filtered")


def gated(x: Expr) -> Expr:
    wide = _filtered(x)
    small = _active(_conv(op.GlobalAveragePool(wide), "squeeze"), "squeezed")
    gates = (Expr(kind, (_conv(small, "excite"),)).named("gate") for kind in _FACTORS)
    return _conv(wide * either(*gates), "narrow")


def plain(x: Expr) -> Expr:
    return _conv(_filtered(x), "narrow")


before = (gated, plain)


def when(
    x: Capture, widen: Capture, each: Capture, narrow: Capture, squeeze: Capture, excite: Capture
) -> str | None:
    convs = [Conv.of(conv) for conv in (widen, each, narrow, squeeze, excite) if conv.value]
    wide = convs[0].weight.shape[0] if convs[0].weight.shape else None
    if convs[1].group != wide or not isinstance(wide, int) or wide <= _FEWEST:
        return ""
    if list(convs[1].weight.shape or ())[:2] != [wide, 1]:
        return "a channel is filtered more than once"
    if any(conv.group != 1 for conv in (convs[0], *convs[2:])):
        return "it widens or narrows in groups"
    if any(list(conv.weight.shape or ())[2:] != [1, 1] for conv in (convs[0], *convs[2:])):
        return "its other convolutions are not 1x1"
    if x.dtype != ir.DataType.FLOAT or not all(conv.is_constant for conv in convs):
        return "it is not float32 with constant weights"
    if wide % BLOCK:
        return f"its channels are not a multiple of {BLOCK}"
    sides = widen.shape[2:] if widen.shape is not None else (None,)
    if not all(isinstance(side, int) for side in sides):
        return "the size of its feature map is not fixed"
    size = 4 * wide * _pixels(widen)
    return f"its widest map is small ({size} bytes)" if size < _LARGEST else None


def after(
    x: Capture,
    widen: Capture,
    widened: Capture,
    each: Capture,
    filtered: Capture,
    squeeze: Capture,
    squeezed: Capture,
    excite: Capture,
    gate: Capture,
    narrow: Capture,
) -> Expr:
    first, second, last = (Conv.of(conv) for conv in (widen, each, narrow))
    parts = _parts(len(np.asarray(first.weight.const)), _pixels(widen))
    maps = []
    for part in parts:
        inner = again(widened, first.part(x, part))
        maps.append(again(filtered, second.part(inner, part, group=part.stop - part.start)))
    if gate.node is not None:
        means = op.Concat(*(op.GlobalAveragePool(each) for each in maps), axis=1)
        sides = (filtered.shape or ())[2:]
        small = again(squeezed, Conv.of(squeeze).part(means, slice(None)))
        for place, part in enumerate(parts):
            factor = Expr(gate.node.op_type, (Conv.of(excite).part(small, part),), gate.attrs)
            maps[place] *= repeated(factor, sides)
    total = last.reading(maps[0], parts[0], last.bias)
    for one, part in zip(maps[1:], parts[1:], strict=True):
        total = last.reading(one, part) + total
    return total


def _pixels(made: Capture) -> int:
    return prod(side for side in (made.shape or ())[2:] if isinstance(side, int))


def _parts(channels: int, pixels: int) -> list[slice]:
    near = BLOCK * -(-_SMALLEST // (4 * pixels * BLOCK))
    step = max(_FEWEST, near)
    return [slice(start, min(start + step, channels)) for start in range(0, channels, step)]


@dataclass(frozen=True)
class Conv:
    """A convolution of the graph, to be written again for some of its channels."""

    made: Capture
    weight: Capture
    bias: Capture

    @classmethod
    def of(cls, made: Capture) -> "Conv":
        """The one that makes ``made``."""
        assert made.node is not None
        _, weight, *bias = made.node.inputs
        return cls(made, Capture(weight), Capture(bias[0] if bias else None))

    @property
    def group(self) -> int:
        """How many groups it has."""
        return int(self.made.attrs.get("group", 1))

    @property
    def is_constant(self) -> bool:
        """Whether its weight and bias are known."""
        return self.weight.is_constant and (self.bias.value is None or self.bias.is_constant)

    def part(self, x: Expr, part: slice, **attributes: int) -> Expr:
        """The outputs ``part`` only."""
        weight = np.asarray(self.weight.const)[part]
        bias = () if self.bias.value is None else (np.asarray(self.bias.const)[part],)
        return op.Conv(x, weight, *bias, **{**self.made.attrs, **attributes})

    def reading(self, x: Expr, part: slice, bias: Capture | None = None) -> Expr:
        """What the inputs ``part``, which ``x`` is, add to all outputs; with ``bias`` if given."""
        weight = np.ascontiguousarray(np.asarray(self.weight.const)[:, part])
        more = () if bias is None or bias.value is None else (bias,)
        return op.Conv(x, weight, *more, **self.made.attrs)


def again(active: Capture, x: Expr) -> Expr:
    """The activation that made ``active``, of ``x``."""
    node = active.node
    assert node is not None
    if node.op_type != "Mul":
        others = (Capture(value) for value in node.inputs[1:])
        return Expr(node.op_type, (x, *others), active.attrs)
    makers = (value.producer() for value in node.inputs if value is not None)
    factor = next(maker for maker in makers if maker is not None and maker.op_type in _FACTORS)
    return x * Expr(factor.op_type, (x,), Capture(factor.outputs[0]).attrs)
