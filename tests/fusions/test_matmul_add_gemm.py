import pytest

from tests.harness import floats, rewritten

NAME = "matmul_add_gemm"


def text(x: str, y: str, bias: str = "float[5]") -> str:
    return f"""<ir_version: 8, opset_import: ["": 17]>
    g ({x} x) => ({y} y) <float[4, 5] w, {bias} b> {{ m = MatMul(x, w) y = Add(b, m) }}"""


def test_a_matrix_is_multiplied_by_gemm() -> None:
    feeds = [{"x": floats(n, 4, seed=n)} for n in (1, 3, 0)]
    assert rewritten(text("float[n, 4]", "float[n, 5]"), [NAME], feeds).operators == ["Gemm"]


@pytest.mark.parametrize(
    ("x", "y", "bias", "shape", "reason"),
    [
        (
            "float[n, 2, 4]",
            "float[n, 2, 5]",
            "float[5]",
            (3, 2, 4),
            "its input is not known to be a matrix",
        ),
        ("float[n, 4]", "float[n, 5]", "float[1]", (3, 4), "its bias is not a constant vector"),
    ],
)
def test_other_shapes_are_refused(
    x: str, y: str, bias: str, shape: tuple[int, ...], reason: str
) -> None:
    result = rewritten(text(x, y, bias), [NAME], [{"x": floats(*shape)}])
    assert result.reason(NAME) == reason
