"""Subjects of what stands between convolutions: affine maps, and normalizations over channels."""

from modelkit.tune.subjects import HEAD, Subject

_POINTS = tuple({"b": b} for b in (1, 4))
_STARS = ((64, 56), (128, 28), (320, 14), (512, 7))
_ROWS = ((64, 128), (128, 64), (256, 32), (512, 16))
"""Channels and sides of maps."""


def _star(channels: int, side: int) -> str:
    """Separable convolutions behind s relu(x)^2 + c, as in ConvFormer."""
    wide, body, weights = 2 * channels, "x0 = Identity(x)", []
    for n in range(2):
        weights += [f"float[{wide}, {channels}, 1, 1] u{n}, float[{wide}, 1, 7, 7] v{n}"]
        weights += [f"float[{channels}, {wide}, 1, 1] w{n}"]
        body += f"""
        a{n} = Conv(x{n}, u{n}) r{n} = Relu(a{n}) q{n} = Mul(r{n}, r{n}) m{n} = Mul(q{n}, s)
        t{n} = Add(m{n}, c) d{n} = Conv<pads=[3, 3, 3, 3], group={wide}>(t{n}, v{n})
        o{n} = Conv(d{n}, w{n}) x{n + 1} = Add(o{n}, x{n})"""
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


AFFINES = (
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
