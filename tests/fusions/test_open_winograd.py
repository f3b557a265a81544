import numpy as np
import onnx_ir as ir
import pytest

from modelkit.rewrite.winograd import OPEN_CONV, OPEN_CONV_RELU
from tests.harness import floats, rewritten

NAME = "open_winograd"
BOTH = "float[n, 128, h, w]"
PLAIN = "y = Conv<pads=[1,1,1,1]>(x, k, b)"


def text(
    body: str = PLAIN, image: str = BOTH, kernels: str = "144, 128, 3, 3", opset: int = 18
) -> str:
    return f"""<ir_version: 10, opset_import: ["": {opset}]>
    g ({image} x) => (float[n, o, p, q] y)
    <float[{kernels}] k, float[{kernels.split(",")[0]}] b> {{ {body} }}"""


def feeds(*sizes: tuple[int, int, int]) -> list[dict[str, np.ndarray]]:
    return [
        {"x": floats(n, 128, rows, columns, seed=seed)}
        for seed, (n, rows, columns) in enumerate(sizes)
    ]


@pytest.mark.parametrize("opset", [13, 18, 23])
@pytest.mark.parametrize(
    ("body", "operators"),
    [
        (PLAIN, [OPEN_CONV]),
        ("y = Conv<auto_pad=\"SAME_LOWER\">(x, k)", [OPEN_CONV]),
        ("c = Conv<pads=[1,1,1,1]>(x, k, b) y = Relu(c)", [OPEN_CONV_RELU]),
    ],
)  # fmt: skip
def test_images_of_every_height_are_computed(body: str, operators: list[str], opset: int) -> None:
    sizes = [(1, rows, 9) for rows in range(1, 18)] + [(0, 8, 8), (3, 22, 1), (2, 5, 40)]
    result = rewritten(text(body, opset=opset), [NAME], feeds(*sizes))
    assert [name for name in result.operators if "Winograd" in name] == operators


@pytest.mark.parametrize(
    ("image", "sizes"),
    [
        ("float[n, 128, h, 20]", [(1, rows, 20) for rows in (4, 7, 30)]),
        ("float[n, 128, 30, w]", [(1, 30, columns) for columns in (1, 4, 7, 31)]),
        ("float[2, 128, h, w]", [(2, 9, 9), (2, 12, 4)]),
    ],
)
def test_one_side_may_be_known(image: str, sizes: list[tuple[int, int, int]]) -> None:
    assert rewritten(text(image=image), [NAME], feeds(*sizes)).counts == {NAME: 1}


def test_heights_behind_strides_pools_and_enlargement_follow_from_the_image() -> None:
    source = """<ir_version: 10, opset_import: ["": 18]>
    g (float[n, 3, h, w] x) => (float[n, o, p, q] y, float[n, l, r, s] z)
    <float[128, 3, 3, 3] a, float[128, 128, 3, 3] k, float[128, 128, 3, 3] l,
     float[128, 128, 2, 2] u, float[4] double = {1.0, 1.0, 2.0, 2.0}> {
    c = Conv<pads=[1,1,1,1], strides=[2,2]>(x, a) y = Conv<pads=[1,1,1,1]>(c, k)
    m = MaxPool<kernel_shape=[3,3], strides=[2,2]>(y) d = Conv<pads=[1,1,1,1]>(m, l)
    t = ConvTranspose<strides=[2,2]>(d, u) e = Conv<pads=[1,1,1,1]>(t, k)
    v = Resize<mode="nearest", coordinate_transformation_mode="asymmetric">(e, , double)
    z = Conv<pads=[1,1,1,1]>(v, l) }"""
    images = [{"x": floats(n, 3, rows, 23, seed=rows)} for n, rows in ((1, 37), (2, 24), (1, 11))]
    result = rewritten(source, [NAME], images)
    assert result.counts == {NAME: 4}
    # The lengths that several need are computed once for all of them.
    assert result.operators.count("Shape") <= 4


def test_two_convolutions_in_a_row_know_their_shapes() -> None:
    body = "a = Conv<pads=[1,1,1,1]>(x, k, b) r = Relu(a) y = Conv<pads=[1,1,1,1]>(r, k)"
    result = rewritten(text(body, kernels="128, 128, 3, 3"), [NAME], feeds((1, 13, 9), (2, 8, 8)))
    last = result.model.graph.outputs[0].producer()
    assert last is not None
    assert last.inputs[0] is not None
    assert str(last.inputs[0].shape) == "[n,128,h,w]"


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        (text(image="float[n, 128, 20, 20]"), ""),
        (
            text("m = MaxPool<kernel_shape=[9,9], strides=[9,9]>(x)"
                 " y = Conv<pads=[1,1,1,1]>(m, k)"),
            "136 channels by 12 rows, of images that are 112 pixels high, are too few: copies cost"
            " what is saved",
        ),
        (
            text(kernels="96, 128, 3, 3"),
            "110 channels by 224 rows, of images that are 224 pixels high, are too many for the"
            " caches",
        ),
        (
            text("s = Shape(x) i = Cast<to=1>(s) f = Sqrt(i) e = Cast<to=7>(f)"
                 " r = Resize(x, , , e) y = Conv<pads=[1,1,1,1]>(r, k)", kernels="128, c, 3, 3")
            .replace("128, c", "128, 128"),
            "the height of its images does not follow from the inputs",
        ),
        (text(kernels="100, 128, 3, 3"), "its channels are not multiples of 16"),
        (text("y = Conv<pads=[1,1,1,1], strides=[2,2]>(x, k, b)"), ""),
        (text("y = Conv<pads=[0,1,0,1]>(x, k, b)"), ""),
    ],
)  # fmt: skip
def test_what_does_not_gain_is_refused(source: str, reason: str) -> None:
    result = rewritten(source, [NAME], [])
    assert not result.counts
    assert result.reason(NAME) == reason


def test_the_file_keeps_the_weights_of_the_convolution() -> None:
    result = rewritten(text(), [NAME], feeds((1, 9, 9)))
    sizes = sorted(
        value.const_value.size
        for value in result.model.graph.initializers.values()
        if isinstance(value.const_value, ir.TensorProtocol)
    )
    assert sizes[-2:] == [144, 144 * 128 * 9]
