import pytest

from tests.harness import floats, rewritten

FEEDS = [{"x": floats(n, s, 8)} for n, s in ((1, 1), (2, 5), (2, 0))]


def text(
    square: str = "q = Pow(x, two)",
    root: str = "i = Reciprocal(r) z = Mul(x, i)",
    last: str = "y = Mul(z, w)",
    axes: str = "[-1]",
    opset: int = 23,
) -> str:
    mean = f"a = Constant<value_ints={axes}>() m = ReduceMean(q, a)"
    if opset < 18:
        mean = f"m = ReduceMean<axes={axes}>(q)"
    return f"""<ir_version: 10, opset_import: ["": {opset}]>
    g (float[n, s, 8] x) => (float[n, s, 8] y) <float[8] w>
    {{ two = Constant<value_float=2.0>() one = Constant<value_float=1.0>()
      e = Constant<value_float=0.000001>()
      {square} {mean} p = Add(m, e) r = Sqrt(p) {root} {last} }}"""


@pytest.mark.parametrize("square", ["q = Pow(x, two)", "q = Mul(x, x)"])
@pytest.mark.parametrize(
    "root", ["i = Reciprocal(r) z = Mul(x, i)", "i = Div(one, r) z = Mul(i, x)", "z = Div(x, r)"]
)
@pytest.mark.parametrize("last", ["y = Mul(z, w)", "y = Mul(w, z)"])
def test_every_spelling(square: str, root: str, last: str) -> None:
    result = rewritten(text(square, root, last), ["rms_normalization"], FEEDS)
    assert result.operators == ["RMSNormalization"]
    epsilon = next(iter(result.model.graph)).attributes["epsilon"].value
    assert abs(epsilon - 1e-6) < 1e-12


@pytest.mark.parametrize("root", ["i = Reciprocal(r)", "i = Div(one, r)"])
def test_a_scale_folded_into_the_root(root: str) -> None:
    source = text(root=f"{root} z = Mul(i, w)", last="y = Mul(x, z)")
    result = rewritten(source, ["rms_normalization"], FEEDS)
    assert result.operators == ["RMSNormalization"]


def test_another_axis_is_refused() -> None:
    result = rewritten(text(axes="[1]"), ["rms_normalization"], FEEDS[:2])
    assert result.reason("rms_normalization") == "its scale is not a vector of the normalized axis"


def test_a_number_as_scale_is_refused() -> None:
    source = text().replace("float[8] w", "float[1] w")
    result = rewritten(source, ["rms_normalization"], FEEDS)
    assert result.reason("rms_normalization") == "its scale is not a vector of the normalized axis"


def test_a_computed_epsilon_is_refused() -> None:
    source = text().replace(
        "p = Add(m, e)", "d = Abs(w) g1 = ReduceMax<keepdims=0>(d) p = Add(m, g1)"
    )
    result = rewritten(source, ["rms_normalization"], FEEDS[:2])
    assert result.reason("rms_normalization") == "epsilon is not a constant number"


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        (
            "e = Constant<value_float=0.000001>()",
            "e = Constant<value=float[1,1,1,1] {0.000001}>()",
            "epsilon is not a constant number",
        ),
        ("float[n, s, 8]", "float[n, s, 0]", "the length of the normalized axis is not known"),
        ("float[n, s, 8]", "float[n, s, k]", "its scale is not a vector of the normalized axis"),
    ],
)
def test_what_may_widen_or_is_empty_stays(old: str, new: str, reason: str) -> None:
    source = text().replace(old, new)
    source = source.replace("float[8] w", "float[0] w") if "s, 0]" in new else source
    if "value=" in new:
        source = source.replace("(float[n, s, 8] y)", "(float[i, n, s, 8] y)")
    assert rewritten(source, ["rms_normalization"], []).reason("rms_normalization") == reason


def test_channels_of_images_are_moved_to_the_end_and_back() -> None:
    source = text(axes="[1]").replace("float[n, s, 8]", "float[n, 8, h, w]")
    source = source.replace("<float[8] w>", "<float[8, 1, 1] s>").replace("z, w", "z, s")
    feeds = [{"x": floats(n, 8, h, 5)} for n, h in ((1, 1), (2, 3), (0, 2))]
    result = rewritten(source, ["rms_normalization"], feeds)
    assert result.operators == ["Transpose", "RMSNormalization", "Transpose"]


def test_rows_of_images_and_several_axes_are_refused() -> None:
    for axes in ("[2]", "[1, 2]"):
        result = rewritten(
            text(axes=axes).replace("float[n, s, 8]", "float[n, 8, s, 8]"),
            ["rms_normalization"],
            [],
        )
        assert (
            result.reason("rms_normalization")
            == "it is not over the last axis or the channels alone"
        )
