"""Write the linear layers of a squeeze-and-excitation block as 1x1 convolutions.

Why: they work on one number a channel; as convolutions of a map of one pixel they need none of the
shapes in between, and what looks for such a block knows it, see ``squeeze_excite``.
Equal: up to float rounding.
Source: Hu et al., Squeeze-and-Excitation Networks, 2018, whose code writes them so.
"""

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from modelkit.fusions.gate_as_image import unfit
from modelkit.fusions.gemm_between_reshapes import is_product, weight_of
from modelkit.fusions.reduce_before_transpose import axes_of
from modelkit.rewrite import Capture, Expr, op

LEVEL = "all"
OPSET = 11
ORDER = -2  # before squeeze_excite

_VIEWS = ("Flatten", "Reshape", "Squeeze", "Transpose", "Unsqueeze")
_GATES = ("Sigmoid", "HardSigmoid")
_DOMAINS = ("", "ai.onnx", "com.microsoft")
_MANY = 1 << 16
"""Weights of a layer that every image of a batch reads anew; more are better read once."""


@dataclass(frozen=True)
class _Layer:
    """A linear layer of one row an image: the kernel [out, in, 1, 1] and bias [out] it is."""

    rows: Capture
    kernel: np.ndarray
    bias: np.ndarray | None


@dataclass(frozen=True)
class _Block:
    squeeze: _Layer
    is_silu: bool
    excite: _Layer
    gate: Capture


def before(x: Expr, factor: Expr) -> Expr:
    return x * factor


def when(x: Capture, factor: Capture) -> str | None:
    if x.dtype != ir.DataType.FLOAT or x.shape is None or len(x.shape) != 4:
        return ""
    if x.shape[0] is None or factor.shape != (*x.shape[:2], 1, 1):
        return ""
    block = _block(x, factor)
    if block is None:
        return ""
    reason = unfit(x)
    if reason is not None:
        return reason
    if max(layer.kernel.size for layer in (block.squeeze, block.excite)) > _MANY:
        return "its weights are so many that a batch better reads them once"
    return None


def after(x: Capture, factor: Capture) -> Expr:
    block = _block(x, factor)
    assert block is not None
    assert block.gate.node is not None
    small = _conv(op.GlobalAveragePool(x), block.squeeze)
    active = small * op.Sigmoid(small) if block.is_silu else op.Relu(small)
    gate = Expr(block.gate.node.op_type, (_conv(active, block.excite),), block.gate.attrs)
    return x * gate


def _conv(image: Expr, layer: _Layer) -> Expr:
    return op.Conv(image, layer.kernel, layer.bias, kernel_shape=[1, 1])


def _block(x: Capture, factor: Capture) -> _Block | None:
    """What makes ``factor`` of ``x``, read from its end; None where that is no such block."""
    assert x.shape is not None
    gate = _made(factor)
    excite = _layer(_made(_read(gate)), x.shape[0]) if _kind(gate) in _GATES else None
    active = None if excite is None else _activation(_made(excite.rows))
    squeeze = None if active is None else _layer(_made(active[1]), x.shape[0])
    if excite is None or active is None or squeeze is None:
        return None
    wide, inner = excite.kernel.shape[:2]
    if squeeze.kernel.shape[:2] != (inner, wide) or wide != x.shape[1]:
        return None
    if not _is_mean(_made(squeeze.rows), x):
        return None
    return _Block(squeeze, active[0], excite, gate)


def _kind(made: Capture) -> str:
    return "" if made.node is None or made.node.domain not in _DOMAINS else made.node.op_type


def _read(made: Capture, place: int = 0) -> Capture:
    inputs = () if made.node is None else made.node.inputs
    return Capture(inputs[place] if place < len(inputs) else None)


def _made(value: Capture) -> Capture:
    """``value`` before it got, or lost, axes of one."""
    while _kind(value) in _VIEWS:
        if _kind(value) == "Transpose" and value.attrs.get("perm", [1])[0] != 0:
            return Capture(None)
        value = _read(value)
    return value


def _activation(made: Capture) -> tuple[bool, Capture] | None:
    """Whether ``made`` is SiLU, not Relu, and what it is of."""
    if _kind(made) == "Relu" or (_kind(made) == "QuickGelu" and made.attrs.get("alpha") == 1.0):
        return _kind(made) != "Relu", _read(made)
    for place in (0, 1) if _kind(made) == "Mul" else ():
        inner, factor = _read(made, place), _read(made, 1 - place)
        if _kind(factor) == "Sigmoid" and _read(factor).value is inner.value:
            return True, inner
    return None


def _layer(made: Capture, batch: int | str | None) -> _Layer | None:
    """The linear layer that ends with ``made``; None where it is not one of a row an image."""
    bias = Capture(None)
    if _kind(made) == "Add":
        parts = [_read(made, place) for place in (0, 1)]
        bias, made = parts if parts[0].is_constant else parts[::-1]
        made = _made(made)
        if not bias.is_constant or _kind(made) != "MatMul":
            return None
    elif _kind(made) == "Gemm":
        bias = _read(made, 2)
    if _kind(made) not in ("MatMul", "Gemm") or not is_product(made, bias):
        return None
    weight, rows = _read(made, 1), _read(made)
    if not weight.is_constant or len(weight.shape or ()) != 2 or rows.shape is None:
        return None
    if bias.value is not None and not bias.is_constant:
        return None
    kernel = weight_of(made, weight).T[:, :, None, None]
    wide, deep = kernel.shape[:2]
    if rows.shape != (batch, *(1,) * (len(rows.shape) - 2), deep):
        return None
    if bias.const is not None and bias.const.shape != (1,) * (bias.const.ndim - 1) + (wide,):
        return None
    return _Layer(rows, kernel, None if bias.const is None else bias.const.reshape(-1))


def _is_mean(made: Capture, x: Capture) -> bool:
    """Whether ``made`` is what the pixels of ``x`` are on average."""
    if _read(made).value is not x.value:
        return False
    if _kind(made) == "ReduceMean":
        return axes_of(made, _read(made, 1), 4) == [2, 3]
    return _kind(made) == "GlobalAveragePool"
