"""Let a Conv do the zero padding before it.

Why: one kernel less, and no copy of the feature map.
Equal: exactly.
"""

from modelkit.rewrite import Capture, Expr, op

LEVEL = "basic"

LONG, SHARE = 31, 5
"""A kernel that is long, and the share of an axis, one in so many, that is a wide padding."""


def by_input(x: Expr, p: Expr, w: Expr) -> Expr:
    return op.Conv(op.Pad(x, p).named("pad"), w).named("conv")


def by_input_with_bias(x: Expr, p: Expr, w: Expr, b: Expr) -> Expr:
    return op.Conv(op.Pad(x, p).named("pad"), w, b).named("conv")


def by_value(x: Expr, p: Expr, v: Expr, w: Expr) -> Expr:
    return op.Conv(op.Pad(x, p, v).named("pad"), w).named("conv")


def by_value_with_bias(x: Expr, p: Expr, v: Expr, w: Expr, b: Expr) -> Expr:
    return op.Conv(op.Pad(x, p, v).named("pad"), w, b).named("conv")


def by_attribute(x: Expr, w: Expr) -> Expr:
    return op.Conv(op.Pad(x).named("pad"), w).named("conv")


def by_attribute_with_bias(x: Expr, w: Expr, b: Expr) -> Expr:
    return op.Conv(op.Pad(x).named("pad"), w, b).named("conv")


before = (
    by_input,
    by_input_with_bias,
    by_value,
    by_value_with_bias,
    by_attribute,
    by_attribute_with_bias,
)


def _pads(p: Capture, pad: Capture) -> list[int] | None:
    if p.value is None:
        return list(pad.attrs.get("pads", ()))
    return None if p.const is None else [int(item) for item in p.const]


def _is_wide(first: list[int], last: list[int], x: Capture, w: Capture) -> bool:
    """Whether much is added to an axis for a long kernel.

    ONNX Runtime's blocked kernels compute what reaches into a padding one by one: 1.2 to 3.7 times
    as long from kernels of 31 and a fifth of the length on; shorter ones are faster so.
    """
    if x.shape is None or w.shape is None:
        return False
    return any(
        isinstance(length, int)
        and isinstance(size, int)
        and size >= LONG
        and (before + after) * SHARE >= length
        for before, after, length, size in zip(first, last, x.shape[2:], w.shape[2:], strict=True)
    )


def when(x: Capture, p: Capture, v: Capture, w: Capture, pad: Capture, conv: Capture) -> str | None:
    if pad.attrs.get("mode", "constant") != "constant" or pad.attrs.get("value", 0.0):
        return "the padding is not zero"
    if v.value is not None and (v.const is None or v.const.any()):
        return "the padding is not zero"
    pads = _pads(p, pad)
    if not pads:
        return "the padding is computed"
    half = len(pads) // 2
    if min(pads) < 0 or any(pads[:2]) or any(pads[half : half + 2]):
        return "it pads, or cuts, batch or channels"
    if conv.attrs.get("auto_pad", "NOTSET") not in ("NOTSET", "VALID"):
        return "the Conv pads by itself"
    if _is_wide(pads[2:half], pads[half + 2 :], x, w):
        return "it is so wide that the convolution is faster on the padded map"
    return None


def after(x: Capture, p: Capture, w: Capture, b: Capture, pad: Capture, conv: Capture) -> Expr:
    pads = _pads(p, pad)
    assert pads is not None
    half = len(pads) // 2
    outer = pads[2:half] + pads[half + 2 :]
    own = conv.attrs.get("pads", ()) or [0] * len(outer)
    total = [mine + theirs for mine, theirs in zip(own, outer, strict=True)]
    return op.Conv(x, w, b, **{**conv.attrs, "pads": total, "auto_pad": None})
