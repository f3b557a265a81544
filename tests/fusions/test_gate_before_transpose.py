import pytest

from tests.harness import Result, floats, rewritten

NAME = "gate_before_transpose"


def text(
    body: str,
    *,
    gate: str = "n, 1, 1, 6",
    out: str = "n, 6, 4, 5",
    opset: int = 20,
) -> str:
    return f"""<ir_version: 8, opset_import: ["": {opset}]> g
    (float[n, 6, 4, 5] x, float[{gate}] g) => (float[{out}] y) {{
    s = Sigmoid(g) t = Transpose<perm=[0, 2, 3, 1]>(x) {body} }}"""


def fused(source: str, gate: tuple[int, ...] = (1, 1, 6)) -> Result:
    feeds = [{"x": floats(n, 6, 4, 5), "g": floats(n, *gate, seed=1)} for n in (1, 2)]
    return rewritten(source, [NAME], feeds)


BACK = "y = Transpose<perm=[0, 3, 1, 2]>(p)"


@pytest.mark.parametrize(
    "product", ["Mul(t, s)", "Mul(s, t)", "Add(t, s)", "Sub(t, s)", "Div(t, s)"]
)
def test_between_transposes_the_gate_is_moved(product: str) -> None:
    result = fused(text(f"p = {product} {BACK}"))
    kind = product.partition("(")[0]
    assert sorted(result.operators) == sorted(["Sigmoid", "Transpose", kind])


def test_a_gate_of_fewer_axes_gets_them_first() -> None:
    source = text(f"v = Squeeze(s, k) p = Mul(t, v) {BACK}", gate="1, 1, 1, 6")
    source = source.replace("{\n", "<int64[3] k = {0, 1, 2}> {\n", 1)
    feeds = [{"x": floats(n, 6, 4, 5), "g": floats(1, 1, 1, 6, seed=1)} for n in (1, 2)]
    result = rewritten(source, [NAME], feeds)
    assert result.counts == {NAME: 1}


@pytest.mark.parametrize("opset", [8, 11, 20])
@pytest.mark.parametrize("length", ["6", "1", "c"])
def test_a_gate_of_one_axis_at_every_opset(length: str, opset: int) -> None:
    source = text(f"p = Mul(t, s) {BACK}", gate=length, opset=opset)
    size = 6 if length == "c" else int(length)
    feeds = [{"x": floats(n, 6, 4, 5), "g": floats(size, seed=1)} for n in (1, 2)]
    result = rewritten(source, [NAME], feeds)
    assert result.counts == {NAME: 1}
    assert "Transpose" not in result.operators


@pytest.mark.parametrize("kept", [0, 1])
@pytest.mark.parametrize("kind", ["ReduceMean", "ReduceMax"])
def test_before_a_reduction_of_the_pixels(kind: str, kept: int) -> None:
    out = "n, 1, 1, 6" if kept else "n, 6"
    source = text(f"p = Mul(t, s) y = {kind}<axes=[1, 2], keepdims={kept}>(p)", out=out, opset=17)
    result = fused(source)
    assert result.counts == {NAME: 1}
    assert result.operators[-2:] == ["Transpose", kind]


def test_other_readers_of_the_moved_map_keep_it() -> None:
    body = f"p = Mul(t, s) r = Relu(t) q = Transpose<perm=[0, 3, 1, 2]>(r) u = {BACK[4:]} y = Add(u, q)"
    result = fused(text(body))
    assert result.counts == {NAME: 1}
    assert result.operators.count("Transpose") == 3


@pytest.mark.parametrize(
    ("body", "gate", "out"),
    [
        (f"p = Mul(t, s) {BACK}", (4, 5, 6), "n, 6, 4, 5"),  # a map of its own
        (f"p = Mul(t, s) {BACK}", (4, 1, 6), "n, 6, 4, 5"),
        ("p = Mul(t, s) y = Transpose<perm=[0, 1, 3, 2]>(p)", (1, 1, 6), "n, 4, 6, 5"),
        ("p = Mul(t, s) y = ReduceMean<axes=[3]>(p)", (1, 1, 6), "n, 4, 5, 1"),
        ("p = Mul(t, s) y = ReduceMean<axes=[0, 1]>(p)", (1, 1, 6), "1, 1, 5, 6"),
        ("p = Mul(t, s) y = ReduceMean(p)", (1, 1, 6), "1, 1, 1, 1"),
    ],
)
def test_where_nothing_is_saved_it_stays(body: str, gate: tuple[int, ...], out: str) -> None:
    lengths = ", ".join(map(str, ("n", *gate)))
    result = fused(text(body, gate=lengths, out=out, opset=17), gate)
    assert not result.counts
    assert not result.near_misses


def test_a_product_that_others_read_stays() -> None:
    body = f"p = Mul(t, s) u = {BACK[4:]} r = Relu(p) q = Transpose<perm=[0, 3, 1, 2]>(r) y = Add(u, q)"
    assert not fused(text(body)).counts
