import pytest

from tests.harness import Result, floats, rewritten

NAME = "linear_squeeze"
FEEDS = [{"x": floats(n, 32, 4, 6)} for n in (1, 3)]

POOL = "p = GlobalAveragePool(x) r = Flatten(p)"
MEAN = "r = ReduceMean<axes=[2, 3], keepdims=0>(x)"
BEHIND = "p = ReduceMean<axes=[-1, -2]>(x) r = Reshape(p, rows)"
GEMM = ("a = Gemm<transB=1>(r, t1, b1)", "c = Gemm<transB=1>(h, t2, b2)")
PLAIN = ("a = MatMul(r, w1)", "c = Gemm(h, w2)")
SUMS = ("a0 = MatMul(r, w1) a = Add(b1, a0)", "c0 = MatMul(h, w2) c = Add(c0, b2)")
KERAS = (
    "a0 = MatMul(r, w1) a1 = Reshape(a0, ones8) a = Add(a1, b1)",
    "h1 = Reshape(h, rows8) c0 = MatMul(h1, w2) c1 = Reshape(c0, ones) c = Add(c1, b2)",
)
SILU = "q = Sigmoid(a) h = Mul(a, q)"
QUICK = "h = com.microsoft.QuickGelu<alpha=1.0>(a)"


def text(
    mean: str = POOL,
    layers: tuple[str, str] = GEMM,
    active: str = "h = Relu(a)",
    end: str = "s = Sigmoid(c) g = Unsqueeze(s, last)",
    shape: str = "n, 32, 4, 6",
) -> str:
    first, second = layers
    return f"""<ir_version: 10, opset_import: ["": 17, "com.microsoft": 1]> g
    (float[{shape}] x) => (float[{shape}] y)
    <float[32, 8] w1, float[8] b1, float[8, 32] w2, float[32] b2, float[8, 32] t1, float[32, 8] t2,
     int64[2] rows = {{-1, 32}}, int64[2] rows8 = {{-1, 8}}, int64[4] image = {{0, 32, 1, 1}},
     int64[4] ones = {{0, 1, 1, 32}}, int64[4] ones8 = {{0, 1, 1, 8}}, int64[2] last = {{2, 3}}>
    {{ {mean} {first} {active} {second} {end} y = Mul(x, g) }}"""


def fused(source: str) -> Result:
    return rewritten(source, [NAME], FEEDS)


@pytest.mark.parametrize("mean", [POOL, MEAN, BEHIND])
@pytest.mark.parametrize("layers", [GEMM, PLAIN, SUMS])
@pytest.mark.parametrize("active", ["h = Relu(a)", SILU, QUICK])
def test_linear_layers_become_convolutions(mean: str, layers: tuple[str, str], active: str) -> None:
    result = fused(text(mean, layers, active))
    assert result.counts == {NAME: 1}
    assert result.operators.count("Conv") == 2
    assert not {"Gemm", "MatMul", "Reshape", "Flatten", "Unsqueeze"} & set(result.operators)


@pytest.mark.parametrize(
    "end",
    [
        "s = HardSigmoid<alpha=0.2>(c) g = Reshape(s, image)",
        "v = Reshape(c, image) g = Sigmoid(v)",
        "s = Sigmoid(c) v = Reshape(s, ones) g = Transpose<perm=[0, 3, 1, 2]>(v)",
    ],
)
def test_the_gate_gets_its_axes_anyhow(end: str) -> None:
    result = fused(text(end=end))
    assert result.counts == {NAME: 1}
    assert "Transpose" not in result.operators


def test_dense_layers_of_keras() -> None:
    result = fused(text(layers=KERAS, end="s = Sigmoid(c) g = Transpose<perm=[0, 3, 1, 2]>(s)"))
    assert result.counts == {NAME: 1}
    assert "Reshape" not in result.operators


def test_what_others_read_stays_for_them() -> None:
    source = text().replace("y = Mul(x, g)", "z = Mul(x, g) y = Add(z, g)")
    result = fused(source)
    assert result.counts == {NAME: 1}
    assert result.operators.count("Gemm") == 2


def test_an_open_size_is_refused() -> None:
    result = fused(text(shape="n, 32, h, w"))
    assert result.reason(NAME) == "the size of its feature map is not fixed"


def test_many_weights_are_refused() -> None:
    source = text().replace("8, 32] t1", "4096, 32] t1").replace("32, 8] t2", "32, 4096] t2")
    source = source.replace("float[8] b1", "float[4096] b1")
    assert fused(source).reason(NAME).startswith("its weights are so many")


@pytest.mark.parametrize(
    "changed",
    [
        (POOL, "p = GlobalMaxPool(x) r = Flatten(p)"),
        (
            POOL,
            "p = ReduceMean<axes=[1, 2]>(x) u = Expand(p, wide) r = ReduceMean<axes=[2, 3], keepdims=0>(u)",
        ),
        ("h = Relu(a)", "h = Tanh(a)"),
        ("h = Relu(a)", "h = com.microsoft.QuickGelu<alpha=1.702>(a)"),
        ("h = Relu(a)", "q = Sigmoid(r) k = Gemm<transB=1>(q, t1) h = Mul(a, k)"),
        ("s = Sigmoid(c)", "s = Softmax(c)"),
        (GEMM[0], "a = Gemm<transB=1, alpha=2.0>(r, t1, b1)"),
        (GEMM[0], "k = Relu(b1) a = Gemm<transB=1>(r, t1, k)"),
        (GEMM[0], "k = Relu(t1) a = Gemm<transB=1>(r, k, b1)"),
    ],
)
def test_other_gates_are_none(changed: tuple[str, str]) -> None:
    source = (
        text()
        .replace(*changed)
        .replace("<float[32, 8]", "<int64[4] wide = {1, 32, 1, 1}, float[32, 8]")
    )
    result = fused(source)
    assert not result.counts
    assert not result.near_misses


def test_rows_that_are_no_images_are_none() -> None:
    """The batch and the channels, one the length of the other, change places."""
    source = text(end="s = Sigmoid(c) k = Transpose<perm=[1, 0]>(s) g = Reshape(k, image)")
    source = source.replace("float[n, 32, 4, 6]", "float[32, 32, 4, 6]")
    result = rewritten(source, [NAME], [{"x": floats(32, 32, 4, 6)}])
    assert not result.counts


def test_a_bias_that_makes_a_table_of_the_row_is_none() -> None:
    """Added to a column it makes 8 x 8 numbers, and the next layer reads them all."""
    first = "a0 = MatMul(r, w1) a1 = Reshape(a0, column) a = Add(a1, b1)"
    source = text(layers=(first, "h1 = Reshape(h, table) c = MatMul(h1, w3)"))
    source = source.replace("int64[2] rows =", "int64[4] column = {1, 8, 1, 1}, int64[2] rows =")
    source = source.replace(
        "<float[32, 8]", "<int64[2] table = {1, 64}, float[64, 32] w3, float[32, 8]"
    )
    source = source.replace("float[n, 32, 4, 6]", "float[1, 32, 4, 6]")
    assert not rewritten(source, [NAME], FEEDS[:1]).counts
