"""Winograd's convolution as a function of a model: what stands for a 3x3 convolution.

Four rows of the result come from six rows of products instead of twelve: F(4,3) of Lavin and Gray,
"Fast Algorithms for Convolutional Neural Networks" (2015), in one dimension.  Depthwise
convolutions make the images that are multiplied, convolutions of 1x3 multiply them, and sums make
the rows: all of them operators that ONNX Runtime's CPU provider runs in its blocked layout.  The
file keeps the weights of the convolution; ONNX Runtime transforms them when it opens the model.
The result has a multiple of four rows: those beyond the images' are to be cut off.  Functions for
images whose sizes are open do that themselves.
"""

from collections.abc import Sequence
from functools import cache

import onnx_ir as ir

from modelkit.model import Model
from modelkit.model.walk import OURS

DOMAIN = OURS
CONV = "WinogradConv"
CONV_RELU = "WinogradConvRelu"
OPEN_CONV = "WinogradConvOpen"
OPEN_CONV_RELU = "WinogradConvOpenRelu"
"""For images whose sizes are known only when they are seen; their last input is the height."""
NAMES = (CONV, CONV_RELU, OPEN_CONV, OPEN_CONV_RELU)
WITH_RELU = (CONV_RELU, OPEN_CONV_RELU)
OPEN = (OPEN_CONV, OPEN_CONV_RELU)
ROWS = 4
"""Rows of the result that are made together."""

_TAPS = ((4, -5, 1), (-4, -4, 1, 1), (4, -4, -1, 1), (-2, -1, 2, 1), (2, -1, -2, 1), (4, -5, 1))
"""Rows of B transposed, without zeros; those of three taps stand on every second row."""

_HALVES = ((-4, 1), (4, -1), (-1, 1), (-2, 2), (2, -2))
"""What those of four taps hold for the first and third row, or for the second and fourth."""

_WEIGHTS = """
    ones = Constant<value_ints = [1, 1, 1]>() w0, w1, w2 = Split<axis = 2>(W, ones)
    quarter = Constant<value_float = 0.25>() half = Constant<value_float = 0.5>()
    sixth = Constant<value_float = -0.16666667>()
    outer = Add(w0, w2) even = Mul(outer, sixth) odd = Mul(w1, sixth)
    u0 = Mul(w0, quarter) u1 = Add(even, odd) u2 = Sub(even, odd)
    far = Add(u0, w2) ends = Mul(far, sixth) middle = Mul(odd, half)
    u3 = Add(ends, middle) u4 = Sub(ends, middle)"""
_KERNELS = ("u0", "u1", "u2", "u3", "u4", "w2")
"""What G makes of weights [kernels, channels, 3, 3]: six of [kernels, channels, 1, 3].  The fourth
and fifth have the opposite sign, and so do their products below."""


def attributes(channels: int, kernels: int, sides: tuple[int, int] | None) -> dict[str, object]:
    """The attributes of a call for images [N, channels, *sides]; without sides, an open one's."""
    said: dict[str, object] = {
        "channels": channels,
        "kernels": kernels,
        "per_channel": [channels, 1, 1, 1],
        "per_kernel": [kernels, 1, 1, 1],
    }
    if sides is None:
        return said
    height, width = sides
    return said | {"shape": [0, 0, -(-height // ROWS) * ROWS, width]}


def define(node: ir.Node, model: Model) -> None:
    """Give ``model`` the function that ``node`` calls, if it is one of these."""
    key = node.op_identifier()
    if node.domain == DOMAIN and key not in model.functions:
        model.functions[key] = _function(node.op_type, model.opset_imports[""]).clone()


def functions_written(model: Model) -> list[ir.OperatorIdentifier]:
    """The functions of ``model`` that compute exactly what these do."""
    return [key for key, function in model.functions.items() if _is_written(function)]


def _is_written(function: ir.Function) -> bool:
    if function.domain != DOMAIN or function.name not in NAMES:
        return False
    version = function.opset_imports.get("")
    return version is not None and _bytes(function) == _bytes(_function(function.name, version))


def _bytes(function: ir.Function) -> bytes:
    written = ir.to_proto(function)
    del written.value_info[:], written.metadata_props[:]
    written.doc_string = ""
    for node in written.node:
        node.name = ""
        del node.metadata_props[:]
    return bytes(written.SerializeToString(deterministic=True))


@cache
def _function(name: str, opset: int) -> ir.Function:
    inputs = "X, W, B, H" if name in OPEN else "X, W, B"
    # No two nodes may be equal: passes would share them, and the function be another.
    text = f"""<ir_version: 10, opset_import: ["": {opset}, "{DOMAIN}": 1]>
    unused (float[1] x) => (float[1] x) {{ }}
    <opset_import: ["": {opset}], domain: "{DOMAIN}">
    {name} <channels, kernels, per_channel, per_kernel{"" if name in OPEN else ", shape"}>
    ({inputs}) => (Y) {{ {_WEIGHTS} {_products(name)} {_sums()} {_rows(name)} }}"""
    return next(iter(ir.from_onnx_text(text).functions.values()))


def _products(name: str) -> str:
    """Six images of a quarter of the rows, ``t``, and what their kernels make of them, ``m``."""
    text, images = _quarters_of_halves() if name in OPEN else _quarters()
    for place, (image, kernel) in enumerate(zip(images, _KERNELS, strict=True)):
        bias = ", B" if place == 1 else ""  # its product goes once into each row
        text += f"{image} m{place} = Conv<pads = [0, 1, 0, 1]>(t{place}, {kernel}{bias})"
    return text


def _taps(kinds: Sequence[Sequence[int]]) -> str:
    """Kernels ``k0``, ``k1``, ... of one column that each hold the same for every channel."""
    numbers = [tap for taps in kinds for tap in taps]
    return f"""
    {_spread("per_channel", [1, 1, len(numbers), 1], numbers)}
    taps = Constant<value_ints = {[len(taps) for taps in kinds]}>()
    {", ".join(f"k{place}" for place in range(len(kinds)))} = Split<axis = 2>(per_channel, taps)"""


def _quarters() -> tuple[str, list[str]]:
    kinds, images = list(dict.fromkeys(_TAPS)), []
    for place, taps in enumerate(_TAPS):
        step, border = (2 if len(taps) == 3 else 1), int(place == 0)
        last = step * (len(taps) - 1) - border  # which lets any number of rows be covered
        images.append(f"""
        t{place} = Conv<group: int = @channels, strides = [{ROWS}, 1], dilations = [{step}, 1],
            pads = [{border}, 0, {last}, 0]>(X, k{kinds.index(taps)})""")
    return _taps(kinds), images


def _quarters_of_halves() -> tuple[str, list[str]]:
    """The same of images of open sizes: rows are halved twice.

    ONNX Runtime takes two open sizes for equal where both were halved as often, and no other way;
    only then does a convolution take a sum along (nchwc_transformer.cc).
    """

    def halved(image: str, kernel: str, rows: int, above: int = 0) -> str:
        return f"""Conv<group: int = @channels, strides = [2, 1],
            pads = [{above}, 0, {rows - 1 - above}, 0]>({image}, {kernel})"""

    def summed(place: int, kernel: str, other: str) -> str:
        first = halved("firsts", kernel, 2)
        return f" t{place}_x = {first} t{place} = Add({other}, t{place}_x)"

    text = f"""{_taps([(1,), (0, 1), _TAPS[0], *_HALVES])}
    firsts = {halved("X", "k0", 1)} seconds = {halved("X", "k1", 2)}
    p = {halved("seconds", "k3", 2)} q = {halved("seconds", "k5", 2)}"""
    return text, [
        f" t0 = {halved('seconds', 'k2', 3, above=1)}",
        *(summed(1, "k3", "p"), summed(2, "k4", "p")),
        *(summed(3, "k6", "q"), summed(4, "k7", "q")),
        f" t5 = {halved('firsts', 'k2', 3)}",
    ]


def _sums() -> str:
    """A: six products to four rows, ``y``."""
    return f"""
    {_spread("per_kernel", [1, 4, 1, 1], [-1, -2, -4, -8])}
    each = Constant<value_ints = [1, 1, 1, 1]>()
    minus, twice, fourfold, eightfold = Split<axis = 1>(per_kernel, each)
    a = Add(m1, m2) b = Add(m3, m4)
    {_times("c", "m1", "minus", "m2")} {_times("d", "m3", "minus", "m4")}
    {_times("ab", "a", "minus", "b")} {_times("cd", "c", "eightfold", "d")}
    y0 = Add(ab, m0) {_times("y1", "c", "twice", "d")} {_times("y2", "a", "fourfold", "b")}
    y3 = Add(cd, m5)"""


def _spread(name: str, shape: list[int], numbers: list[int]) -> str:
    """``numbers`` once for each of the channels or kernels that the attribute ``name`` tells."""
    values = ", ".join(f"{number}.0" for number in numbers)
    return f"""{name}_one = Constant<value = float{shape} {{{values}}}>()
    {name}_shape = Constant<value_ints: ints = @{name}>()
    {name} = Expand({name}_one, {name}_shape)"""


def _times(name: str, value: str, scale: str, other: str) -> str:
    """``name`` = value + scale * other, in one kernel: a convolution takes a sum."""
    return f"""{name}_x = Conv<group: int = @kernels>({other}, {scale})
    {name} = Add({value}, {name}_x)"""


def _rows(name: str) -> str:
    rows, stem = "", "y"
    if name in WITH_RELU:  # each becomes part of the kernel that makes the row
        rows, stem = " ".join(f"r{row} = Relu(y{row})" for row in range(ROWS)), "r"
    rows += f" beside = Concat<axis = 3>({', '.join(f'{stem}{row}' for row in range(ROWS))})"
    if name not in OPEN:
        return f"{rows} shape = Constant<value_ints: ints = @shape>() Y = Reshape(beside, shape)"
    return f"""{rows}
    quarter_shape = Shape({stem}0) group = Constant<value_ints = [1, 1, {ROWS}, 1]>()
    shape = Mul(quarter_shape, group) groups = Reshape(beside, shape)
    top = Constant<value_ints = [0]>() axis = Constant<value_ints = [2]>()
    Y = Slice(groups, top, H, axis)"""
