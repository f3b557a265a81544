"""Subjects of convolutions over images, between the 1x1 convolutions of bottlenecks."""

from modelkit.tune.subjects import HEAD, Subject

_POINTS = tuple({"b": b} for b in (1, 4))
_SMALLEST = ((48, 20), (64, 16), (96, 12))
"""Channels and sides at which the sums cost nearly what the products save."""
_USUAL = ((64, 56), (128, 28), (256, 14), (256, 28), (512, 14))


def _bottlenecks(channels: int, side: int) -> str:
    body = "".join(
        f" a{i} = Conv(x{i}, v{i}) c{i} = Conv<pads=[1, 1, 1, 1]>(a{i}, w{i}, b{i})"
        f" x{i + 1} = Relu(c{i})"
        for i in range(2)
    )
    weights = ", ".join(
        f"float[{channels}, {channels}, 1, 1] v{i}, float[{channels}, {channels}, 3, 3] w{i},"
        f" float[{channels}] b{i}"
        for i in range(2)
    )
    shape = f"float[b, {channels}, {side}, {side}]"
    return (
        f"{HEAD} ({shape} x) => ({shape} y) <{weights}> {{ x0 = Identity(x) {body} y = Abs(x2) }}"
    )


IMAGES: tuple[Subject, ...] = tuple(
    Subject("winograd", _bottlenecks(channels, side), _POINTS, name=f"{channels} {side}x{side}")
    for channels, side in (*_SMALLEST, *_USUAL)
)
