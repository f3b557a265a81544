import pytest

from tests.harness import floats, rewritten

NAME = "norm_of_map"
FEEDS = [{"x": floats(n, 4, 5, 6)} for n in (1, 3)]


def text(
    norm: str = "n = ReduceL2(r, a)",
    first: str = "z = Conv(x, w) r = Gelu(z)",
    sides: str = "5, 6",
    opset: int = 20,
) -> str:
    return f"""<ir_version: 9, opset_import: ["": {opset}]>
    g (float[b, 4, {sides}] x) => (float[b, 8, i, j] y) <float[8, 4, 1, 1] w>
    {{ a = Constant<value_ints=[2, 3]>() {first} {norm} y = Mul(r, n) }}"""


@pytest.mark.parametrize(
    "source",
    [text(), text("n = ReduceL2<axes=[-1, -2]>(r)", "z = Conv(x, w) r = Relu(z)", opset=13)],
)
def test_the_map_stays_in_the_layout(source: str) -> None:
    result = rewritten(source, [NAME], FEEDS)
    assert result.counts == {NAME: 1}
    assert "GlobalAveragePool" in result.operators
    assert "ReduceL2" not in result.operators


def test_open_sizes_are_refused() -> None:
    result = rewritten(text(sides="h, v"), [NAME], FEEDS)
    assert result.reason(NAME) == "the size of the map is not fixed"


@pytest.mark.parametrize(
    "source",
    [text(first="z = Conv(x, w) r = Exp(z)"), text("n = ReduceL1(r, a)")],
)
def test_all_else_is_left(source: str) -> None:
    assert not rewritten(source, [NAME], FEEDS).counts
