import pytest

from tests.harness import floats, rewritten

FEEDS = [{"x": floats(n, s, 8)} for n, s in ((1, 1), (2, 5))]


def text(attributes: str = "", weight: str = "8, 6") -> str:
    return f"""<ir_version: 10, opset_import: ["": 20]>
    g (float[n, s, 8] x) => (float[n, s, 6] y) <float[{weight}] w, float[6] b>
    {{ f = Constant<value_ints=[-1, 8]>() h = Shape<start=0, end=2>(x)
      six = Constant<value_ints=[6]>() back = Concat<axis=0>(h, six)
      a = Reshape(x, f) p = Gemm{attributes}(a, w, b) y = Reshape(p, back) }}"""


@pytest.mark.parametrize(("attributes", "weight"), [("", "8, 6"), ("<transB=1>", "6, 8")])
def test_leading_axes_stay(attributes: str, weight: str) -> None:
    result = rewritten(text(attributes, weight), ["gemm_between_reshapes"], FEEDS)
    assert result.operators == ["MatMul", "Add"]


def test_a_factor_is_refused() -> None:
    result = rewritten(text("<alpha=0.5>"), ["gemm_between_reshapes"], FEEDS)
    assert result.reason("gemm_between_reshapes") == "it scales or transposes"


def test_other_axes_behind_are_refused() -> None:
    source = text().replace(
        "back = Concat<axis=0>(h, six)", "back = Constant<value_ints=[-1, 2, 3]>()"
    )
    source = source.replace("float[n, s, 6] y", "float[n, 2, 3] y")
    result = rewritten(source, ["gemm_between_reshapes"], FEEDS)
    reason = "its result does not get the axes of its input back"
    assert result.reason("gemm_between_reshapes") == reason
