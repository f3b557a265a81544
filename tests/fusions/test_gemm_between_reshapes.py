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


@pytest.mark.parametrize("made", ["Gemm(a, w)", "Gemm<beta=0.0>(a, w)", "MatMul(a, w)"])
def test_without_a_bias(made: str) -> None:
    result = rewritten(text().replace("Gemm(a, w, b)", made), ["gemm_between_reshapes"], FEEDS)
    assert result.operators == ["MatMul"]


def test_flat_rows_may_have_other_readers() -> None:
    source = text().replace("y = Reshape(p, back)", "z = Reshape(p, back) q = MatMul(a, w) "
                            "u = Reshape(q, back) r = ReduceMax(a) v = Add(z, r) y = Add(u, v)")  # fmt: skip
    result = rewritten(source, ["gemm_between_reshapes"], FEEDS)
    assert result.counts == {"gemm_between_reshapes": 2}


@pytest.mark.parametrize(
    ("back", "out"),
    [
        ("back = Constant<value_ints=[-1, 2, 3]>()", "k, 2, 3"),
        (
            "parts = Constant<value_ints=[2, 3, 1]>() back = Concat<axis=0>(h, parts)",
            "n, s, 2, 3, 1",
        ),
    ],
)
def test_other_axes_behind_are_made_of_the_product(back: str, out: str) -> None:
    source = text().replace("back = Concat<axis=0>(h, six)", back)
    source = source.replace("float[n, s, 6] y", f"float[{out}] y")
    result = rewritten(source, ["gemm_between_reshapes"], FEEDS)
    assert result.counts == {"gemm_between_reshapes": 1}
    assert result.operators.count("Reshape") == 1


@pytest.mark.parametrize("size", ["2, 4", "4, 1, 2"])
def test_rows_of_several_axes(size: str) -> None:
    source = text().replace("float[n, s, 8] x", f"float[n, s, {size}] x")
    sizes = [int(part) for part in size.split(",")]
    feeds = [{"x": floats(n, s, *sizes)} for n, s in ((1, 1), (2, 5))]
    result = rewritten(source, ["gemm_between_reshapes"], feeds)
    assert result.counts == {"gemm_between_reshapes": 1}


@pytest.mark.parametrize("size", ["4, 2", "3, 8"])
def test_rows_that_are_not_whole_axes_stay(size: str) -> None:
    source = text().replace("float[n, s, 8] x", f"float[n, {size}] x")
    source = source.replace(
        "back = Concat<axis=0>(h, six)", "back = Constant<value_ints=[-1, 6]>()"
    )
    source = source.replace("float[n, s, 6] y", "float[k, 6] y")
    sizes = [int(part) for part in size.split(",")]
    result = rewritten(source, ["gemm_between_reshapes"], [{"x": floats(2, *sizes)}])
    reason = "it flattens more than the leading axes"
    assert result.reason("gemm_between_reshapes") == (reason if size == "4, 2" else "")


def test_axes_that_copy_those_of_the_rows_are_refused() -> None:
    source = text().replace(
        "back = Concat<axis=0>(h, six)", "back = Constant<value_ints=[0, 2, 3]>()"
    )
    source = source.replace("float[n, s, 6] y", "float[k, 2, 3] y")
    result = rewritten(source, ["gemm_between_reshapes"], FEEDS)
    reason = "its result does not get the axes of its input back"
    assert result.reason("gemm_between_reshapes") == reason


@pytest.mark.parametrize("back", ["-1, 6, 1, 4", "-1, 6, 4", "-1, 2, 3, 4"])
def test_axes_of_one_before_a_row(back: str) -> None:
    out = back.replace("-1", "b")
    source = f"""<ir_version: 9, opset_import: ["": 18]>
    g (float[b, 6, 1, 8] x) => (float[{out}] y) <float[8, 4] w> {{
    f = Constant<value_ints=[-1, 8]>() back = Constant<value_ints=[{back}]>()
    r = Reshape(x, f) p = MatMul(r, w) y = Reshape(p, back) }}"""
    result = rewritten(source, ["gemm_between_reshapes"], [{"x": floats(2, 6, 1, 8)}])
    assert result.counts == {"gemm_between_reshapes": 1}


def test_rows_of_no_numbers_stay() -> None:
    source = """<ir_version: 8, opset_import: ["": 18]>
    g (float[2, 3, 0] x) => (float[5, 6] y) <float[0, 6] w, int64[2] a = {5, 0},
    int64[2] c = {5, 6}> { r = Reshape<allowzero=1>(x, a) p = MatMul(r, w) y = Reshape(p, c) }"""
    assert rewritten(source, ["gemm_between_reshapes"], [{"x": floats(2, 3, 0)}]).counts == {}
