import numpy as np
import pytest

from tests.harness import floats, rewritten

NAME = "flat_batch_normalization"
FLAT = {
    "reshape": "f = Reshape(h, flat)",
    "flatten": "f = Flatten<axis=2>(h)",
}
BIAS = {"without": "h = MatMul(x, w)", "with": "m = MatMul(x, w) h = Add(m, b)"}


def text(linear: str, flat: str, norm: str = "epsilon=0.001", columns: int = 6) -> str:
    return f"""<ir_version: 9, opset_import: ["": 18]>
    g (float[n, t, 4] x) => (float[n, t, 6] y)
    <float[4, 6] w = {{{",".join(str(0.1 * (i % 7) - 0.3) for i in range(24))}}},
     float[6] b = {{0.1, -0.2, 0.3, 0, 1, 2}}, float[6] scale = {{1, 2, 0.5, -1, 1.5, 0.1}},
     float[6] shift = {{0, 1, 2, -1, 0.5, 0.2}}, float[6] mean = {{0.1, 0, -0.1, 0.2, 1, 0}},
     float[6] var = {{1, 0.5, 2, 0.1, 3, 0.7}}, int64[2] flat = {{-1, {columns}}}> {{
     {linear} {flat} s = Shape(h) r = BatchNormalization<{norm}>(f, scale, shift, mean, var)
     y = Reshape(r, s) }}"""


@pytest.mark.parametrize("linear", BIAS.values(), ids=BIAS.keys())
@pytest.mark.parametrize("flat", FLAT.values(), ids=FLAT.keys())
def test_rows_that_are_flattened(linear: str, flat: str) -> None:
    source = text(linear, flat).replace("s = Shape(h)", "u = MatMul(x, w) s = Shape(u)")
    result = rewritten(
        source, [NAME], [{"x": floats(n, t, 4)} for n, t in ((0, 3), (1, 1), (2, 5))]
    )
    assert result.counts == {NAME: 1}
    assert "BatchNormalization" not in result.operators


@pytest.mark.parametrize(
    ("linear", "flat", "reason"),
    [
        ("h = MatMul(x, w)", "p = Transpose<perm=[0,2,1]>(h) f = Reshape(p, flat)", ""),
        ("v = Identity(w) h = MatMul(x, v)", FLAT["reshape"], "its weight is not a constant"),
        ("m = MatMul(x, w) q = Add(b, b) h = Add(m, q)", FLAT["reshape"],
         "its variance or bias is not a constant"),
    ],
)  # fmt: skip
def test_others_stay(linear: str, flat: str, reason: str) -> None:
    source = text(linear, flat).replace("s = Shape(h)", "u = MatMul(x, w) s = Shape(u)")
    result = rewritten(source, [NAME], [{"x": floats(2, 6, 4)}])
    assert result.counts == {}
    assert result.reason(NAME) == reason


def test_rows_of_another_width_stay() -> None:
    # [n, 3, 6] as [9 n / 2, 4]: the channels run across the columns of the layer.
    source = text("h = MatMul(x, w)", FLAT["reshape"], columns=3)
    for name in ("scale", "shift", "mean", "var"):
        source = source.replace(f"float[6] {name}", f"float[3] {name}")
    for values in ("1, 2, 0.5, -1, 1.5, 0.1", "0, 1, 2, -1, 0.5, 0.2", "0.1, 0, -0.1, 0.2, 1, 0",
                   "1, 0.5, 2, 0.1, 3, 0.7"):  # fmt: skip
        source = source.replace(values, ", ".join(values.split(", ")[:3]))
    source = source.replace("s = Shape(h)", "u = MatMul(x, w) s = Shape(u)")
    result = rewritten(source, [NAME], [{"x": floats(2, 5, 4)}])
    assert result.reason(NAME) == "its rows are not flattened into [rows, channels]"


def test_statistics_of_doubles_keep_the_type_of_the_weights() -> None:
    source = text(BIAS["with"], FLAT["flatten"]).replace("float[", "double[")
    source = source.replace("s = Shape(h)", "u = MatMul(x, w) s = Shape(u)")
    feeds = [{"x": np.random.default_rng(0).standard_normal((2, 3, 4))}]
    assert rewritten(source, [NAME], feeds).counts == {NAME: 1}
