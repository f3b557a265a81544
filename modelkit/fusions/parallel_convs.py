"""Merge convolutions of one map whose results are added into a single convolution.

Why: RepVGG, MobileOne, RepViT and TextNet are trained with several branches a layer, and exported
with them: kernels of other sizes, a BatchNormalization, or the map itself beside a convolution.
All are one kernel, as their authors' own ``reparameterize`` writes it.
Equal: up to float rounding, with constant weights and statistics.
Source: Ding et al., RepVGG, CVPR 2021, section 3.3.
"""

from dataclasses import dataclass, replace
from math import prod

import numpy as np

from modelkit.fusions.conv_batch_normalization import scaling
from modelkit.fusions.conv_batch_normalization import when as unfit
from modelkit.rewrite import Capture, Expr, either, op

LEVEL = "basic"
ORDER = 1  # behind what folds into each of the convolutions


def _conv(x: Expr, w: Expr, b: Expr, name: str) -> Expr:
    return either(op.Conv(x, w, b).named(name), op.Conv(x, w).named(name))


def two(x: Expr, w: Expr, b: Expr, v: Expr, c: Expr) -> Expr:
    return _conv(x, w, b, "conv") + _conv(x, v, c, "other")


def with_norm(x: Expr, w: Expr, b: Expr, scale: Expr, shift: Expr, mean: Expr, var: Expr) -> Expr:
    norm = op.BatchNormalization(x, scale, shift, mean, var).named("norm")
    return _conv(x, w, b, "conv") + norm


def with_itself(x: Expr, w: Expr, b: Expr) -> Expr:
    return _conv(x, w, b, "conv") + x


before = (two, with_norm, with_itself)


def when(
    x: Capture,
    w: Capture,
    b: Capture,
    v: Capture,
    c: Capture,
    scale: Capture,
    shift: Capture,
    mean: Capture,
    var: Capture,
    conv: Capture,
    other: Capture,
    norm: Capture,
) -> str | None:
    for name, part in (("weight", w), ("bias", b), ("second weight", v), ("second bias", c)):
        if part.value is not None and not part.is_constant:
            return f"its {name} is not a constant"
    if norm.value is not None:
        reason = unfit(w=w, b=b, scale=scale, shift=shift, mean=mean, var=var, norm=norm)
        if reason is not None:
            return reason
    first, second = _branches(w, v, conv, other)
    if second is None:
        return "its channels do not stay as many"
    for each, branch in ((conv, first), (other, second)):
        if each.attrs.get("auto_pad", "NOTSET") != "NOTSET":
            return "its padding is not written out"
        dilations = each.attrs.get("dilations", (1,) * len(branch.sizes))
        if any(step != 1 < size for step, size in zip(dilations, branch.sizes, strict=True)):
            return "it is dilated"
    return first.unlike(second)


@dataclass(frozen=True)
class _Branch:
    """A kernel [out, of a group, ...], and how a convolution lays it on the map, axis by axis."""

    kernel: np.ndarray
    strides: tuple[int, ...]
    group: int
    heads: tuple[int, ...]
    tails: tuple[int, ...]

    @property
    def sizes(self) -> tuple[int, ...]:
        return self.kernel.shape[2:]

    @property
    def reach(self) -> list[int]:
        """By how much the padded map is longer than the map and the kernel, axis by axis."""
        padding = zip(self.heads, self.tails, self.sizes, strict=True)
        return [head + tail - size for head, tail, size in padding]

    def unlike(self, other: "_Branch") -> str | None:
        """Why the two have no common kernel, or none that is smaller."""
        if self.kernel.ndim != other.kernel.ndim or self.kernel.shape[:2] != other.kernel.shape[:2]:
            return "they have other channels"
        if (self.strides, self.group) != (other.strides, other.group):
            return "their strides or groups differ"
        if self.reach != other.reach:
            return "their results are not of one size"
        if prod(self._frame(other).sizes) > prod(self.sizes) + prod(other.sizes):
            return "one kernel would hold more than both"
        return None

    def _frame(self, other: "_Branch") -> "_Branch":
        """A kernel of zeros that begins with the first of both and ends with the last."""
        heads = tuple(map(max, self.heads, other.heads))
        tails = tuple(map(max, self.tails, other.tails))
        ends = zip(heads, tails, self.reach, strict=True)
        shape = (*self.kernel.shape[:2], *(head + tail - reach for head, tail, reach in ends))
        return _Branch(np.zeros(shape, self.kernel.dtype), self.strides, self.group, heads, tails)

    def joined(self, other: "_Branch") -> "_Branch":
        """One kernel that gives the sum of what both give."""
        whole = self._frame(other)
        for each in (self, other):
            starts = [most - own for most, own in zip(whole.heads, each.heads, strict=True)]
            place = [slice(at, at + size) for at, size in zip(starts, each.sizes, strict=True)]
            whole.kernel[(slice(None), slice(None), *place)] += each.kernel
        return whole


def _branches(
    w: Capture, v: Capture, conv: Capture, other: Capture
) -> tuple[_Branch, _Branch | None]:
    """Both kernels; for a branch that keeps the map one of ones, None where channels change."""
    first = _branch(np.asarray(w.const), conv)
    if v.const is not None:
        return first, _branch(v.const, other)
    out, width, *sizes = first.kernel.shape
    if out != width * first.group:
        return first, None
    kernel = np.zeros((out, width, *[1] * len(sizes)), first.kernel.dtype)
    kernel[np.arange(out), np.arange(out) % width] = 1
    none, ones = (0,) * len(sizes), (1,) * len(sizes)
    return first, _Branch(kernel, ones, first.group, none, none)


def _branch(kernel: np.ndarray, conv: Capture) -> _Branch:
    axes = kernel.ndim - 2
    pads = tuple(conv.attrs.get("pads", (0,) * 2 * axes))
    strides = tuple(conv.attrs.get("strides", (1,) * axes))
    group = int(conv.attrs.get("group", 1))
    return _Branch(kernel, strides, group, pads[:axes], pads[axes:])


def after(
    x: Capture,
    w: Capture,
    b: Capture,
    v: Capture,
    c: Capture,
    scale: Capture,
    shift: Capture,
    mean: Capture,
    var: Capture,
    conv: Capture,
    other: Capture,
    norm: Capture,
) -> Expr:
    first, second = _branches(w, v, conv, other)
    assert second is not None
    kind = first.kernel.dtype
    bias = np.zeros(len(first.kernel), kind) if b.const is None else b.const
    if norm.value is not None:
        factor, moved = scaling(c, scale, shift, mean, var, norm)
        by_channel = factor.reshape(-1, *[1] * (second.kernel.ndim - 1))
        second = replace(second, kernel=second.kernel * by_channel)
        bias = bias + moved
    elif c.const is not None:
        bias = bias + c.const
    whole = first.joined(second)
    options = {
        **conv.attrs,
        "kernel_shape": list(whole.sizes),
        "pads": [*whole.heads, *whole.tails],
    }
    options.pop("dilations", None)
    return op.Conv(x, whole.kernel.astype(kind), bias.astype(kind), **options)
