"""Subjects of what stands between convolutions: affine maps, and normalizations over channels."""

from modelkit.tune.subjects import HEAD, Subject

_POINTS = tuple({"b": b} for b in (1, 4))
_STARS = ((64, 56), (128, 28), (320, 14), (512, 7))
_RESPONSES = ((40, 56), (80, 28), (160, 14), (320, 7))
_BEHIND = ("affine_before_conv", "gate_as_image")
"""What goes on where the norm of a map is taken in its layout; large maps have no gate there."""
_LAST = ((64, 112), (256, 56), (160, 56), (512, 28), (96, 64))
_ROWS = ((64, 128), (128, 64), (256, 32), (512, 16))
"""Channels and sides of maps."""


def _star(channels: int, side: int, *, separable: bool = True) -> str:
    """Linear layers around s relu(x)^2 + c, neighbours mixed behind it, as in ConvFormer."""
    wide, body, weights = 2 * channels, "x0 = Identity(x)", []
    for n in range(2):
        weights += [f"float[{wide}, {channels}, 1, 1] u{n}, float[{channels}, {wide}, 1, 1] w{n}"]
        mixed, last = "", f"t{n}"
        if separable:
            weights += [f"float[{wide}, 1, 7, 7] v{n}"]
            mixed, last = f"d{n} = Conv<pads=[3, 3, 3, 3], group={wide}>(t{n}, v{n})", f"d{n}"
        body += f"""
        a{n} = Conv(x{n}, u{n}) r{n} = Relu(a{n}) q{n} = Mul(r{n}, r{n}) m{n} = Mul(q{n}, s)
        t{n} = Add(m{n}, c) {mixed} o{n} = Conv({last}, w{n}) x{n + 1} = Add(o{n}, x{n})"""
    shape = f"float[b, {channels}, {side}, {side}]"
    return f"""{HEAD} ({shape} x) => ({shape} y)
    <float[1] s = {{0.9}}, float[1] c = {{-0.4}}, {", ".join(weights)}> {{ {body} y = Abs(x2) }}"""


def _normalized(channels: int, side: int) -> str:
    """Convolutions behind a normalization over channels and its activation, as in MobileNetV5."""
    wide, body, weights = 4 * channels, "x0 = Identity(x)", []
    for n in range(2):
        weights += [f"float[{wide}, {channels}, 1, 1] u{n}, float[{wide}] g{n}"]
        weights += [f"float[{channels}, {wide}, 1, 1] w{n}"]
        body += f"""
        a{n} = Conv(x{n}, u{n}) r{n} = Transpose<perm=[0, 2, 3, 1]>(a{n})
        z{n} = RMSNormalization<axis=-1>(r{n}, g{n}) m{n} = Transpose<perm=[0, 3, 1, 2]>(z{n})
        e{n} = Gelu(m{n}) o{n} = Conv(e{n}, w{n}) x{n + 1} = Add(o{n}, x{n})"""
    shape = f"float[b, {channels}, {side}, {side}]"
    return f"""{HEAD} ({shape} x) => ({shape} y) <{", ".join(weights)}> {{ {body} y = Abs(x2) }}"""


def _response(channels: int, side: int, *, rows: bool) -> str:
    """Blocks with a global response normalization, over images or rows, as in ConvNeXt V2."""
    wide, body, weights = 4 * channels, "x0 = Identity(x)", []
    sides, end = ([1, 2], -1) if rows else ([2, 3], 1)
    like = f"1, 1, 1, {wide}" if rows else f"1, {wide}, 1, 1"
    for n in range(2):
        weights += [f"float[{like}] w{n}, float[{like}] b{n}, float[{channels}] k{n}"]
        if rows:
            weights += [f"float[{channels}, {wide}] u{n}, float[{wide}, {channels}] v{n}"]
        else:
            weights += [f"float[{wide}, {channels}, 1, 1] u{n}"]
            weights += [f"float[{channels}, {wide}, 1, 1] v{n}"]
        first = f"MatMul(x{n}, u{n})" if rows else f"Conv(x{n}, u{n})"
        last = f"l{n} = MatMul(z{n}, v{n}) o{n} = Add(l{n}, k{n})"
        body += f"""
        a{n} = {first} e{n} = Gelu(a{n}) g{n} = ReduceL2(e{n}, sides)
        m{n} = ReduceMean(g{n}, end) p{n} = Add(m{n}, little) d{n} = Div(g{n}, p{n})
        s{n} = Mul(e{n}, d{n}) t{n} = Mul(w{n}, s{n}) i{n} = Add(b{n}, t{n}) z{n} = Add(e{n}, i{n})
        {last if rows else f"o{n} = Conv(z{n}, v{n}, k{n})"} x{n + 1} = Add(o{n}, x{n})"""
    shape = f"b, {side}, {side}, {channels}" if rows else f"b, {channels}, {side}, {side}"
    return f"""{HEAD} (float[{shape}] x) => (float[{shape}] y) <{", ".join(weights)}> {{
    sides = Constant<value_ints={sides}>() end = Constant<value_ints=[{end}]>()
    little = Constant<value_float=0.000001>() {body} y = Abs(x2) }}"""


def _means(channels: int, side: int) -> str:
    """The mean of a map whose channels stand last."""
    return f"""{HEAD} (float[b, {side}, {side}, {channels}] x) => (float[b, {channels}] y) {{
    sides = Constant<value_ints=[1, 2]>() a = Relu(x) y = ReduceMean<keepdims=0>(a, sides) }}"""


AFFINES = (
    *(
        Subject(
            "reduce_in_steps", _means(*sizes), _POINTS, name=f"{sizes[0]} {sizes[1]}x{sizes[1]}"
        )
        for sizes in _LAST
    ),
    *(
        Subject(
            "affine_before_conv",
            _star(*sizes, separable=False),
            _POINTS,
            name=f"{sizes[0]} {sizes[1]}x{sizes[1]}",
        )
        for sizes in _STARS
    ),
    *(
        Subject(
            fusion,
            _response(*sizes, rows=rows),
            _POINTS,
            base=("residual_gate",) * (fusion != "residual_gate"),
            also=(
                ("affine_before_conv",)
                if sizes == _RESPONSES[0]
                else ("affine_before_conv", "gate_as_image")
            )
            * (fusion == "norm_of_map"),
            name=f"{sizes[0]} {sizes[1]}x{sizes[1]}",
        )
        for fusion, rows in (
            ("residual_gate", True),
            ("matmul_shift", True),
            ("norm_of_map", False),
        )
        for sizes in _RESPONSES
    ),
    *(
        Subject("affine_as_conv", _star(*sizes), _POINTS, name=f"{sizes[0]} {sizes[1]}x{sizes[1]}")
        for sizes in _STARS
    ),
    *(
        Subject(
            "activation_as_rows",
            _normalized(*sizes),
            _POINTS,
            name=f"{sizes[0]} {sizes[1]}x{sizes[1]}",
        )
        for sizes in _ROWS
    ),
)
