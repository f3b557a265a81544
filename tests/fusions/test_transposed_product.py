import pytest

from tests.harness import floats, rewritten

NAME = "transposed_product"


def text(left: str = "0, 2, 1, 3", right: str = "0, 2, 3, 1", last: str = "0, 1, 3, 2") -> str:
    return f"""<ir_version: 9, opset_import: ["": 18]>
    g (float[b, k, 2, 4] a, float[b, q, 2, 4] c) => (float[b, i, j, l] y)
    <float s = {{0.5}}, float[3] v = {{1, 2, 3}}> {{
      t = Transpose<perm = [{left}]>(a) u = Transpose<perm = [{right}]>(c)
      p = MatMul(t, u) y = Transpose<perm = [{last}]>(p) }}"""


FEEDS = [{"a": floats(b, k, 2, 4), "c": floats(b, 3, 2, 4)} for b, k in ((1, 5), (2, 1), (0, 2))]


@pytest.mark.parametrize("scaled", [False, True])
def test_the_product_is_written_the_other_way_round(scaled: bool) -> None:
    source = text()
    if scaled:
        source = source.replace("(p) }", "(m) }").replace("y =", "m = Mul(s, p) y =")
    result = rewritten(source, [NAME], FEEDS)
    assert result.counts == {NAME: 1}
    expected = ["Transpose", "Transpose", "MatMul"] + ["Mul"] * scaled
    assert result.operators == expected


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        (text(last="0, 2, 1, 3"), "not the last two axes"),
        (
            text().replace("(p) }", "(m) }").replace("y =", "m = Mul(p, v) y ="),
            "not one number",
        ),
    ],
)
def test_others_stay(source: str, reason: str) -> None:
    result = rewritten(source, [NAME], FEEDS)
    assert reason in result.reason(NAME)


def test_scores_that_others_read_stay() -> None:
    source = text().replace("y)", "y, float[b, m, n, o] p)", 1)
    result = rewritten(source, [NAME], FEEDS)
    assert NAME not in result.counts
