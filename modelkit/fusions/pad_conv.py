"""Let a Conv do the zero padding before it.

Why: one kernel less, and no copy of the feature map.
Equal: exactly.
"""

from modelkit.rewrite import Capture, Expr, op

LEVEL = "basic"


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


def when(p: Capture, v: Capture, pad: Capture, conv: Capture) -> str | None:
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
    return None


def after(x: Capture, p: Capture, w: Capture, b: Capture, pad: Capture, conv: Capture) -> Expr:
    pads = _pads(p, pad)
    assert pads is not None
    half = len(pads) // 2
    outer = pads[2:half] + pads[half + 2 :]
    own = conv.attrs.get("pads", ()) or [0] * len(outer)
    total = [mine + theirs for mine, theirs in zip(own, outer, strict=True)]
    return op.Conv(x, w, b, **{**conv.attrs, "pads": total, "auto_pad": None})
