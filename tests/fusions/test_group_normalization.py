import pytest

from tests.harness import floats, rewritten

NAME = "group_normalization"


def text(
    sides: str = "5, 4",
    axes: str = "1, 2, 4",
    split: str = "-1, 5, 4, 3, 2",
    vector: str = "1, 1, 1, 3, 2",
    opset: int = 18,
) -> str:
    """As Keras and tf2onnx write it: the scale is folded into the deviation."""
    back = f"-1, {sides}, 6"
    return f"""<ir_version: 8, opset_import: ["": {opset}]>
    g (float[n, {sides}, 6] x) => (float[n, {sides}, 6] y)
    <float[{vector}] w, float[{vector}] b> {{
    eps = Constant<value_float=0.001>() axes = Constant<value_ints=[{axes}]>()
    split = Constant<value_ints=[{split}]>() back = Constant<value_ints=[{back}]>()
    r = Reshape(x, split) m = ReduceMean(r, axes) d = Sub(r, m) q = Mul(d, d)
    v = ReduceMean(q, axes) e = Add(v, eps) s = Sqrt(e) i = Reciprocal(s) f = Mul(i, w)
    p = Mul(r, f) k = Neg(m) t = Mul(k, f) c = Add(t, b) z = Add(p, c) y = Reshape(z, back) }}"""


@pytest.mark.parametrize(
    ("sides", "axes", "split", "vector"),
    [
        ("5, 4", "1, 2, 4", "-1, 5, 4, 3, 2", "1, 1, 1, 3, 2"),
        ("5, 4", "1, 2, -1", "-1, 5, 4, 1, 6", "1, 1, 1, 1, 6"),
        ("7", "1, 3", "-1, 7, 2, 3", "1, 1, 2, 3"),
        ("3, 2, 2", "1, 2, 3, 5", "-1, 3, 2, 2, 3, 2", "1, 1, 1, 1, 3, 2"),
    ],
)
def test_groups_become_instances(sides: str, axes: str, split: str, vector: str) -> None:
    lengths = [int(side) for side in sides.split(",")]
    feeds = [{"x": floats(n, *lengths, 6)} for n in (1, 3)]
    result = rewritten(text(sides, axes, split, vector), [NAME], feeds)
    assert result.operators == [
        "Transpose", "Reshape", "InstanceNormalization", "Reshape", "Mul", "Add", "Transpose",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        (text(axes="1, 2"), ""),
        (text(vector="1, 1, 1, 3, 1"), "scale and bias are not constants for each channel"),
        (
            text(split="-1, 4, 5, 3, 2"),
            "its groups are not those of channels",
        ),
    ],
)
def test_others_stay(source: str, reason: str) -> None:
    result = rewritten(source, [NAME], [{"x": floats(2, 5, 4, 6)}])
    assert result.counts == {}
    assert result.reason(NAME) == reason


def test_images_of_open_size_stay() -> None:
    source = text("h, 4", split="-1, 5, 4, 3, 2").replace("[-1, h, 4, 6]", "[-1, 5, 4, 6]")
    result = rewritten(source, [NAME], [{"x": floats(2, 5, 4, 6)}])
    assert result.reason(NAME) == "the size of its image is not fixed"
